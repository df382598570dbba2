"""An organization as it looks after a year, to be looked at: long names, many keys, people in every state. For
tests/e2e/control.py, which has the ground's settings."""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from apps.analytics import rollups
from apps.members.services import invite, remove_member
from apps.organizations.models import Invitation, Membership
from apps.organizations.services import create_organization, request_deletion
from apps.projects.models import Client, Project, ProjectKey
from apps.projects.services import archive_project, create_project
from apps.vault.models import ProviderKey
from apps.vault.rotation import set_key_from_cli
from apps.vault.services import archive_provider_key, store_self_grant
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope
from tests.analytics.scenery import add_calls
from tests.cast import KeyRing, Member, Workspace
from tests.e2e.cast import person
from tests.e2e.usage_scenery import make_exports, make_usage

Environment, Role = Project.Environment, Membership.Role
PROVIDERS = (
    "openai", "anthropic", "mistral", "gemini", "groq", "cohere", "deepseek", "xai", "openrouter", "together",
    "fireworks", "perplexity",
)  # fmt: skip
STAFF = [
    ("Bo Li", Role.OWNER),
    ("Wilhelmina-Alexandra von Hohenstein-Wittelsbach", Role.ADMIN),
    ("Chinedu Okonkwo", Role.ADMIN),
    ("Sigríður Jónsdóttir", Role.DEVELOPER),
    ("Tomás Herrera", Role.CONTRIBUTOR),
    ("Ines", Role.VIEWER),
]


def make() -> dict[str, Any]:
    """Ids of organizations and projects, and the people."""
    word = secrets.token_hex(3)
    owner = _somebody(f"ada.{word}", "Ada Lovelace")
    organization = create_organization(name="Analytical Engines & Daughters International", owner=owner[1].user)
    with tenant_scope(organization):
        workspace = Workspace(owner[1], organization, create_project(name="Bare", environment=Environment.DEVELOPMENT))
        projects = _projects(workspace)
        staff = [(_somebody(f"{name.split()[0].lower()[:20]}.{word}", name)[1], role) for name, role in STAFF]
        people = {"owner": owner[0], **_members(workspace, staff, word)}
        usage = make_usage(workspace, *(Project.objects.get(id=projects[name]) for name in ("full", "staging")))
        rollups.recount(organization.time_zone)
    empty = create_organization(name="Quiet Mills", owner=owner[1].user)
    spending = create_organization(name="Harbour Lights", owner=owner[1].user)
    with tenant_scope(spending):
        spenders = [create_project(name=name) for name in ("Support", "Search", "Research")]
        add_calls(spenders, until=timezone.now(), days=64, scale=0.6)
        rollups.recount(spending.time_zone)
        make_exports(Workspace(owner[1], spending, spenders[0]))
    leaving = create_organization(name="Difference Engines", owner=owner[1].user)
    with tenant_scope(leaving):
        request_deletion(organization=leaving, actor=owner[1].user)
    newcomer, visitor = _somebody(f"newcomer.{word}", "Nora"), _somebody(f"visitor.{word}", "")
    create_organization(name="Nora’s workshop", owner=newcomer[1].user)
    people |= {"newcomer": newcomer[0], "visitor": visitor[0]}
    return {
        "organization_id": str(organization.id),
        "empty_id": str(empty.id),
        "spending_id": str(spending.id),
        "spender_id": str(spenders[0].id),
        "leaving_id": str(leaving.id),
        "people": people,
        "projects": projects,
        "usage": usage,
    }


def _somebody(name: str, called: str) -> tuple[dict[str, str], Member]:
    resident, user, account = person(name)
    user.name = called
    user.save(update_fields=["name"])
    return resident, Member(user, account)


