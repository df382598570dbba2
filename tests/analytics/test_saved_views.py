"""Saved views: what an address asks for, under a name; private, or everybody's in the organization."""

import re
import threading
import uuid
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from django.db import connections
from django.test import Client as Browser

from apps.analytics import saved_views
from apps.analytics.models import SavedView
from apps.analytics.names import everything
from apps.analytics.saved_views import TooManyViewsError, ViewExistsError
from apps.audit.models import Entry
from apps.audit.selectors import line
from apps.ledger.selectors import EventFilter
from apps.members.services import remove_member
from apps.organizations.models import Membership, Organization
from apps.projects.services import create_project
from apps.usage.filters import in_words
from tenancy import tenant_scope
from tests.cast import Member, Workspace
from tests.ledger import facts
from tests.usage.test_ledger import text_of

PAGES = {"overview": "usage/", "performance": "usage/performance/", "sessions": "usage/sessions/", "ledger": "ledger/"}


@pytest.fixture
def browser(alice: Member) -> Browser:
    return alice.browser()


@pytest.fixture
def viewer(acme: Workspace) -> Member:
    return acme.join("vera", Membership.Role.VIEWER)


def save(browser: Browser, acme: Workspace, query: str, name: str = "Mine", who: str = "own") -> Any:
    return browser.post(acme.url(f"usage/views/new/?{query}"), {"name": name, "who": who})


def stored(acme: Workspace) -> list[SavedView]:
    with tenant_scope(acme.organization):
        return list(SavedView.objects.order_by("name"))


def only(acme: Workspace) -> SavedView:
    [view] = stored(acme)
    return view


def offered(browser: Browser, acme: Workspace, path: str = "usage/") -> list[str]:
    """The names in a page's menu."""
    page = browser.get(acme.url(path)).content.decode()
    return [unescape(name) for name in re.findall(r'menu-item-text"><span class="truncate">([^<]*)<', page)][1:]


def member(acme: Workspace, person: Member) -> Membership:
    return Membership.objects.get(user=person.user, organization=acme.organization)


@pytest.mark.parametrize("page", PAGES)
def test_a_view_is_saved_and_leads_to_what_it_shows(acme: Workspace, browser: Browser, page: str) -> None:
    before = browser.get(acme.url(f"{PAGES[page]}?period=month&model=gpt-4o&project={acme.project.id}"))
    [link] = {unescape(each) for each in re.findall(r'href="([^"]*usage/views/new/[^"]*)"', before.content.decode())}
    asked = browser.get(link)
    assert "Projects production (production) Period This month Model gpt-4o" in text_of(asked)
    answer = browser.post(link, {"name": "  The month ", "who": "own"})
    view = only(acme)
    assert (view.page, view.name, view.is_shared, view.owner_id) == (page, "The month", False, acme.owner.user.id)
    # Relative periods stay relative.
    assert view.query == {"period": "month", "model": "gpt-4o", "project": str(acme.project.id)}
    there = urlsplit(answer["Location"])
    assert there.path == acme.url(PAGES[page])
    assert parse_qs(there.query) == {**{name: [value] for name, value in view.query.items()}, "view": [str(view.id)]}
    shown = browser.get(answer["Location"])
    assert "The view The month is saved" in text_of(shown)
    assert shown.context["views"].current.id == view.id
    assert not shown.context["views"].is_changed
    # Where it is what is shown it is marked, also if the address does not say so.
    assert browser.get(acme.url(f"{PAGES[page]}?{urlsplit(link).query}")).context["views"].current.id == view.id
    assert browser.get(acme.url(PAGES[page])).context["views"].current is None
    assert f'name="view" value="{view.id}"' in shown.content.decode()


