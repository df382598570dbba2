"""The cast of the tests. Alice owns Acme, Bob is on her team; Charlie owns Globex and must see nothing of Acme.

They act through the same services as the product; what their browsers would compute is computed by
devstack.browser. A member's password is left out: deriving from one takes a quarter of a second on purpose.
"""

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services import PasswordUnlock, VaultIdentity, create_account, prelogin_salt
from apps.directory import candidates, challenges, tokens
from apps.directory.models import ProjectKeyEntry
from apps.organizations.models import Membership, Organization
from apps.organizations.services import create_organization
from apps.projects.models import Project
from apps.projects.services import NewProjectKey, add_first_key, create_project
from apps.vault.grants import SealedGrant
from apps.vault.models import Box, ProviderKey
from apps.vault.rotation import ResealedKey, Rotation, rotate
from apps.vault.services import SignedBox, add_provider_key, store_self_grant
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

    def just_signed_in(self) -> Client:
        """The browser of somebody who gave their password a moment ago."""
        client = self.browser()
        session = client.session
        session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
        session["account_authentication_methods_user"] = str(self.user.id)
        session.save()
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


@dataclass
class KeyRing:
    """What the browsers of a project's members do with its keys: `pairs` has every generation they made."""

    workspace: Workspace
    project: Project
    pairs: dict[int, ProjectKeyPair] = field(default_factory=dict)

    @classmethod
    def new(cls, workspace: Workspace, name: str) -> "KeyRing":
        """A new project of the organization, with its first key."""
        project, pair = create_project(name=name), ProjectKeyPair()
        workspace.add_key(project, pair)
        ring = cls(workspace, project, {1: pair})
        ring.hold(workspace.owner, 1)
        return ring

    @property
    def entries(self) -> dict[int, ProjectKeyEntry]:
        """Of the live generations."""
        found = ProjectKeyEntry.objects.filter(project_id=self.project.id, status__in=ProjectKeyEntry.LIVE)
        return {entry.generation: entry for entry in found.order_by("generation")}

    @property
    def head(self) -> int:
        return next(number for number, entry in self.entries.items() if entry.status != "retiring")

    def self_grant(self, member: Member, generation: int) -> str:
        organization = self.workspace.organization.id
        return member.account.self_grant(organization, self.project.id, generation, self.pairs[generation])

    def hold(self, member: Member, generation: int) -> None:
        envelope = self.self_grant(member, generation)
        store_self_grant(project=self.project, generation=generation, vault=member.user.vault, envelope=envelope)

    def box(self, member: Member, generation: int, provider: str, value: str) -> SignedBox:
        pair = self.pairs[generation]
        sealed = pair.seal(value)
        statement = statements.provider_key(self.project.id, generation, pair.public, provider, b64_decode(sealed))
        return SignedBox(generation=generation, sealed=sealed, signature=member.account.sign(statement))

    def boxes(self, member: Member, provider: str, value: str) -> list[SignedBox]:
        """One for each live generation."""
        return [self.box(member, generation, provider, value) for generation in self.entries]

    def add(self, member: Member, provider: str, value: str) -> ProviderKey:
        boxes = self.boxes(member, provider, value)
        return add_provider_key(project=self.project, provider=provider, boxes=boxes, signer=member.user.vault)

    def opened(self, generation: int) -> dict[str, str]:
        """What a generation opens: provider key's id → value."""
        boxes = Box.objects.filter(provider_key__project=self.project, generation=generation)
        return {str(box.provider_key_id): self.pairs[generation].open(box.sealed) for box in boxes}

    def new_key(self, member: Member, generation: int, pair: ProjectKeyPair, previous: bytes = b"") -> NewProjectKey:
        statement = statements.project_key(
            self.workspace.organization.id, self.project.id, generation, pair.public, previous
        )
        signature = member.account.sign(statement)
        return NewProjectKey(generation=generation, public_key=pair.public, kid=pair.kid, statement_signature=signature)

    def proof(self, member: Member, pair: ProjectKeyPair) -> str:
        """That the browser can open what is sealed to a key that is not registered yet."""
        riddle = candidates.issue(public_key=pair.public, project_id=self.project.id, user_id=member.user.id)
        return pair.open(riddle)

    def draft(
        self,
        member: Member,
        *,
        recipients: Sequence[Member] = (),
        drop: Sequence[uuid.UUID] = (),
        overlap: timedelta = timedelta(hours=72),
    ) -> Rotation:
        """A rotation as a browser makes it of what there is now. The new pair goes on the ring."""
        head, organization = self.head, self.workspace.organization.id
        numbers = ProjectKeyEntry.objects.filter(project_id=self.project.id).values_list("generation", flat=True)
        generation = max(numbers) + 1
        pair = self.pairs[generation] = ProjectKeyPair()
        opened = self.opened(head)
        resealed = [
            ResealedKey(
                provider_key_id=each.id,
                version=each.version,
                box=None if each.id in drop else self.box(member, generation, each.provider, opened[str(each.id)]),
            )
            for each in ProviderKey.objects.filter(project=self.project, deleted_at=None)
        ]
        grants = [
            SealedGrant(
                project_id=self.project.id,
                generation=generation,
                recipient_vault=other.account.vault_id,
                recipient_account_key_version=1,
                envelope=member.account.grant_to(other.account.public, organization, self.project.id, generation, pair),
            )
            for other in recipients
        ]
        return Rotation(
            base_generation=head,
            keyset_version=Project.objects.get(id=self.project.id).keyset_version,
            key=self.new_key(member, generation, pair, self.pairs[head].public),
            solved_challenge=self.proof(member, pair),
            resealed=resealed,
            self_grant=self.self_grant(member, generation),
            grants=grants,
            overlap=overlap,
        )

    def rotate(self, member: Member, **choices: Any) -> int:
        """The new generation."""
        rotation = self.draft(member, **choices)
        made = rotate(project=self.project, actor=self.membership(member), rotation=rotation)
        return made.generation

    def membership(self, member: Member) -> Membership:
        return Membership.objects.select_related("user__vault").get(
            organization=self.workspace.organization, user=member.user
        )

    def sdk(self, generation: int) -> "Sdk":
        return Sdk(self.pairs[generation], tokens.issue(self.project.id, generation))


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
