"""The way of new people: which step comes next, that every step can be left, and who sees what."""

import uuid
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.ledger.models import UsageEvent
from apps.onboarding.selectors import current_step, is_new
from apps.organizations.models import Membership, Organization
from apps.organizations.services import create_organization
from apps.projects.models import Project
from apps.vault.models import ProviderKey
from tenancy import tenant_scope
from tests.cast import Member, Workspace

Role = Membership.Role


@pytest.fixture
def ada(db: None) -> Member:
    return Member.sign_up("ada")


@pytest.fixture
def organization(ada: Member) -> Organization:
    return create_organization(name="Engines", owner=ada.user)


def decline_recovery_key(member: Member) -> None:
    member.user.vault.recovery_declined_at = timezone.now()
    member.user.vault.save()


def next_page(member: Member) -> str:
    return str(member.browser().get("/welcome/")["Location"])


def add_call(organization: Organization, provider_key: ProviderKey, **fields: Any) -> None:
    with tenant_scope(organization):
        UsageEvent.objects.create(
            event_id=uuid.uuid4(),
            project_id=provider_key.project_id,
            key_generation=1,
            provider_key_id=provider_key.id,
            source="json",
            occurred_at=timezone.now(),
            provider="openai",
            model="gpt-4o-mini-2024-07-18",
            input_tokens=11,
            output_tokens=7,
            **({"price_status": "priced", "cost": "0.000005850000", "currency": "USD"} | fields),
        )


def test_each_step_follows_from_what_is_there(ada: Member, organization: Organization) -> None:
    assert next_page(ada) == "/welcome/recovery-key/"
    decline_recovery_key(ada)
    project_page = f"/welcome/{organization.id}/project/"
    assert next_page(ada) == project_page

    form = {"name": "Difference engine", "environment": "staging", "description": ""}
    made = ada.browser().post(project_page, form)
    with tenant_scope(organization):
        project = Project.objects.get()
    pages = f"/welcome/{organization.id}/projects/{project.id}/"
    assert (made.status_code, made["Location"]) == (302, f"{pages}provider-key/")
    assert (project.name, project.environment) == ("Difference engine", "staging")
    assert next_page(ada) == f"{pages}provider-key/"

    workspace = Workspace(ada, organization, project)
    with tenant_scope(organization):
        workspace.add_key(project, workspace.key)
    provider_key = workspace.add_provider_key("openai", "sk-first")
    assert next_page(ada) == f"{pages}any-llm-key/"

    waiting = ada.browser().get(f"{pages}first-call").json()
    assert waiting == {"fetched_at": None, "call": None}
    sdk = workspace.sdk()
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 200
    assert next_page(ada) == f"{pages}connect/"
    waiting = ada.browser().get(f"{pages}first-call").json()
    assert waiting["fetched_at"] is not None
    assert waiting["call"] is None

    add_call(organization, provider_key)
    call = ada.browser().get(f"{pages}first-call").json()["call"]
    assert (call["model"], call["input_tokens"], call["output_tokens"]) == ("gpt-4o-mini-2024-07-18", 11, 7)
    assert (call["cost"], call["currency"]) == ("0.00000585", "USD")
    assert next_page(ada) == "/o/"


def test_a_call_without_a_price_has_no_cost(acme: Workspace) -> None:
    provider_key = acme.add_provider_key("openai", "sk-acme")
    add_call(acme.organization, provider_key, price_status="unpriced", cost=None)
    url = f"/welcome/{acme.organization.id}/projects/{acme.project.id}/first-call"
    found = acme.owner.browser().get(url).json()
    assert found["call"]["cost"] is None
    # It was called with a key that nobody fetched here: the first lamp is lit all the same.
    assert found["fetched_at"] == found["call"]["occurred_at"]


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.CONTRIBUTOR, Role.VIEWER])
def test_who_joins_a_team_sets_up_nothing(organization: Organization, role: Role) -> None:
    member = Member.sign_up("bob")
    Membership.objects.create(organization=organization, user=member.user, role=role, confirmed_at=timezone.now())
    assert not is_new(member.user)
    assert current_step(member.user) is None
    assert member.browser().get("/welcome/start/")["Location"] == next_page(member) == "/o/"


