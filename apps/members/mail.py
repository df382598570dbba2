"""Mails about membership."""

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse

from apps.members.services import INVITATION_LIFE, Sent
from apps.organizations.roles import DESCRIPTIONS


def send_invitation(sent: Sent) -> None:
    """Raises OSError (SMTP's errors among them) where the mail can't be handed on. Call it after the commit."""
    invitation = sent.invitation
    context = {
        "invitation": invitation,
        "inviter": invitation.invited_by,
        "organization": invitation.organization,
        "description": DESCRIPTIONS[invitation.role],
        "url": settings.SITE_URL + reverse("invitation", args=[sent.token]),
        "days": INVITATION_LIFE.days,
    }
    # Names are what people typed: a line break in one would be a header of its own.
    subject = " ".join(render_to_string("email/invitation_subject.txt", context).split())
    message = EmailMultiAlternatives(subject, render_to_string("email/invitation.txt", context), to=[invitation.email])
    message.attach_alternative(render_to_string("email/invitation.html", context), "text/html")
    message.send()
