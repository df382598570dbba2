"""`manage.py ledger verify`: silent about a ledger that adds up, and finds every way in which one may not."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from django.core.management import CommandError, call_command

from apps.ledger import repricing as repricings
from apps.ledger import retention
from apps.ledger.models import Adjustment, Repricing, UsageEvent
from apps.ledger.prices import from_rating
from apps.ledger.selectors import EventFilter
from apps.ledger.verifying import Report, verify
from apps.pricing import agreements
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, Price
from apps.pricing.rating import Line, rate
from apps.pricing.selectors import forget_terms
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY


class Ledger(NamedTuple):
    """A ledger of two months whose prices are the table's, and some of its rows."""

    project: uuid.UUID
    plain: UsageEvent
    # Detailed once, then another's duplicate: revisions 1 and 2.
    changed: UsageEvent
    unpriced: UsageEvent


def a_ledger() -> Ledger:
    project, random = uuid.uuid4(), Random(7)
    counts = facts.event(project)
    for number in range(40):
        tokens = {Meter.INPUT: random.randrange(10**6), Meter.OUTPUT: random.randrange(10**4)}
        tokens[Meter.CACHE_READ] = random.randrange(tokens[Meter.INPUT] + 1)
        row = facts.event(project, meters=tokens, occurred_at=MAY + number * timedelta(days=1))
        if number % 5 == 0:
            facts.detail(row, input=random.randrange(10**6, 10**7))
        if number % 7 == 0:
            facts.make_duplicate(row, counts.event_id)
    facts.event(uuid.uuid4(), model="gpt-4o")
    facts.event(project, meters={}, price_status="failed", ending="error")
    facts.event(project, price_status="duplicate", same_call_as=counts.event_id)
    facts.event(project, provider="ollama", model="llama3")
    changed = facts.event(project)
    facts.detail(changed, input=500)
    facts.make_duplicate(changed, counts.event_id)
    return Ledger(project, facts.event(project), changed, facts.event(project, model="gpt-of-tomorrow"))


@pytest.fixture
def ledger(acme: Workspace, by_owner: None) -> Iterator[Ledger]:
    with tenant_scope(acme.organization):
        yield a_ledger()


def problems() -> list[str]:
    return [f"{subject}: {problem}" for subject, problem in verify(Report())]


def changed(model: type[UsageEvent] | type[Adjustment] | type[Repricing], **where: object) -> Callable[..., None]:
    def change(**values: object) -> None:
        assert model.objects.filter(**where).update(**values) == 1

    return change


def test_a_ledger_that_adds_up_has_no_differences(ledger: Ledger) -> None:
    report = Report()
    assert list(verify(report)) == []
    assert (report.events, report.adjustments) == (UsageEvent.objects.count(), Adjustment.objects.count())
    # Two months and one of the other project, and all of it.
    assert report.sums == 4
    assert Adjustment.objects.count() > 10


def test_a_cost_that_its_lines_do_not_come_to(ledger: Ledger) -> None:
    changed(UsageEvent, id=ledger.plain.id)(cost=Decimal("0.000045450001"))
    [said] = problems()
    assert f"event {ledger.plain.id}" in said
    assert f"id {ledger.plain.event_id}" in said
    assert "its cost is 0.000045450001, its lines come to 0.00004545" in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("amount", "0.1", "the amount of its input is 0.1"),
        ("quantity", 124, "its quantity and price come to"),
        ("multiplier", "0.5", "its quantity and price come to"),
        ("per", 0, "can't be computed"),
        ("price_id", 999_999_999, "price 999999999 of its input does not exist"),
        ("meter", "output", "not what its output line says"),
        ("meter", "phlogiston", "price lines can't be read"),
    ],
)
def test_a_price_line_that_is_not_the_prices(ledger: Ledger, name: str, value: object, said: str) -> None:
    lines = [{**line, name: value} if line["meter"] == "input" else line for line in ledger.plain.price_lines]
    changed(UsageEvent, id=ledger.plain.id)(price_lines=lines)
    found = problems()
    assert any(said in each for each in found)
    assert all(str(ledger.plain.id) in each for each in found)


def test_a_price_that_was_edited(ledger: Ledger) -> None:
    price_id = ledger.plain.price_lines[0]["price_id"]
    Price.objects.filter(pk=price_id).update(unit_price=Decimal("0.16"))
    found = problems()
    assert any(f"price {price_id} is 0.16" in each for each in found)


def test_a_negative_meter(ledger: Ledger) -> None:
    changed(UsageEvent, id=ledger.plain.id)(input_tokens=-1)
    found = problems()
    assert any("input_tokens is negative: -1" in each for each in found)


