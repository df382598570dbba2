"""allauth's forms, without passwords: what takes their place was derived from one in the browser.

A field for a password the person sees has no name, so it is never sent. The page's module fills the hidden fields.
"""

from typing import Any, TypeVar

import msgspec
from allauth.account import forms as account
from django import forms

from apps.accounts import services
from apps.accounts.models import UnlockMethod, User
from apps.accounts.selectors import current_method, describe
from apps.accounts.shapes import NewVault, SignedPassword, from_b64u

RELOAD = "This page did not send what it should. Reload it and try again."

Content = TypeVar("Content")


class SecretInput(forms.HiddenInput):
    """A hidden field whose value never comes back in a page, right or wrong."""

    def format_value(self, value: Any) -> None:
        return None


class AuthSecretField(forms.RegexField):
    """The secret that signs in, `as1.` and 43 characters. A password is refused before anything looks at it."""

    widget = SecretInput

    def __init__(self, **options: Any) -> None:
        messages = {"required": RELOAD, "invalid": RELOAD}
        super().__init__(services.AUTH_SECRET, strip=False, max_length=47, error_messages=messages, **options)


class VaultField(forms.CharField):
    """JSON of one of these shapes (apps/accounts/shapes.py), as that type."""

    widget = SecretInput

    def __init__(self, shape: Any, **options: Any) -> None:
        self.shape = shape
        super().__init__(max_length=8192, error_messages={"required": RELOAD}, **options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return msgspec.json.decode(text, type=self.shape)
        except msgspec.DecodeError as error:
            raise forms.ValidationError(RELOAD) from error


def plain_email(form: forms.Form, name: str, autocomplete: str) -> None:
    """One label for addresses, and no placeholder that repeats it."""
    field = form.fields[name]
    field.label = "E-mail"
    field.widget.attrs.pop("placeholder", None)
    field.widget.attrs |= {"autocomplete": autocomplete, "autocapitalize": "none", "spellcheck": "false"}


class LoginForm(account.LoginForm):  # type: ignore[misc]  # allauth has no types
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"] = AuthSecretField()
        plain_email(self, "login", "username")


class ReauthenticateForm(account.ReauthenticateForm):  # type: ignore[misc]
    password = AuthSecretField()


class ResetPasswordForm(account.ResetPasswordForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain_email(self, "email", "username")


class ChangePasswordForm(account.UserForm):  # type: ignore[misc]
    """The old secret, the new one, and the account seed wrapped for the new password."""

    user: User
    oldpassword = AuthSecretField()
    password1 = AuthSecretField()
    vault = VaultField(SignedPassword)

    def clean_oldpassword(self) -> str:
        secret: str = self.cleaned_data["oldpassword"]
        if not self.user.check_password(secret):
            raise forms.ValidationError("This is not your current password.")
        return secret

    def save(self) -> None:
        vault: SignedPassword = self.cleaned_data["vault"]
        services.change_password(
            user=self.user,
            auth_secret=self.cleaned_data["password1"],
            unlock=vault.password.unlock,
            signature=from_b64u(vault.signature),
        )


class SetPasswordForm(account.UserForm):  # type: ignore[misc]
    """Of accounts without a password, which nothing makes. They get one by a reset, which also makes their keys."""

    password1 = AuthSecretField()

    def clean(self) -> None:
        raise forms.ValidationError("Reset your password to set one.")


class ResetPasswordKeyForm(forms.Form):
    """The last page of a reset: with the recovery key the vault stays as it is, without it gets new keys."""

    password1 = AuthSecretField()
    vault = VaultField(SignedPassword | NewVault)

    def __init__(self, *args: Any, user: User | None = None, temp_key: str | None = None, **kwargs: Any) -> None:
        self.user = user
        super().__init__(*args, **kwargs)

    def page_data(self) -> dict[str, Any]:
        """For the page's module. The view shows it to whoever has a valid link only."""
        assert self.user is not None
        vault = self.user.vault
        recovery = current_method(self.user, UnlockMethod.Kind.RECOVERY)
        return {
            "email": self.user.email,
            "vault_id": vault.id,
            "akv": vault.account_key_version,
            "recovery": describe(recovery) if recovery else None,
        }

    def save(self) -> None:
        assert self.user is not None
        secret: str = self.cleaned_data["password1"]
        match self.cleaned_data["vault"]:
            case SignedPassword() as vault:
                services.reset_with_recovery_key(
                    user=self.user,
                    auth_secret=secret,
                    unlock=vault.password.unlock,
                    signature=from_b64u(vault.signature),
                )
            case NewVault() as vault:
                services.reset_without_recovery_key(
                    user=self.user,
                    auth_secret=secret,
                    identity=vault.identity.identity,
                    unlock=vault.password.unlock,
                )
