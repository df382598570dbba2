"""The demo: what a first user does in the browser, done by a program.

An organization, an owner, the project `Assistant` in production, one sealed box for each provider key. Secrets are made
on the client's side of the line (devstack/browser.py) and kept where a browser or its user would keep them, in
`var/demo/`; the services get what a browser would send. Running it again finds what it made and adds what is missing.
"""

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.accounts.models import User
from apps.accounts.services import PasswordUnlock, VaultIdentity, create_account, prelogin_salt
from apps.directory.models import ProjectKeyEntry
from apps.organizations.models import Membership, Organization
from apps.organizations.services import create_organization
from apps.projects.models import Project
from apps.projects.services import NewProjectKey, add_first_key, create_project
from apps.vault.services import SignedBox, add_provider_key, replace_provider_key, store_self_grant
from config.env import ROOT
from cryptokit import statements
from cryptokit.encoding import b64_decode
from devstack.browser import KDF, Account, PasswordKeys, ProjectKeyPair, wrap
from devstack.private_file import write_private
from tenancy import tenant_scope

FOLDER = ROOT / "var" / "demo"
ORGANIZATION = "Demo"
PROJECT = "Assistant"
DESCRIPTION = "Made by the demo."


class DemoError(Exception):
    """The demo can't go on; the message says what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class Keepsake:
    """What the user remembers and the browser keeps, in a file only its owner can read."""

    email: str
    password: str
    account: Account
    key: ProjectKeyPair

    @classmethod
    def load_or_make(cls, folder: Path, email: str) -> "Keepsake":
        path = folder / f"{email}.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                email=kept["email"],
                password=kept["password"],
                account=Account(uuid.UUID(kept["vault_id"]), bytes.fromhex(kept["account_seed"])),
                key=ProjectKeyPair(bytes.fromhex(kept["project_private_key"]), kept["kid"]),
            )
        made = cls(email, secrets.token_urlsafe(16), Account.new(), ProjectKeyPair())
        # Kept before anything is stored on the server: dying half-way must not leave keys that nobody can open.
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        write_private(
            path,
            json.dumps(
                {
                    "email": made.email,
                    "password": made.password,
                    "vault_id": str(made.account.vault_id),
                    "account_seed": made.account.seed.hex(),
                    "project_private_key": made.key.private.hex(),
                    "kid": made.key.kid,
                },
                indent=2,
            ),
        )
        return made


def run(provider_keys: Mapping[str, str], *, email: str, folder: Path) -> dict[str, Any]:
    """Makes the demo, or finds it; the dictionary that `manage.py demo --json` prints."""
    keepsake = Keepsake.load_or_make(folder, email)
    user = _sign_up(keepsake)
    organization = organization_of(user)
    with tenant_scope(organization):
        project = _find_project(keepsake) or _make_project(keepsake, user, organization)
        for provider, value in provider_keys.items():
            _put_provider_key(keepsake, user, project, provider, value)
    return {
        "email": keepsake.email,
        "password": keepsake.password,
        "organization": organization.name,
        "project_id": str(project.id),
        "any_llm_key": keepsake.key.any_llm_key,
        "platform_url": f"{settings.SITE_URL}/api/v1",
    }


@transaction.atomic
def organization_of(user: User) -> Organization:
    """The demo's organization that the user owns, which is made if there is none."""
    User.objects.select_for_update().get(pk=user.pk)
    owned = user.memberships.filter(role=Membership.Role.OWNER, organization__status=Organization.Status.READY)
    membership = owned.select_related("organization").filter(organization__name=ORGANIZATION).first()
    return membership.organization if membership else create_organization(name=ORGANIZATION, owner=user)


def _sign_up(keepsake: Keepsake) -> User:
    user = User.objects.select_related("vault").filter(email=keepsake.email).first()
    account = keepsake.account
    if user is None:
        salt = prelogin_salt(keepsake.email)
        keys = PasswordKeys.from_password(keepsake.password, salt)
        unlock_id = uuid.uuid4()
        context = account.unlock_context(unlock_id, "password", KDF, salt)
        return create_account(
            email=keepsake.email,
            auth_secret=keys.auth_secret,
            identity=VaultIdentity(
                vault_id=account.vault_id,
                account_key_version=account.account_key_version,
                x25519_public_key=account.x25519_public,
                ed25519_public_key=account.ed25519_public,
                signature=account.sign(account.identity),
            ),
            unlock=PasswordUnlock(
                unlock_id=unlock_id,
                kdf=KDF,
                salt=salt,
                envelope=wrap(keys.key_encryption_key, context, account.seed),
            ),
            # Its address receives no mail.
            email_verified=True,
        )
    if user.vault.id != account.vault_id:
        raise DemoError(
            f"The account {user.email} is in the database, but what its user kept is gone: nobody can open its "
            "keys any more. Choose another address with --email."
        )
    return user


def _find_project(keepsake: Keepsake) -> Project | None:
    """The project that the kept key is registered for, whatever it is called by now.

    DemoError once somebody rotated, archived or deleted it: the kept key can't seal for what came after it.
    """
    entry = ProjectKeyEntry.objects.filter(public_key=keepsake.key.public).first()
    if entry is None:
        return None
    live = ProjectKeyEntry.objects.filter(project_id=entry.project_id, status__in=ProjectKeyEntry.LIVE)
    if entry.is_suspended or [each.generation for each in live] != [entry.generation]:
        raise DemoError(
            "The demo's project was rotated, archived or deleted in the browser, so the key in var/demo is not its "
            "only one. Go on in the browser, or choose another address with --email."
        )
    return Project.objects.get(id=entry.project_id)


def _make_project(keepsake: Keepsake, user: User, organization: Organization) -> Project:
    account, key = keepsake.account, keepsake.key
    with transaction.atomic():
        project = create_project(name=PROJECT, description=DESCRIPTION)
        statement = statements.project_key(organization.id, project.id, 1, key.public)
        new_key = NewProjectKey(
            generation=1, public_key=key.public, kid=key.kid, statement_signature=account.sign(statement)
        )
        add_first_key(project=project, key=new_key, signer=user.vault)
        envelope = account.self_grant(organization.id, project.id, 1, key)
        store_self_grant(project=project, generation=1, vault=user.vault, envelope=envelope)
    return project


def _put_provider_key(keepsake: Keepsake, user: User, project: Project, provider: str, value: str) -> None:
    """Adds the key, or replaces one with another value; the same value again changes nothing."""
    current = project.provider_keys.filter(provider=provider, archived_at=None).first()
    if current is not None and keepsake.key.open(current.boxes.get(generation=1).sealed) == value:
        return
    sealed = keepsake.key.seal(value)
    statement = statements.provider_key(project.id, 1, keepsake.key.public, provider, b64_decode(sealed))
    boxes = [SignedBox(generation=1, sealed=sealed, signature=keepsake.account.sign(statement))]
    if current is None:
        add_provider_key(project=project, provider=provider, boxes=boxes, signer=user.vault)
    else:
        replace_provider_key(provider_key=current, expected_version=current.version, boxes=boxes, signer=user.vault)