def _projects(workspace: Workspace) -> dict[str, str]:
    owner, ids = workspace.owner, {"bare": str(workspace.project.id)}

    def ring(label: str, name: str, environment: str, description: str = "") -> KeyRing:
        project, pair = create_project(name=name, environment=environment, description=description), ProjectKeyPair()
        ids[label] = str(project.id)
        workspace.add_key(project, pair)
        made = KeyRing(workspace, project, {1: pair})
        made.hold(owner, 1)
        return made

    full = ring(
        "full", "Customer support assistant", Environment.PRODUCTION, "Answers mail at night, and writes drafts by day."
    )
    for provider in PROVIDERS:
        full.add(owner, provider, f"sk-{secrets.token_urlsafe(24)}")
    for provider in ("bedrock", "azure"):
        key = full.add(owner, provider, f"sk-{secrets.token_urlsafe(24)}")
        archive_provider_key(provider_key=key, expected_version=key.version, actor=owner.user.vault)
    now = timezone.now()
    ProviderKey.objects.filter(project=full.project, provider__in=PROVIDERS[:5]).update(
        last_used_at=now - timedelta(minutes=7)
    )
    ProjectKey.objects.filter(project=full.project).update(last_used_at=now - timedelta(minutes=7))
    full.rotate(owner)
    full.rotate(owner, overlap=timedelta(days=7))
    for number, (name, generation) in enumerate(
        [("support-web", 3), ("nightly-batch", 1), ("a-very-long-name-of-a-program-that-nobody-shortened-in-time", 2)]
    ):
        Client.objects.create(
            project=full.project,
            name=name,
            is_default=number == 0,
            last_seen_at=now - timedelta(hours=number + 1),
            last_generation=generation,
        )
    staging = ring("staging", "Customer support assistant", Environment.STAGING)
    for provider in PROVIDERS[:3]:
        staging.add(owner, provider, f"sk-{secrets.token_urlsafe(24)}")
    create_project(name="Customer support assistant", environment=Environment.DEVELOPMENT)

    long = "Retrieval-augmented-knowledge-base-of-the-legal-department (Europe, Middle East and Africa)"
    forged = ring("forged", long, Environment.PRODUCTION)
    for provider in PROVIDERS[:4]:
        forged.add(owner, provider, f"sk-{secrets.token_urlsafe(24)}")
    # Sealed by somebody who is not a member's vault: what the page of provider keys warns of.
    box = ProviderKey.objects.get(project=forged.project, provider="openai").boxes.get()
    box.sealed = forged.pairs[1].seal("sk-exchanged")
    box.save(update_fields=["sealed"])
    ring("long-staging", long, Environment.STAGING)

    unfinished = ring("cli", "Batch summaries", Environment.PRODUCTION)
    unfinished.add(owner, "openai", f"sk-{secrets.token_urlsafe(24)}")
    set_key_from_cli(project=unfinished.project, public_key=ProjectKeyPair().public, actor=owner.user)
    for name in ("Old prototype", "Hackathon 2024"):
        project = create_project(name=name)
        ids["archived"] = str(project.id)
        archive_project(project_id=project.id, actor=owner.user)
    return ids


def _members(workspace: Workspace, staff: Sequence[tuple[Member, str]], word: str) -> dict[str, Any]:
    organization, owner = workspace.organization, workspace.owner
    acting = Membership.objects.select_related("user__vault").get(organization=organization, user=owner.user)
    now = timezone.now()
    for number, (member, role) in enumerate(staff):
        Membership.objects.create(
            organization=organization, user=member.user, role=role, confirmed_at=now if number < 2 else None
        )
    # Somebody who held every key, and is gone.
    _, gone = _somebody(f"former.{word}", "Former Colleague")
    left = Membership.objects.create(organization=organization, user=gone.user, role=Role.ADMIN, confirmed_at=now)
    project = Project.objects.get(name="Customer support assistant", environment=Environment.STAGING)
    # The envelope's content does not matter: that it was there does.
    envelope = gone.account.self_grant(organization.id, project.id, 1, ProjectKeyPair())
    store_self_grant(project=project, generation=1, vault=gone.user.vault, envelope=envelope)
    remove_member(actor=acting, membership_id=left.pk)
    address = "grace.hopper@a-company-with-a-remarkably-long-domain-name.example.com"
    other = invite(actor=acting, email=address, role=Role.DEVELOPER)
    late = invite(actor=acting, email=f"late.{word}@example.com", role=Role.ADMIN)
    Invitation.objects.filter(pk=late.invitation.pk).update(expires_at=now - timedelta(days=1))
    visitor = invite(actor=acting, email=f"visitor.{word}@example.com", role=Role.VIEWER)
    return {"invitation": visitor.token, "expired": late.token, "other": other.token}
