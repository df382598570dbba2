"""Profile, overview of security, deletion."""

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.core.mail import EmailMessage
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks

from apps.accounts import deletion
from apps.accounts.deletion import DeletionRefusedError, Obstacle, delete_account
from apps.accounts.models import Session, UnlockMethod, User, Vault
from apps.audit.models import Entry
from apps.organizations.models import Membership
from tenancy import tenant_scope
from tests.accounts_pages.conftest import proven
from tests.cast import Member, Workspace

PAGES = [
    "/account/",
    "/account/security/",
    "/account/sessions/",
    "/account/delete/",
    "/accounts/email/",
    "/accounts/2fa/",
]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other app's."""
    monkeypatch.setattr(deletion, "obstacles", [])
    monkeypatch.setattr(deletion, "removals", [])


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_for_people_who_are_signed_in(db: None, path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(("/accounts/login/", "/accounts/reauthenticate/"))


@pytest.mark.parametrize("path", PAGES)
def test_pages_stand_below_one_navigation(browser: Client, path: str) -> None:
    page = browser.get(path)
    assert page.status_code == 200
    assert 'aria-label="Your account"' in page.text
    assert page.text.count('aria-current="page"') + page.text.count('aria-current="true"') == 1


def test_name_and_zone_are_saved_and_nothing_else(browser: Client, ada: Member) -> None:
    email = ada.user.email
    browser.post(
        "/account/",
        {"name": "Ada Lovelace", "time_zone": "Europe/London", "email": "evil@example.com", "is_staff": "on"},
    )
    user = User.objects.get(pk=ada.user.pk)
    assert (user.name, user.time_zone, user.email, user.is_staff) == ("Ada Lovelace", "Europe/London", email, False)


@pytest.mark.parametrize("data", [{"name": "x" * 151, "time_zone": "UTC"}, {"name": "A", "time_zone": "Mars/Base"}])
def test_what_is_wrong_is_said_and_not_saved(browser: Client, ada: Member, data: dict[str, str]) -> None:
    page = browser.post("/account/", data)
    assert page.status_code == 200
    assert 'class="field-error"' in page.text
    assert User.objects.get(pk=ada.user.pk).name == "Ada"


def test_the_overview_says_what_there_is(browser: Client, ada: Member) -> None:
    page = browser.get("/account/security/")
    assert "Your password alone signs you in" in page.text
    assert "no encryption recovery key" in page.text
    assert "Only this one." in page.text
    Authenticator.objects.create(user=ada.user, type="webauthn", data={"name": "Desk", "credential": {}})
    proven(ada)
    page = browser.get("/account/security/")
    assert "Your password alone signs you in" not in page.text
    assert "security key" in page.text
    assert "2, this one included." in page.text


def test_deleting_asks_who_is_there_first(ada: Member) -> None:
    answer = ada.browser().post("/account/delete/", {"confirmation": ada.user.email})
    assert answer.headers["Location"].startswith("/accounts/reauthenticate/")
    assert User.objects.filter(pk=ada.user.pk).exists()


@pytest.mark.parametrize("typed", ["", "yes", "someone@example.com"])
def test_deleting_needs_the_address_typed(browser: Client, ada: Member, typed: str) -> None:
    page = browser.post("/account/delete/", {"confirmation": typed})
    assert page.status_code == 200
    assert User.objects.filter(pk=ada.user.pk).exists()


def test_deleting_removes_everything_that_is_theirs(
    hooks: None,
    browser: Client,
    ada: Member,
    charlie: Member,
    mailoutbox: list[EmailMessage],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    other = proven(ada)
    Authenticator.objects.create(user=ada.user, type="webauthn", data={"name": "Desk", "credential": {}})
    with django_capture_on_commit_callbacks(execute=True):
        page = browser.post("/account/delete/", {"confirmation": f" {ada.user.email.upper()} "})
    assert page.status_code == 200
    assert page["Clear-Site-Data"] == '"cache", "storage"'
    for model in (Session, EmailAddress, Authenticator, Vault):
        assert not model._default_manager.filter(user_id=ada.user.pk).exists()
    assert not UnlockMethod.objects.filter(vault_id=ada.account.vault_id).exists()
    assert not User.objects.filter(pk=ada.user.pk).exists()
    for client in (browser, other):
        assert client.get("/account/").status_code == 302
    assert mailoutbox[-1].to == [ada.user.email]
    assert User.objects.filter(pk=charlie.user.pk).exists()


def test_an_obstacle_is_named_and_nothing_is_deleted(hooks: None, browser: Client, ada: Member) -> None:
    removed: list[User] = []
    deletion.obstacles.append(lambda user: [Obstacle(text="You are the only owner of Acme.", href="/o/acme/members/")])
    deletion.removals.append(removed.append)
    page = browser.get("/account/delete/")
    assert page.status_code == 409
    assert "You are the only owner of Acme." in page.text
    assert 'href="/o/acme/members/"' in page.text
    assert "data-delete-account" not in page.text
    assert browser.post("/account/delete/", {"confirmation": ada.user.email}).status_code == 409
    with pytest.raises(DeletionRefusedError, match="only owner of Acme"):
        delete_account(user=ada.user)
    assert removed == []
    assert User.objects.filter(pk=ada.user.pk).exists()


def test_what_other_apps_remove_is_removed_first_and_together(hooks: None, ada: Member) -> None:
    def remove(user: User) -> None:
        assert User.objects.filter(pk=user.pk).exists()
        user.vault.delete()
        raise RuntimeError

    deletion.removals.append(remove)
    with pytest.raises(RuntimeError):
        delete_account(user=ada.user)
    assert Vault.objects.filter(user=ada.user).exists()


def test_the_only_owner_stays(acme: Workspace, alice: Member) -> None:
    client = proven(alice)
    page = client.post("/account/delete/", {"confirmation": alice.user.email})
    assert page.status_code == 409
    assert acme.organization.name in page.text
    assert acme.url("members/") in page.text
    assert User.objects.filter(pk=alice.user.pk).exists()


def test_a_member_leaves_with_their_account(acme: Workspace) -> None:
    bob = acme.join("bob", Membership.Role.DEVELOPER)
    page = proven(bob).post("/account/delete/", {"confirmation": bob.user.email})
    assert page.status_code == 200
    assert not Membership.objects.filter(user_id=bob.user.pk).exists()
    assert Membership.objects.filter(organization=acme.organization, user=acme.owner.user).exists()
    with tenant_scope(acme.organization):
        assert Entry.objects.filter(action="member.left").exists()