def test_an_adjustment_that_is_missing(ledger: Ledger) -> None:
    assert Adjustment.objects.filter(event=ledger.changed, revision=1).delete()[0] == 1
    assert any("without a gap: 2" in each for each in problems())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"calls": 0}, "changes the number of calls by 0, its state by -1"),
        ({"unpriced": 1}, "changes the number of unpriced calls by 1, its state by 0"),
        ({"cost": Decimal("-0.00001")}, "it is duplicate and costs"),
        ({"input_tokens": -499}, "it is a duplicate and counts for 1 input_tokens"),
        ({"output_tokens": -46}, "its output_tokens come to -1"),
        ({"currency": "EUR"}, "it is in EUR, the event in USD"),
        ({"project_id": uuid.uuid4()}, "its project or its time is not the event's"),
        ({"occurred_at": MAY + timedelta(days=9)}, "its project or its time is not the event's"),
        ({"price_status": "priced", "same_call_as": None}, "changes the number of calls by -1, its state by 0"),
    ],
)
def test_an_adjustment_that_is_not_its_state(ledger: Ledger, values: dict[str, object], said: str) -> None:
    changed(Adjustment, event=ledger.changed, revision=2)(**values)
    found = problems()
    assert any(said in each and f"revision 2 of event {ledger.changed.id}" in each for each in found), found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"input_tokens": 100_000_000}, "its input line counts 123, its quantities come to 100000000"),
        ({"input_tokens": None}, "its input line counts 123, its quantities come to 0"),
        ({"cache_read_tokens": 100}, "it is priced, and no line counts its cache_read"),
        ({"price_lines": [], "cost": Decimal(0)}, "it is priced, and no line counts its input, output"),
        ({"price_status": "unpriced", "cost": None}, "it is unpriced and does not say why"),
        (
            {"price_status": "unpriced", "price_reason": "unknown_model", "cost": None},
            "it is unpriced (unknown_model), and its lines have a price for all that it used",
        ),
        (
            {"price_status": "unpriced", "price_reason": "no_meter_price", "cost": None},
            "it is unpriced (no_meter_price), and its lines have a price for all that it used",
        ),
        ({"price_status": "failed", "cost": None}, "it is failed, ended ok, and has 2 price lines"),
        ({"price_status": "failed", "cost": None, "price_lines": []}, "it is failed, ended ok, and has 0 price lines"),
        (
            {"price_status": "duplicate", "cost": None, "same_call_as": uuid.UUID(int=7)},
            f"it is a duplicate of {uuid.UUID(int=7)}, which does not exist",
        ),
    ],
)
def test_a_row_that_was_changed(ledger: Ledger, values: dict[str, object], said: str) -> None:
    changed(UsageEvent, id=ledger.plain.id)(**values)
    found = problems()
    assert any(said in each for each in found), found
    assert all(f"event {ledger.plain.id}" in each for each in found)


def test_a_line_twice(ledger: Ledger) -> None:
    lines = ledger.plain.price_lines
    changed(UsageEvent, id=ledger.plain.id)(price_lines=[*lines, lines[0]])
    assert any("two of its lines count" in each for each in problems())


@pytest.mark.parametrize(
    ("meters", "said"),
    [
        ({Meter.REQUEST: 3}, None),
        # An older release billed one, and what it stored stays.
        ({Meter.REQUEST: 3, "billed": 1}, None),
        ({Meter.REQUEST: 3, "billed": 2}, "its request line counts 2, its quantities come to 3"),
        ({Meter.INPUT: 7, Meter.OUTPUT: 7, Meter.REQUEST: 3, "billed": 1}, "its request line counts 1"),
        ({Meter.DURATION: 1_500}, None),
        ({Meter.DURATION: 1_500, "billed": 1_501}, "its duration line counts 1501, its quantities come to 1500"),
        # Own machines: what has no rate is free.
        ({Meter.DURATION: 1_500, Meter.INPUT: 7, Meter.OUTPUT: 7}, None),
    ],
)
def test_prices_for_the_call_or_its_time(acme: Workspace, by_owner: None, meters: Any, said: str | None) -> None:
    by_time = Meter.DURATION in meters
    meter = Meter.DURATION if by_time else Meter.REQUEST
    with tenant_scope(acme.organization):
        [own] = agreements.set_override(
            organization_id=acme.organization.id,
            provider="vllm",
            model="*",
            prices={meter: Rate(Decimal(2), 1)},
            author_id=acme.owner.user.id,
            note="The machine.",
        )
        forget_terms()
        quantity = meters.pop("billed", meters[meter])
        line = Line(own.pk, meter, quantity, Decimal(2), 1, Decimal(2 * quantity), None)
        facts.event(
            uuid.uuid4(),
            provider="vllm",
            meters={each: meters[each] for each in meters if each is not Meter.DURATION},
            total_duration_ms=float(meters.get(Meter.DURATION, 0)),
            price_status="priced",
            price_rule="override",
            price_lines=[msgspec.to_builtins(line)],
            cost=Decimal(2 * quantity),
            currency="USD",
        )
        found = problems()
    assert [said in each for each in found] == [True] if said else not found, found


