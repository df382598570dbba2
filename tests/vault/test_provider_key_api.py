"""What pages of provider keys call: who may do what, what is refused, and what of it stands in the trail."""

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.audit.models import Entry
from apps.ledger.models import PriceStatus, UsageEvent
from apps.organizations.models import Membership
from apps.projects.models import Project
from apps.vault.models import Box, ProviderKey
from apps.vault.services import store_self_grant
from cryptokit import statements
from cryptokit.encoding import b64, b64_decode, b64u
from tenancy import tenant_scope
from tests.cast import Member, Workspace

Role = Membership.Role


def just_signed_in(member: Member) -> Client:
    """The browser of somebody who gave their password a moment ago."""
    client = member.browser()
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = str(member.user.id)
    session.save()
    return client


@dataclass(frozen=True)
class Page:
    """The page of a project's provider keys in a member's browser."""

    workspace: Workspace
    member: Member
    client: Client

    @classmethod
    def of(cls, workspace: Workspace, member: Member) -> "Page":
        return cls(workspace, member, just_signed_in(member))

    def url(self, path: str = "") -> str:
        return self.workspace.url(f"projects/{self.workspace.project.id}/provider-keys{path}")

    def get(self, path: str = "") -> Any:
        return self.client.get(self.url(path), headers={"Accept": "application/json"})

    def post(self, path: str, body: Any = None) -> Any:
        data = body if isinstance(body, str) else json.dumps(body or {})
        return self.client.post(
            self.url(path), data, content_type="application/json", headers={"Accept": "application/json"}
        )

    def box(self, provider: str, value: str, **changes: Any) -> dict[str, Any]:
        """As this member's browser seals it."""
        key, project = self.workspace.key, self.workspace.project
        sealed = key.seal(value)
        statement = statements.provider_key(project.id, 1, key.public, provider, b64_decode(sealed))
        return {"generation": 1, "sealed": sealed, "signature": b64(self.member.account.sign(statement)), **changes}

    def add(self, provider: str, value: str = "sk-new", **changes: Any) -> Any:
        return self.post("/add", {"provider": provider, "boxes": [self.box(provider, value, **changes)]})

    def row(self, provider: str) -> dict[str, Any]:
        [row] = [row for row in self.get().json()["provider_keys"] if row["provider"] == provider]
        return dict(row)

    def on(self, provider: str, action: str, /, **body: Any) -> Any:
        row = self.row(provider)
        return self.post(f"/{row['id']}/{action}", {"expected_version": row["version"], **body})


def hold_keys(workspace: Workspace, member: Member) -> None:
    with tenant_scope(workspace.organization):
        envelope = member.account.self_grant(workspace.organization.id, workspace.project.id, 1, workspace.key)
        store_self_grant(project=workspace.project, generation=1, vault=member.user.vault, envelope=envelope)


def keyset_version(workspace: Workspace) -> int:
    with tenant_scope(workspace.organization):
        return Project.objects.get(id=workspace.project.id).keyset_version


def trail(workspace: Workspace) -> list[tuple[str, str]]:
    with tenant_scope(workspace.organization):
        entries = Entry.objects.filter(project_id=workspace.project.id, action__startswith="provider_key.")
        return [(entry.action.partition(".")[2], entry.actor) for entry in entries.order_by("id")]


@pytest.fixture
def page(acme: Workspace) -> Page:
    return Page.of(acme, acme.owner)


