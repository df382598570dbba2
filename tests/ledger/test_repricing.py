"""Re-pricing: nothing before it is asked for, only what differs, once, however often it dies; and all of it back."""

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.core.cache import cache
from django.db import connection

from apps.ledger import repricing as repricings
from apps.ledger import tasks
from apps.ledger.models import Adjustment, PriceStatus, Repricing, UsageEvent
from apps.ledger.repricing import (
    PricesChangedError,
    RepricingError,
    kept,
    months,
    preview,
    price_unpriced,
    request_preview,
    reverse,
    run,
    start,
    step,
)
from apps.ledger.selectors import EventFilter, explain, stream, totals
from apps.ledger.standing import lock_project
from apps.pricing import agreements
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.selectors import forget_book, forget_terms
from tenancy import tenant_scope
from tenancy.ids import uuid7
from tenancy.roles import as_owner
from tests.cast import Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY
from tests.ledger.killing import KilledError, killed_after

ALL = 1_000


@pytest.fixture
def project(acme: Workspace) -> Iterator[uuid.UUID]:
    """A project of Acme's, in its scope. What this process remembers of prices is forgotten with what the test set."""
    with tenant_scope(acme.organization):
        yield uuid.uuid4()
    forget_terms()
    forget_book()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricings, "BATCH", 4)


def dollars(workspace: Workspace, unit_price: str, model: str = "gpt-of-tomorrow") -> None:
    """What Acme pays for a million tokens of a model, since always."""
    rate = Rate(Decimal(unit_price), 1_000_000, 0, "USD")
    agreements.set_override(
        organization_id=workspace.organization.id,
        provider="openai",
        model=model,
        prices={Meter.INPUT: rate, Meter.OUTPUT: rate},
        author_id=workspace.owner.user.id,
        note="The contract.",
        start=MAY - timedelta(days=365),
    )


def of(*projects: uuid.UUID, **choices: Any) -> EventFilter:
    return EventFilter(project_ids=projects, **choices)


def previewed(project: uuid.UUID, author_id: uuid.UUID | None = None, **choices: Any) -> Repricing:
    return preview(of(project, **choices), reason="Found the price.", author_id=author_id)


def done(repricing: Repricing) -> Repricing:
    assert not run(repricing.pk, batches=ALL)
    return Repricing.objects.get(pk=repricing.pk)