def test_what_a_view_shows_is_said_as_exports_say_it(acme: Workspace, browser: Browser) -> None:
    Organization.objects.filter(pk=acme.organization.pk).update(time_zone="Europe/Berlin")
    with tenant_scope(acme.organization):
        key = acme.add_provider_key("openai", "sk-1")
        facts.event(acme.project.id)

    def shows(query: str) -> str:
        return text_of(browser.get(acme.url(f"usage/views/new/?{query}")))

    asked = f"project={acme.project.id}&hour=2026-05-01T10:00Z&ending=error&key={key.id}&client=%22%22"
    said = (
        "Projects production (production) Hour 1 May 2026, 12:00 Client none was named Provider key OpenAI"
        " Ended with an error"
    )
    assert f"Page Ledger {said} Name" in shows(f"page=ledger&{asked}")
    fields = {name: value for name, [value] in parse_qs(asked).items()}
    made = browser.post(acme.url("usage/exports/"), {"content": "rows", "format": "csv", "background": "1", **fields})
    shown = re.sub(r"[\s:]+", " ", text_of(browser.get(made["Location"])))
    assert re.sub(r"[\s:]+", " ", said) in shown
    days = shows("page=overview&from=2026-05-01&to=2026-05-04&by=model&compare=no")
    assert "Page Overview Projects all From 1 May 2026 To 4 May 2026 Compare with Nothing By Model Name" in days
    assert "Page Sessions Projects all Period All time User ada Name" in shows("page=sessions&period=all&user=ada")


def test_what_is_gone_is_said_to_be(acme: Workspace) -> None:
    wanted = EventFilter(project_ids=(uuid.uuid4(),), provider_key_id=uuid.uuid4())
    with tenant_scope(acme.organization):
        said = in_words(wanted, everything(), ZoneInfo("UTC"))
    assert said == [("Projects", "a project that is gone"), ("Provider key", "a key that is gone")]


def test_only_what_the_page_knows_is_saved(acme: Workspace, browser: Browser) -> None:
    save(browser, acme, "page=ledger&cursor=x&next=//evil.example&status=failed&from=2026-05-01&period=7&view=1&hour=")
    assert only(acme).query == {"period": "7", "status": "failed"}
    save(browser, acme, "page=overview&from=2026-05-01&to=2026-05-04&status=failed&by=model", "Days")
    assert stored(acme)[0].query == {"period": "custom", "from": "2026-05-01", "to": "2026-05-04", "by": "model"}
    save(browser, acme, "", "All of it")
    assert (stored(acme)[0].page, stored(acme)[0].query) == ("overview", {"period": "30"})


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("page=ledger&period=moon", 302),
        ("page=overview&project=" + str(uuid.UUID(int=1)), 302),
        ("page=ledger&model=a%00b", 302),
        ("page=//evil.example", 404),
    ],
)
def test_what_the_page_would_refuse_is_not_saved(acme: Workspace, browser: Browser, query: str, status: int) -> None:
    answer = save(browser, acme, query)
    assert answer.status_code == status
    if status == 302:
        assert answer["Location"].startswith("/o/")
        assert browser.get(answer["Location"]).status_code == 422
    assert stored(acme) == []


@pytest.mark.parametrize("data", [{"name": " "}, {"name": "x" * 81}, {"name": "a\0b"}, {"who": "nobody"}, {"who": ""}])
def test_a_name_and_whose_it_is_have_to_be_said(acme: Workspace, browser: Browser, data: dict[str, str]) -> None:
    answer = browser.post(acme.url("usage/views/new/?page=ledger"), {"name": "Mine", "who": "own", **data})
    assert answer.status_code == 422
    assert b'aria-invalid="true"' in answer.content or "Who sees it" in text_of(answer)
    assert stored(acme) == []


def test_private_views_are_there_for_their_owner_alone(
    acme: Workspace, browser: Browser, viewer: Member, globex: Workspace, charlie: Member
) -> None:
    theirs = viewer.browser()
    save(theirs, acme, "page=ledger&period=7", "Hers")
    view = only(acme)
    assert offered(theirs, acme) == ["Hers"]
    assert offered(browser, acme) == []
    for path in ("", "update", "delete"):
        url = acme.url(f"usage/views/{view.id}/{path}")
        assert browser.post(url, {"name": "Taken", "who": "all"}).status_code == 404
        assert charlie.browser().post(url).status_code == 404
        assert charlie.browser().post(globex.url(f"usage/views/{view.id}/{path}")).status_code == 404
    assert browser.get(acme.url(f"usage/views/{view.id}/")).status_code == 404
    # An address with somebody else's view is an address without one.
    assert browser.get(acme.url(f"ledger/?view={view.id}")).context["views"].current is None
    assert only(acme).name == "Hers"


