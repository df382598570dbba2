"""Settings from the environment: where a value comes from, and what is said when it is missing or malformed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.env import ROOT, Environment

RING = "a:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="


def test_the_variable_wins_over_its_file_and_that_over_the_environment_file(tmp_path: Path) -> None:
    secret, env_file = tmp_path / "secret", tmp_path / "dev.env"
    secret.write_text("from the mounted file\n")
    env_file.write_text("# a comment\n\nNAME=from = the environment file\n")
    pointing = {"NAME_FILE": str(secret)}
    assert Environment({"NAME": "itself", **pointing}, env_file).text("NAME", "default") == "itself"
    assert Environment(pointing, env_file).text("NAME", "default") == "from the mounted file"
    assert Environment({}, env_file).text("NAME", "default") == "from = the environment file"
    assert Environment({}, tmp_path / "missing").text("NAME", "default") == "default"


def test_a_missing_value_is_named_with_what_to_do() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^NAME is not set\. .*NAME_FILE.* Like this\.$"):
        Environment({}, None).text("NAME", hint="Like this.")


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^NAME_FILE names .*nothing"):
        Environment({"NAME_FILE": str(tmp_path / "nothing")}, None).text("NAME", "default")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("ON", True), ("no", False), ("0", False)])
def test_booleans(text: str, value: bool) -> None:
    assert Environment({"NAME": text}, None).boolean("NAME", not value) is value


def test_malformed_values_are_named() -> None:
    environment = Environment({"NAME": "perhaps"}, None)
    with pytest.raises(ImproperlyConfigured, match=r"^NAME must be true or false"):
        environment.boolean("NAME", default=True)
    with pytest.raises(ImproperlyConfigured, match=r"^NAME must be a whole number"):
        environment.integer("NAME", 1)


def test_lists_are_split_at_commas() -> None:
    assert Environment({"NAME": " a, b ,,c"}, None).words("NAME", "") == ["a", "b", "c"]


def test_the_first_key_of_a_ring_is_for_new_values_and_all_are_found() -> None:
    ring = Environment({"NAME": f"{RING},{RING.replace('a:', 'b:')}"}, None).key_ring("NAME")
    assert ring.current == ("a", b"A" * 32)
    assert ring.get("b") == b"A" * 32
    assert ring.get("c") is None
    assert [key_id for key_id, _ in ring] == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    ["", ",", "a", "a:", "a:AAAA", "a:not base64", RING.removeprefix("a"), f"{RING},{RING}", RING.removesuffix("=")],
)
def test_a_malformed_ring_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^NAME "):
        Environment({"NAME": text}, None).key_ring("NAME")


@pytest.mark.parametrize(
    "name",
    [
        "SECRET_KEY",
        "SITE_URL",
        "DATABASE_URL",
        "REDIS_URL",
        "SDK_TOKEN_KEYS",
        "AUTH_PEPPERS",
        "VAULT_AT_REST_KEYS",
        "PRELOGIN_KEYS",
    ],
)
def test_nothing_starts_without_a_secret_or_an_address(tmp_path: Path, name: str) -> None:
    lines = (ROOT / "tests" / "settings.env").read_text().splitlines()
    env_file = tmp_path / "some.env"
    env_file.write_text("\n".join(line for line in lines if not line.startswith(f"{name}=")))
    environment = {key: value for key, value in os.environ.items() if key not in {name, f"{name}_FILE"}}
    result = subprocess.run(
        [sys.executable, "-c", "import config.settings"],
        cwd=ROOT,
        env={**environment, "ENV_FILE": str(env_file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert f"{name} is not set." in result.stderr
