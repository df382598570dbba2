"""`manage.py ledger verify`: silent about a ledger that adds up, and finds every way in which one may not."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from random import Random
from typing import NamedTuple

import pytest
from django.core.management import CommandError, call_command

from apps.ledger.models import Adjustment, UsageEvent
from apps.ledger.verifying import Report, verify
from apps.pricing.meters import Meter
from apps.pricing.models import Price
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
    for number in range(40):
        tokens = {Meter.INPUT: random.randrange(10**6), Meter.OUTPUT: random.randrange(10**4)}
        tokens[Meter.CACHE_READ] = random.randrange(tokens[Meter.INPUT] + 1)
        row = facts.event(project, meters=tokens, occurred_at=MAY + number * timedelta(days=1))
        if number % 5 == 0:
            facts.detail(row, input=random.randrange(10**6, 10**7))
        if number % 7 == 0:
            facts.make_duplicate(row, uuid.uuid4())
    facts.event(uuid.uuid4(), model="gpt-4o")
    facts.event(project, meters={}, price_status="failed", ending="error")
    facts.event(project, price_status="duplicate", same_call_as=uuid.uuid4())
    facts.event(project, provider="ollama", model="llama3")
    changed = facts.event(project)
    facts.detail(changed, input=500)
    facts.make_duplicate(changed, uuid.uuid4())
    return Ledger(project, facts.event(project), changed, facts.event(project, model="gpt-of-tomorrow"))


@pytest.fixture
def ledger(acme: Workspace, by_owner: None) -> Iterator[Ledger]:
    with tenant_scope(acme.organization):
        yield a_ledger()


def problems() -> list[str]:
    return [f"{subject}: {problem}" for subject, problem in verify(Report())]


def changed(model: type[UsageEvent] | type[Adjustment], **where: object) -> Callable[..., None]:
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
            bad = facts.event(uuid.uuid4(), price_status="priced", cost=Decimal(1), currency="USD")
        lines, error = self.run(json=True, organization=acme.organization.id)
        assert error == "The ledger does not add up: 1 differences. (1)"
        difference, counts = map(json.loads, lines)
        assert str(bad.id) in difference["subject"]
        assert difference["problem"] == "its cost is 1, its lines come to 0"
        assert (counts["organization"], counts["differences"]) == (str(acme.organization.id), 1)

    def test_an_organization_that_is_none(self, db: None) -> None:
        _, error = self.run(organization=uuid.uuid4())
        assert "no organization" in error
