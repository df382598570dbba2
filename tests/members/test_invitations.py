"""Invitations: who may send them, who may accept them, and every way in which one is not open."""

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.mail import EmailMessage
from django.http import Http404
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from apps.accounts.models import User
from apps.members import services
from apps.members.mail import send_invitation
from apps.members.services import Sent, accept
from apps.organizations.access import NotAllowedError
from apps.organizations.models import Invitation, Membership, Organization
from apps.projects.models import ProjectMember
from tenancy import tenant_scope
from tests.cast import Member, Workspace

Role = Membership.Role


def verified(name: str) -> Member:
    """Somebody with an account, not in any organization."""
    member = Member.sign_up(name)
    EmailAddress.objects.update_or_create(
        user=member.user, email=member.user.email, defaults={"verified": True, "primary": True}
    )
    return member


def invite(workspace: Workspace, email: str, role: str = Role.VIEWER, *projects: Any) -> Sent:
    with tenant_scope(workspace.organization):
        actor = Membership.objects.get(organization=workspace.organization, user=workspace.owner.user)
        return services.invite(actor=actor, email=email, role=role, project_ids=projects)


def membership(workspace: Workspace, user: User) -> Membership | None:
    return Membership.objects.filter(organization=workspace.organization, user=user).first()


def test_from_the_form_to_the_mail_to_a_member(acme: Workspace, alice: Member, mailoutbox: list[EmailMessage]) -> None:
    bob = verified("bob")
    browser = alice.browser()
    assert browser.get(acme.url("members/invite/")).status_code == 200
    form = {"email": f" {bob.user.email.upper()} ", "role": Role.DEVELOPER, "projects": [str(acme.project.id)]}
    answer = browser.post(acme.url("members/invite/"), form)
    assert answer["Location"] == acme.url("members/")
    page = browser.get(acme.url("members/")).content.decode()
    assert bob.user.email in page
    assert "We sent an invitation" in page
    [mail] = mailoutbox
    assert mail.to == [bob.user.email]
    assert mail.subject == "Alice invites you to Acme"
    found = re.search(r"http://testserver(/invitations/\S+/)", str(mail.body))
    assert found is not None
    link = found[1]
    # The link's token is in the mail and nowhere else.
    token = link.split("/")[2]
    [invitation] = Invitation.objects.filter(email=bob.user.email)
    assert bytes(invitation.token_digest) == services.digest(token)

    # Whoever is not signed in is told where to, and led back.
    visitor = Client()
    page = visitor.get(link).content.decode()
    assert "Acme" in page
    assert "/accounts/signup/?next=" in page
    assert visitor.session["invitation"] == token
    client = bob.browser()
    session = client.session
    session["invitation"] = token
    session.save()
    assert client.get("/o/")["Location"] == link
    assert "Accept the invitation" in client.get(link).content.decode()
    assert membership(acme, bob.user) is None
    assert client.post(link)["Location"] == acme.url()
    joined = membership(acme, bob.user)
    assert joined is not None
    assert (joined.role, joined.confirmed_at) == (Role.DEVELOPER, None)
    with tenant_scope(acme.organization):
        assert ProjectMember.objects.filter(project=acme.project, user_id=bob.user.id).count() == 1
    assert "invitation" not in client.session
    # A second time it leads to the organization, and changes nothing.
    assert client.get(link)["Location"] == "/o/"


def test_roles_without_keys_need_no_confirmation(acme: Workspace) -> None:
    bob = verified("bob")
    assert accept(user=bob.user, token=invite(acme, bob.user.email).token).confirmed_at is not None


def test_only_the_address_that_was_invited_can_accept(acme: Workspace) -> None:
    bob, eve = verified("bob"), verified("eve")
    sent = invite(acme, bob.user.email, Role.OWNER)
    page = eve.browser().post(f"/invitations/{sent.token}/")
    assert page.status_code == 403
    assert bob.user.email in page.content.decode()
    assert eve.user.email in page.content.decode()
    assert membership(acme, eve.user) is None
    # Claiming the address is not enough: it has to be verified.
    EmailAddress.objects.filter(user=bob.user).delete()
    User.objects.filter(pk=bob.user.pk).update(email=f"other-{bob.user.email}")
    EmailAddress.objects.create(user=eve.user, email=bob.user.email, verified=False)
    page = eve.browser().post(f"/invitations/{sent.token}/")
    assert page.status_code == 403
    assert "have not confirmed it" in page.content.decode()
    assert membership(acme, eve.user) is None
    EmailAddress.objects.filter(user=eve.user, email=bob.user.email).update(verified=True)
    assert eve.browser().post(f"/invitations/{sent.token}/")["Location"] == acme.url()


