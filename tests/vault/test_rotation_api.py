"""What the page of a project's ANY_LLM_KEY calls, as a browser calls it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from apps.audit.models import Entry
from apps.directory.models import ProjectKeyEntry
from apps.organizations.models import Membership
from apps.projects.models import Project
from apps.vault import rotation
from apps.vault.models import Grant, ProviderKey
from apps.vault.rotation import Rotation
from cryptokit.encoding import b64, b64_decode
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope
from tests.cast import KeyRing, Member, Workspace


@pytest.fixture
def ring(acme: Workspace) -> KeyRing:
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Assistant")
        ring.add(acme.owner, "openai", "sk-acme")
    return ring


def url(ring: KeyRing, path: str) -> str:
    return ring.workspace.url(f"projects/{ring.project.id}/{path}")


def post(browser: Client, ring: KeyRing, path: str, body: Any) -> Any:
    return browser.post(
        url(ring, path), json.dumps(body), content_type="application/json", headers={"Accept": "application/json"}
    )


def get(browser: Client, ring: KeyRing, path: str) -> Any:
    return browser.get(url(ring, path), headers={"Accept": "application/json"})


def new_key(key: Any, solved: str) -> dict[str, Any]:
    return {
        "generation": key.generation,
        "public_key": b64(key.public_key),
        "kid": key.kid,
        "statement_signature": b64(key.statement_signature),
        "solved_challenge": solved,
    }


def body_of(draft: Rotation) -> dict[str, Any]:
    """A rotation as the browser sends it."""
    return {
        "base_generation": draft.base_generation,
        "keyset_version": draft.keyset_version,
        "new": new_key(draft.key, draft.solved_challenge),
        "boxes": [
            {
                "provider_key_id": str(each.provider_key_id),
                "version": each.version,
                "sealed": each.box.sealed,
                "signature": b64(each.box.signature),
            }
            for each in draft.resealed
            if each.box
        ],
        "drop": [
            {"provider_key_id": str(each.provider_key_id), "version": each.version}
            for each in draft.resealed
            if not each.box
        ],
        "grants": [
            {
                "vault_id": str(grant.recipient_vault),
                "akv": grant.recipient_account_key_version,
                "envelope": grant.envelope,
            }
            for grant in draft.grants
        ],
        "self_grant": draft.self_grant,
        "overlap_seconds": int(draft.overlap.total_seconds()),
    }


def test_a_browser_makes_the_first_key(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        ring = KeyRing(acme, Project.objects.create(name="Fresh"))
    browser, pair = alice.just_signed_in(), ProjectKeyPair()
    ring.pairs[1] = pair
    keyset = get(browser, ring, "keyset").json()
    assert (keyset["generations"], keyset["next_generation"]) == ([], 1)

    candidate = post(browser, ring, "keys/candidate", {"public_key": b64(pair.public)})
    solved = pair.open(candidate.json()["encrypted_challenge"])
    with tenant_scope(acme.organization):
        key = new_key(ring.new_key(alice, 1, pair), solved)
    body = {**key, "self_grant": ring.self_grant(alice, 1)}
    unsolved = post(browser, ring, "keys", {**body, "solved_challenge": "1.x"})
    assert (unsolved.status_code, unsolved.json()["code"]) == (422, "not_proven")
    made = post(browser, ring, "keys", body)
    assert (made.status_code, made.json()) == (201, {"generation": 1})
    assert post(browser, ring, "keys", body).status_code == 409

    [generation] = get(browser, ring, "keyset").json()["generations"]
    assert generation["public_key"] == b64(pair.public)
    assert (generation["status"], generation["via"], generation["kid"]) == ("active", "browser", pair.kid)
    assert generation["signer"]["vault_id"] == str(alice.account.vault_id)
    assert b64_decode(generation["signer"]["ed25519_public_key"]) == alice.account.ed25519_public
    opened = alice.account.open_self_grant(
        acme.organization.id, ring.project.id, 1, pair.public, generation["grant"]["envelope"]
    )
    assert ProjectKeyPair(opened, generation["kid"]).any_llm_key == pair.any_llm_key


@pytest.mark.parametrize("key", ["", "x", b64(bytes(32)), b64(bytes(31)), b64(b"\xff" * 32), "é" * 44])
def test_a_candidate_that_is_no_key_is_refused(ring: KeyRing, alice: Member, key: str) -> None:
    answer = post(alice.just_signed_in(), ring, "keys/candidate", {"public_key": key})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_project_key")


def test_a_browser_rotates_from_what_it_reads(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    bob, browser = acme.join("bob", Membership.Role.ADMIN), alice.just_signed_in()
    read = get(browser, ring, "rotation").json()
    assert [key["provider"] for key in read["provider_keys"]] == ["openai"]
    assert ring.pairs[1].open(read["provider_keys"][0]["sealed"]) == "sk-acme"
    assert str(bob.account.vault_id) in {recipient["vault_id"] for recipient in read["recipients"]}
    assert str(alice.account.vault_id) not in {recipient["vault_id"] for recipient in read["recipients"]}
    with tenant_scope(acme.organization):
        draft = ring.draft(alice, recipients=[bob])
    assert draft.keyset_version == read["keyset"]["keyset_version"]
    assert draft.key.generation == read["keyset"]["next_generation"]
    answer = post(browser, ring, "rotate", body_of(draft))
    assert (answer.status_code, answer.json()) == (201, {"generation": 2})
    again = post(browser, ring, "rotate", body_of(draft))
    assert (again.status_code, again.json()["code"]) == (409, "keyset_changed")
    # Bob sees the new generation with the grant that Alice made for him.
    newest = get(bob.just_signed_in(), ring, "keyset").json()["generations"][0]
    assert (newest["generation"], newest["previous_public_key"]) == (2, b64(ring.pairs[1].public))
    assert newest["grant"]["envelope"].startswith("G1.")
    assert newest["grant"]["sender"]["vault_id"] == str(alice.account.vault_id)


def test_missing_extra_and_stale_boxes_are_a_conflict(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    browser = alice.just_signed_in()
    with tenant_scope(acme.organization):
        body = body_of(ring.draft(alice))
    [box] = body["boxes"]
    for boxes, drop in (
        ([], []),
        ([box], [{"provider_key_id": box["provider_key_id"], "version": 1}]),
        ([{**box, "version": 9}], []),
        ([box, {**box, "provider_key_id": str(ring.project.id)}], []),
    ):
        answer = post(browser, ring, "rotate", {**body, "boxes": boxes, "drop": drop})
        assert (answer.status_code, answer.json()["code"]) == (409, "keyset_changed")
    with tenant_scope(acme.organization):
        assert set(ring.entries) == {1}


def test_numbers_out_of_range_are_refused(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    browser = alice.just_signed_in()
    with tenant_scope(acme.organization):
        body = body_of(ring.draft(alice))
    for seconds in (-1, 30 * 86_400 + 1, 10**30):
        assert post(browser, ring, "rotate", {**body, "overlap_seconds": seconds}).status_code == 422
    for generation in (-1, 0, 10**30):
        for path in ("keys/retire", "keys/undo", "keys/extend", "keys/roll-back", "keys/shown", "grants/self"):
            sent = {"generation": generation, "overlap_seconds": 60, "envelope": ring.self_grant(alice, 1)}
            assert post(browser, ring, path, sent).status_code in (403, 409, 422), path
    with tenant_scope(acme.organization):
        assert set(ring.entries) == {1}


def test_more_time_then_back_then_the_end(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    browser = alice.just_signed_in()
    with tenant_scope(acme.organization):
        ring.rotate(alice)
    extended = post(browser, ring, "keys/extend", {"generation": 1, "overlap_seconds": 7 * 86_400})
    assert extended.status_code == 200
    [_, old] = get(browser, ring, "keyset").json()["generations"]
    assert old["retire_at"] == extended.json()["retire_at"]
    assert post(browser, ring, "keys/roll-back", {"generation": 1, "overlap_seconds": 3600}).status_code == 200
    statuses = {each["generation"]: each["status"] for each in get(browser, ring, "keyset").json()["generations"]}
    assert statuses == {1: "active", 2: "retiring"}
    assert post(browser, ring, "keys/retire", {"generation": 2}).status_code == 200
    [only] = get(browser, ring, "keyset").json()["generations"]
    assert only["generation"] == 1


def test_undo_and_adopt(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    browser, pair = alice.just_signed_in(), ProjectKeyPair()
    with tenant_scope(acme.organization):
        rotation.set_key_from_cli(project=ring.project, public_key=ProjectKeyPair().public, actor=None)
    [head, _] = get(browser, ring, "keyset").json()["generations"]
    assert (head["status"], head["via"], head["statement_signature"], head["signer"]) == ("unproven", "cli", None, None)
    assert post(browser, ring, "keys/undo", {"generation": 2}).status_code == 200
    ring.pairs[3] = pair
    with tenant_scope(acme.organization):
        made = rotation.set_key_from_cli(project=ring.project, public_key=pair.public, actor=None)
        signature = ring.new_key(alice, made.generation, pair, ring.pairs[1].public).statement_signature
    body = {"generation": 3, "kid": pair.kid, "self_grant": ring.self_grant(alice, 3)}
    refused = post(browser, ring, "keys/adopt", {**body, "statement_signature": ""})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_project_key")
    assert post(browser, ring, "keys/adopt", {**body, "statement_signature": b64(signature)}).status_code == 200
    [head, _] = get(browser, ring, "keyset").json()["generations"]
    assert (head["status"], head["kid"], head["statement_signature"]) == ("active", pair.kid, b64(signature))


def test_opening_a_teammates_grant_makes_it_ones_own(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    bob = acme.join("bob", Membership.Role.ADMIN)
    with tenant_scope(acme.organization):
        ring.rotate(alice, recipients=[bob])
    body = {"generation": 2, "envelope": ring.self_grant(bob, 2)}
    assert post(bob.just_signed_in(), ring, "grants/self", body).status_code == 200
    [own, _] = get(bob.just_signed_in(), ring, "keyset").json()["generations"]
    assert own["grant"]["envelope"] == body["envelope"]
    for wrong in (
        "W1.x",
        "",
        alice.account.grant_to(bob.account.public, acme.organization.id, ring.project.id, 2, ring.pairs[2]),
    ):
        assert post(bob.just_signed_in(), ring, "grants/self", {**body, "envelope": wrong}).status_code == 422


def test_showing_a_key_is_in_the_trail(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    assert post(alice.just_signed_in(), ring, "keys/shown", {"generation": 1}).status_code == 200
    bob = acme.join("bob", Membership.Role.ADMIN)
    assert post(bob.just_signed_in(), ring, "keys/shown", {"generation": 1}).status_code == 403
    with tenant_scope(acme.organization):
        entry = Entry.objects.get(action="project_key.shown")
        assert (entry.actor, entry.detail) == (alice.user.email, {"generation": 1})


ENDPOINTS = {
    "keys/candidate": {"public_key": b64(ProjectKeyPair().public)},
    "keys": {
        "generation": 1, "public_key": b64(bytes(32)), "kid": "0" * 8, "statement_signature": "",
        "solved_challenge": "", "self_grant": "",
    },
    "rotate": {
        "base_generation": 1, "keyset_version": 1, "boxes": [], "drop": [], "grants": [], "self_grant": "",
        "overlap_seconds": 0,
        "new": {
            "generation": 2, "public_key": b64(bytes(32)), "kid": "0" * 8, "statement_signature": "",
            "solved_challenge": "",
        },
    },
    "keys/extend": {"generation": 1, "overlap_seconds": 60},
    "keys/retire": {"generation": 1},
    "keys/roll-back": {"generation": 1, "overlap_seconds": 60},
    "keys/undo": {"generation": 1},
    "keys/adopt": {"generation": 1, "kid": "0" * 8, "statement_signature": "", "self_grant": ""},
    "keys/shown": {"generation": 1},
    "grants/self": {"generation": 1, "envelope": ""},
}  # fmt: skip


MALFORMED: list[Any] = [{}, [], {"generation": "1"}]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_each_endpoint_knows_who_asks(ring: KeyRing, acme: Workspace, charlie: Member, path: str) -> None:
    def everything() -> Any:
        with tenant_scope(acme.organization):
            return (
                list(ProjectKeyEntry.objects.filter(project_id=ring.project.id).values()),
                list(Grant.objects.filter(project=ring.project).values()),
                list(ProviderKey.objects.filter(project=ring.project).values()),
                Project.objects.values().get(id=ring.project.id),
            )

    before, body = everything(), ENDPOINTS[path]
    assert post(Client(), ring, path, body).status_code == 401
    assert post(charlie.browser(), ring, path, body).status_code == 404
    for role in (Membership.Role.VIEWER, Membership.Role.CONTRIBUTOR):
        assert post(acme.join("dora", role).browser(), ring, path, body).status_code == 403
    for sent in MALFORMED:
        assert post(acme.owner.just_signed_in(), ring, path, sent).status_code == 422
    assert post(acme.owner.just_signed_in(), ring, path, body).status_code != 405
    assert acme.owner.just_signed_in().get(url(ring, path)).status_code == 405
    assert everything() == before


SENSITIVE = [path for path in ENDPOINTS if path not in ("keys", "keys/candidate", "grants/self")]


@pytest.mark.parametrize("path", SENSITIVE)
def test_a_borrowed_session_is_asked_for_the_password(ring: KeyRing, alice: Member, path: str) -> None:
    browser = alice.browser()
    answer = post(browser, ring, path, ENDPOINTS[path])
    assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")


def test_a_key_of_another_organizations_project_is_not_there(ring: KeyRing, globex: Workspace) -> None:
    browser = globex.owner.browser()
    for path in ("keyset", "rotation", "key/"):
        assert browser.get(globex.url(f"projects/{ring.project.id}/{path}")).status_code == 404


def test_a_retired_generation_gets_nothing_more(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        ring.rotate(alice, overlap=timedelta(0))
    body = {"generation": 1, "envelope": ring.self_grant(alice, 1)}
    assert post(alice.just_signed_in(), ring, "grants/self", body).status_code == 422


def test_viewers_see_the_keys_but_not_what_opens_them(ring: KeyRing, acme: Workspace) -> None:
    viewer = acme.join("vera", Membership.Role.VIEWER).browser()
    [generation] = get(viewer, ring, "keyset").json()["generations"]
    assert generation["grant"] is None
    assert get(viewer, ring, "rotation").status_code == 403
    assert viewer.get(url(ring, "key/")).status_code == 200


def test_a_signers_new_keys_are_not_passed_off_as_the_old_ones(ring: KeyRing, alice: Member) -> None:
    browser = alice.just_signed_in()
    vault = alice.user.vault
    type(vault).objects.filter(id=vault.id).update(account_key_version=2)
    [generation] = get(browser, ring, "keyset").json()["generations"]
    assert (generation["signer"], generation["grant"]) == (None, None)
    assert generation["statement_signature"] is not None
