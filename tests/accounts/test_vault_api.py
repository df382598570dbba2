"""What pages ask of a person's vault: shapes, limits, signatures, races."""

import json
import os
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import UnlockMethod, Vault
from apps.accounts.services import prelogin_salt
from apps.accounts.shares import LIFE_SECONDS, SHARE
from cryptokit import statements
from cryptokit.encoding import b64u, b64u_decode
from devstack.browser import Account, RecoveryKey, unwrap
from tests.accounts.people import JSON, Visitor, fresh_email, recovery_method
from tests.cast import Member, Workspace


@pytest.fixture
def dora(db: None) -> Visitor:
    return Visitor().arrive()


class TestPrelogin:
    def test_an_address_without_an_account_gets_what_its_sign_up_will_use(self, db: None) -> None:
        stranger = Visitor()
        first, second = stranger.prelogin(), stranger.prelogin()
        assert (
            (first["kdf"], first["salt"])
            == (second["kdf"], second["salt"])
            == ("a1", b64u(prelogin_salt(stranger.email)))
        )

    def test_known_and_unknown_addresses_are_answered_alike(self, dora: Visitor) -> None:
        known, unknown = Visitor(email=dora.email).prelogin(), Visitor().prelogin()
        assert {key: len(value) for key, value in known.items()} == {key: len(value) for key, value in unknown.items()}
        assert known.keys() == {"kdf", "salt", "share"}
        assert (len(b64u_decode(known["salt"])), len(b64u_decode(known["share"]))) == (16, 32)
        # Having signed up is not to be seen.
        assert known["salt"] == b64u(prelogin_salt(dora.email))

    def test_known_and_unknown_addresses_cost_the_same_queries(self, dora: Visitor) -> None:
        counted = []
        for email in (dora.email, fresh_email()):
            with CaptureQueriesContext(connection) as captured:
                Visitor(email=email).prelogin()
            counted.append(
                [re.sub(r"'[^']*'", "?", query["sql"]) for query in captured if "SAVEPOINT" not in query["sql"]]
            )
        assert counted[0] == counted[1]
        assert counted[0]

    def test_spelling_does_not_matter(self, dora: Visitor) -> None:
        assert Visitor(email=f" {dora.email.upper()} ").prelogin()["salt"] == dora.prelogin()["salt"]

    def test_a_changed_password_has_a_salt_of_its_own(self, dora: Visitor) -> None:
        UnlockMethod.objects.filter(vault__user=dora.user).update(kdf_input=b"s" * 16)
        assert Visitor(email=dora.email).prelogin()["salt"] == b64u(b"s" * 16)

    def test_an_address_somebody_only_asked_for_is_not_theirs(self, dora: Visitor) -> None:
        """Else its owner could no longer sign up, and would be told apart."""
        wanted = fresh_email("wanted")
        EmailAddress.objects.create(user=dora.user, email=wanted, verified=False, primary=False)
        UnlockMethod.objects.filter(vault__user=dora.user).update(kdf_input=b"s" * 16)
        assert Visitor(email=wanted).prelogin()["salt"] == b64u(prelogin_salt(wanted))

    def test_one_address_can_be_asked_for_ten_times_a_minute(self, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        now = time.time()  # of one minute, however slow this machine is
        monkeypatch.setattr(time, "time", lambda: now)
        email = fresh_email()
        statuses = [Visitor().call("prelogin", {"email": email}).status_code for _ in range(11)]
        assert statuses == [200] * 10 + [429]

    def test_one_caller_can_ask_thirty_times_a_minute(self, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        now = time.time()  # of one minute, however slow this machine is
        monkeypatch.setattr(time, "time", lambda: now)
        caller = Visitor()
        answers = [caller.call("prelogin", {"email": fresh_email()}) for _ in range(31)]
        assert [answer.status_code for answer in answers] == [200] * 30 + [429]
        assert answers[-1]["Retry-After"] == "60"
        assert answers[-1].json()["code"] == "too_many_requests"

    def test_it_is_for_our_own_pages(self, db: None) -> None:
        client = Client(enforce_csrf_checks=True)
        body = json.dumps({"email": fresh_email()})
        assert client.post("/vault/prelogin", body, content_type="application/json", headers=JSON).status_code == 403
        assert Client().get("/vault/prelogin", headers=JSON).status_code == 405
        assert Client().post("/vault/prelogin", {"email": "a@b.c"}, headers=JSON).status_code == 400

    def test_many_at_once_are_all_answered(self, committed: tuple[Workspace, Workspace]) -> None:
        email = committed[0].owner.user.email

        def ask(_: int) -> str:
            try:
                return Visitor(email=email).prelogin()["salt"]
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(ask, range(8))) == {b64u(prelogin_salt(email))}


class TestBootstrap:
    def test_its_shape(self, dora: Visitor) -> None:
        found = dora.bootstrap()
        assert found.keys() == {
            "vault_id",
            "akv",
            "x25519_public_key",
            "ed25519_public_key",
            "identity_signature",
            "unlock_methods",
            "share",
            "trust_store",
            "trust_store_seq",
            "idle_minutes",
            "recovery",
        }
        [method] = found["unlock_methods"]
        assert method.keys() == {"id", "kind", "akv", "kdf", "kdf_input", "envelope", "created_at", "stale_since"}
        assert (found["akv"], found["trust_store"], found["trust_store_seq"]) == (1, None, 0)
        assert (found["idle_minutes"], found["recovery"]) == (30, "missing")

    def test_it_has_what_opens_the_vault(self, dora: Visitor) -> None:
        [method] = dora.bootstrap()["unlock_methods"]
        context = dora.account.unlock_context(
            uuid.UUID(method["id"]), "password", method["kdf"], b64u_decode(method["kdf_input"])
        )
        assert unwrap(dora.keys.key_encryption_key, context, method["envelope"]) == dora.account.seed

    def test_nothing_of_it_without_signing_in(self, db: None) -> None:
        for path, method in [
            ("bootstrap", "GET"),
            ("share", "POST"),
            ("lock", "POST"),
            ("trust-store", "PUT"),
            ("unlock-methods", "POST"),
            (f"unlock-methods/{uuid.uuid4()}/delete", "POST"),
            ("recovery/decline", "POST"),
            ("idle", "POST"),
            ("reauthenticate", "POST"),
            ("stale-grants", "GET"),
        ]:
            answer = Visitor().call(path, {}, method=method)
            assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in"), path


class TestShare:
    def test_signing_in_keeps_the_share_that_prelogin_gave(self, dora: Visitor) -> None:
        elsewhere = Visitor(email=dora.email, account=dora.account, keys=dora.keys)
        share = elsewhere.prelogin()["share"]
        assert elsewhere.sign_in().status_code == 302
        assert elsewhere.bootstrap()["share"] == share
        # Asking again on a page must not lock the vault.
        assert elsewhere.prelogin()["share"] == share

    def test_it_dies_when_locked_and_when_signed_out(self, dora: Visitor) -> None:
        assert dora.bootstrap()["share"] is not None
        assert dora.call("lock", {}).status_code == 204
        assert dora.bootstrap()["share"] is None
        share = dora.call("share", {}).json()["share"]
        assert dora.bootstrap()["share"] == share
        answer = dora.client.post("/accounts/logout/")
        assert answer["Clear-Site-Data"] == '"storage"'
        assert SHARE not in dora.client.session

    def test_it_lives_for_twelve_hours(self, dora: Visitor) -> None:
        session = dora.client.session
        session[SHARE] = {"value": b64u(os.urandom(32)), "at": time.time() - LIFE_SECONDS + 60}
        session.save()
        assert dora.bootstrap()["share"] is not None
        session[SHARE] = {"value": b64u(os.urandom(32)), "at": time.time() - LIFE_SECONDS}
        session.save()
        assert dora.bootstrap()["share"] is None


class TestTrustStore:
    def test_its_numbers_have_no_gap_and_no_return(self, dora: Visitor) -> None:
        stores = {number: dora.account.trust_store(number, {"users": {}, "projects": {}}) for number in (1, 2, 3)}
        for number, status in [(2, 409), (0, 409), (1, 204), (1, 409), (3, 409), (2, 204)]:
            answer = dora.call("trust-store", {"seq": number, "envelope": stores.get(number, stores[1])}, method="PUT")
            assert answer.status_code == status, number
        found = dora.bootstrap()
        assert (found["trust_store_seq"], found["trust_store"]) == (2, stores[2])

    @pytest.mark.parametrize("envelope", ["", "W1.", "G1." + "A" * 200, "W1." + "A" * 300_000, "W1." + "ä" * 100])
    def test_something_else_is_refused(self, dora: Visitor, envelope: str) -> None:
        assert dora.call("trust-store", {"seq": 1, "envelope": envelope}, method="PUT").status_code == 422
        assert dora.bootstrap()["trust_store_seq"] == 0

    def test_of_two_writers_one_wins(self, committed: tuple[Workspace, Workspace]) -> None:
        member = Member.sign_up("racer")
        stores = [member.account.trust_store(1, {"users": {}, "projects": {}}) for _ in range(6)]
        clients = [member.browser() for _ in stores]

        def put(pair: tuple[Client, str]) -> int:
            client, envelope = pair
            body = json.dumps({"seq": 1, "envelope": envelope})
            try:
                return client.put("/vault/trust-store", body, content_type="application/json", headers=JSON).status_code
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            statuses = list(pool.map(put, zip(clients, stores, strict=True)))
        assert sorted(statuses) == [204] + [409] * 5
        vault = Vault.objects.get(user=member.user)
        assert (vault.trust_store_seq, vault.trust_store) == (1, stores[statuses.index(204)])


class TestUnlockMethods:
    def test_a_recovery_key_is_added_and_replaced(self, dora: Visitor) -> None:
        first, second = RecoveryKey(), RecoveryKey()
        for key in (first, second):
            assert dora.call("unlock-methods", recovery_method(dora.account, key)).status_code == 204
        found = dora.bootstrap()
        assert found["recovery"] == "set"
        assert [method["kind"] for method in found["unlock_methods"]] == ["password", "recovery"]
        method = found["unlock_methods"][1]
        context = dora.account.unlock_context(uuid.UUID(method["id"]), "recovery", "rk1", b"")
        assert unwrap(second.key_encryption_key, context, method["envelope"]) == dora.account.seed

    def test_only_what_the_vault_signed_is_taken(self, dora: Visitor) -> None:
        """Neither a borrowed session nor a mistake in a page can put garbage in the place of a wrap."""
        right = recovery_method(dora.account, RecoveryKey())
        other = recovery_method(dora.account, RecoveryKey())
        foreign = Account(dora.account.vault_id, os.urandom(32))
        wrong: list[dict[str, Any]] = [
            {"signature": other["signature"]},
            {"signature": b64u(bytes(64))},
            {"signature": ""},
            {"signature": recovery_method(foreign, RecoveryKey())["signature"]},
            {"envelope": other["envelope"]},
            {"id": other["id"]},
            {"kind": "passphrase", "kdf": "a1", "kdf_input": b64u(os.urandom(16))},
            {"kdf": "a1"},
            {"kdf_input": b64u(b"salt")},
            {"envelope": right["envelope"][:-1]},
            {"kind": "nothing"},
            {"id": "1"},
            {"signature": right["signature"] + "="},
            {"extra": 1},
        ]
        for change in wrong:
            answer = dora.call("unlock-methods", right | change)
            assert answer.status_code == 422, change
            assert dora.methods() == [("password", 1, False)], change
        assert dora.call("unlock-methods", right).status_code == 204

    def test_the_password_changes_with_sign_in_only(self, dora: Visitor) -> None:
        body = recovery_method(dora.account, RecoveryKey()) | {"kind": "password", "kdf": "a1"}
        answer = dora.call("unlock-methods", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "password_unlock_method")

    def test_an_id_is_used_once(self, dora: Visitor) -> None:
        body = recovery_method(dora.account, RecoveryKey())
        other = Visitor().arrive()
        assert other.call("unlock-methods", recovery_method(other.account, RecoveryKey())).status_code == 204
        taken = UnlockMethod.objects.get(vault__user=other.user, kind="recovery")
        update = statements.unlock_update(dora.account.vault_id, 1, taken.id, "recovery", body["envelope"])
        stolen = body | {"id": str(taken.id), "signature": b64u(dora.account.sign(update))}
        assert dora.call("unlock-methods", stolen).status_code == 422
        assert UnlockMethod.objects.get(id=taken.id).vault_id == other.account.vault_id

    def _delete(self, visitor: Visitor, unlock_id: uuid.UUID, kind: str, *, envelope: str = "") -> Any:
        account = visitor.account
        update = statements.unlock_update(account.vault_id, 1, unlock_id, kind, envelope)
        return visitor.call(f"unlock-methods/{unlock_id}/delete", {"signature": b64u(account.sign(update))})

    def test_the_last_one_stays_and_so_does_the_password(self, dora: Visitor) -> None:
        password = UnlockMethod.objects.get(vault__user=dora.user)
        answer = self._delete(dora, password.id, "password")
        assert (answer.status_code, answer.json()["code"]) == (409, "last_unlock_method")
        dora.call("unlock-methods", recovery_method(dora.account, RecoveryKey()))
        answer = self._delete(dora, password.id, "password")
        assert (answer.status_code, answer.json()["code"]) == (409, "password_unlock_method")

    def test_a_recovery_key_is_removed_by_its_owner_only(self, dora: Visitor) -> None:
        dora.call("unlock-methods", recovery_method(dora.account, RecoveryKey()))
        recovery = UnlockMethod.objects.get(vault__user=dora.user, kind="recovery")
        assert self._delete(Visitor().arrive(), recovery.id, "recovery").status_code == 404
        assert self._delete(dora, recovery.id, "password").status_code == 422
        assert self._delete(dora, recovery.id, "recovery", envelope="x").status_code == 422
        assert self._delete(dora, recovery.id, "recovery").status_code == 204
        assert self._delete(dora, recovery.id, "recovery").status_code == 404
        assert dora.bootstrap()["recovery"] == "missing"

    def test_going_without_a_recovery_key_is_a_decision(self, dora: Visitor) -> None:
        assert dora.call("recovery/decline", {}).status_code == 204
        assert dora.bootstrap()["recovery"] == "declined"
        dora.call("unlock-methods", recovery_method(dora.account, RecoveryKey()))
        assert dora.bootstrap()["recovery"] == "set"
        assert dora.call("recovery/decline", {}).status_code == 409

    @pytest.mark.parametrize(
        ("minutes", "status"), [(1, 204), (1440, 204), (0, 422), (1441, 422), (-5, 422), ("5", 422)]
    )
    def test_idle_minutes(self, dora: Visitor, minutes: Any, status: int) -> None:
        assert dora.call("idle", {"minutes": minutes}).status_code == status
        assert dora.bootstrap()["idle_minutes"] == (minutes if status == 204 else 30)


class TestReauthentication:
    def _forget(self, visitor: Visitor, *, seconds: float) -> None:
        """Makes every proof of who it is older."""
        session = visitor.client.session
        for record in session["account_authentication_methods"]:
            record["at"] -= seconds
        session.save()

    def test_sensitive_calls_want_a_recent_proof(self, dora: Visitor) -> None:
        self._forget(dora, seconds=300)
        body = recovery_method(dora.account, RecoveryKey())
        for path, sent in [
            ("unlock-methods", body),
            (f"unlock-methods/{uuid.uuid4()}/delete", {"signature": body["signature"]}),
        ]:
            answer = dora.call(path, sent)
            assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
        assert dora.methods() == [("password", 1, False)]
        assert dora.call("reauthenticate", {"auth_secret": dora.keys.auth_secret}).status_code == 204
        assert dora.call("unlock-methods", body).status_code == 204

    def test_a_reset_by_mail_is_no_proof(self, dora: Visitor) -> None:
        session = dora.client.session
        session["account_authentication_methods"] = [{"method": "password_reset", "at": time.time()}]
        session.save()
        assert dora.call("unlock-methods", recovery_method(dora.account, RecoveryKey())).status_code == 403

    def test_a_raw_password_is_refused_and_a_wrong_one_counted(self, dora: Visitor) -> None:
        self._forget(dora, seconds=300)
        for _ in range(8):
            answer = dora.call("reauthenticate", {"auth_secret": "correct horse battery staple"})
            assert answer.status_code == 422
            assert b"horse" not in answer.content
        wrong = {"auth_secret": "as1." + b64u(os.urandom(32))}
        codes = [dora.call("reauthenticate", wrong).json()["code"] for _ in range(6)]
        assert codes == ["wrong_password"] * 5 + ["too_many_requests"]
        # And then not even the right one, for a while.
        assert dora.call("reauthenticate", {"auth_secret": dora.keys.auth_secret}).status_code == 429