class TestPreview:
    def test_says_by_project_and_month_what_would_change_and_changes_nothing(
        self, acme: Workspace, project: uuid.UUID
    ) -> None:
        other, june = uuid.uuid4(), MAY.replace(month=6)
        for _ in range(5):
            facts.event(project, model="gpt-of-tomorrow")
        facts.event(project)
        facts.event(project, occurred_at=june, model="gpt-of-tomorrow")
        facts.event(other, model="another-unknown")
        facts.make_duplicate(facts.event(project, model="gpt-of-tomorrow"), uuid.uuid4())
        dollars(acme, "2")
        before = totals(of(project, other))
        author = uuid.uuid4()
        made = preview(of(project, other), reason=" Found the price. ", author_id=author)
        assert totals(of(project, other)) == before
        assert (made.status, made.reason, made.author_id) == (Repricing.Status.PREVIEWED, "Found the price.", author)
        found = {(each.project_id, each.month): each for each in months(Repricing.objects.get(pk=made.pk))}
        assert set(found) == {(project, "2026-05"), (project, "2026-06"), (other, "2026-05")}
        may = found[project, "2026-05"]
        assert (may.events, may.changed, may.unpriced_before, may.unpriced_after) == (6, 5, 5, 0)
        assert may.costs_before == {"USD": Decimal("0.00004545")}
        # 168 tokens at two dollars a million.
        assert may.differences == {"USD": 5 * Decimal("0.000336")}
        assert found[other, "2026-05"].changed == 0
        assert found[other, "2026-05"].unpriced_after == 1

    def test_ties_with_the_totals_before_and_after(self, acme: Workspace, project: uuid.UUID) -> None:
        facts.a_mix(project, count=80)
        dollars(acme, "0.333333")
        made = previewed(project)
        before = totals(of(project))
        assert sum(each.costs_before["USD"] for each in months(made)) == before.costs["USD"]
        assert sum(each.unpriced_before for each in months(made)) == before.unpriced
        start(made)
        assert done(made).events_changed == sum(each.changed for each in months(made))
        after = totals(of(project))
        assert sum(each.costs_after["USD"] for each in months(made)) == after.costs["USD"]
        assert sum(each.unpriced_after for each in months(made)) == after.unpriced
        assert (after.events, after.calls, after.meters) == (before.events, before.calls, before.meters)

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\0b"])
    def test_a_reason_is_needed(self, project: uuid.UUID, reason: str) -> None:
        with pytest.raises(RepricingError, match="Say why"):
            preview(of(project), reason=reason, author_id=None)
        assert not Repricing.objects.exists()

    def test_for_much_it_is_a_task(self, acme: Workspace, project: uuid.UUID) -> None:
        facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        asked = request_preview(of(project), reason="Found the price.", author_id=None)
        assert asked.status == Repricing.Status.PREVIEWING
        with pytest.raises(RepricingError):
            start(asked)
        assert repricings.unfinished() == [asked]
        tasks.preview_repricing(str(asked.pk), organization_id=acme.organization.id)
        asked.refresh_from_db()
        assert months(asked)[0].changed == 1
        start(asked)
        assert done(asked).events_changed == 1

    def test_a_second_worker_leaves_alone_what_the_first_has_done(
        self, acme: Workspace, project: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        asked = request_preview(of(project), reason="Found the price.", author_id=None)
        fresh_prices = repricings.fresh_prices

        def first_worker() -> str:
            """While the second begins, the first is through with all of it."""
            monkeypatch.setattr(repricings, "fresh_prices", fresh_prices)
            assert done(start(repricings.work_out(Repricing.objects.get(pk=asked.pk)))).events_changed == 1
            return fresh_prices()

        monkeypatch.setattr(repricings, "fresh_prices", first_worker)
        second = repricings.work_out(asked)
        assert (second.status, second.events_changed) == (Repricing.Status.DONE, 1)
        # As the first saw it: the second would find nothing that changes any more.
        assert [each.changed for each in months(second)] == [1]
        with pytest.raises(RepricingError, match="has run"):
            start(second)


def test_an_output_of_0_is_still_told_when_a_duplicate_stands_alone_again(acme: Workspace, project: uuid.UUID) -> None:
    at_once = facts.event(
        project, meters={Meter.INPUT: 123, Meter.OUTPUT: 0}, price_status="duplicate", same_call_as=uuid.uuid4()
    )
    assert facts.detail(at_once, input=123, output=0).meters == {Meter.INPUT: 123, Meter.OUTPUT: 0}
    dollars(acme, "2", model="gpt-4o-mini")
    assert done(start(previewed(project))).events_changed == 1
    assert facts.standing(at_once).price.cost == Decimal("0.000246")


class TestRun:
    def test_adjusts_what_differs_and_says_why_and_who(self, acme: Workspace, project: uuid.UUID) -> None:
        author = uuid.uuid4()
        unknown = [facts.event(project, model="gpt-of-tomorrow") for _ in range(9)]
        known = facts.event(project)
        failed = facts.event(project, meters={}, price_status="failed", ending="error", model="gpt-of-tomorrow")
        dollars(acme, "2")
        made = start(previewed(project, author))
        finished = done(made)
        assert (finished.status, finished.events_changed) == (Repricing.Status.DONE, 9)
        assert finished.finished_at is not None
        for row in unknown:
            [change] = explain(row.id).changes
            said = change.adjustment
            assert (said.kind, said.reason, said.author_id) == (Adjustment.Kind.REPRICE, "Found the price.", author)
            assert (said.cost, said.unpriced, said.calls) == (Decimal("0.000336"), -1, 0)
            assert said.repricing_id == made.pk
            assert change.lines[0].is_own
        assert facts.standing(known).revision == facts.standing(failed).revision == 0

    def test_again_there_is_nothing_left_to_change(self, acme: Workspace, project: uuid.UUID) -> None:
        facts.a_mix(project, count=30)
        dollars(acme, "2")
        assert done(start(previewed(project))).events_changed > 0
        again = previewed(project)
        assert sum(each.changed for each in months(again)) == 0
        assert done(start(again)).events_changed == 0

    def test_only_events_that_were_meant(self, acme: Workspace, project: uuid.UUID) -> None:
        meant = facts.event(project, model="gpt-of-tomorrow", client_name="batch-3")
        other = facts.event(project, model="gpt-of-tomorrow")
        elsewhere = facts.event(uuid.uuid4(), model="gpt-of-tomorrow", client_name="batch-3")
        dollars(acme, "2")
        assert done(start(previewed(project, client_name="batch-3"))).events_changed == 1
        assert facts.standing(meant).price.status == PriceStatus.PRICED
        assert facts.standing(other).revision == facts.standing(elsewhere).revision == 0

    def test_by_status_though_each_change_leaves_the_filter(self, acme: Workspace, project: uuid.UUID) -> None:
        for _ in range(11):
            facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        assert done(start(previewed(project, status=PriceStatus.UNPRICED))).events_changed == 11

    def test_prices_that_changed_since_the_preview_refuse_it(self, acme: Workspace, project: uuid.UUID) -> None:
        facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        made = previewed(project)
        dollars(acme, "3")
        with pytest.raises(PricesChangedError):
            start(made)
        assert Adjustment.objects.filter(project_id=project).count() == 0
        made.refresh_from_db()
        assert made.status == Repricing.Status.PREVIEWED

    def test_prices_that_change_while_it_runs_stop_it(self, acme: Workspace, project: uuid.UUID) -> None:
        for _ in range(10):
            facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        made = start(previewed(project))
        assert step(made.pk)
        dollars(acme, "3")
        assert not step(made.pk)
        made.refresh_from_db()
        assert (made.status, made.events_changed) == (Repricing.Status.STOPPED, 4)
        assert totals(of(project)).costs == {"USD": 4 * Decimal("0.000336")}
        reverse(made, reason="Half of it.", author_id=None)
        done(made)
        assert totals(of(project)).unpriced == 10

    def test_one_at_a_time(self, acme: Workspace, project: uuid.UUID) -> None:
        first, second = previewed(project), previewed(project)
        start(first)
        with pytest.raises(RepricingError, match="Another"):
            start(second)
        assert start(first).status == Repricing.Status.RUNNING
        done(first)
        with pytest.raises(RepricingError, match="has run"):
            start(first)
        assert start(second).status == Repricing.Status.RUNNING

    def test_a_price_in_another_currency_is_refused(self, acme: Workspace, project: uuid.UUID) -> None:
        row = facts.event(project, price_status="priced", cost=Decimal("0.25"), currency="EUR")
        made = previewed(project)
        assert [(each.refused, each.changed) for each in months(made)] == [(1, 0)]
        assert done(start(made)).events_changed == 0
        assert totals(of(project)).costs == {"EUR": Decimal("0.25")}
        assert facts.standing(row).revision == 0

    def test_goes_on_from_the_beginning_where_the_last_event_is_gone(self, acme: Workspace, project: uuid.UUID) -> None:
        for _ in range(9):
            facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        made = start(previewed(project))
        assert step(made.pk)
        Repricing.objects.filter(pk=made.pk).update(cursor=uuid.uuid4())
        assert done(made).events_changed == 9
        assert Adjustment.objects.filter(project_id=project).count() == 9

    def test_searches_before_it_locks_and_locks_only_where_something_matches(
        self, acme: Workspace, project: uuid.UUID
    ) -> None:
        for _ in range(3):
            facts.event(uuid.uuid4(), model="gpt-of-tomorrow")
        facts.event(project, model="gpt-of-tomorrow", client_name="batch-3")
        dollars(acme, "2")
        made = start(preview(EventFilter(client_name="batch-3"), reason="The contract.", author_id=None))
        said: list[str] = []

        def hear(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
            if "pg_advisory_xact_lock" in sql:
                said.append(f"lock {parameters[0]}")
            elif "ledger_usageevent e" in sql and "LIMIT" in sql:
                said.append("search")
            return execute(sql, parameters, *rest)

        with connection.execute_wrapper(hear):
            assert step(made.pk)
        locks = [each for each in said if each.startswith("lock")]
        assert locks == [f"lock ledger:{project}"]
        assert said[-1] == locks[0]
        assert done(made).events_changed == 1

    def test_what_happens_between_the_search_and_the_lock_counts(
        self, acme: Workspace, project: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        priced, left = [facts.event(project, model="gpt-of-tomorrow") for _ in range(2)]
        dollars(acme, "2")
        made = start(previewed(project, status=PriceStatus.UNPRICED))

        def late(project_id: uuid.UUID) -> None:
            """Others had the lock until now."""
            if not facts.standing(priced).revision:
                facts.reprice(priced, "0.5")
            lock_project(project_id)

        monkeypatch.setattr(repricings, "lock_project", late)
        assert done(made).events_changed == 1
        assert facts.standing(priced).price.cost == Decimal("0.5")
        assert facts.standing(left).price.cost == Decimal("0.000336")


def killed_at_every_statement(repricing: Repricing) -> tuple[bool, int]:
    """One batch, begun again and again and killed a statement later each time, until it is through: whether there is
    more to do, and how often it was killed."""
    kills = 0
    while True:
        try:
            with killed_after(kills):
                return run(repricing.pk, batches=1), kills
        except KilledError:
            kills += 1


def test_killed_at_every_statement_it_ends_the_same(acme: Workspace, project: uuid.UUID) -> None:
    rows = [facts.event(project, model="gpt-of-tomorrow") for _ in range(6)]
    dollars(acme, "2")
    made = start(previewed(project))
    steps = [killed_at_every_statement(made) for _ in range(3)]
    assert [more for more, _ in steps] == [True, True, False]
    assert min(kills for _, kills in steps) >= 5
    made.refresh_from_db()
    assert (made.status, made.events_changed) == (Repricing.Status.DONE, len(rows))
    assert [facts.standing(row).revision for row in rows] == [1] * 6
    assert totals(of(project)).costs == {"USD": 6 * Decimal("0.000336")}
    reverse(made, reason="It was wrong.", author_id=None)
    steps = [killed_at_every_statement(made) for _ in range(3)]
    assert [more for more, _ in steps] == [True, True, False]
    assert [facts.standing(row).revision for row in rows] == [2] * 6
    assert totals(of(project)).unpriced == 6


class TestReverse:
    def test_leaves_every_row_as_it_stood_and_says_why(self, acme: Workspace, project: uuid.UUID) -> None:
        facts.a_mix(project, count=60)
        before = {row.event.id: row for row in stream(of(project))}
        sums = totals(of(project))
        dollars(acme, "0.777")
        dollars(acme, "0.5", model="gpt-4o")
        made = done(start(previewed(project)))
        assert totals(of(project)).costs != sums.costs
        author = uuid.uuid4()
        reverse(made, reason="It was another's contract.", author_id=author)
        made = done(made)
        assert (made.status, made.reversed_by_id, kept(made)) == (Repricing.Status.REVERSED, author, 0)
        after = totals(of(project))
        assert (after.costs, after.unpriced, after.meters) == (sums.costs, sums.unpriced, sums.meters)
        for row in stream(of(project)):
            then = before[row.event.id]
            currency = row.price.currency if then.price.cost is not None else then.price.currency
            assert (msgspec.structs.replace(row.price, currency=currency), row.meters) == (then.price, then.meters)
            if row.revision != then.revision:
                last = explain(row.event.id).changes[-1].adjustment
                assert (last.kind, last.author_id) == (Adjustment.Kind.REVERSAL, author)
                assert last.reason == "It was another's contract."
        with pytest.raises(RepricingError, match="taken back"):
            reverse(made, reason="Once more.", author_id=None)

    def test_what_changed_since_keeps_what_it_has(self, acme: Workspace, project: uuid.UUID) -> None:
        rows = [facts.event(project, model="gpt-of-tomorrow") for _ in range(6)]
        dollars(acme, "2")
        made = done(start(previewed(project)))
        facts.reprice(rows[0], "0.5")
        facts.make_duplicate(rows[1], rows[2].event_id)
        reverse(made, reason="It was wrong.", author_id=None)
        made = done(made)
        assert kept(made) == 2
        assert facts.standing(rows[0]).price.cost == Decimal("0.5")
        assert facts.standing(rows[1]).price.status == PriceStatus.DUPLICATE
        assert [facts.standing(row).price.status for row in rows[2:]] == [PriceStatus.UNPRICED] * 4

    def test_not_before_it_has_run(self, project: uuid.UUID) -> None:
        made = previewed(project)
        with pytest.raises(RepricingError):
            reverse(made, reason="No.", author_id=None)
        start(made)
        with pytest.raises(RepricingError):
            reverse(made, reason="No.", author_id=None)


class TestUnpriced:
    def all_of_it(self) -> int:
        run_id = uuid7()
        priced, cursor = price_unpriced(run_id)
        while cursor:
            found, cursor = price_unpriced(run_id, cursor)
            priced += found
        return priced

    def test_what_has_a_price_now_gets_it_from_the_platform_itself(self, acme: Workspace, project: uuid.UUID) -> None:
        rows = [facts.event(project if number % 2 else uuid.uuid4(), model="gpt-of-tomorrow") for number in range(11)]
        still = [facts.event(project, model="gpt-of-next-week") for _ in range(5)]
        facts.detail(still[0], input=200)
        nothing_said = facts.event(project, meters={}, model="gpt-of-tomorrow")
        left_without = facts.event(project)
        left_without.refresh_from_db()
        assert self.all_of_it() == 0
        dollars(acme, "2")
        repricings.fresh_prices()
        assert self.all_of_it() == 11
        [change] = explain(rows[0].id).changes
        assert (change.adjustment.author_id, change.adjustment.reason) == (None, repricings.AUTOMATIC)
        assert change.after.price.cost == Decimal("0.000336")
        assert {facts.standing(row).price.status for row in still} == {PriceStatus.UNPRICED}
        assert facts.standing(nothing_said).revision == 0
        assert self.all_of_it() == 0

    def test_a_run_is_a_repricing_of_its_own_that_can_be_taken_back(self, acme: Workspace, project: uuid.UUID) -> None:
        june = MAY.replace(month=6)
        rows = [facts.event(project, model="gpt-of-tomorrow") for _ in range(6)]
        rows += [facts.event(project, occurred_at=june, model="gpt-of-tomorrow") for _ in range(3)]
        left: dict[str, Any] = {"price_status": "duplicate", "same_call_as": rows[0].event_id}
        rows.append(facts.event(project, model="gpt-of-tomorrow", **left))
        facts.detail(rows[-1], input=100, output=68)
        before = totals(of(project))
        assert before.unpriced == 10
        dollars(acme, "2")
        repricings.fresh_prices()
        assert self.all_of_it() == 10
        made = Repricing.objects.get()
        assert (made.status, made.author_id, made.reason) == (Repricing.Status.DONE, None, repricings.AUTOMATIC)
        assert (made.events_changed, repricings.unfinished()) == (10, [])
        assert set(Adjustment.objects.filter(kind=Adjustment.Kind.REPRICE).values_list("repricing_id")) == {(made.pk,)}
        found = {each.month: each for each in months(made)}
        assert [(month, each.changed, each.events) for month, each in found.items()] == [
            ("2026-05", 7, 7),
            ("2026-06", 3, 3),
        ]
        assert found["2026-05"].differences == {"USD": 7 * Decimal("0.000336")}
        # There is nothing left, and a run that does nothing leaves nothing.
        assert self.all_of_it() == 0
        assert Repricing.objects.count() == 1
        reverse(made, reason="The price was wrong.", author_id=acme.owner.user.id)
        assert kept(done(made)) == 0
        after = totals(of(project))
        assert (after.unpriced, sum(after.costs.values()), after.meters) == (10, 0, before.meters)

    def test_what_was_taken_back_is_not_priced_again_before_somebody_asks(
        self, acme: Workspace, project: uuid.UUID
    ) -> None:
        facts.event(project, model="gpt-of-tomorrow")
        facts.detail(facts.event(project, model="gpt-of-tomorrow"), input=200)
        dollars(acme, "2")
        made = done(start(previewed(project)))
        assert made.events_changed == 2
        reverse(made, reason="It was wrong.", author_id=None)
        done(made)
        assert self.all_of_it() == 0
        assert totals(of(project)).unpriced == 2
        dollars(acme, "3")
        assert self.all_of_it() == 0
        assert done(start(previewed(project))).events_changed == 2

    def test_taking_a_run_back_ends_it(self, acme: Workspace, project: uuid.UUID) -> None:
        for _ in range(9):
            facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        repricings.fresh_prices()
        run_id = uuid7()
        changed, following = price_unpriced(run_id)
        assert (changed, bool(following)) == (4, True)
        reverse(Repricing.objects.get(pk=run_id), reason="It was wrong.", author_id=None)
        assert price_unpriced(run_id, following) == (0, ())
        done(Repricing.objects.get(pk=run_id))
        assert price_unpriced(run_id, following) == (0, ())
        assert totals(of(project)).unpriced == 9

    def test_a_run_that_comes_too_late_leaves_nothing(
        self, acme: Workspace, project: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(3):
            facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        repricings.fresh_prices()

        def late(project_id: uuid.UUID) -> None:
            """The other has the lock first, and leaves nothing."""
            monkeypatch.setattr(repricings, "lock_project", lock_project)
            assert price_unpriced(uuid7())[0] == 3
            lock_project(project_id)

        monkeypatch.setattr(repricings, "lock_project", late)
        changed, _ = price_unpriced(slow := uuid7())
        assert changed == 0
        assert not Repricing.objects.filter(pk=slow).exists()
        assert Adjustment.objects.filter(project_id=project).count() == 3

    def test_also_what_an_adjustment_left_without_a_price(self, acme: Workspace, project: uuid.UUID) -> None:
        rows = [
            facts.event(project, model="gpt-of-tomorrow", price_status="duplicate", same_call_as=uuid.uuid4())
            for _ in range(6)
        ]
        for row in rows:
            facts.detail(row, input=100, output=68)
            assert facts.standing(row).price.status == PriceStatus.UNPRICED
        dollars(acme, "2")
        repricings.fresh_prices()
        assert self.all_of_it() == 6
        assert totals(of(project)).costs == {"USD": 6 * Decimal("0.000336")}
        assert self.all_of_it() == 0

    def test_organizations_are_asked_twice_after_a_change_and_then_left_alone(
        self, acme: Workspace, globex: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(
            tasks.price_unpriced_of_organization, "delay", lambda organization_id: asked.append(organization_id)
        )

        def look() -> set[str]:
            asked.clear()
            tasks.price_unpriced()
            for each in asked:
                tasks.price_unpriced_of_organization(organization_id=each)
            return set(asked) & both

        both = {str(acme.organization.id), str(globex.organization.id)}
        cache.delete_many([tasks._looked_key(uuid.UUID(each)) for each in both])
        with tenant_scope(acme.organization):
            row = facts.event(project := uuid.uuid4(), model="gpt-of-tomorrow")
        assert [look(), look(), look()] == [both, both, set()]
        dollars(acme, "2")
        mine = {str(acme.organization.id)}
        assert [look(), look(), look()] == [mine, mine, set()]
        with tenant_scope(acme.organization):
            assert facts.standing(row).price.cost == Decimal("0.000336")
            assert UsageEvent.objects.filter(project_id=project).count() == 1
        cache.delete_many([tasks._looked_key(uuid.UUID(each)) for each in both])
        forget_terms()

    def test_a_task_goes_on_in_another(
        self, acme: Workspace, project: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(9):
            facts.event(project, model="gpt-of-tomorrow")
        dollars(acme, "2")
        monkeypatch.setattr(tasks, "MOST_BATCHES", 1)
        following: list[dict[str, Any]] = []
        monkeypatch.setattr(tasks.price_unpriced_of_organization, "delay", lambda **again: following.append(again))
        priced = tasks.price_unpriced_of_organization(organization_id=str(acme.organization.id))
        while following:
            priced += tasks.price_unpriced_of_organization(**following.pop())
        assert priced == 9
        assert Repricing.objects.get().events_changed == 9


def test_the_task_runs_it_to_its_end(acme: Workspace, project: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(9):
        facts.event(project, model="gpt-of-tomorrow")
    dollars(acme, "2")
    made = start(previewed(project))
    monkeypatch.setattr(tasks, "MOST_BATCHES", 2)
    following: list[tuple[str, str]] = []
    monkeypatch.setattr(
        tasks.run_repricing,
        "delay",
        lambda repricing_id, organization_id: following.append((repricing_id, organization_id)),
    )
    tasks.run_repricing(str(made.pk), organization_id=str(acme.organization.id))
    assert following == [(str(made.pk), str(acme.organization.id))]
    tasks.run_repricing(str(made.pk), organization_id=str(acme.organization.id))
    made.refresh_from_db()
    assert (made.status, made.events_changed) == (Repricing.Status.DONE, 9)


def test_two_workers_at_once_do_each_batch_once(
    committed: tuple[Workspace, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme, project, model = committed[0], uuid.uuid4(), "gpt-of-two-workers"
    barrier = threading.Barrier(2)
    failures: list[BaseException] = []

    def work(repricing_id: uuid.UUID) -> None:
        try:
            with tenant_scope(acme.organization):
                barrier.wait(timeout=60)
                # A worker that finds the other at it goes away; the broker gives it the next one.
                while Repricing.objects.get(pk=repricing_id).status == Repricing.Status.RUNNING:
                    run(repricing_id, batches=1)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            connection.close()

    with tenant_scope(acme.organization):
        rows = [facts.event(project, model=model) for _ in range(30)]
        dollars(acme, "2", model=model)
        repricings.fresh_prices()
        made = previewed(project)
        monkeypatch.setattr(repricings, "_send", lambda *_: None)
        start(made)
        try:
            threads = [threading.Thread(target=work, args=[made.pk]) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=120)
            assert failures == []
            made.refresh_from_db()
            assert (made.status, made.events_changed) == (Repricing.Status.DONE, 30)
            assert [facts.standing(row).revision for row in rows] == [1] * 30
            assert totals(of(project)).costs == {"USD": 30 * Decimal("0.000336")}
        finally:
            made.delete()
            agreements.delete_terms(organization_id=acme.organization.id)
            forget_terms()
            with as_owner():
                Adjustment.objects.filter(project_id=project).delete()
                UsageEvent.objects.filter(project_id=project).delete()