def test_the_least_that_is_billed(acme: Workspace, by_owner: None) -> None:
    with tenant_scope(acme.organization):
        [own] = agreements.set_override(
            organization_id=acme.organization.id,
            provider="openai",
            model="tts-of-tomorrow",
            prices={Meter.INPUT: Rate(Decimal(1), 1, 100)},
            author_id=acme.owner.user.id,
            note="At least a hundred.",
            start=MAY,
        )
        forget_terms()
        rated = rate("openai", "tts-of-tomorrow", {Meter.INPUT: 7}, MAY, organization_id=acme.organization.id)
        forget_terms()
        assert [line.quantity for line in rated.lines] == [100]
        row = facts.event(uuid.uuid4(), meters={Meter.INPUT: 7})
        facts.set_price(row, from_rating(rated))
        row.save(force_update=True)
        assert problems() == []
        Price.objects.filter(pk=own.pk).update(minimum=0)
        assert any("its input line counts 100, its quantities come to 7" in each for each in problems())


def test_a_discount_that_is_not_the_lines(acme: Workspace, by_owner: None) -> None:
    with tenant_scope(acme.organization):
        made, price = facts.discounted(acme, "gpt-4o", {Meter.INPUT: 7})
        row = facts.event(uuid.uuid4(), meters={Meter.INPUT: 7})
        facts.set_price(row, price)
        row.save(force_update=True)
        assert problems() == []
        Discount.objects.filter(pk=made.pk).update(multiplier=Decimal("0.8"))
        [said] = problems()
        assert f"discount {made.pk} is 0.80000000, not the 0.85000000 of its input line" in said


class TestDuplicates:
    def test_may_lead_by_way_of_others_to_the_row_that_counts(self, ledger: Ledger) -> None:
        other = facts.event(ledger.project)
        facts.make_duplicate(other, ledger.plain.event_id)
        facts.make_duplicate(facts.event(ledger.project), other.event_id)
        assert problems() == []

    def test_in_a_circle_nothing_counts(self, ledger: Ledger) -> None:
        one, other = facts.event(ledger.project), facts.event(ledger.project)
        facts.make_duplicate(one, other.event_id)
        facts.make_duplicate(other, one.event_id)
        found = problems()
        assert len(found) == 2
        assert all("none of the rows that it leads to counts" in each for each in found)

    def test_of_a_row_of_another_project(self, ledger: Ledger) -> None:
        facts.make_duplicate(facts.event(ledger.project), facts.event(uuid.uuid4()).event_id)
        assert [each.endswith("which does not exist") for each in problems()] == [True]

    def test_of_a_row_that_retention_deleted(self, ledger: Ledger) -> None:
        first = facts.event(ledger.project, occurred_at=MAY - timedelta(days=1))
        facts.make_duplicate(facts.event(ledger.project), first.event_id)
        facts.make_duplicate(facts.event(ledger.project, occurred_at=MAY + timedelta(days=40)), uuid.uuid4())
        assert retention.delete_batch(ledger.project, MAY) == 1
        # The one that is a month younger than all that was deleted can't be explained so.
        assert [each.endswith("which does not exist") for each in problems()] == [True]

    def test_that_says_of_no_row(self, ledger: Ledger) -> None:
        changed(Adjustment, event=ledger.changed, revision=2)(same_call_as=None)
        assert any("it is duplicate and says that no row counts for it" in each for each in problems())


