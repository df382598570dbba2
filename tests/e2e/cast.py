"""People with accounts, ready to sign in, for tests/e2e/control.py, which has the ground's settings.

Each has a verified address, a password and an encryption recovery key. Of a team, both hold the key of its project.
"""

import secrets
import uuid
from typing import Any

from django.db.models.functions import Now

from apps.accounts.models import UnlockMethod, User
from apps.accounts.services import PasswordUnlock, Unlock, VaultIdentity, create_account, prelogin_salt
from apps.accounts.services import put_unlock_method as put
from apps.organizations.models import Membership
from apps.organizations.services import create_organization
from apps.projects.services import NewProjectKey, add_first_key, create_project
from apps.vault.services import store_self_grant
from cryptokit import statements
from devstack.browser import KDF, Account, PasswordKeys, ProjectKeyPair, RecoveryKey, wrap
from tenancy import tenant_scope


def resident() -> dict[str, str]:
    return person(f"person-{secrets.token_hex(4)}")[0]


def person(name: str) -> tuple[dict[str, str], User, Account]:
    email, password, recovery_key = f"{name}@example.com", f"Über {uuid.uuid4().hex} ½", RecoveryKey()
    account, salt = Account.new(), prelogin_salt(email)
    keys = PasswordKeys.from_password(password, salt)
    password_id, recovery_id = uuid.uuid4(), uuid.uuid4()
    user = create_account(
        email=email,
        name=name.title(),
        auth_secret=keys.auth_secret,
        identity=VaultIdentity(
            vault_id=account.vault_id,
            account_key_version=1,
            x25519_public_key=account.x25519_public,
            ed25519_public_key=account.ed25519_public,
            signature=account.sign(account.identity),
        ),
        unlock=PasswordUnlock(
            unlock_id=password_id,
            kdf=KDF,
            salt=salt,
            envelope=wrap(
                keys.key_encryption_key, account.unlock_context(password_id, "password", KDF, salt), account.seed
            ),
        ),
        email_verified=True,
    )
    envelope = wrap(
        recovery_key.key_encryption_key, account.unlock_context(recovery_id, "recovery", "rk1", b""), account.seed
    )
    put(
        user=user,
        unlock=Unlock(
            unlock_id=recovery_id, kind=UnlockMethod.Kind.RECOVERY, kdf="rk1", kdf_input=b"", envelope=envelope
        ),
        signature=account.sign(statements.unlock_update(account.vault_id, 1, recovery_id, "recovery", envelope)),
    )
    return {"email": email, "password": password, "recovery_key": recovery_key.text}, user, account


def team() -> dict[str, Any]:
    """An owner and an admin."""
    word = secrets.token_hex(4)
    owner, owner_user, owner_account = person(f"owner-{word}")
    admin, admin_user, admin_account = person(f"admin-{word}")
    organization = create_organization(name=f"Team {word}", owner=owner_user)
    Membership.objects.create(
        organization=organization, user=admin_user, role=Membership.Role.ADMIN, confirmed_at=Now()
    )
    key = ProjectKeyPair()
    with tenant_scope(organization):
        project = create_project(name="Search")
        signature = owner_account.sign(statements.project_key(organization.id, project.id, 1, key.public))
        new_key = NewProjectKey(generation=1, public_key=key.public, kid=key.kid, statement_signature=signature)
        add_first_key(project=project, key=new_key, signer=owner_user.vault)
        for user, account in [(owner_user, owner_account), (admin_user, admin_account)]:
            envelope = account.self_grant(organization.id, project.id, 1, key)
            store_self_grant(project=project, generation=1, vault=user.vault, envelope=envelope)
    return {
        "organization_id": str(organization.id),
        "schema": organization.schema_name,
        "project_id": str(project.id),
        "private_key": key.private.hex(),
        "owner": owner,
        "admin": admin,
    }