def test_shared_views_are_everybodys_and_their_authors_and_managers_change_them(
    acme: Workspace, browser: Browser, viewer: Member
) -> None:
    theirs, other = viewer.browser(), acme.join("otto", Membership.Role.DEVELOPER).browser()
    save(theirs, acme, "page=overview&by=client", "Clients", "all")
    view = only(acme)
    url = acme.url(f"usage/views/{view.id}/")
    assert offered(browser, acme) == offered(other, acme) == offered(theirs, acme) == ["Clients"]
    assert other.get(url).status_code == 403
    assert other.post(f"{url}update?page=overview&by=model").status_code == 403
    assert other.post(f"{url}delete").status_code == 403
    assert only(acme).query["by"] == "client"
    assert "Rename, share or delete" not in text_of(other.get(acme.url("usage/?by=client")))

    for changer, by in ((theirs, "model"), (browser, "provider")):
        assert "Rename, share or delete" in text_of(changer.get(acme.url(f"usage/?by=client&view={view.id}")))
        assert changer.post(f"{url}update?page=overview&by={by}&period=7").status_code == 302
        assert only(acme).query == {"by": by, "period": "7"}
        assert changer.post(url, {"name": f"By {by}", "who": "all"}).status_code == 302
        assert only(acme).name == f"By {by}"
    # Not shared any more, it is its author's.
    assert browser.post(url, {"name": "Hers", "who": "own"}).status_code == 302
    assert offered(browser, acme) == []
    assert offered(theirs, acme) == ["Hers"]
    assert theirs.post(f"{url}delete")["Location"] == acme.url("usage/?by=provider&period=7")
    assert stored(acme) == []


def test_what_happens_to_shared_views_stands_in_the_trail(acme: Workspace, browser: Browser) -> None:
    def trail() -> list[str]:
        with tenant_scope(acme.organization):
            found = list(Entry.objects.filter(action__startswith="view.").order_by("created_at", "id"))
            assert {entry.actor for entry in found} <= {acme.owner.user.email}
            # What a view asks for may be a label.
            assert "ada" not in str([(entry.subject, entry.detail) for entry in found])
            return ["".join(part.text for part in line(entry).parts) for entry in found]

    def change(name: str, who: str) -> None:
        assert browser.post(url, {"name": name, "who": who}).status_code == 302

    save(browser, acme, "page=ledger&user=ada", "Calls")
    url = acme.url(f"usage/views/{only(acme).id}/")
    change("Her calls", "own")
    browser.post(f"{url}update?page=ledger&session=ada")
    assert trail() == []
    change("Team", "all")
    change("Team", "all")
    change("Everybody", "all")
    browser.post(f"{url}update?page=ledger&user=ada")
    change("Mine", "own")
    browser.post(f"{url}delete")
    save(browser, acme, "page=ledger&user=ada", "Costs", "all")
    assert save(browser, acme, "page=ledger&user=ada", "Costs", "all").status_code == 422
    browser.post(acme.url(f"usage/views/{only(acme).id}/delete"))
    assert trail() == [
        "shared the view Team",
        "renamed the shared view Team to Everybody",
        "changed what the shared view Everybody shows",
        "stopped sharing the view Everybody",
        "shared the view Costs",
        "deleted the shared view Costs",
    ]


def test_a_view_that_is_not_what_is_shown_can_be_updated(acme: Workspace, browser: Browser) -> None:
    save(browser, acme, "page=ledger&period=month", "The month")
    view = only(acme)
    page = browser.get(acme.url(f"ledger/?period=month&provider=openai&view={view.id}"))
    assert page.context["views"].is_changed
    assert "The month" in text_of(page)
    assert "changed" in text_of(page)
    [action] = re.findall(r'action="([^"]*/update\?[^"]*)"', page.content.decode())
    after = browser.get(browser.post(unescape(action))["Location"])
    assert not after.context["views"].is_changed
    assert only(acme).query == {"period": "month", "provider": "openai"}
    # Another page's view is none of this one's.
    assert browser.get(acme.url(f"usage/?view={view.id}")).context["views"].current is None
    assert browser.get(acme.url("usage/?view=nonsense")).context["views"].current is None
    # What can't be shown is no update.
    assert browser.post(acme.url(f"usage/views/{view.id}/update?page=ledger&period=moon")).status_code == 302
    assert only(acme).query == {"period": "month", "provider": "openai"}