@pytest.mark.parametrize("why", ["accepted", "revoked", "expired", "deleting"])
def test_invitations_that_are_not_open_say_why(acme: Workspace, why: str) -> None:
    bob = verified("bob")
    sent = invite(acme, bob.user.email)
    open_one = Invitation.objects.filter(pk=sent.invitation.pk)
    now = timezone.now()
    words = {
        "accepted": "was accepted",
        "revoked": "was taken back",
        "expired": "has run out",
        "deleting": "was taken back",
    }
    match why:
        case "accepted":
            open_one.update(accepted_at=now)
        case "revoked":
            open_one.update(revoked_at=now)
        case "expired":
            open_one.update(expires_at=now - timedelta(seconds=1))
        case "deleting":
            Organization.objects.filter(pk=acme.organization.pk).update(status=Organization.Status.DELETING)
    for client in (Client(), bob.browser()):
        page = client.get(f"/invitations/{sent.token}/")
        assert page.status_code == 410
        assert words[why] in page.content.decode()
    assert bob.browser().post(f"/invitations/{sent.token}/").status_code == 410
    with pytest.raises(services.InvitationClosedError):
        accept(user=bob.user, token=sent.token)
    assert membership(acme, bob.user) is None


def test_an_unknown_link_is_no_invitation(acme: Workspace) -> None:
    assert Client().get("/invitations/nothing/").status_code == 404
    with pytest.raises(Http404):
        accept(user=verified("bob").user, token="nothing")


def test_a_new_mail_ends_the_old_link(acme: Workspace, alice: Member, mailoutbox: list[EmailMessage]) -> None:
    bob = verified("bob")
    sent = invite(acme, bob.user.email)
    url = acme.url(f"members/invitations/{sent.invitation.pk}/resend/")
    browser = alice.browser()
    browser.post(url)  # at once: the address is left alone for a minute
    assert mailoutbox == []
    Invitation.objects.filter(pk=sent.invitation.pk).update(sent_at=timezone.now() - timedelta(minutes=2))
    browser.post(url)
    assert len(mailoutbox) == 1
    assert Client().get(f"/invitations/{sent.token}/").status_code == 404


def test_an_organization_sends_no_end_of_mails(acme: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "INVITATIONS_PER_HOUR", 2)
    for number in range(2):
        invite(acme, f"{number}@example.com")
    with pytest.raises(services.TooManyInvitationsError):
        invite(acme, "2@example.com")
    assert Invitation.objects.filter(organization=acme.organization).count() == 2


def test_mail_that_cannot_be_sent_is_said_and_the_invitation_stays(
    acme: Workspace, alice: Member, settings: Settings
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    browser = alice.browser()
    form = {"email": "bob@example.com", "role": Role.VIEWER}
    page = browser.post(acme.url("members/invite/"), form, follow=True)
    assert "is stored, but mail can&#x27;t be sent" in page.content.decode()
    assert Invitation.objects.filter(organization=acme.organization, email="bob@example.com").count() == 1


def test_a_name_with_a_line_break_makes_no_header(acme: Workspace, mailoutbox: list[EmailMessage]) -> None:
    sent = invite(acme, "bob@example.com")
    sent.invitation.organization.name = "Acme\nBcc: everybody@example.com"
    send_invitation(sent)
    assert mailoutbox[0].subject == "Alice invites you to Acme Bcc: everybody@example.com"
    assert mailoutbox[0].recipients() == ["bob@example.com"]


def test_members_are_not_invited_again_and_roles_are_checked(acme: Workspace, alice: Member) -> None:
    bob = acme.join("bob", Role.VIEWER)
    with pytest.raises(services.AlreadyMemberError):
        invite(acme, bob.user.email)
    with pytest.raises(services.MemberError):
        invite(acme, "carol@example.com", "root")
    admin = acme.join("admin", Role.ADMIN)
    page = admin.browser().post(acme.url("members/invite/"), {"email": "carol@example.com", "role": Role.OWNER})
    assert page.status_code == 422
    with tenant_scope(acme.organization), pytest.raises(NotAllowedError):
        services.invite(
            actor=Membership.objects.get(organization=acme.organization, user=admin.user),
            email="carol@example.com",
            role=Role.OWNER,
        )
    assert not Invitation.objects.filter(organization=acme.organization).exists()


def test_a_second_invitation_replaces_the_first(acme: Workspace) -> None:
    first = invite(acme, "bob@example.com", Role.ADMIN)
    Invitation.objects.filter(pk=first.invitation.pk).update(sent_at=timezone.now() - timedelta(minutes=2))
    second = invite(acme, "bob@example.com", Role.VIEWER)
    assert Client().get(f"/invitations/{first.token}/").status_code == 410
    assert Client().get(f"/invitations/{second.token}/").status_code == 200