def test_the_life_of_a_provider_key(acme: Workspace, page: Page) -> None:
    hold_keys(acme, acme.owner)
    before = keyset_version(acme)
    added = page.add("openai", "sk-1")
    assert added.status_code == 201
    assert added["Cache-Control"] == "no-store"
    [row] = added.json()["provider_keys"]
    assert (row["provider"], row["added_by"], row["replaced_at"], row["generations"]) == ("openai", "Alice", None, [1])

    replaced = page.on("openai", "replace", boxes=[page.box("openai", "sk-2")]).json()["provider_keys"][0]
    assert (replaced["version"], replaced["replaced_by"]) == (2, "Alice")
    assert replaced["replaced_at"] is not None

    revealed = page.on("openai", "reveal").json()
    assert (revealed["generation"], acme.key.open(revealed["sealed"])) == (1, "sk-2")

    assert page.on("openai", "archive").json()["provider_keys"][0]["archived_at"] is not None
    assert acme.sdk().client.get("/api/v1/provider-keys/openai", headers=acme.sdk().bearer).status_code == 404
    assert page.on("openai", "restore").json()["provider_keys"][0]["archived_at"] is None
    assert acme.sdk().client.get("/api/v1/provider-keys/openai", headers=acme.sdk().bearer).status_code == 200

    assert page.on("openai", "delete", provider="openai").json() == {"provider_keys": []}
    assert acme.sdk().client.get("/api/v1/provider-keys/openai", headers=acme.sdk().bearer).status_code == 404
    with tenant_scope(acme.organization):
        assert ProviderKey.objects.get().deleted_at is not None
        assert not Box.objects.exists()
    who = acme.owner.user.email
    did = ["added", "replaced", "revealed", "archived", "restored", "deleted"]
    assert trail(acme) == [(action, who) for action in did]
    # Revealing changes nothing.
    assert keyset_version(acme) == before + 5
    assert page.add("openai", "sk-3").status_code == 201


MATRIX = {
    # Role, whether they hold the project's keys: list, add, replace, reveal, archive, restore, delete.
    (Role.OWNER, True): (200, 201, 200, 200, 200, 200, 200),
    (Role.OWNER, False): (200, 201, 200, 403, 200, 200, 200),
    (Role.ADMIN, False): (200, 201, 200, 403, 200, 200, 200),
    (Role.DEVELOPER, True): (200, 201, 200, 200, 200, 200, 200),
    (Role.DEVELOPER, False): (200, 201, 200, 403, 403, 403, 403),
    (Role.CONTRIBUTOR, False): (200, 201, 200, 403, 403, 403, 403),
    # A grant that a role does not entitle to opens nothing here.
    (Role.CONTRIBUTOR, True): (200, 201, 200, 403, 403, 403, 403),
    (Role.VIEWER, False): (200, 403, 403, 403, 403, 403, 403),
}


@pytest.mark.parametrize(("role", "holds"), MATRIX, ids=str)
def test_who_may_do_what(acme: Workspace, role: Role, holds: bool) -> None:
    acme.add_provider_key("openai", "sk-current")
    old = acme.add_provider_key("groq", "sk-archived")
    with tenant_scope(acme.organization):
        ProviderKey.objects.filter(id=old.id).update(archived_at="2026-01-01T00:00Z")
    member = acme.join(f"bob-{role}", role)
    if holds:
        hold_keys(acme, member)
    page, before = Page.of(acme, member), trail(acme)
    expected = MATRIX[(role, holds)]
    answers = [
        page.get(),
        page.add("mistral"),
        page.on("openai", "replace", boxes=[page.box("openai", "sk-replaced")]),
        page.on("openai", "reveal"),
        page.on("openai", "archive"),
        page.on("groq", "restore"),
        page.on("groq", "delete", provider="groq"),
    ]
    assert tuple(answer.status_code for answer in answers) == expected
    did = ["", "added", "replaced", "revealed", "archived", "restored", "deleted"]
    allowed = [name for name, status in zip(did, expected, strict=True) if name and status < 300]
    assert trail(acme)[len(before) :] == [(name, member.user.email) for name in allowed]
    with tenant_scope(acme.organization):
        current = ProviderKey.objects.get(provider="openai")
        assert (current.archived_at is None) == ("archived" not in allowed)
        assert acme.key.open(current.boxes.get().sealed) == ("sk-replaced" if "replaced" in allowed else "sk-current")
        assert ProviderKey.objects.filter(provider="groq", deleted_at=None).exists() == ("deleted" not in allowed)


