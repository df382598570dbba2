"""The cast of the tests. Alice owns Acme, Bob is on her team; Charlie owns Globex and must see nothing of Acme.

They act through the same services as the product; what their browsers would compute is computed by
devstack.browser. A member's password is left out: deriving from one takes a quarter of a second on purpose.
"""

import os
import uuid
from dataclasses import dataclass, field

from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services import PasswordUnlock, VaultIdentity, create_account, prelogin_salt
from apps.directory import challenges, tokens
from apps.organizations.models import Membership, Organization
from apps.organizations.services import create_organization
from apps.projects.models import Project
from apps.projects.services import NewProjectKey, add_first_key, create_project
from apps.vault.models import ProviderKey
from apps.vault.services import SignedBox, add_provider_key
from cryptokit import statements
from cryptokit.encoding import b64, b64_decode, b64u
from devstack.browser import KDF, Account, ProjectKeyPair, wrap
from tenancy import tenant_scope


@dataclass(frozen=True)
class Member:
    user: User
    account: Account

    @classmethod
    def sign_up(cls, name: str) -> "Member":
        email = f"{name}-{uuid.uuid4().hex[:8]}@example.com"
        account, salt, unlock_id = Account.new(), prelogin_salt(email), uuid.uuid4()
        context = account.unlock_context(unlock_id, "password", KDF, salt)
        user = create_account(
            email=email,
            auth_secret="as1." + b64u(os.urandom(32)),
            identity=VaultIdentity(
                vault_id=account.vault_id,
                account_key_version=1,
                x25519_public_key=account.x25519_public,
                ed25519_public_key=account.ed25519_public,
                signature=account.sign(account.identity),
            ),
            unlock=PasswordUnlock(
                unlock_id=unlock_id, kdf=KDF, salt=salt, envelope=wrap(os.urandom(32), context, account.seed)
            ),
            name=name.title(),
            email_verified=True,
        )
        return cls(user, account)

    def browser(self) -> Client:
        """A browser that is signed in."""
        client = Client()
        client.force_login(self.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client


@dataclass(frozen=True)
class Workspace:
    """An organization with a project and its key, as its owner's browser made them."""

    owner: Member
    organization: Organization
    project: Project
    key: ProjectKeyPair = field(default_factory=ProjectKeyPair)

    @classmethod
    def make(cls, name: str, owner: str) -> "Workspace":
        member = Member.sign_up(owner)
        organization = create_organization(name=name, owner=member.user)
        with tenant_scope(organization):
            workspace = cls(member, organization, create_project(name="production"))
            workspace.add_key(workspace.project, workspace.key)
        return workspace

    def join(self, name: str, role: Membership.Role) -> Member:
        """A new member, confirmed, who holds no key yet."""
        member = Member.sign_up(name)
        Membership.objects.create(
            organization=self.organization, user=member.user, role=role, confirmed_at=timezone.now()
        )
        return member

    def url(self, path: str = "") -> str:
        """Of a page of the organization."""
        return f"/o/{self.organization.id}/{path}"

    def add_key(self, project: Project, key: ProjectKeyPair) -> None:
        statement = statements.project_key(self.organization.id, project.id, 1, key.public)
        signature = self.owner.account.sign(statement)
        new_key = NewProjectKey(generation=1, public_key=key.public, kid=key.kid, statement_signature=signature)
        add_first_key(project=project, key=new_key, signer=self.owner.user.vault)

    def signed_box(self, provider: str, value: str) -> SignedBox:
        sealed = self.key.seal(value)
        statement = statements.provider_key(self.project.id, 1, self.key.public, provider, b64_decode(sealed))
        return SignedBox(generation=1, sealed=sealed, signature=self.owner.account.sign(statement))

    def add_provider_key(self, provider: str, value: str) -> ProviderKey:
        with tenant_scope(self.organization):
            return add_provider_key(
                project=self.project,
                provider=provider,
                boxes=[self.signed_box(provider, value)],
                signer=self.owner.user.vault,
            )

    def sdk(self) -> "Sdk":
        return Sdk(self.key, tokens.issue(self.project.id, 1))


@dataclass(frozen=True)
class Sdk:
    """What an SDK does, through Django's test client."""

    key: ProjectKeyPair
    token: str
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def solved_challenge(self) -> str:
        return self.key.open(challenges.issue(self.key.public))

    def header_pair(self) -> dict[str, str]:
        return {"encryption-key": b64(self.key.public), "AnyLLM-Challenge-Response": self.solved_challenge()}
