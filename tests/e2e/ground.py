"""The whole product as in production, for a browser: web server, workers and beat by the Procfile's commands, servers of
its own, hashed static files, an SMTP server, and a relay that keeps every byte the browser sends.

Nothing below `folder` was there before, so all that is in it afterwards comes from what the tests did.
"""

import base64
import hashlib
import secrets
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis
from django.contrib.sessions.serializers import JSONSerializer
from django.core import signing

from config.env import ROOT, Environment, KeyRing
from devstack.environment import KEY_RINGS
from devstack.servers import free_port, postgres_program
from tests.contract.children import Answering
from tests.e2e.leaks import Canaries
from tests.e2e.mail import Mailbox
from tests.e2e.relay import Relay
from tests.faults.stack import Program, Stack, wait_until

CONTROL = Path(__file__).with_name("control.py")


@dataclass(frozen=True)
class Resident:
    """What somebody knows by heart or has on paper."""

    email: str
    password: str
    recovery_key: str


@dataclass(frozen=True)
class Team:
    organization_id: str
    schema: str
    project_id: str
    private_key: str
    owner: Resident
    admin: Resident


class Ground:
    """A context manager. `url` is the origin that browsers and clients use; `canaries` collects what must not be found
    anywhere when all is over (tests.e2e.leaks)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.canaries = Canaries()
        self.mailbox = Mailbox()
        self.logs = folder / "stack"
        self.temporary = folder / "tmp"
        self.profiles = folder / "profiles"
        self.storage = folder / "storage"
        for place in (self.logs, self.temporary, self.profiles, self.storage):
            place.mkdir()
        web_port = free_port()
        self.relay = Relay(web_port, folder / "relay")
        self.url = f"http://localhost:{self.relay.port}"
        self.stack = Stack(
            self.logs,
            tenants=0,
            environment={
                "PORT": str(web_port),
                "DEBUG": "false",
                "SITE_URL": self.url,
                "ALLOWED_HOSTS": "localhost,127.0.0.1",
                "SECRET_KEY": secrets.token_urlsafe(50),
                **{name: f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in KEY_RINGS},
                "LOG_LEVEL": "DEBUG",
                "EMAIL_URL": self.mailbox.url,
                "STATIC_ROOT": str(folder / "static"),
                "BEAT_SCHEDULE": str(folder / "celerybeat-schedule"),
                "WORKER_CONCURRENCY": "1",
                "SPARE_SCHEMAS": "3",
                # Each browser says which address it comes from, as a proxy in front would.
                "TRUSTED_PROXIES": "1",
                "TMPDIR": str(self.temporary),
            },
        )
        self.stack.port = web_port
        self.canaries.add("SECRET_KEY", self.stack.environment["SECRET_KEY"])
        for name in KEY_RINGS:
            for _, secret in self.key_ring(name):
                self.canaries.add(name, secret)
        # Answers what tests/e2e/control.py can do. Its log has what it says of itself, and is none of the product's.
        self.control: Answering
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # Compressing static files takes as long as migrating does; it needs no database.
            collecting = self._manage("collectstatic", "--noinput", "--verbosity", "0")
            stack.callback(collecting.kill)
            stack.enter_context(self.mailbox)
            stack.enter_context(self.relay)
            stack.enter_context(self.stack)
            output, _ = collecting.communicate()
            assert collecting.returncode == 0, f"collectstatic failed:\n{output}"
            # From here on PostgreSQL's log has every statement with its values: what was stored for a moment, too.
            self.stack.query("ALTER SYSTEM SET log_statement = 'all'")
            self.stack.query("SELECT pg_reload_conf()")
            web, *others = (self.program(name) for name in ("web", "worker", "exporter", "beat"))
            web.start()
            for program in others:
                program.start()
            self.control = stack.enter_context(
                Answering.beside_us(CONTROL, environment=self.environment, folder=ROOT, log=self.folder / "control.log")
            )
            try:
                wait_until(lambda: self.stack.is_ready() or not web.is_running, "web is ready")
                assert web.is_running, "web has ended"
            except AssertionError as error:
                error.add_note(web.log.read_text()[-4_000:])
                raise
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def program(self, name: str, **environment: str) -> Program:
        """Of the Procfile, at log level DEBUG; not started."""
        command = self.stack.commands[name].replace("--quiet ", "").replace("--loglevel INFO", "--loglevel DEBUG")
        return self.stack.program(name, command=command, **environment)

    def manage(self, *arguments: str) -> str:
        """What `manage.py` prints with the settings of this ground; AssertionError with all of it when it fails."""
        process = self._manage(*arguments)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def _manage(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        return {"DJANGO_SETTINGS_MODULE": "config.settings", **self.stack.environment}

    def person(self) -> Resident:
        """Somebody new with an account."""
        return Resident(**self.control.ask("person"))

    def team(self) -> Team:
        """A new organization with two people who hold the key of its one project."""
        made = self.control.ask("team")
        return Team(**{**made, "owner": Resident(**made["owner"]), "admin": Resident(**made["admin"])})

    def session(self, cookie: str) -> "Session":
        """What the server keeps of a signed-in browser, by its cookie."""
        return Session(self, cookie)

    def forget_codes(self) -> None:
        """Codes of authenticator apps work once, in 30 seconds of which a test uses more."""
        with redis.Redis.from_url(self.stack.valkey.url) as client:
            for key in client.scan_iter("*mfa.totp*"):
                client.delete(key)

    def key_ring(self, name: str) -> KeyRing:
        """Of the application, made for this ground alone."""
        return Environment(self.stack.environment, None).key_ring(name)

    def secrets(self) -> list[str]:
        """As they stand in the environment of its programs."""
        return [self.environment[name] for name in ("SECRET_KEY", *KEY_RINGS)]

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Rows from the database, past the product."""
        return self.stack.query(sql, parameters)

    def dump(self) -> str:
        """The whole database in SQL, by pg_dump: what a thief of a backup has."""
        command = [postgres_program("pg_dump"), self.stack.postgres.superuser_url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def database_files(self) -> Path:
        """PostgreSQL's data folder, write-ahead log included, after all of memory was written to it."""
        self.query("CHECKPOINT")
        return self.stack.postgres.data_dir / "cluster"


class Session:
    """A row of sessions, opened with the application's key, to move its times."""

    SALT = "django.contrib.sessions.SessionStore"

    def __init__(self, ground: Ground, cookie: str) -> None:
        self._ground = ground
        self.key = hashlib.sha256(cookie.encode()).hexdigest()

    @property
    def data(self) -> dict[str, Any]:
        [[packed]] = self._ground.query("SELECT session_data FROM accounts_session WHERE session_key = %s", [self.key])
        data: dict[str, Any] = signing.loads(packed, key=self._secret, salt=self.SALT, serializer=JSONSerializer)
        return data

    def store(self, data: dict[str, Any]) -> None:
        packed = signing.dumps(data, key=self._secret, salt=self.SALT, serializer=JSONSerializer, compress=True)
        self._ground.query("UPDATE accounts_session SET session_data = %s WHERE session_key = %s", [packed, self.key])

    @property
    def _secret(self) -> str:
        return self._ground.environment["SECRET_KEY"]
