"""Proving possession of a project's key: challenge, token, and everything that must not work."""

import base64
import json
import threading
import time
import uuid
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from pytest_django import Settings

from apps.directory import challenges, tokens
from apps.directory.models import Challenge, ProjectKeyEntry
from apps.directory.services import KeyInUseError, register_key, retire_key
from apps.directory.tasks import delete_expired_challenges
from apps.organizations.models import Organization
from apps.vault.models import ProviderKey
from cryptokit.encoding import b64
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope
from tests.cast import Sdk, Workspace
from tests.cryptokit.test_vectors import LOW_ORDER


def post(path: str, body: Any, address: str = "127.0.0.1") -> Any:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return Client(raise_request_exception=False).post(
        f"/api/v1{path}", data, content_type="application/json", REMOTE_ADDR=address
    )


def test_challenge_token_and_key(acme: Workspace) -> None:
    provider_key = acme.add_provider_key("openai", "sk-acme")
    challenge = post("/auth/", {"encryption_key": b64(acme.key.public), "key_type": "RSA"})
    assert challenge.status_code == 200
    solved = acme.key.open(challenge.json()["encrypted_challenge"])
    assert str(uuid.UUID(solved)) == solved

    token = post("/auth/token", {"solved_challenge": solved})
    assert token.status_code == 200
    assert token.json()["token_type"] == "bearer"
    assert token["Cache-Control"] == "no-store"

    sdk = Sdk(acme.key, token.json()["access_token"])
    answer = sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer)
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(provider_key.id),
        "project_id": str(acme.project.id),
        "provider": "openai",
        "encrypted_key": answer.json()["encrypted_key"],
        "created_at": answer.json()["created_at"],
        "updated_at": None,
    }
    assert answer.json()["created_at"].endswith("+00:00")
    assert answer["Cache-Control"] == "no-store"
    assert acme.key.open(answer.json()["encrypted_key"]) == "sk-acme"


def test_only_the_digest_of_a_challenge_is_stored(acme: Workspace) -> None:
    solved = acme.sdk().solved_challenge()
    stored = Challenge.objects.values().get(public_key=acme.key.public)
    assert solved not in str(stored)
    assert uuid.UUID(solved).bytes not in bytes(stored["digest"])


def test_an_unknown_key_hears_the_words_clients_search_for(acme: Workspace) -> None:
    answer = post("/auth/", {"encryption_key": b64(ProjectKeyPair().public)})
    assert answer.status_code == 404
    assert "No project found" in answer.json()["detail"]


MALFORMED_KEYS = [
    "", "x", "A" * 44, b64(b"x" * 31), b64(b"x" * 33), b64(b"x" * 32) + "\n", "\0" * 44, "é" * 44,
    *(b64(point) for point in LOW_ORDER),
    b64((2**255 - 19 + 9).to_bytes(32, "little")),
    b64(b"\xff" * 32),
]  # fmt: skip


@pytest.mark.parametrize("key", MALFORMED_KEYS, ids=range(len(MALFORMED_KEYS)))
def test_keys_that_are_none_are_refused_with_a_reason(db: None, key: str) -> None:
    answer = post("/auth/", {"encryption_key": key})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("encryption_key ")
    assert answer.json()["code"] == "invalid"


MALFORMED_BODIES = [
    (b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b'{"encryption_key": "\xff"}', 400), (b"[]", 422), (b"null", 422),
    (b"{}", 422), (b'{"encryption_key": 5}', 422), (b'{"encryption_key": null}', 422), (b'{"encryption_key": ["x"]}', 422),
    (b'"' + b"x" * 5_000 + b'"', 413), (b"[" * 4_000, 422), (b'{"encryption_key": NaN}', 400),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), MALFORMED_BODIES, ids=range(len(MALFORMED_BODIES)))
def test_bodies_that_are_none_are_refused_with_a_reason(db: None, body: bytes, status: int) -> None:
    answer = post("/auth/", body)
    assert answer.status_code == status
    assert set(answer.json()) == {"detail", "code"}
    assert answer.json()["detail"]


NOBODYS = "123e4567-e89b-42d3-a456-426614174000"


@pytest.mark.parametrize("solution", ["", "x", "é", "\0", NOBODYS, NOBODYS.replace("-", ""), f"{{{NOBODYS}}}"])
def test_a_solution_of_nothing_is_refused(db: None, solution: str) -> None:
    answer = post("/auth/token", {"solved_challenge": solution})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_challenge_is_good_once(acme: Workspace) -> None:
    solved = acme.sdk().solved_challenge()
    assert post("/auth/token", {"solved_challenge": solved}).status_code == 200
    assert post("/auth/token", {"solved_challenge": solved}).status_code == 401


def test_a_challenge_is_good_for_two_minutes(acme: Workspace) -> None:
    solved = acme.sdk().solved_challenge()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE directory_challenge SET expires_at = now() - interval '1 second'")
    assert post("/auth/token", {"solved_challenge": solved}).status_code == 401
    assert delete_expired_challenges() == 1


