"""Newer list prices: read, shown, and in force only once somebody or the rule approves."""

import json
import logging
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, transaction
from pytest_django import DjangoDbBlocker, Settings

from apps.accounts.models import User
from apps.pricing.dated import AgreementError, NoAgreementError
from apps.pricing.feeds import genai, litellm
from apps.pricing.feeds.base import FeedError, Rate
from apps.pricing.meters import Meter
from apps.pricing.models import ModelAlias, Price, PriceSnapshot, UnpricedModel
from apps.pricing.rating import Reason, rate_by
from apps.pricing.refresh import (
    DecidedError,
    News,
    NoSnapshotError,
    Refreshed,
    StaleDiffError,
    approve,
    refresh,
    refresh_all,
    reject,
    restore,
)
from apps.pricing.selectors import load_book
from apps.pricing.services import PriceImport, import_prices
from apps.pricing.staff import end_list_price, set_list_price
from apps.pricing.staff_users import NotStaffError
from apps.pricing.tasks import refresh_prices
from apps.pricing.unpriced import Noted, note_unpriced, unpriced_models
from tests.pricing.paper import PaperFeed, document, entry, make_wheel

pytestmark = pytest.mark.django_db

TOKENS = {Meter.INPUT: 1_000_000}
NEW = datetime(2027, 6, 1, tzinfo=UTC)
PENDING, APPROVED, REJECTED, SUPERSEDED = PriceSnapshot.Status
# The one who is staff.
OPS = "ops@example.com"