class TestRepricings:
    @pytest.fixture
    def repricing(self, acme: Workspace, ledger: Ledger) -> Iterator[Repricing]:
        """One that priced an event of a year ago and the ledger's without a price."""
        facts.event(ledger.project, model="gpt-of-tomorrow", occurred_at=MAY - timedelta(days=365))
        rate = Rate(Decimal(2), 1_000_000)
        agreements.set_override(
            organization_id=acme.organization.id,
            provider="openai",
            model="gpt-of-tomorrow",
            prices={Meter.INPUT: rate, Meter.OUTPUT: rate},
            author_id=acme.owner.user.id,
            note="The contract.",
            start=MAY - timedelta(days=400),
        )
        made = Repricing.objects.create(
            status=Repricing.Status.RUNNING,
            filter=EventFilter(project_ids=(ledger.project,)).to_json(),
            reason="Found the price.",
            price_version=repricings.fresh_prices(),
        )
        assert not repricings.run(made.pk, batches=100)
        made.refresh_from_db()
        assert made.events_changed == 2
        yield made
        forget_terms()

    def test_that_adds_up(self, repricing: Repricing) -> None:
        assert problems() == []
        repricings.reverse(repricing, reason="It was another's.", author_id=None)
        assert not repricings.run(repricing.pk, batches=100)
        assert problems() == []

    def test_a_change_that_is_gone(self, ledger: Ledger, repricing: Repricing) -> None:
        assert Adjustment.objects.filter(event=ledger.unpriced).delete()[0] == 1
        assert problems() == [f"re-pricing {repricing.pk}: it changed 2 events, its adjustments are 1"]

    def test_a_change_that_it_knows_nothing_of(self, repricing: Repricing) -> None:
        changed(Repricing, pk=repricing.pk)(events_changed=1)
        assert problems() == [f"re-pricing {repricing.pk}: it changed 1 events, its adjustments are 2"]

    def test_a_change_that_went_with_its_event(self, ledger: Ledger, repricing: Repricing) -> None:
        assert retention.delete_batch(ledger.project, MAY) == 1
        assert problems() == []
        # One adjustment was deleted, not two.
        assert Adjustment.objects.filter(event=ledger.unpriced).delete()[0] == 1
        assert problems() == [f"re-pricing {repricing.pk}: it changed 2 events, its adjustments are 0"]

    def test_a_reversal_that_is_gone(self, ledger: Ledger, repricing: Repricing) -> None:
        repricings.reverse(repricing, reason="It was another's.", author_id=None)
        assert not repricings.run(repricing.pk, batches=100)
        assert Adjustment.objects.filter(event=ledger.unpriced, kind="reversal").delete()[0] == 1
        [said] = problems()
        assert said.startswith(f"revision 1 of event {ledger.unpriced.id}")
        assert f"re-pricing {repricing.pk} was taken back, and this still stands" in said

    def test_one_that_there_is_not(self, ledger: Ledger, repricing: Repricing) -> None:
        changed(Adjustment, event=ledger.unpriced)(repricing_id=uuid.UUID(int=7))
        assert any(each.endswith(f"there is no re-pricing {uuid.UUID(int=7)}") for each in problems())


def test_totals_that_are_not_their_rows(ledger: Ledger) -> None:
    """An adjustment that the sums pass by, because it says another time than its event."""
    changed(Adjustment, event=ledger.changed, revision=1)(occurred_at=MAY + timedelta(days=60))
    found = problems()
    assert any(each.startswith(f"total of project {ledger.project}, 2026-05: ") and "cost" in each for each in found)


class TestCommand:
    def run(self, **options: object) -> tuple[list[str], str]:
        """What it writes, and the error it ends with, whose exit status is 1."""
        output = StringIO()
        try:
            call_command("ledger", "verify", stdout=output, **options)
        except CommandError as error:
            return output.getvalue().splitlines(), f"{error} ({error.returncode})"
        return output.getvalue().splitlines(), ""

    def test_names_organizations_and_what_it_looked_at(self, acme: Workspace, globex: Workspace) -> None:
        with tenant_scope(acme.organization):
            a_ledger()
            events = UsageEvent.objects.count()
        lines, error = self.run()
        assert error == ""
        [own] = [line for line in lines if str(acme.organization.id) in line]
        assert f"{events} events" in own
        assert "0 differences" in own
        assert any(str(globex.organization.id) in line for line in lines)

    def test_exits_with_1_and_names_the_rows(self, acme: Workspace) -> None:
        with tenant_scope(acme.organization):
            # What only a fault of the platform's could store.
            bad = facts.event(uuid.uuid4(), meters={}, price_status="priced", cost=Decimal(1), currency="USD")
        lines, error = self.run(json=True, organization=acme.organization.id)
        assert error == "The ledger does not add up: 1 differences. (1)"
        difference, counts = map(json.loads, lines)
        assert str(bad.id) in difference["subject"]
        assert difference["problem"] == "its cost is 1, its lines come to 0"
        assert (counts["organization"], counts["differences"]) == (str(acme.organization.id), 1)

    def test_an_organization_that_is_none(self, db: None) -> None:
        _, error = self.run(organization=uuid.uuid4())
        assert "no organization" in error