def test_strangers_find_nothing(acme: Workspace, charlie: Member) -> None:
    key = acme.add_provider_key("openai", "sk-acme")
    page = Page.of(acme, charlie)
    assert page.get().status_code == page.get("/seals").status_code == page.add("groq").status_code == 404
    for action in ("replace", "archive", "restore", "delete", "reveal"):
        assert page.post(f"/{key.id}/{action}", {"expected_version": 1}).status_code == 404
    visitor = Page(acme, charlie, Client())
    assert visitor.get().status_code == visitor.add("groq").status_code == 401
    assert trail(acme) == [("added", acme.owner.user.email)]


def test_what_is_no_box_is_refused(acme: Workspace, page: Page, charlie: Member) -> None:
    good = page.box("openai", "sk-" + "x" * 80)
    wrong: list[tuple[int, Any]] = [
        (422, [good | {"signature": b64(bytes(64))}]),
        (422, [good | {"signature": "not base64"}]),
        # Fixed formats are standard base64 with padding, and nothing else that means the same.
        (422, [good | {"sealed": b64u(b64_decode(good["sealed"]))}]),
        (422, [good | {"sealed": good["sealed"] + "\n"}]),
        (422, [good | {"sealed": b64(b"short")}]),
        (422, [page.box("openai", "x" * 8_193)]),
        (422, [page.box("anthropic", "sk-elsewhere")]),
        (422, [good | {"generation": "1"}]),
        (422, [good | {"sealed": None}]),
        # Not exactly the live generations.
        (409, []),
        (409, [good, good]),
        (409, [good | {"generation": 2}]),
        (409, [good, good | {"generation": 2}]),
        (409, [good | {"generation": 0}]),
    ]
    for status, boxes in wrong:
        assert page.post("/add", {"provider": "openai", "boxes": boxes}).status_code == status, boxes
    for provider in ("", "Open AI", "../x", "a" * 65, "x\u0000"):
        assert page.post("/add", {"provider": provider, "boxes": [good]}).status_code == 422
    assert page.post("/add", "{").status_code == 400
    assert (
        page.post("/add", json.dumps({"provider": "openai", "boxes": [good | {"sealed": "A" * 2_000_000}]})).status_code
        == 413
    )
    # Signed by a vault that is not the signed-in member's.
    foreign = Page(acme, charlie, page.client)
    assert foreign.add("openai").status_code == 422
    with tenant_scope(acme.organization):
        assert not ProviderKey.objects.exists()
    assert trail(acme) == []
    assert page.post("/add", {"provider": "openai", "boxes": [page.box("openai", "x" * 8_192)]}).status_code == 201


def test_a_local_provider_needs_no_key(acme: Workspace, page: Page) -> None:
    assert page.add("ollama", "").status_code == 201
    assert page.row("ollama")["is_empty"] is True


def test_what_was_changed_meanwhile_is_not_overwritten(acme: Workspace, page: Page) -> None:
    page.add("openai", "sk-1")
    stale = page.row("openai")
    page.on("openai", "replace", boxes=[page.box("openai", "sk-2")])
    before = trail(acme)
    body = {"expected_version": stale["version"], "provider": "openai", "boxes": [page.box("openai", "sk-late")]}
    for action in ("replace", "archive", "restore", "delete"):
        answer = page.post(f"/{stale['id']}/{action}", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "provider_key_changed")
    # Twice the same: the second finds it done.
    assert page.on("openai", "restore").status_code == 409
    page.on("openai", "archive")
    assert page.on("openai", "archive").status_code == 409
    assert page.on("openai", "replace", boxes=[page.box("openai", "sk-late")]).status_code == 409
    assert trail(acme)[len(before) :] == [("archived", acme.owner.user.email)]
    with tenant_scope(acme.organization):
        assert acme.key.open(Box.objects.get().sealed) == "sk-2"


