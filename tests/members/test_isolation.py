"""Who reaches which page: strangers none, members what their role allows; and refused requests change nothing."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client

from apps.audit.models import Entry
from apps.members import services
from apps.organizations.models import Invitation, Membership, Organization
from apps.projects.models import Project, ProjectMember
from apps.vault.models import Grant
from tenancy import tenant_scope
from tests.cast import Member, Workspace

Role = Membership.Role
OWNER, ADMIN, DEVELOPER, CONTRIBUTOR, VIEWER = Role

ALL = {OWNER, ADMIN, DEVELOPER, CONTRIBUTOR, VIEWER}
MANAGERS = {OWNER, ADMIN}

# Method, path, and the roles that are let in.
ENDPOINTS = [
    ("GET", "members/", ALL),
    ("GET", "members/invite/", MANAGERS),
    ("POST", "members/invite/", MANAGERS),
    ("POST", "members/invitations/{invitation}/resend/", MANAGERS),
    ("POST", "members/invitations/{invitation}/revoke/", MANAGERS),
    ("GET", "members/{member}/", MANAGERS),
    ("POST", "members/{member}/", MANAGERS),
    ("GET", "members/{member}/confirm/", MANAGERS),
    ("GET", "members/{member}/remove/", MANAGERS),
    ("POST", "members/{member}/remove/", MANAGERS),
    ("POST", "members/{member}/grants", MANAGERS),
    ("GET", "members/checklists/", ALL),
    ("GET", "members/checklists/{project}/", ALL),
    ("POST", "members/checklists/{project}/", MANAGERS),
    ("GET", "activity/", ALL),
    ("GET", "settings/", ALL),
    ("POST", "settings/", MANAGERS),
    ("POST", "settings/delete/", {OWNER}),
    ("POST", "members/leave/", ALL),
]
IDS = [f"{method} {path}" for method, path, _ in ENDPOINTS]


def state(workspace: Workspace) -> Any:
    """Everything that these endpoints could change."""
    organization = Organization.objects.get(pk=workspace.organization.pk)
    with tenant_scope(workspace.organization):
        return (
            {name: value for name, value in organization.__dict__.items() if not name.startswith("_")},
            list(Membership.objects.filter(organization=organization).order_by("pk").values()),
            list(Invitation.objects.filter(organization=organization).order_by("pk").values()),
            list(Project.objects.order_by("pk").values()),
            list(ProjectMember.objects.order_by("pk").values()),
            list(Grant.objects.order_by("pk").values()),
            Entry.objects.count(),
        )


@pytest.fixture
def bob(acme: Workspace) -> Member:
    """The member whom requests are about."""
    return acme.join("bob", Role.DEVELOPER)


@pytest.fixture
def invitation(acme: Workspace, alice: Member) -> Invitation:
    with tenant_scope(acme.organization):
        actor = Membership.objects.get(organization=acme.organization, user=alice.user)
        return services.invite(actor=actor, email=f"{uuid.uuid4().hex}@example.com", role=Role.VIEWER).invitation


def send(client: Client, workspace: Workspace, method: str, path: str, bob: Member, invitation: Invitation) -> Any:
    """A request that would do what it says if it were allowed."""
    member = Membership.objects.get(organization=workspace.organization, user=bob.user)
    url = workspace.url(path.format(member=member.pk, invitation=invitation.pk, project=workspace.project.pk))
    if method == "GET":
        return client.get(url)
    if path.endswith("grants"):
        body = json.dumps({"account_key_version": 1, "grants": []})
        return client.post(url, body, content_type="application/json", headers={"accept": "application/json"})
    form = {
        "email": "carol@example.com",
        "role": Role.VIEWER,
        "name": workspace.organization.name,
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
    }
    return client.post(url, form)


@pytest.mark.parametrize(("method", "path", "_allowed"), ENDPOINTS, ids=IDS)
def test_strangers_find_nothing(
    acme: Workspace, charlie: Member, bob: Member, invitation: Invitation, method: str, path: str, _allowed: Any
) -> None:
    before = state(acme)
    assert send(charlie.browser(), acme, method, path, bob, invitation).status_code == 404
    visitor = send(Client(), acme, method, path, bob, invitation)
    assert visitor.status_code in (302, 401)
    assert visitor.status_code == 401 or "/accounts/login/" in visitor["Location"]
    assert state(acme) == before


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path, _ in ENDPOINTS if "{" in path], ids=lambda value: value
)
def test_ids_of_another_organization_are_nothing_here(
    acme: Workspace,
    globex: Workspace,
    charlie: Member,
    bob: Member,
    invitation: Invitation,
    method: str,
    path: str,
) -> None:
    """Charlie, an owner, names Acme's members, invitations and projects below Globex's address."""
    before, own = state(acme), state(globex)
    member = Membership.objects.get(organization=acme.organization, user=bob.user)
    url = globex.url(path.format(member=member.pk, invitation=invitation.pk, project=acme.project.pk))
    client = charlie.browser()
    form = {"role": Role.VIEWER}
    if path.endswith("grants"):
        session = client.session
        session["account_authentication_methods"] = [{"method": "password", "at": 9e9}]
        session["account_authentication_methods_user"] = str(charlie.user.pk)
        session.save()
        answer = client.post(
            url, '{"account_key_version": 1, "grants": []}', "application/json", headers={"accept": "application/json"}
        )
    else:
        answer = client.get(url) if method == "GET" else client.post(url, form)
    assert answer.status_code == 404
    assert (state(acme), state(globex)) == (before, own)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("method", "path", "allowed"), ENDPOINTS, ids=IDS)
def test_roles(
    acme: Workspace,
    bob: Member,
    invitation: Invitation,
    role: Membership.Role,
    method: str,
    path: str,
    allowed: set[Membership.Role],
) -> None:
    actor = acme.join("actor", role)
    before = state(acme)
    answer = send(actor.browser(), acme, method, path, bob, invitation)
    if role in allowed and path.endswith("grants"):
        assert answer.json()["code"] == "reauthentication_required"
    elif role in allowed:
        assert answer.status_code in (200, 302)
    else:
        assert answer.status_code == 403
        assert state(acme) == before