def test_signing_in_leads_new_people_to_the_first_step(ada: Member, organization: Organization) -> None:
    browser = ada.browser()
    assert browser.get("/welcome/start/")["Location"] == "/welcome/"
    # Somebody who followed an invitation goes there first.
    session = browser.session
    session["invitation"] = "token"
    session.save()
    assert browser.get("/welcome/start/")["Location"] == "/o/"


@pytest.mark.parametrize("case", ["unconfirmed", "two organizations", "second factor", "suspended", "has a project"])
def test_who_is_not_new(ada: Member, organization: Organization, case: str) -> None:
    assert is_new(ada.user)
    match case:
        case "unconfirmed":
            Membership.objects.update(confirmed_at=None)
        case "two organizations":
            create_organization(name="Looms", owner=ada.user)
        case "second factor":
            Organization.objects.filter(id=organization.id).update(requires_second_factor=True)
        case "suspended":
            Organization.objects.filter(id=organization.id).update(status=Organization.Status.SUSPENDED)
        case "has a project":
            with tenant_scope(organization):
                Project.objects.create(name="there")
    assert not is_new(ada.user)
    assert ada.browser().get("/welcome/start/")["Location"] == "/o/"


def test_every_step_can_be_skipped(acme: Workspace) -> None:
    acme.add_provider_key("openai", "sk-acme")
    browser, away = acme.owner.browser(), f'href="/o/{acme.organization.id}/"'
    welcome = f"/welcome/{acme.organization.id}/"
    project = f"{welcome}projects/{acme.project.id}/"
    pages = [f"{project}{step}/" for step in ("provider-key", "any-llm-key", "connect")]
    for page in ["/welcome/recovery-key/", f"{welcome}project/", *pages]:
        answer = browser.get(page)
        assert answer.status_code == 200, page
        assert away in answer.content.decode()
        assert "Skip for now" in answer.content.decode()


def test_the_examples_are_about_this_project(acme: Workspace) -> None:
    acme.add_provider_key("ollama", "")
    acme.add_provider_key("mistral", "sk-acme")
    acme.add_provider_key("not-in-the-list", "sk-acme")
    page = f"/welcome/{acme.organization.id}/projects/{acme.project.id}/connect/"
    browser = acme.owner.browser()
    first, second = (browser.get(page + query).content.decode() for query in ("", "?provider=mistral"))
    assert "any-llm-sdk[platform,ollama]==1.10.0" in first
    assert "any-llm-sdk[platform,mistral]==1.10.0" in second
    assert "mistral-small-latest" in second
    assert "export ANY_LLM_PLATFORM_URL=http" in first
    # The server has no key to put in.
    assert "ANY.v1.…" in first


def test_a_project_that_can_not_be_made_is_said_so(ada: Member, organization: Organization) -> None:
    page = f"/welcome/{organization.id}/project/"
    for form in ({}, {"name": " ", "environment": "production"}, {"name": "x", "environment": "moon"}):
        assert ada.browser().post(page, form).status_code == 422
    with tenant_scope(organization):
        Project.objects.create(name="there")
    taken = ada.browser().post(page, {"name": "there", "environment": "production"})
    assert taken.status_code == 422
    assert 'value="there"' in taken.content.decode()


def test_strangers_and_visitors(acme: Workspace, charlie: Member) -> None:
    project = f"/welcome/{acme.organization.id}/projects/{acme.project.id}/"
    for path in (f"{project}connect/", f"{project}first-call", f"/welcome/{acme.organization.id}/project/"):
        assert charlie.browser().get(path).status_code == 404
        assert Client().get(path).status_code == 302
    viewer = acme.join("vera", Role.VIEWER)
    assert viewer.browser().get(f"{project}connect/").status_code == 200
    assert "data-insert-key" not in viewer.browser().get(f"{project}connect/").content.decode()
    for step in ("provider-key", "any-llm-key"):
        assert viewer.browser().get(f"{project}{step}/").status_code == 403
    assert viewer.browser().get(f"/welcome/{acme.organization.id}/project/").status_code == 403
