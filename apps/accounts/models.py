from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models.functions import Now

from tenancy.ids import uuid7


def canonical_email(email: str) -> str:
    """The one spelling of an address that accounts are looked up by: trimmed, lower case."""
    return email.strip().lower()


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=canonical_email(username or ""))

    def create_user(self, email: str, auth_secret: str | None, **fields: Any) -> "User":
        """A person whose browser derived `auth_secret`; None for one who can't sign in with a password."""
        user = self.model(email=canonical_email(email), **fields)
        user.set_password(auth_secret)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person. `password` holds a hash of a secret derived from their password (accounts/hashers.py)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    # Where times on pages are shown in, an IANA name.
    time_zone = models.CharField(max_length=64, default="UTC", db_default="UTC")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    def __str__(self) -> str:
        return self.email


class Vault(models.Model):
    """A person's public identity in the key protocol. The seed behind it never leaves their devices unwrapped.

    `id` is chosen by the browser, since the user's row does not exist yet when the first envelope is made.
    """

    id = models.UUIDField(primary_key=True)
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="vault")
    account_key_version = models.PositiveIntegerField()
    x25519_public_key = models.BinaryField(max_length=32)
    ed25519_public_key = models.BinaryField(max_length=32)
    identity_signature = models.BinaryField(max_length=64)
    # Whom the owner's browser has seen under which keys, wrapped for themselves; `seq` only grows.
    trust_store = models.TextField(blank=True)
    trust_store_seq = models.PositiveIntegerField(default=0)
    # Minutes without a touch after which the browser forgets the seed.
    idle_minutes = models.PositiveSmallIntegerField(default=30)
    # When the owner decided to go without a recovery key.
    recovery_declined_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.id)


class UnlockMethod(models.Model):
    """One way to open a vault: the same account seed, wrapped under a key that the server never has."""

    class Kind(models.TextChoices):
        PASSWORD = "password"
        PASSPHRASE = "passphrase"
        PRF = "prf"
        RECOVERY = "recovery"

    id = models.UUIDField(primary_key=True)
    vault = models.ForeignKey(Vault, on_delete=models.CASCADE, related_name="unlock_methods")
    kind = models.CharField(max_length=16, choices=Kind)
    account_key_version = models.PositiveIntegerField()
    # Which key derivation made the wrapping key, and its public input (a salt, a credential's hash, nothing).
    kdf = models.CharField(max_length=8)
    kdf_input = models.BinaryField(max_length=32)
    # Encrypted with an application-held key on top: see cryptokit/at_rest.py.
    envelope = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    # Set when a reset gave the vault a new seed: this one opens the old seed, for as long as it is kept.
    stale_since = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["vault", "kind"],
                condition=models.Q(kind__in=["password", "passphrase", "recovery"], stale_since=None),
                name="unlock_method_one_current",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.vault_id}"


class Session(AbstractBaseSession):
    """A signed-in browser. `session_key` is the SHA-256 of what its cookie holds (accounts/sessions.py), so that the
    table is of no use for taking a session over."""

    session_key = models.CharField(max_length=64, primary_key=True)
    # Copies of what the session's own data says, so that a person's sessions can be listed and ended.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="sessions")
    signed_in_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(db_default=Now())
    ip_address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=256, blank=True)

    class Meta(AbstractBaseSession.Meta):
        abstract = False