@pytest.fixture(scope="module")
def empty_table(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Somebody who is staff, and none of the lists that other tests' fixtures have imported: emptied once, since deleting them takes as long as
    many tests, and rolled back after the last test of this file. Each test has a savepoint of its own in it."""
    with django_db_blocker.unblock(), transaction.atomic():
        for table in (Price, ModelAlias, PriceSnapshot):
            table._default_manager.all().delete()
        User.objects.create_user(OPS, None, is_staff=True)
        yield
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def nothing_else(empty_table: None, paper: PaperFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper feed is all there is."""
    monkeypatch.setattr("apps.pricing.refresh.FEEDS", {paper.source: paper})


def model(name: str = "m", **prices: Any) -> dict[str, Any]:
    return {"id": name, "prices": [entry({f"{key}_mtok": price for key, price in prices.items()})]}


def released(paper: PaperFeed, *models: dict[str, Any]) -> PriceSnapshot:
    paper.document = document(*models)
    return import_prices(source=paper.source).snapshot


def refreshed(paper: PaperFeed, *models: dict[str, Any]) -> Refreshed:
    paper.document = document(*models)
    return refresh(paper)


def cost(name: str = "m", at: datetime = NEW) -> Decimal | None:
    return rate_by(load_book(), "testco", name, TOKENS, at).cost


# --- What is found ---


def test_nothing_changes_before_approval(paper: PaperFeed) -> None:
    released(paper, model(input="5", output="30"))
    found = refreshed(paper, model(input="7", output="30"))
    assert (found.news, found.snapshot.status, found.snapshot.approved_at) == (News.PENDING, PENDING, None)
    assert cost() == 5
    assert found.snapshot.diff == {
        "changes": [
            {
                "model": "testco:m",
                "meter": "input",
                "tier_above": 0,
                "variant": {},
                "hours": "",
                "from": None,
                "kind": "changed",
                "old": "5 USD/1000000",
                "new": "7 USD/1000000",
                "percent": "40.0",
            }
        ],
        "names": [],
        "rules": [],
        "models_new": [],
        "prices_new": [],
        "names_priced": [],
        "models_gone": [],
    }
    done = approve(snapshot_id=found.snapshot.pk, by=OPS)
    assert (done.prices_opened, done.prices_closed) == (1, 1)
    assert cost() == 7
    snapshot = PriceSnapshot.objects.get(pk=found.snapshot.pk)
    assert (snapshot.status, snapshot.decided_by) == (APPROVED, OPS)
    assert snapshot.approved_at
    assert cost(at=snapshot.approved_at - timedelta(microseconds=1)) == 5
    assert load_book().snapshot_id == snapshot.pk


def test_news_is_found_once(paper: PaperFeed) -> None:
    first = released(paper, model(input="5"))
    assert refresh(paper) == Refreshed(first, News.NOTHING)
    found = refreshed(paper, model(input="9"))
    assert refresh(paper) == Refreshed(found.snapshot, News.PENDING)
    reject(snapshot_id=found.snapshot.pk, by=OPS, note="a slip upstream")
    again = refresh(paper)
    assert (again.news, again.snapshot.status, again.snapshot.note) == (News.NOTHING, REJECTED, "a slip upstream")
    assert cost() == 5


def test_a_newer_state_supersedes_one_that_waits(paper: PaperFeed) -> None:
    released(paper, model(input="5"))
    first = refreshed(paper, model(input="9")).snapshot
    second = refreshed(paper, model(input="8")).snapshot
    first.refresh_from_db()
    assert (first.status, second.status) == (SUPERSEDED, PENDING)
    with pytest.raises(DecidedError):
        approve(snapshot_id=first.pk, by=OPS)
    # Upstream goes back: the superseded one waits again.
    third = refreshed(paper, model(input="9")).snapshot
    assert (third.pk, third.status) == (first.pk, PENDING)
    second.refresh_from_db()
    assert second.status == SUPERSEDED
    with pytest.raises(IntegrityError), transaction.atomic():
        PriceSnapshot.objects.filter(pk=second.pk).update(status=PENDING)


def test_what_was_decided_or_never_was_can_not_be_decided(paper: PaperFeed) -> None:
    first = released(paper, model(input="5"))
    for decide in (approve, reject):
        with pytest.raises(DecidedError):
            decide(snapshot_id=first.pk, by=OPS)
        with pytest.raises(NoSnapshotError):
            decide(snapshot_id=10**9, by=OPS)


def test_staff_decide_and_nobody_else(paper: PaperFeed) -> None:
    released(paper, model(input="5"))
    waiting = refreshed(paper, model(input="9")).snapshot
    User.objects.create_user("user@example.com", None)
    User.objects.create_user("left@example.com", None, is_staff=True, is_active=False)
    for nobody in ("", " ", "rule", "release", "\0", "ops", "user@example.com", "left@example.com"):
        for decide in (approve, reject):
            with pytest.raises(NotStaffError):
                decide(snapshot_id=waiting.pk, by=nobody)
        with pytest.raises(NotStaffError):
            restore(snapshot_id=waiting.pk, by=nobody, note="no")
        with pytest.raises(NotStaffError):
            put(by=nobody)
        with pytest.raises(NotStaffError):
            end_list_price(provider="testco", model="m", by=nobody, note="no")
    assert cost() == 5
    assert approve(snapshot_id=waiting.pk, by=" OPS@Example.com ").snapshot.decided_by == OPS


def test_an_approval_is_of_the_diff_that_was_looked_at(paper: PaperFeed) -> None:
    released(paper, model(input="5"))
    waiting = refreshed(paper, model(input="9")).snapshot
    # A deployment brings other prices meanwhile.
    released(paper, model(input="6"))
    with pytest.raises(StaleDiffError):
        approve(snapshot_id=waiting.pk, by=OPS)
    waiting.refresh_from_db()
    assert waiting.status == PENDING
    assert waiting.diff
    assert waiting.diff["changes"][0]["old"] == "6 USD/1000000"
    assert cost() == 6
    approve(snapshot_id=waiting.pk, by=OPS)
    assert cost() == 9


def test_a_release_with_an_older_package_does_not_undo_a_refresh(
    paper: PaperFeed, caplog: pytest.LogCaptureFixture
) -> None:
    paper.version = "1.9"
    released(paper, model(input="5"))
    paper.version = "1.10"
    newest = refreshed(paper, model(input="5.5")).snapshot
    assert newest.decided_by == "rule"
    paper.version = "1.9.1"
    with caplog.at_level(logging.WARNING):
        assert released(paper, model(input="4")) == newest
    assert "stays in force" in caplog.text
    assert cost() == Decimal("5.5")


def test_an_older_release_in_the_index_is_nothing_new(paper: PaperFeed, caplog: pytest.LogCaptureFixture) -> None:
    paper.version = "1.10"
    newest = released(paper, model(input="5"))
    paper.version = "1.9"
    with caplog.at_level(logging.WARNING):
        assert refreshed(paper, model(input="5.5")) == Refreshed(newest, News.NOTHING)
    assert "stays in force" in caplog.text
    assert not PriceSnapshot.objects.filter(source_version="1.9").exists()
    paper.version = "1.10.1"
    assert refreshed(paper, model(input="5.5")).news is News.APPROVED


def test_a_release_passes_over_what_staff_rejected(paper: PaperFeed, caplog: pytest.LogCaptureFixture) -> None:
    first = released(paper, model(input="5"))
    paper.version = "2"
    waiting = refreshed(paper, model(input="900")).snapshot
    reject(snapshot_id=waiting.pk, by=OPS, note="a slip upstream")
    with caplog.at_level(logging.WARNING):
        assert import_prices(source=paper.source) == PriceImport(waiting, is_new=False)
    assert f"was rejected by {OPS}" in caplog.text
    out = StringIO()
    call_command("import_prices", stdout=out)
    assert out.getvalue().endswith(f": rejected by {OPS}, nothing changed.\n")
    assert cost() == 5
    assert load_book().snapshot_id == first.pk
    waiting.refresh_from_db()
    assert (waiting.status, waiting.approved_at) == (REJECTED, None)


# --- The way back ---


def test_an_approval_is_undone_from_now_on(paper: PaperFeed, caplog: pytest.LogCaptureFixture) -> None:
    first = released(paper, model("gpt-5", input="5"))
    paper.version = "2"
    pro = rules("gpt-5-pro", {"contains": "gpt-5"}, input="900")
    second = refreshed(paper, pro, model("gpt-5", input="6")).snapshot
    approve(snapshot_id=second.pk, by=OPS)
    assert cost("gpt-5") == 900

    done = restore(snapshot_id=first.pk, by=OPS, note="a slip upstream")
    third = PriceSnapshot.objects.get(pk=done.snapshot.pk)
    assert (done.prices_opened, done.prices_closed) == (1, 1)
    assert (third.status, third.restores, third.decided_by, third.note) == (APPROVED, first, OPS, "a slip upstream")
    assert (third.source_version, third.sha256) == ("1", first.sha256)
    assert (third.diff or {})["names"][0]["new"] == "testco:gpt-5 (paper)"
    assert load_book().snapshot_id == third.pk
    assert cost("gpt-5") == 5
    # What it cost meanwhile stays, as do models that came with it.
    assert third.approved_at
    assert cost("gpt-5", at=third.approved_at - timedelta(microseconds=1)) == 6
    assert cost("gpt-5-pro") == 900
    first.refresh_from_db()
    assert first.status == APPROVED

    # Neither the next refresh nor the next release brings back what was undone; a newer one comes as ever.
    assert refresh(paper).news is News.NOTHING
    with caplog.at_level(logging.WARNING):
        assert not import_prices(source=paper.source).is_new
    assert "stays in force" in caplog.text
    assert cost("gpt-5") == 5
    paper.version = "3"
    pro = rules("gpt-5-pro", {"equals": "gpt-5-pro"}, input="900")
    assert refreshed(paper, model("gpt-5", input="5.5"), pro).news is News.APPROVED
    # The first's document is found in whatever was decided on it last.
    paper.version = "1"
    assert refreshed(paper, model("gpt-5", input="5")) == Refreshed(third, News.NOTHING)


def test_a_rejection_can_be_taken_back(paper: PaperFeed) -> None:
    released(paper, model(input="5"))
    waiting = refreshed(paper, model(input="9")).snapshot
    reject(snapshot_id=waiting.pk, by=OPS, note="a slip upstream")
    command("restore", str(waiting.pk), "--by", OPS, "--note", "it was none")
    assert cost() == 9
    assert f"restores {waiting.pk}" in command("list")
    assert refresh(paper).news is News.NOTHING
    assert not import_prices(source=paper.source).is_new


def test_what_can_not_be_restored(paper: PaperFeed) -> None:
    first = released(paper, model(input="5"))
    old = refreshed(paper, model(input="9")).snapshot
    waiting = refreshed(paper, model(input="10")).snapshot
    for snapshot in (first, old, waiting, put()):
        with pytest.raises(DecidedError):
            restore(snapshot_id=snapshot.pk, by=OPS, note="no")
    with pytest.raises(NoSnapshotError):
        restore(snapshot_id=10**9, by=OPS, note="no")
    with pytest.raises(IntegrityError), transaction.atomic():
        PriceSnapshot.objects.filter(pk=old.pk).update(sha256=first.sha256)
    approve(snapshot_id=waiting.pk, by=OPS)
    PriceSnapshot.objects.filter(pk=first.pk).update(document=zlib.compress(b'{"format": "of yore"}'))
    with pytest.raises(CommandError, match="format"):
        command("restore", str(first.pk), "--by", OPS, "--note", "no")


# --- Who hears of it ---


def test_staff_are_told_once_of_what_waits(
    paper: PaperFeed, mailoutbox: list[EmailMessage], caplog: pytest.LogCaptureFixture
) -> None:
    User.objects.create_user("user@example.com", None)
    User.objects.create_user("left@example.com", None, is_staff=True, is_active=False)
    User.objects.create_user("also@example.com", None, is_staff=True)
    names = [f"m-{number:02}" for number in range(20)]
    released(paper, *(model(name, input="5") for name in names))
    assert not mailoutbox
    dearer = [model(name, input="5.5") for name in names]
    dearer[7] = model("m-07", input="50")
    with caplog.at_level(logging.WARNING):
        waiting = refreshed(paper, *dearer, model("n", input="1")).snapshot
    assert f"{waiting} waits for approval: 20 prices, " in caplog.text
    assert [mail.to for mail in mailoutbox] == [["also@example.com"], [OPS]]
    mail = mailoutbox[1]
    assert mail.subject == "List prices wait for approval: paper 1"
    lines = [line.strip() for line in str(mail.body).splitlines()]
    # Worst first, and not all of it.
    assert lines[2] == "changed testco:m-07 input: 5 USD/1000000 -> 50 USD/1000000 (+900.0 %)"
    assert lines[3] == "changed testco:m-00 input: 5 USD/1000000 -> 5.5 USD/1000000 (+10.0 %)"
    assert "and 10 more" in lines
    assert f"manage.py prices approve {waiting.pk} --by {OPS}" in lines
    assert len(lines) < 25
    # Still there next week: in the log, not in the mail.
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert refresh(paper).news is News.PENDING
    assert "waits for approval" in caplog.text
    assert len(mailoutbox) == 2
    # What approves itself needs nobody.
    assert refreshed(paper, *(model(name, input="5.5") for name in names)).news is News.APPROVED
    assert len(mailoutbox) == 2


def test_a_refresh_needs_no_mail(
    paper: PaperFeed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: EmailMessage) -> int:
        raise OSError("no route to host")

    monkeypatch.setattr(EmailMessage, "send", refuse)
    released(paper, model(input="5"))
    assert refreshed(paper, model(input="9")).news is News.PENDING
    assert f"Could not mail {OPS}" in caplog.text
    User.objects.update(is_staff=False)
    assert refreshed(paper, model(input="10")).news is News.PENDING
    assert "Nobody is staff" in caplog.text


# --- The rule ---


@pytest.mark.parametrize(
    ("newer", "approved"),
    [
        ([model(input="6", output="30")], True),
        ([model(input="4", output="30")], True),
        ([model(input="6.01", output="30")], False),
        ([model(input="3.99", output="30")], False),
        # More models, all for the better.
        ([model(input="5", output="30"), model("n", input="900")], True),
        # A price that ends, a model that is gone.
        ([model(input="5")], False),
        ([model("n", input="5")], False),
        # Cached tokens cost what input does until now.
        ([model(input="5", output="30", cache_read="4.5")], True),
        ([model(input="5", output="30", cache_read="0.5")], False),
        # A tier, a variant: against what such calls cost until now.
        ([model(input={"base": "5", "tiers": [{"start": 200_000, "price": "5.5"}]}, output="30")], True),
        ([model(input={"base": "5", "tiers": [{"start": 200_000, "price": "10"}]}, output="30")], False),
        # Another rule for its name.
        ([{**model(input="5", output="30"), "match": {"starts_with": "m"}}], True),
    ],
)  # fmt: skip
def test_small_changes_approve_themselves(paper: PaperFeed, newer: list[dict[str, Any]], approved: bool) -> None:
    released(paper, model(input="5", output="30"))
    found = refreshed(paper, *newer)
    assert (found.news is News.APPROVED) == approved
    assert found.snapshot.status == (APPROVED if approved else PENDING)
    assert found.snapshot.decided_by == ("rule" if approved else "")


def test_the_rules_limits_are_settings(paper: PaperFeed, settings: Settings) -> None:
    released(paper, model(input="5"), model("n", input="5"))
    settings.PRICE_AUTO_APPROVE_CHANGES = 1
    assert refreshed(paper, model(input="5.5"), model("n", input="5.5")).news is News.PENDING
    assert refreshed(paper, model(input="5.5"), model("n", input="5")).news is News.APPROVED
    settings.PRICE_AUTO_APPROVE_PERCENT = 0
    assert refreshed(paper, model(input="5.6"), model("n", input="5")).news is News.PENDING


def test_a_free_model_that_gets_a_price_waits(paper: PaperFeed) -> None:
    released(paper, model(input="0"))
    found = refreshed(paper, model(input="0.01"))
    assert found.news is News.PENDING
    assert found.snapshot.diff
    assert found.snapshot.diff["changes"][0]["percent"] is None


def test_dates_of_the_feed_are_shown(paper: PaperFeed) -> None:
    released(paper, model(input="5"))
    later = {"id": "m", "prices": [entry({"input_mtok": "5"}), entry({"input_mtok": "10"}, start_date="2027-01-01")]}
    (change,) = (refreshed(paper, later).snapshot.diff or {})["changes"]
    assert (change["from"], change["kind"], change["percent"]) == ("2027-01-01T00:00:00+00:00", "changed", "100.0")
    gone = refreshed(paper, model("n", input="5")).snapshot.diff or {}
    assert (gone["models_new"], gone["models_gone"], gone["changes"]) == (["testco:n"], ["testco:m"], [])


# --- Which model a name is ---


def called(*names: str) -> None:
    note_unpriced([("testco", name, Reason.UNKNOWN_MODEL) for name in names])


def rules(name: str, rule: dict[str, Any], **prices: Any) -> dict[str, Any]:
    return {**model(name, **prices), "match": rule}


def test_a_new_model_that_takes_over_a_name_changes_what_it_costs(paper: PaperFeed) -> None:
    released(paper, model("gpt-5", input="5"))
    found = refreshed(paper, rules("gpt-5-pro", {"contains": "gpt-5"}, input="900"), model("gpt-5", input="5"))
    assert found.news is News.PENDING
    diff = found.snapshot.diff or {}
    assert diff["names"] == [{"name": "testco:gpt-5", "old": "testco:gpt-5 (paper)", "new": "testco:gpt-5-pro (paper)"}]
    (change,) = diff["changes"]
    assert (change["model"], change["old"], change["new"]) == ("testco:gpt-5", "5 USD/1000000", "900 USD/1000000")
    assert (change["kind"], change["percent"], change["from"]) == ("changed", "17900.0", None)
    assert diff["models_new"] == ["testco:gpt-5-pro"]
    (new,) = diff["prices_new"]
    assert (new["model"], new["kind"], new["old"], new["new"]) == (
        "testco:gpt-5-pro",
        "new",
        None,
        "900 USD/1000000",
    )
    assert cost("gpt-5") == 5
    approve(snapshot_id=found.snapshot.pk, by=OPS)
    assert cost("gpt-5") == 900


@pytest.mark.parametrize(
    ("before", "after", "named", "approved"),
    [
        # Two rules that find one name change places: the same price, another one.
        ([("a", {"contains": "x"}, "5"), ("b", {"starts_with": "x"}, "5")], "ba", {"testco:x": "b"}, True),
        ([("a", {"contains": "x"}, "5"), ("b", {"starts_with": "x"}, "9")], "ba", {"testco:x": "b"}, False),
        # They find no name in common that is known: only the order is another.
        ([("a", {"equals": "x"}, "5"), ("b", {"equals": "y"}, "9")], "ba", {}, True),
    ],
)
def test_the_order_of_rules_counts(
    paper: PaperFeed,
    before: list[tuple[str, dict[str, Any], str]],
    after: str,
    named: dict[str, str],
    approved: bool,
) -> None:
    models = {name: rules(name, rule, input=price) for name, rule, price in before}
    released(paper, *models.values())
    found = refreshed(paper, *(models[name] for name in after))
    diff = found.snapshot.diff or {}
    assert {name["name"]: name["new"] for name in diff["names"]} == {
        name: f"testco:{new} (paper)" for name, new in named.items()
    }
    assert len(diff["rules"]) == 1
    assert (found.news is News.APPROVED) == approved


def test_an_order_that_changes_is_counted(paper: PaperFeed, settings: Settings) -> None:
    settings.PRICE_AUTO_APPROVE_CHANGES = 0
    one, two, three = (model(name, input="5") for name in ("a", "b", "c"))
    released(paper, one, two, three)
    # A new one in between moves nothing.
    assert refreshed(paper, one, model("d", input="5"), two, three).news is News.APPROVED
    found = refreshed(paper, three, one, model("d", input="5"), two)
    assert (found.news, (found.snapshot.diff or {})["rules"]) == (News.PENDING, ["testco: testco:c"])


def test_a_name_that_loses_its_price_waits(paper: PaperFeed) -> None:
    released(paper, rules("m", {"starts_with": "m"}, input="5"))
    called("m-2")
    found = refreshed(paper, model(input="5"))
    assert found.news is News.PENDING
    assert (found.snapshot.diff or {})["names"] == [{"name": "testco:m-2", "old": "testco:m (paper)", "new": None}]
    assert "without a price: testco:m-2, was testco:m (paper)" in command("diff", str(found.snapshot.pk))


def test_what_was_called_without_a_price_and_gets_one_is_shown(paper: PaperFeed, settings: Settings) -> None:
    released(paper, model(input="5"))
    called("B-1", "c")
    newer = (model(input="5"), rules("b", {"starts_with": "b"}, input="900"))
    settings.PRICE_AUTO_APPROVE_CHANGES = 0
    found = refreshed(paper, *newer)
    diff = found.snapshot.diff or {}
    assert (diff["changes"], diff["names"]) == ([], [])
    assert diff["names_priced"] == [{"name": "testco:b-1", "old": None, "new": "testco:b (paper)"}]
    assert found.news is News.PENDING
    # More of them come in all the time: that makes no diff stale.
    called("b-2")
    approve(snapshot_id=found.snapshot.pk, by=OPS)
    assert [row.model for row in unpriced_models()] == ["c"]
    # No amount that was known changes: the number counts, not the price.
    settings.PRICE_AUTO_APPROVE_CHANGES = 1
    assert refreshed(paper, *newer, model("c", input="900")).news is News.APPROVED


def test_a_name_is_what_all_lists_make_of_it(paper: PaperFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What staff priced no feed changes; what only a later list had the feed takes over."""
    later = PaperFeed()
    later.source = "later"
    monkeypatch.setattr("apps.pricing.services.FEEDS", {paper.source: paper, later.source: later})
    monkeypatch.setattr("apps.pricing.selectors.PRECEDENCE", ("staff", "paper", "later"))
    released(paper, model(input="5"))
    later.document = document(model("n", input="1"))
    import_prices(source=later.source)
    put("o", "1")
    found = refreshed(paper, model(input="5"), model("n", input="9"), model("o", input="9"))
    diff = found.snapshot.diff or {}
    assert diff["names"] == [{"name": "testco:n", "old": "testco:n (later)", "new": "testco:n (paper)"}]
    assert [(change["model"], change["percent"]) for change in diff["changes"]] == [("testco:n", "800.0")]
    assert found.news is News.PENDING


def test_another_providers_batches_are_none_of_the_name(paper: PaperFeed) -> None:
    """A name that becomes a model of the provider it falls back to is compared by what it is charged there."""
    batches = [{"when": {"processing": "batch"}, **entry({"input_mtok": "1"})}]
    owner = {"id": "owner", "fallback_model_providers": []}
    asked = {"id": "testco", "fallback_model_providers": ["owner"]}
    theirs = {"id": "x", "match": {"starts_with": "x"}, "prices": [entry({"input_mtok": "5"})], "price_variants": []}
    ours = {"id": "x-1", "match": {"equals": "x-1"}, "prices": [entry({"input_mtok": "5.5"})], "price_variants": []}

    def put_up(*models: dict[str, Any]) -> None:
        providers = [{**owner, "models": [{**theirs, "price_variants": batches}]}, {**asked, "models": list(models)}]
        paper.document = json.dumps({"format": genai.FORMAT, "providers": providers}).encode()

    put_up()
    import_prices(source=paper.source)
    put_up(ours)
    found = refresh(paper)
    (change,) = (found.snapshot.diff or {})["changes"]
    assert (change["model"], change["variant"], change["percent"]) == ("testco:x-1", {}, "10.0")
    assert found.news is News.APPROVED


# --- Feeds that fail ---


class BrokenFeed(PaperFeed):
    source = "broken"

    def newest(self) -> tuple[str, bytes]:
        raise FeedError("pip could not get it: no route to host")


def test_an_index_that_can_not_be_reached_changes_nothing(
    paper: PaperFeed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released(paper, model(input="5"))
    monkeypatch.setattr("apps.pricing.refresh.FEEDS", {"broken": BrokenFeed(), paper.source: paper})
    paper.document = document(model(input="5.5"))
    before = PriceSnapshot.objects.count()
    results = refresh_all()
    assert isinstance(results["broken"], FeedError)
    assert results[paper.source].news is News.APPROVED  # type: ignore[union-attr]
    assert PriceSnapshot.objects.count() == before + 1
    assert "stay as they are: pip could not get it" in caplog.text
    assert refresh_prices() == {"broken": "failed", "paper": "nothing"}
    with pytest.raises(CommandError, match="Not every feed"):
        call_command("prices", "refresh", stdout=StringIO(), stderr=StringIO())


def test_data_that_is_not_understood_makes_no_snapshot(paper: PaperFeed) -> None:
    before = PriceSnapshot.objects.count()
    with pytest.raises(FeedError):
        refreshed(paper, {"id": "m", "prices": [entry({"unheard_of": "1"})]})
    assert PriceSnapshot.objects.count() == before


def test_both_feeds_from_an_index(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: wheels, the documents in them, snapshots."""
    source = (
        "from decimal import Decimal\nfrom .types import *\nproviders: list[Provider] = [Provider(id='testco',"
        " name='T', api_pattern='t', models=[ModelInfo(id='m', match=ClauseEquals(equals='m'),"
        " prices=ModelPrice(input_mtok=Decimal('2')))])]"
    )
    make_wheel(index, "genai_prices", "9.0.0", {"genai_prices/data.py": source.encode()})
    prices = b'{"nebius/n": {"litellm_provider": "nebius", "input_cost_per_token": 3e-06}}'
    make_wheel(index, "litellm", "9.0.0", {litellm.MEMBER: prices})
    monkeypatch.setattr("apps.pricing.refresh.FEEDS", {feed.source: feed for feed in (genai.FEED, litellm.FEED)})
    results = refresh_all()
    assert [found.news for found in results.values()] == [News.APPROVED, News.APPROVED]  # type: ignore[union-attr]
    book = load_book()
    assert rate_by(book, "testco", "m", TOKENS, NEW).cost == 2
    second = rate_by(book, "nebius", "n", TOKENS, NEW)
    assert (second.cost, second.rule) == (Decimal(3), "list:litellm")


# --- Staff's own prices and the queue ---


def put(name: str = "m", price: str = "1", **rest: Any) -> PriceSnapshot:
    given: dict[str, Any] = {"prices": {Meter.INPUT: Rate(Decimal(price), 1_000_000)}, "by": OPS, **rest}
    return set_list_price(**{"provider": "testco", "model": name, "note": "price page", **given})


def test_staffs_price_goes_before_the_feeds_until_it_ends(paper: PaperFeed) -> None:
    released(paper, model(input="5"))
    snapshot = put()
    rating = rate_by(load_book(), "testco", "m", TOKENS, NEW)
    assert (rating.cost, rating.rule, rating.snapshot_id) == (Decimal(1), "list:staff", snapshot.pk)
    # The feed had a price: what came before stays as it was.
    assert snapshot.approved_at
    assert cost(at=snapshot.approved_at - timedelta(seconds=1)) == 5
    assert refreshed(paper, model(input="5.5")).news is News.APPROVED
    assert cost() == 1
    put(price="2", start=NEW + timedelta(days=1))
    assert [cost(at=NEW + timedelta(days=days)) for days in (0, 1)] == [1, 2]
    end_list_price(provider="testco", model="m", by=OPS, note="feed is right", start=NEW)
    assert [cost(at=NEW + timedelta(days=days)) for days in (-1, 0, 1)] == [1, Decimal("5.5"), Decimal("5.5")]
    with pytest.raises(NoAgreementError):
        end_list_price(provider="testco", model="m", by=OPS, note="again", start=NEW)


def test_a_model_no_feed_has_is_priced_for_all_time() -> None:
    put("unheard-of", "3")
    assert cost("unheard-of", at=datetime(2020, 1, 1, tzinfo=UTC)) == 3
    put("unheard-of", "4")
    assert [cost("unheard-of", at=at) for at in (datetime(2020, 1, 1, tzinfo=UTC), NEW)] == [3, 4]


@pytest.mark.parametrize(
    "wrong",
    [{"name": "*"}, {"name": ""}, {"prices": {}}, {"price": "-1"}, {"start": datetime(2026, 1, 1)}],  # noqa: DTZ001
)
def test_impossible_staff_prices_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(AgreementError):
        put(**wrong)


@pytest.mark.parametrize("provider", ["ollama", "vLLM"])
def test_a_list_price_of_a_self_hosted_model_is_refused(provider: str) -> None:
    """It would change nothing: such models cost nothing by rule, and have rates of organizations only."""
    with pytest.raises(AgreementError, match="sets its own price, on its page Prices"):
        put(provider=provider)
    assert not PriceSnapshot.objects.filter(source="staff").exists()


def test_the_queue_has_a_pair_once_and_pricing_takes_it_off(paper: PaperFeed) -> None:
    note_unpriced(
        [("TestCo", "a", "unknown_model"), ("testco", "a", "unknown_model"), ("testco", "b", "unknown_model")]
    )
    note_unpriced(
        [("testco", "c", "missing_usage"), ("testco", "", "unknown_model"), ("testco", "\0", "unknown_model")]
    )
    assert {(row.provider, row.model, row.reason) for row in unpriced_models()} == {
        ("testco", "a", "unknown_model"),
        ("testco", "b", "unknown_model"),
    }
    put("a")
    assert [row.model for row in unpriced_models()] == ["b"]
    # A feed that has it takes it off, once in force.
    released(paper, model(input="5"))
    waiting = refreshed(paper, model(input="50"), model("b", input="1"))
    assert waiting.news is News.PENDING
    assert [row.model for row in unpriced_models()] == ["b"]
    approve(snapshot_id=waiting.snapshot.pk, by=OPS)
    assert not unpriced_models()


def test_a_missing_meter_comes_off_when_its_model_is_priced_anew() -> None:
    put("a")
    put("b")
    note_unpriced([("testco", name, Reason.NO_METER_PRICE) for name in "ab"])
    put("a", prices={Meter.INPUT: Rate(Decimal(1), 1), Meter.WEB_SEARCH: Rate(Decimal(1), 1_000)})
    assert [row.model for row in unpriced_models()] == ["b"]


def test_a_pair_is_written_once_an_hour(django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("apps.pricing.unpriced._noted", Noted(lambda: now))
    pair = ("testco", "a", "unknown_model")
    note_unpriced([pair])
    first = UnpricedModel.objects.get()
    UnpricedModel.objects.update(
        first_seen=first.first_seen - timedelta(days=1), last_seen=first.last_seen - timedelta(days=1)
    )
    now = 3_599.0
    with django_assert_num_queries(0):
        note_unpriced([pair] * 50)
    now = 3_600.0
    note_unpriced([pair])
    again = UnpricedModel.objects.get()
    assert again.last_seen - again.first_seen >= timedelta(days=1)


def test_the_memory_and_the_queue_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.pricing.unpriced.MEMORY", 5)
    monkeypatch.setattr("apps.pricing.unpriced.LONGEST_QUEUE", 8)
    noted = Noted()
    monkeypatch.setattr("apps.pricing.unpriced._noted", noted)
    for number in range(20):
        note_unpriced([("testco", f"made-up-{number}", "unknown_model")])
    assert len(noted._written) == 5
    assert UnpricedModel.objects.count() == 8
    # Known pairs are still brought up to date.
    note_unpriced([("testco", "made-up-0", "no_meter_price")])
    assert UnpricedModel.objects.get(model="made-up-0").reason == "no_meter_price"


# --- The command ---


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("prices", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_the_command_goes_all_the_way(paper: PaperFeed) -> None:
    released(paper, model(input="5"))
    paper.document = document(model(input="9"), model("n", input="1"))
    assert command("refresh").startswith("paper: pending, ")
    waiting = PriceSnapshot.objects.get(status=PENDING)
    assert "pending" in command("list")
    shown = command("diff", str(waiting.pk))
    assert "changed testco:m input: 5 USD/1000000 -> 9 USD/1000000 (+80.0 %)" in shown
    assert "new: testco:n" in shown
    assert "new testco:n input: none -> 1 USD/1000000" in shown
    assert '"models_new": [' in command("diff", str(waiting.pk), "--json")
    assert "1 closed" in command("approve", str(waiting.pk), "--by", OPS)
    assert cost() == 9
    with pytest.raises(CommandError, match="only a pending one"):
        command("reject", str(waiting.pk), "--by", OPS)
    paper.document = document(model(input="90"))
    command("refresh")
    waiting = PriceSnapshot.objects.get(status=PENDING)
    assert "rejected" in command("reject", str(waiting.pk), "--by", OPS, "--note", "a slip")
    with pytest.raises(CommandError, match="no snapshot"):
        command("diff", "0")


def test_the_command_sets_and_ends_prices() -> None:
    note_unpriced([("testco", "x", "unknown_model")])
    assert "testco:x (unknown_model)" in command("unpriced")
    author = ("--by", OPS, "--note", "price page")
    command("set", "testco", "x", "--input", "1.25", "--cache-read", "0.25", "--from", "2026-01-01", *author)
    assert command("unpriced") == ""
    assert cost("x") == Decimal("1.25")
    assert cost("x", at=datetime(2025, 12, 31, tzinfo=UTC)) is None
    command("end", "testco", "x", "--from", "2027-01-01T12:00:00+00:00", *author)
    assert cost("x") is None
    for wrong in (("--input", "much"), ("--input", "1", "--from", "someday"), ()):
        with pytest.raises(CommandError):
            command("set", "testco", "x", *wrong, *author)
