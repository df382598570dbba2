"""The database alone is of no use to somebody who guesses passwords: not even a right guess can be told from others."""

import base64
import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from devstack.browser import RecoveryKey
from devstack.environment import KEY_RINGS
from tests.e2e.ground import Ground
from tests.e2e.leaks import Canary, Haystack, Scanner
from tests.e2e.thief import Secrets, Thief, rows

PASSWORD_WAYS = ["the password column", "the unlock method password"]
RECOVERY_WAYS = ["the unlock method recovery"]


@dataclass(frozen=True)
class Victim:
    email: str
    password: str
    recovery_key: str
    seed: str
    totp_secret: str
    cookie: str


@pytest.fixture(scope="module")
def victims(ground: Ground) -> tuple[Victim, Victim]:
    """One of whom everything is stored as it should be, and one of whom nothing is."""
    victim, careless = (Victim(**made) for made in ground.control.ask("victims"))
    return victim, careless


@pytest.fixture(scope="module")
def dump(ground: Ground, victims: tuple[Victim, Victim]) -> str:
    return ground.dump()


@pytest.fixture
def secrets(ground: Ground) -> Secrets:
    return Secrets(ground.key_ring("AUTH_PEPPERS"), ground.key_ring("VAULT_AT_REST_KEYS"))


def test_the_right_password_can_not_be_told(dump: str, victims: tuple[Victim, Victim]) -> None:
    victim, _ = victims
    thief = Thief(dump)
    assert thief.confirm_password(victim.email, victim.password) == []
    assert thief.confirm_recovery_key(victim.email, victim.recovery_key) == []
    assert thief.seed(victim.email, victim.password) is None


def test_with_the_applications_keys_it_can(dump: str, victims: tuple[Victim, Victim], secrets: Secrets) -> None:
    """So the thief does look in the right places."""
    victim, _ = victims
    thief = Thief(dump, secrets)
    assert thief.confirm_password(victim.email, victim.password) == PASSWORD_WAYS
    assert thief.confirm_recovery_key(victim.email, victim.recovery_key) == RECOVERY_WAYS
    assert thief.seed(victim.email, victim.password) == bytes.fromhex(victim.seed)
    assert thief.confirm_password(victim.email, victim.password + "?") == []
    assert thief.confirm_recovery_key(victim.email, RecoveryKey().text) == []


def test_carelessness_would_be_noticed(dump: str, victims: tuple[Victim, Victim]) -> None:
    """A hash without a pepper and envelopes that are not encrypted at rest are enough for the dump alone."""
    _, careless = victims
    thief = Thief(dump)
    assert thief.confirm_password(careless.email, careless.password) == PASSWORD_WAYS
    assert thief.confirm_recovery_key(careless.email, careless.recovery_key) == RECOVERY_WAYS
    assert thief.confirm_password(careless.email, careless.password + "?") == []


def test_second_factors_are_kept_from_him(dump: str, victims: tuple[Victim, Victim], secrets: Secrets) -> None:
    victim, careless = victims
    assert Thief(dump).authenticator_apps(victim.email) == []
    assert Thief(dump, secrets).authenticator_apps(victim.email) == [victim.totp_secret]
    assert Thief(dump).authenticator_apps(careless.email) == [careless.totp_secret]
    forms = [Canary("the secret", victim.totp_secret), Canary("its bytes", base64.b32decode(victim.totp_secret))]
    assert Scanner(forms).scan([Haystack("dump", "pg_dump", dump.encode())]) == []


def test_rows_of_sessions_sign_nobody_in(ground: Ground, dump: str, victims: tuple[Victim, Victim]) -> None:
    """What stands in the table, sent as a cookie; the one that the victim has does."""
    victim, _ = victims
    stolen = [row["session_key"] for row in rows(dump, "public.accounts_session")]
    assert stolen

    def status(cookie: str) -> int:
        headers = {"Cookie": f"session={cookie}", "Accept": "application/json"}
        connection = http.client.HTTPConnection(urlsplit(ground.url).netloc, timeout=30)
        try:
            connection.request("GET", "/vault/bootstrap", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    assert {status(key) for key in stolen[-20:]} == {401}
    assert status(victim.cookie) == 200


def test_what_he_lacks_is_not_in_the_dump(ground: Ground, dump: str, victims: tuple[Victim, Victim]) -> None:
    """Neither the application's keys, nor what a cookie holds: a stolen table of sessions opens none."""
    rings = [Canary(name, secret) for name in KEY_RINGS for _, secret in ground.key_ring(name)]
    cookies = [Canary(f"the session of {victim.email}", victim.cookie) for victim in victims]
    scanner = Scanner([*rings, *cookies, Canary("SECRET_KEY", ground.environment["SECRET_KEY"])])
    assert scanner.scan([Haystack("dump", "pg_dump", dump.encode())]) == []
    assert len(rows(dump, "public.accounts_session")) >= len(victims)


def test_the_dump_is_read_as_postgresql_wrote_it(ground: Ground) -> None:
    text, data = "a\tb\nc\\d\\N é", base64.b64encode(bytes(range(256)))
    ground.query("CREATE TABLE read_back (id int, text text, data bytea, nothing text)")
    try:
        ground.query("INSERT INTO read_back VALUES (1, %s, %s, NULL)", [text, data])
        assert rows(ground.dump(), "public.read_back") == [{"id": "1", "text": text, "data": "\\x" + data.hex()}]
    finally:
        ground.query("DROP TABLE read_back")
