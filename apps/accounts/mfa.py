"""The second factor, as allauth.mfa has it, with its secrets encrypted at rest and words of our own."""

import struct
from typing import Any, ClassVar

import qrcode  # type: ignore[import-untyped]
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base import forms as base_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp_forms
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from allauth.mfa.utils import decrypt, encrypt
from allauth.mfa.webauthn import forms as webauthn_forms
from django.conf import settings
from fido2.webauthn import AuthenticationResponse, RegistrationResponse
from qrcode.image.svg import SvgPathFillImage  # type: ignore[import-untyped]

from apps.accounts.models import User
from cryptokit import at_rest
from cryptokit.encoding import b64, b64_decode, ctx

# allauth's hooks are given the text alone, so the purpose is all that a secret can be bound to. Who can write to the
# database could as well delete the row.
PURPOSE = ctx("mfa-secret")
# Of a key's name, which allauth keeps in JSON without a limit.
LONGEST_NAME = 60


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    error_messages: ClassVar[dict[str, Any]] = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "That didn't match. Codes change every 30 seconds, and each works once.",
        "cannot_generate_recovery_codes": "Set up an authenticator app or a security key first.",
    }

    def encrypt(self, text: str) -> str:
        return b64(at_rest.encrypt(settings.VAULT_AT_REST_KEYS, PURPOSE, text.encode()))

    def decrypt(self, encrypted_text: str) -> str:
        return at_rest.decrypt(settings.VAULT_AT_REST_KEYS, PURPOSE, b64_decode(encrypted_text)).decode()

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:  # noqa: A002 - its name there
        count = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return "Security key" if count == 0 else f"Security key {count + 1}"

    def build_totp_svg(self, url: str) -> str:
        """On white, so that it can be scanned from a dark page."""
        return str(qrcode.make(url, image_factory=SvgPathFillImage).to_string(encoding="unicode"))

    def _get_site_name(self) -> str:
        """What people see beside the credential in their password manager."""
        return str(settings.MFA_TOTP_ISSUER)


def _ask_for_digits(form: Any) -> None:
    form.fields["code"].widget.attrs |= {
        "inputmode": "numeric",
        "placeholder": "",
        "autofocus": True,
        "class": "input-code",
        "spellcheck": "false",
    }


class _CodeForm:
    """What a code may be depends on what the person has: an app, or only the recovery codes of their keys."""

    user: User
    fields: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kinds = set(Authenticator.objects.filter(user_id=self.user.pk).values_list("type", flat=True))
        self.has_app = Authenticator.Type.TOTP in kinds
        self.has_keys = Authenticator.Type.WEBAUTHN in kinds
        self.fields["code"].label = "Code from your authenticator app" if self.has_app else "Recovery code"
        self.fields["code"].help_text = (
            "6 digits. A recovery code works, too." if self.has_app else "8 digits. Each recovery code works once."
        )
        _ask_for_digits(self)


class AuthenticateForm(_CodeForm, base_forms.AuthenticateForm):  # type: ignore[misc]
    pass


class ReauthenticateForm(_CodeForm, base_forms.ReauthenticateForm):  # type: ignore[misc]
    pass


class ActivateTOTPForm(totp_forms.ActivateTOTPForm):  # type: ignore[misc]
    secret: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        session = context.request.session
        kept = session.get(SECRET_SESSION_KEY)
        super().__init__(*args, **kwargs)
        # Between the page and the code that answers it, allauth keeps the secret in the session, which is a row of the
        # database. It is encrypted there as it is afterwards.
        if self.secret == kept:
            self.secret = decrypt(kept)
        else:
            session[SECRET_SESSION_KEY] = encrypt(self.secret)
        self.fields["code"].label = "Code that the app shows"
        self.fields["code"].help_text = "6 digits"
        _ask_for_digits(self)


class _NamedKeyForm:
    fields: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["name"]
        name.label, name.help_text = "Name", "To tell your keys apart."
        name.max_length = LONGEST_NAME
        name.widget.attrs["maxlength"] = LONGEST_NAME


class AddWebAuthnForm(_NamedKeyForm, webauthn_forms.AddWebAuthnForm):  # type: ignore[misc]
    def clean_credential(self) -> dict[str, Any]:
        """Only what signs in is kept: a browser that sends a key's secret output by mistake does not leave it here."""
        credential = _well_formed(RegistrationResponse, self.cleaned_data["credential"])
        results = credential.get("clientExtensionResults")
        kept = {"credProps": results["credProps"]} if isinstance(results, dict) and "credProps" in results else {}
        return credential | {"clientExtensionResults": kept}


class _KnownKeyForm:
    cleaned_data: dict[str, Any]

    def clean_credential(self) -> Authenticator:
        self.cleaned_data["credential"] = _well_formed(AuthenticationResponse, self.cleaned_data["credential"])
        # Between this class and `object` stands one of allauth's forms.
        return super().clean_credential()  # type: ignore[misc]


class AuthenticateWebAuthnForm(_KnownKeyForm, webauthn_forms.AuthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class ReauthenticateWebAuthnForm(_KnownKeyForm, webauthn_forms.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    pass


def _well_formed(
    shape: type[RegistrationResponse] | type[AuthenticationResponse], credential: object
) -> dict[str, Any]:
    """A credential that fido2 can read; allauth asks it without expecting everything that it raises."""
    try:
        if not isinstance(credential, dict):
            raise TypeError
        shape.from_dict(credential)
    except (KeyError, TypeError, ValueError, struct.error, AttributeError) as error:
        raise MFAAdapter().validation_error("incorrect_code") from error
    return credential


class EditWebAuthnForm(_NamedKeyForm, webauthn_forms.EditWebAuthnForm):  # type: ignore[misc]
    pass