def test_names_are_one_persons_or_the_organizations(acme: Workspace, browser: Browser, viewer: Member) -> None:
    theirs = viewer.browser()
    for each in (browser, theirs):
        assert save(each, acme, "", "Cost").status_code == 302
    assert save(browser, acme, "page=ledger", "Cost").status_code == 422
    assert save(theirs, acme, "", "Cost", "all").status_code == 302
    refused = save(browser, acme, "", "Cost", "all")
    assert "There is a view of this name already" in text_of(refused)
    assert save(browser, acme, "", "Other").status_code == 302
    with tenant_scope(acme.organization):
        other = SavedView.objects.get(name="Other")
    for who in ("own", "all"):
        answer = browser.post(acme.url(f"usage/views/{other.id}/"), {"name": "Cost", "who": who})
        assert answer.status_code == 422
    assert len(stored(acme)) == 4


def test_there_is_a_bound(acme: Workspace, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_views, "MOST_OWN", 2)
    monkeypatch.setattr(saved_views, "MOST_SHARED", 1)
    for name in ("A", "B"):
        assert save(browser, acme, "", name).status_code == 302
    assert "There are 2 personal views, which is the most" in text_of(save(browser, acme, "", "C"))
    assert save(browser, acme, "", "C", "all").status_code == 302
    assert "There are 1 shared views" in text_of(save(browser, acme, "", "D", "all"))
    view = stored(acme)[0]
    # At the bound, what is there can be renamed, and not shared.
    assert browser.post(acme.url(f"usage/views/{view.id}/"), {"name": "Z", "who": "own"}).status_code == 302
    assert browser.post(acme.url(f"usage/views/{view.id}/"), {"name": "Z", "who": "all"}).status_code == 422
    assert [view.name for view in stored(acme)] == ["B", "C", "Z"]


def test_who_leaves_takes_their_own_views_along(acme: Workspace, alice: Member, viewer: Member) -> None:
    theirs = viewer.browser()
    save(theirs, acme, "", "Hers")
    save(theirs, acme, "", "Everybody's", "all")
    with tenant_scope(acme.organization):
        remove_member(actor=member(acme, alice), membership_id=member(acme, viewer).pk)
    assert [view.name for view in stored(acme)] == ["Everybody's"]
    assert alice.browser().post(acme.url(f"usage/views/{only(acme).id}/delete")).status_code == 302


def test_a_view_of_what_is_gone_says_so(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        project = create_project(name="Gone")
        save(browser, acme, f"page=ledger&project={project.id}")
        project.delete()
    view = only(acme)
    assert "is not there any more" in text_of(browser.get(acme.url(f"usage/views/{view.id}/")))
    assert browser.get(acme.url(f"ledger/?project={project.id}&view={view.id}")).status_code == 422
    assert offered(browser, acme) == ["Mine"]


def test_two_at_once_are_one(committed: tuple[Workspace, Workspace], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_views, "MOST_OWN", 2)
    acme, heard = committed[0], list[str]()
    someone = acme.join("twice", Membership.Role.VIEWER)
    own, start = member(acme, someone), threading.Barrier(6)

    def attempt(name: str) -> None:
        try:
            start.wait()
            with tenant_scope(acme.organization):
                saved_views.save(page="ledger", query={"period": "7"}, name=name, is_shared=False, member=own)
            heard.append("saved")
        except (ViewExistsError, TooManyViewsError) as error:
            heard.append(error.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=attempt, args=(name,)) for name in ("one", "one", "one", "two", "three", "four")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with tenant_scope(acme.organization):
        mine = SavedView.objects.filter(owner_id=someone.user.id)
        assert mine.count() == heard.count("saved") == 2
        mine.delete()
