"""Signed-in browsers."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from apps.accounts import devices
from apps.accounts.devices import device_name
from apps.accounts.models import Session
from apps.accounts.sessions import SessionStore, digest
from apps.accounts.tasks import delete_expired_sessions
from tests.cast import Member

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Mobile/15E148 Safari/604.1"
)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (SAFARI, "Safari on iPhone"),
        (CHROME, "Chrome on Windows"),
        (CHROME + " Edg/138.0.0.0", "Edge on Windows"),
        (CHROME + " OPR/120.0.0.0", "Opera on Windows"),
        ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/138.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15", "Safari on Mac"),
        ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/138.0.0.0 Safari/537.36", "Chrome on ChromeOS"),
        ("curl/8.5.0", "Unknown browser"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_are_named(user_agent: str, name: str) -> None:
    assert device_name(user_agent) == name


def sign_in(member: Member, user_agent: str, ip_address: str = "192.0.2.1") -> Client:
    """As a request does, which `force_login` has none of."""
    client = member.browser()
    session = client.session
    session["device"] |= {"user_agent": user_agent, "ip_address": ip_address}
    session.save()
    client.defaults["HTTP_USER_AGENT"] = user_agent
    return client


def test_the_list_names_this_one_first_and_nobody_elses(ada: Member, charlie: Member) -> None:
    sign_in(charlie, SAFARI, "203.0.113.9")
    here, other = sign_in(ada, FIREFOX), sign_in(ada, CHROME, "2001:db8::7")
    page = here.get("/account/sessions/")
    found = page.context["devices"]
    assert [(one.name, one.ip_address, one.is_current) for one in found] == [
        ("Firefox on Linux", "192.0.2.1", True),
        ("Chrome on Windows", "2001:db8::7", False),
    ]
    assert all(one.signed_in_at is not None for one in found)
    assert "203.0.113.9" not in page.text
    # What opens a session is nowhere on the page.
    for client in (here, other):
        assert client.session.session_key is not None
        assert client.session.session_key not in page.text


def test_signing_in_notes_where_and_when(ada: Member) -> None:
    from django.contrib.auth import login
    from django.test import RequestFactory

    request = RequestFactory().post("/", headers={"User-Agent": FIREFOX + "x" * 400}, REMOTE_ADDR="not-an-address")
    request.session, request.user = SessionStore(), AnonymousUser()
    login(request, ada.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    request.session.save()
    row = Session.objects.get(user=ada.user)
    assert row.user_agent == (FIREFOX + "x" * 400)[:256]
    assert row.ip_address is None
    assert row.signed_in_at is not None
    assert abs(timezone.now() - row.signed_in_at) < timedelta(minutes=5)


def test_ending_one_signs_it_out(ada: Member) -> None:
    here, other = sign_in(ada, FIREFOX), sign_in(ada, CHROME)
    device = digest(other.session.session_key or "")
    assert here.post("/account/sessions/end/", {"device": device}).status_code == 302
    assert other.get("/account/sessions/").status_code == 302
    assert here.get("/account/sessions/").status_code == 200


def test_somebody_elses_session_and_this_one_are_not_to_be_ended(ada: Member, charlie: Member) -> None:
    theirs, here = sign_in(charlie, CHROME), sign_in(ada, FIREFOX)
    for client in (theirs, here):
        device = digest(client.session.session_key or "")
        assert here.post("/account/sessions/end/", {"device": device}).status_code == 404
    assert here.post("/account/sessions/end/", {"device": ""}).status_code == 404
    assert here.get("/account/sessions/end/").status_code == 405
    assert theirs.get("/account/sessions/").status_code == here.get("/account/sessions/").status_code == 200


def test_ending_all_others_keeps_this_one_and_other_people(ada: Member, charlie: Member) -> None:
    theirs, here = sign_in(charlie, CHROME), sign_in(ada, FIREFOX)
    others = [sign_in(ada, CHROME) for _ in range(3)]
    page = here.post("/account/sessions/end-others/", follow=True)
    assert "Signed out 3 other browsers." in page.text
    assert {client.get("/account/sessions/").status_code for client in others} == {302}
    assert {client.get("/account/sessions/").status_code for client in (theirs, here)} == {200}


def test_a_changed_password_ends_the_others(ada: Member) -> None:
    from allauth.account.signals import password_changed
    from django.test import RequestFactory

    here, other = sign_in(ada, FIREFOX), sign_in(ada, CHROME)
    request = RequestFactory().post("/")
    request.session = here.session
    password_changed.send(sender=None, request=request, user=ada.user)
    assert Session.objects.get(user=ada.user).session_key == digest(here.session.session_key or "")
    assert other.get("/account/sessions/").status_code == 302


def test_being_seen_is_written_once_a_minute(ada: Member, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    here = sign_in(ada, FIREFOX)
    row = Session.objects.filter(user=ada.user)
    long_ago = timezone.now() - timedelta(minutes=2)
    row.update(last_seen_at=long_ago)
    before = row.get().session_data
    here.get("/account/")
    seen = row.get().last_seen_at
    assert seen > long_ago
    here.get("/account/")
    assert row.get().last_seen_at == seen
    assert row.get().session_data == before
    # The session and its person: noting that they are there costs no query most of the time.
    with django_assert_num_queries(2):
        here.get("/account/nothing")


def test_programs_and_visitors_have_no_session(db: None) -> None:
    Client().get("/")
    Client().get("/api/v1/nothing")
    assert not Session.objects.filter(last_seen_at__gt=timezone.now() - timedelta(seconds=1), user=None).exists()


def test_ended_sessions_are_deleted_in_batches(ada: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DELETED_AT_ONCE", 2)
    alive = sign_in(ada, FIREFOX)
    for number in range(5):
        Session.objects.create(session_key=f"{number:064}", session_data="", expire_date=timezone.now())
    assert delete_expired_sessions() >= 5
    assert not Session.objects.filter(expire_date__lt=timezone.now()).exists()
    assert alive.get("/account/").status_code == 200


def test_times_are_shown_in_the_persons_zone(ada: Member, settings: Settings) -> None:
    here = sign_in(ada, FIREFOX)
    for zone, shown in (("Asia/Tokyo", "09:30"), ("UTC", "00:30"), ("No/Where", "00:30")):
        type(ada.user).objects.filter(pk=ada.user.pk).update(time_zone=zone)
        Session.objects.filter(user=ada.user).update(signed_in_at="2026-03-01T00:30:00Z")
        assert f"1 Mar 2026, {shown}" in here.get("/account/sessions/").text
    assert timezone.get_current_timezone_name() == "UTC"
