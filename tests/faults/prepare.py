"""Organizations with a project and a provider key each, printed as JSON: run in a process of its own, on a database of
its own, by tests.faults.stack."""

import json

from apps.directory import tokens
from apps.pricing.services import import_all
from tests.cast import Workspace

PROVIDER = "openai"


def main(count: int) -> None:
    """Makes and prints them: any_llm_key, token, schema, project_id, provider_key_id, provider, secret."""
    import_all()
    print(json.dumps([_make(number) for number in range(count)]))


def _make(number: int) -> dict[str, str]:
    workspace = Workspace.make(f"Organization {number}", f"owner{number}")
    secret = f"sk-of-organization-{number}"
    provider_key = workspace.add_provider_key(PROVIDER, secret)
    return {
        "any_llm_key": workspace.key.any_llm_key,
        "private_key": workspace.key.private.hex(),
        "token": tokens.issue(workspace.project.id, 1),
        "schema": workspace.organization.schema_name,
        "project_id": str(workspace.project.id),
        "provider_key_id": str(provider_key.id),
        "provider": PROVIDER,
        "secret": secret,
    }
