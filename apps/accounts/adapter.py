"""allauth's flows, with our addresses, words and mails."""

import re
from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from django.core.mail import EmailMultiAlternatives
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from web.callers import address

# In the session: the token of the invitation that somebody followed before they had an account.
INVITATION = "invitation"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    error_messages: ClassVar[dict[str, Any]] = {
        **DefaultAccountAdapter.error_messages,
        "account_inactive": "This account is switched off.",
        "email_password_mismatch": "The e-mail or the password is wrong.",
        "incorrect_password": "This is not your password.",
        "too_many_login_attempts": "Too many attempts. Wait some minutes, then try again.",
        "rate_limited": "Too many attempts. Wait some minutes, then try again.",
    }

    def get_client_ip(self, request: HttpRequest) -> str:
        return address(request)

    def render_mail(
        self, template_prefix: str, email: str | list[str], context: dict[str, Any], headers: Any = None
    ) -> EmailMultiAlternatives:
        """Mails are written once, as text. The same words in HTML make addresses clickable where text is not shown."""
        subject = " ".join(render_to_string(f"{template_prefix}_subject.txt", context).split())
        text = render_to_string(f"{template_prefix}_message.txt", context).strip() + "\n"
        message = EmailMultiAlternatives(
            subject, text, self.get_from_email(), [email] if isinstance(email, str) else email, headers=headers
        )
        html = render_to_string("account/email/message.html", {"subject": subject, "paragraphs": paragraphs(text)})
        message.attach_alternative(html, "text/html")
        return message

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return _invitation_url(request) or super().get_login_redirect_url(request)

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        return _invitation_url(request) or super().get_signup_redirect_url(request)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account_security")


def paragraphs(text: str) -> list[list[dict[str, str | bool]]]:
    """Paragraphs of a text, each as its lines: `text`, and whether it `is_link`."""
    return [
        [{"text": line, "is_link": bool(re.fullmatch(r"https?://\S+", line))} for line in paragraph.splitlines()]
        for paragraph in re.split(r"\n{2,}", text.strip())
    ]


def _invitation_url(request: HttpRequest) -> str:
    token = request.session.get(INVITATION)
    return f"/invitations/{token}/" if token else ""
