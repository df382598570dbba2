"""The demo: the browser's part played by a program, its secrets kept where a browser would keep them."""

import json
import stat
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.accounts.models import User
from apps.organizations.models import Organization
from apps.vault.models import Box
from devstack import demo
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope


def run(folder: Path, *provider_keys: str, email: str = "demo@example.com") -> dict[str, Any]:
    output = StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "FOLDER", folder)
        call_command(
            "demo", *(f"--provider-key={key}" for key in provider_keys), "--json", f"--email={email}", stdout=output
        )
    made: dict[str, Any] = json.loads(output.getvalue())
    return made


def boxes() -> dict[str, str]:
    """Provider → sealed box of the demo's project."""
    organization = Organization.objects.get(name=demo.ORGANIZATION)
    with tenant_scope(organization):
        return {box.provider_key.provider: box.sealed for box in Box.objects.select_related("provider_key")}


def kept_key(folder: Path) -> ProjectKeyPair:
    kept = json.loads((folder / "demo@example.com.json").read_text())
    return ProjectKeyPair(bytes.fromhex(kept["project_private_key"]), kept["kid"])


def test_it_makes_an_organization_a_project_and_a_box_a_provider(db: None, tmp_path: Path) -> None:
    made = run(tmp_path / "demo", "openai=sk-first", "ollama=")
    assert set(made) == {"email", "password", "organization", "project_id", "any_llm_key", "platform_url"}
    assert made["platform_url"] == "http://testserver/api/v1"
    key = kept_key(tmp_path / "demo")
    assert key.any_llm_key == made["any_llm_key"]
    assert {provider: key.open(box) for provider, box in boxes().items()} == {"openai": "sk-first", "ollama": ""}


def test_running_it_again_gives_the_same_project_and_adds_or_replaces_keys(db: None, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    first = run(folder, "openai=sk-first")
    sealed = boxes()
    assert run(folder, "openai=sk-first") == first
    assert boxes() == sealed
    assert run(folder, "openai=sk-second", "anthropic=sk-third") == first
    key = kept_key(folder)
    assert {provider: key.open(box) for provider, box in boxes().items()} == {
        "openai": "sk-second",
        "anthropic": "sk-third",
    }


def test_its_secrets_stand_in_its_folder_and_nowhere_else(db: None, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    made = run(folder, "openai=sk-canary-of-the-demo")
    (kept,) = folder.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "sk-canary-of-the-demo" not in kept.read_text()
    organization = Organization.objects.get(name=demo.ORGANIZATION)
    secrets = [
        "sk-canary-of-the-demo",
        made["password"],
        made["any_llm_key"],
        made["any_llm_key"].split("-", 1)[1],
        *(json.loads(kept.read_text())[name] for name in ("account_seed", "project_private_key")),
    ]
    with connection.cursor() as cursor:
        for schema in ("public", organization.schema_name):
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
            for (table,) in cursor.fetchall():
                cursor.execute(f'SELECT coalesce(string_agg(t::text, chr(10)), \'\') FROM "{schema}"."{table}" t')
                rows = cursor.fetchone()[0]
                assert [secret for secret in secrets if secret in rows] == []


def test_a_lost_keepsake_is_a_clear_error(db: None, tmp_path: Path) -> None:
    run(tmp_path / "one")
    with pytest.raises(CommandError, match="--email"):
        run(tmp_path / "two")
    assert run(tmp_path / "two", email="other@example.com")["email"] == "other@example.com"
    assert User.objects.filter(email__in=["demo@example.com", "other@example.com"]).count() == 2


def test_a_malformed_provider_key_is_a_clear_error(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="provider=key"):
        run(tmp_path / "demo", "openai")