def test_of_two_that_solve_a_challenge_at_once_one_wins(committed: tuple[Workspace, Workspace]) -> None:
    acme, _ = committed
    for _ in range(10):
        solved = acme.sdk().solved_challenge()
        barrier = threading.Barrier(2)
        statuses: list[int] = []

        def solve(solved: str, barrier: threading.Barrier, statuses: list[int]) -> None:
            try:
                barrier.wait(timeout=30)
                statuses.append(post("/auth/token", {"solved_challenge": solved}).status_code)
            finally:
                connection.close()

        threads = [threading.Thread(target=solve, args=(solved, barrier, statuses)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 401]


def test_a_challenge_of_one_project_is_no_proof_for_another(acme: Workspace, globex: Workspace) -> None:
    headers = {"encryption-key": b64(globex.key.public), "AnyLLM-Challenge-Response": acme.sdk().solved_challenge()}
    answer = Client().get("/api/v1/provider-keys/openai", headers=headers)
    assert answer.status_code == 401


def test_unsolved_challenges_are_bounded(acme: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO directory_challenge SELECT sha256(n::text::bytea), %s, now() + interval '1 minute' "
            "FROM generate_series(1, %s) n",
            [acme.key.public, challenges.MOST_OUTSTANDING],
        )
    answer = post("/auth/", {"encryption_key": b64(acme.key.public)})
    assert answer.status_code == 429
    assert answer["Retry-After"] == "5"


def test_the_header_pair_of_old_releases_works_once(acme: Workspace) -> None:
    acme.add_provider_key("openai", "sk-acme")
    headers = acme.sdk().header_pair()
    answer = Client().get("/api/v1/provider-keys/openai", headers=headers)
    assert answer.status_code == 200
    assert acme.key.open(answer.json()["encrypted_key"]) == "sk-acme"
    assert Client().get("/api/v1/provider-keys/openai", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer x.y.z"}, {"Authorization": "Bearer " + "x" * 5_000}, {"encryption-key": "x"},
        {"encryption-key": "x", "AnyLLM-Challenge-Response": "y"}, {"AnyLLM-Challenge-Response": str(uuid.uuid4())},
    ],
    ids=range(10),
)  # fmt: skip
def test_requests_that_prove_nothing_are_refused(db: None, headers: dict[str, str]) -> None:
    for answer in (
        Client().get("/api/v1/provider-keys/openai", headers=headers),
        Client().post("/api/v1/usage-events/", "{}", content_type="application/json", headers=headers),
    ):
        assert answer.status_code == 401
        assert answer.json()["code"] == "not_authenticated"


def forged(acme: Workspace) -> dict[str, str]:
    key_id, secret = settings.SDK_TOKEN_KEYS.current
    now = int(time.time())
    claims = {"aud": "alp:sdk", "sub": f"project:{acme.project.id}", "gen": 1, "iat": now, "nbf": now, "exp": now + 60}
    header = {"kid": key_id, "typ": "alp-sdk+jwt"}

    def signed(
        with_secret: bytes = secret, algorithm: str = "HS256", header: dict[str, str] = header, **changes: Any
    ) -> str:
        changed = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(changed, with_secret, algorithm=algorithm, headers=header)

    def unsigned() -> str:
        parts = [json.dumps({"alg": "none", **header}), json.dumps(claims)]
        return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts) + "."

    good = signed()
    return {
        "expired": signed(exp=now - 1),
        "not yet": signed(nbf=now + 600),
        "no expiry": signed(exp=None),
        "other audience": signed(aud="alp:mgmt"),
        "no audience": signed(aud=None),
        "other type": signed(header={"kid": key_id, "typ": "alp-mgmt+jwt"}),
        "no key id": signed(header={"typ": "alp-sdk+jwt"}),
        "unknown key id": signed(header={"kid": "zz", "typ": "alp-sdk+jwt"}),
        "other secret": signed(with_secret=b"x" * 32),
        "other algorithm": signed(algorithm="HS512", with_secret=secret * 2),
        "no algorithm": unsigned(),
        "a user's": signed(sub=f"user:{uuid.uuid4()}"),
        "no project": signed(sub="project:x"),
        "unknown project": signed(sub=f"project:{uuid.uuid4()}"),
        "unknown generation": signed(gen=2),
        "no generation": signed(gen=None),
        "odd generation": signed(gen="one"),
        "signature cut": good[:-2],
        "claims changed": good.replace(good.split(".")[1], good.split(".")[1][:-2] + "AA"),
    }


def test_tokens_that_are_not_ours_are_refused(acme: Workspace) -> None:
    acme.add_provider_key("openai", "sk-acme")
    for name, token in forged(acme).items():
        answer = Client(raise_request_exception=False).get(
            "/api/v1/provider-keys/openai", headers={"Authorization": f"Bearer {token}"}
        )
        assert (name, answer.status_code) == (name, 401)


