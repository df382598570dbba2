"""A pytest plugin: a throw-away PostgreSQL and Valkey for the whole run, unless the environment names them. PostgreSQL
has both roles: tests run as the runtime role, the database is made and migrated by the owner.

It must be loaded by `-p tests.plugins.servers`, not by a conftest: pytest-django reads the settings before
any conftest is imported, and they need the addresses. xdist's workers inherit them through the environment.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack.servers import PostgresServer, ValkeyServer, with_owner

ROOT = Path(__file__).resolve().parents[2]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """A wrapper, because pytest-django's own hook is the first of the others."""
    os.environ["ENV_FILE"] = str(ROOT / "tests" / "settings.env")
    with ExitStack() as stack:
        if missing := {"DATABASE_URL", "REDIS_URL"} - os.environ.keys():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anyllm-tests-")))
            if "DATABASE_URL" in missing:
                postgres = stack.enter_context(PostgresServer(folder / "postgres", durable=False))
                os.environ |= {"DATABASE_URL": postgres.url, "DATABASE_OWNER_URL": postgres.owner_url}
                os.environ["POSTGRES_LOG"] = str(postgres.log)
            if "REDIS_URL" in missing:
                os.environ["REDIS_URL"] = stack.enter_context(ValkeyServer(folder / "valkey", durable=False)).url
        if "DATABASE_OWNER_URL" not in os.environ:
            os.environ |= with_owner(os.environ["DATABASE_URL"])
        # Runs even when the arguments turn out to be wrong and nothing is configured.
        early_config.add_cleanup(stack.pop_all().close)
    return (yield)