def test_an_archived_key_comes_back_only_to_a_free_place_and_whole(acme: Workspace, page: Page) -> None:
    page.add("openai", "sk-1")
    page.on("openai", "archive")
    [old] = page.get().json()["provider_keys"]
    page.add("openai", "sk-2")
    restored = page.post(f"/{old['id']}/restore", {"expected_version": old["version"]})
    assert (restored.status_code, restored.json()["code"]) == (409, "provider_key_exists")
    assert page.add("openai").json()["code"] == "provider_key_exists"
    with tenant_scope(acme.organization):
        ProviderKey.objects.filter(archived_at=None).update(archived_at="2026-01-01T00:00Z")
        Box.objects.filter(provider_key=old["id"]).update(generation=0)
    restored = page.post(f"/{old['id']}/restore", {"expected_version": old["version"]})
    assert (restored.status_code, restored.json()["code"]) == (409, "provider_key_incomplete")


def test_deleting_takes_the_name_and_the_password(acme: Workspace, page: Page) -> None:
    page.add("openai")
    assert page.on("openai", "delete", provider="Openai").status_code == 422
    assert page.on("openai", "delete").status_code == 422
    hold_keys(acme, acme.owner)
    later = Page(acme, acme.owner, acme.owner.browser())
    for action in ("delete", "reveal"):
        answer = later.on("openai", action, provider="openai")
        assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
    assert trail(acme) == [("added", acme.owner.user.email)]


def test_a_key_of_another_project_is_not_found(acme: Workspace, page: Page) -> None:
    page.add("openai")
    key_id = page.row("openai")["id"]
    other = acme.url(f"projects/{uuid.uuid4()}/provider-keys/{key_id}/archive")
    answer = page.client.post(other, {"expected_version": 1}, content_type="application/json")
    assert answer.status_code == 404
    assert page.post(f"/{uuid.uuid4()}/archive", {"expected_version": 1}).status_code == 404


def test_an_archived_project_is_left_as_it_is(acme: Workspace, page: Page) -> None:
    page.add("openai")
    with tenant_scope(acme.organization):
        Project.objects.filter(id=acme.project.id).update(archived_at="2026-01-01T00:00Z")
    before = trail(acme)
    assert page.add("groq").json()["code"] == "project_archived"
    assert page.on("openai", "archive").json()["code"] == "project_archived"
    assert trail(acme) == before


def test_seals_are_enough_to_check_who_sealed(acme: Workspace, page: Page) -> None:
    page.add("openai", "sk-1")
    with tenant_scope(acme.organization):
        cli = ProviderKey.objects.create(project=acme.project, provider="groq")
        Box.objects.create(provider_key=cli, generation=1, sealed=acme.key.seal("by the command line"))
    found = page.get("/seals").json()
    seals = {seal["provider_key"]: seal for seal in found["seals"]}
    [signer] = found["signers"]
    assert (signer["vault_id"], signer["name"]) == (str(acme.owner.user.vault.id), "Alice")
    signed = seals[page.row("openai")["id"]]
    with tenant_scope(acme.organization):
        box = Box.objects.get(provider_key=signed["provider_key"])
    statement = statements.provider_key(acme.project.id, 1, acme.key.public, "openai", b64_decode(box.sealed))
    # The statement ends with the digest of the box.
    assert statement.endswith(b64_decode(signed["digest"]))
    assert statements.is_signed(statement, b64_decode(signed["signature"]), b64_decode(signer["ed25519_public_key"]))
    assert (seals[str(cli.id)]["signature"], seals[str(cli.id)]["signed_by_vault"]) == ("", None)


def test_the_clients_that_used_it(acme: Workspace, page: Page) -> None:
    page.add("openai")
    row = page.row("openai")
    with tenant_scope(acme.organization):
        for client_name, provider_key_id in (("nightly", row["id"]), ("api", row["id"]), ("other", uuid.uuid4())):
            UsageEvent.objects.create(
                event_id=uuid.uuid4(),
                project_id=acme.project.id,
                key_generation=1,
                provider_key_id=provider_key_id,
                source="json",
                occurred_at=timezone.now(),
                provider="openai",
                model="gpt-4o-mini",
                client_name=client_name,
                price_status=PriceStatus.UNPRICED,
                currency="USD",
            )
    assert [client["name"] for client in page.get(f"/{row['id']}/clients").json()["clients"]] == ["api", "nightly"]
