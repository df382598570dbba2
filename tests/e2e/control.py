"""Makes and changes what the ground has, through the product's own services (tests/contract/drivers/answering.py): one
process for all of it, because a start of Django takes longer than most of what it is asked for."""

import os
import uuid
from datetime import datetime, timedelta

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()

from allauth.account.forms import default_token_generator  # noqa: E402

from apps.accounts.models import User  # noqa: E402
from apps.organizations.models import Organization  # noqa: E402
from apps.projects.models import Project  # noqa: E402
from apps.vault import rotation  # noqa: E402
from tenancy import tenant_scope  # noqa: E402
from tests.e2e import cast, prepare, scenery  # noqa: E402


def set_key_from_cli(organization_id: str, project_id: str, public_key: str) -> None:
    """What the platform does when `any-llm key generate` asks it to; `public_key` in hex."""
    with tenant_scope(Organization.objects.get(id=uuid.UUID(organization_id))):
        project = Project.objects.get(id=uuid.UUID(project_id))
        rotation.set_key_from_cli(project=project, public_key=bytes.fromhex(public_key), actor=None)


def reset_token(email: str, days: int) -> str:
    """As the mail about a new password had it so many days ago."""
    tokens = type(default_token_generator)()
    tokens._now = lambda: datetime.now() - timedelta(days=days)  # noqa: DTZ005 - as Django's has it
    token: str = tokens.make_token(User.objects.get(email=email))
    return token


COMMANDS = {
    "person": cast.resident,
    "team": cast.team,
    "scenery": scenery.make,
    "victims": prepare.victims,
    "set_key_from_cli": set_key_from_cli,
    "reset_token": reset_token,
}