def test_a_token_expires_though_its_signature_is_remembered(acme: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    acme.add_provider_key("openai", "sk-acme")
    sdk = acme.sdk()
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 200
    later = time.time() + tokens.LIFETIME
    monkeypatch.setattr("apps.directory.tokens.time.time", lambda: later)
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 401


def test_revocation_takes_effect_on_the_next_request(acme: Workspace) -> None:
    acme.add_provider_key("openai", "sk-acme")
    sdk, pending = acme.sdk(), acme.sdk().solved_challenge()
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 200
    assert retire_key(project_id=acme.project.id, generation=1)
    assert not retire_key(project_id=acme.project.id, generation=1)
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 401
    assert post("/auth/token", {"solved_challenge": pending}).status_code == 401
    answer = post("/auth/", {"encryption_key": b64(acme.key.public)})
    assert answer.status_code == 404
    assert "No project found" in answer.json()["detail"]


def test_a_suspended_organizations_keys_do_nothing(acme: Workspace) -> None:
    acme.add_provider_key("openai", "sk-acme")
    sdk = acme.sdk()
    Organization.objects.filter(pk=acme.organization.pk).update(status=Organization.Status.SUSPENDED)
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 401
    assert post("/auth/", {"encryption_key": b64(acme.key.public)}).status_code == 404


def test_the_first_proof_makes_an_unproven_generation_active(acme: Workspace) -> None:
    entry = ProjectKeyEntry.objects.get(public_key=acme.key.public)
    ProjectKeyEntry.objects.filter(pk=entry.pk).update(status=ProjectKeyEntry.Status.UNPROVEN)
    assert post("/auth/token", {"solved_challenge": acme.sdk().solved_challenge()}).status_code == 200
    entry.refresh_from_db()
    assert entry.status == ProjectKeyEntry.Status.ACTIVE


def test_a_key_has_one_place_in_the_directory(acme: Workspace, globex: Workspace) -> None:
    retire_key(project_id=acme.project.id, generation=1)
    with pytest.raises(KeyInUseError):
        register_key(
            public_key=acme.key.public,
            organization_id=globex.organization.id,
            project_id=globex.project.id,
            generation=2,
            status=ProjectKeyEntry.Status.UNPROVEN,
        )


def test_provider_keys_that_are_not_there(acme: Workspace, globex: Workspace) -> None:
    globex.add_provider_key("anthropic", "sk-globex")
    sdk = acme.sdk()
    for provider in ("anthropic", "openai", "OpenAI", "a b", "%00", "x" * 100, "..%2f"):
        answer = sdk.client.get(f"/api/v1/provider-keys/{provider}", headers=sdk.bearer)
        assert answer.status_code == 404
        assert answer.json()["detail"]


def test_a_local_provider_has_an_empty_box(acme: Workspace) -> None:
    acme.add_provider_key("ollama", "")
    sdk = acme.sdk()
    sealed = sdk.client.get("/api/v1/provider-keys/ollama", headers=sdk.bearer).json()["encrypted_key"]
    # A box, because clients open one; there is nothing in it.
    assert sealed != ""
    assert acme.key.open(sealed) == ""


def test_last_used_is_written_at_most_once_a_minute(acme: Workspace) -> None:
    provider_key = acme.add_provider_key("openai", "sk-acme")
    sdk = acme.sdk()
    times = []
    for _ in range(2):
        sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer)
        with tenant_scope(acme.organization):
            times.append(ProviderKey.objects.get(id=provider_key.id).last_used_at)
    assert times[0] is not None
    assert times[0] == times[1]


def test_slashes_are_part_of_the_contract_and_nothing_redirects(db: None) -> None:
    for path in ("/api/v1/auth", "/api/v1/auth/token/", "/api/v1/usage-events", "/api/v1/provider-keys/openai/"):
        answer = Client().post(path, "{}", content_type="application/json")
        assert answer.status_code == 404
        assert set(answer.json()) == {"detail", "code"}


def test_an_address_that_already_ends_in_api_v1_works_in_old_releases(acme: Workspace) -> None:
    """They append the path once more."""
    acme.add_provider_key("openai", "sk-acme")
    assert post("/api/v1/auth/", {"encryption_key": b64(acme.key.public)}).status_code == 200
    answer = Client().get("/api/v1/api/v1/provider-keys/openai", headers=acme.sdk().header_pair())
    assert answer.status_code == 200


def test_an_address_that_only_fails_hears_429_and_a_proof_still_counts(acme: Workspace, settings: Settings) -> None:
    settings.SDK_FAILURES_PER_MINUTE = 3
    address = uuid.uuid4().hex  # nobody else's: counters are shared by all tests that run now
    unknown = {"encryption_key": b64(ProjectKeyPair().public)}
    # A minute may end between two of them; seven have four in one.
    statuses = [post("/auth/", unknown, address).status_code for _ in range(7)]
    assert statuses[:3] == [404] * 3
    assert 429 in statuses
    assert post("/auth/", {"encryption_key": b64(acme.key.public)}, address).status_code == 200
