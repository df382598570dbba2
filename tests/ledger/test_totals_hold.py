"""Whatever is reported in whatever order, split into batches, sent twice or cut short by a crash: the totals are the
same, and they are the sum of the rows to the last digit."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.db.models import Count, Q, Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.directory.callers import Reporter
from apps.ledger import ingestion
from apps.ledger.calls import Call, Ending
from apps.ledger.ingestion import Batch, SpanParent, store_related
from apps.ledger.models import METER_COLUMNS, Adjustment, PriceStatus, UsageEvent
from apps.ledger.standing import standings
from apps.pricing.meters import Meter
from apps.projects.services import create_project
from tenancy import TenantRef, tenant_scope
from tests.cast import Workspace

START = datetime(2026, 9, 21, 12, tzinfo=UTC)
# The last two do not say who was asked for what.
MODELS = (
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-of-tomorrow"),
    ("", "gpt-4o-mini"),
    ("", ""),
)
SCOPES = ("any-llm", "opentelemetry.instrumentation.genai.openai", "com.anthropic.sdk.python", "langchain")


class CrashError(Exception):
    """The process dies."""


def event_id(trace: int, span: int) -> uuid.UUID:
    return uuid.UUID(int=(trace + 1) << 64 | (span + 1))


@st.composite
def reports(draw: st.DrawFn) -> list[Call | SpanParent]:
    """Spans of a few traces, each below an earlier one, or a later one, or none; some of them no calls."""
    found: list[Call | SpanParent] = []
    for trace in range(draw(st.integers(1, 3))):
        for span in range(draw(st.integers(1, 5))):
            parent = draw(st.none() | st.integers(0, 5))
            above = None if parent is None or parent == span else event_id(trace, parent)
            if above is not None and draw(st.integers(0, 3)) == 0:
                found.append(SpanParent(event_id(trace, span), above))
                continue
            provider, model = draw(st.sampled_from(MODELS))
            scope = draw(st.sampled_from(SCOPES))
            wholes = draw(st.sampled_from([(1_200, 100), (1_450, 70), (1_200, None), (None, None)]))
            meters = {
                meter: count
                for meter, count in zip((Meter.INPUT, Meter.OUTPUT), wholes, strict=True)
                if count is not None
            }
            for part, counts in ((Meter.CACHE_READ, (1_000, 7)), (Meter.CACHE_WRITE, (150,)), (Meter.REASONING, (33,))):
                if draw(st.booleans()) and meters:
                    meters[part] = draw(st.sampled_from(counts))
            start = START + timedelta(milliseconds=draw(st.sampled_from([0, 0, 5, 50])))
            found.append(
                Call(
                    event_id=event_id(trace, span),
                    source="any-llm" if scope == "any-llm" else "semconv",
                    provider=provider,
                    model=model,
                    meters=meters,
                    ending=draw(st.sampled_from([Ending.OK, Ending.OK, Ending.ERROR])),
                    service_tier=draw(st.sampled_from(["", "", "flex"])),
                    started_at=start,
                    total_duration_ms=draw(st.sampled_from([100.0, 110.0, 500.0])),
                    parent_event_id=above,
                    response_id=draw(st.sampled_from(["", "", "r1", "r2"])),
                    scope=scope,
                    instance=draw(st.sampled_from(["", "pod"])),
                )
            )
    return found


@dataclass
class Delivery:
    """How the reports arrive: which go in which batch, and which batches are cut short before they are repeated."""

    batches: list[list[int]]
    crashes: list[bool]


@st.composite
def deliveries(draw: st.DrawFn, count: int) -> Delivery:
    order = draw(st.permutations(range(count)))
    order += draw(st.lists(st.integers(0, count - 1), max_size=3))  # sent again
    batches: list[list[int]] = []
    while order:
        size = draw(st.integers(1, len(order)))
        batches.append(order[:size])
        order = order[size:]
    return Delivery(batches, [draw(st.booleans()) for _ in batches])


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Call | SpanParent], list[Delivery]]:
    told = draw(reports())
    return told, [draw(deliveries(len(told))) for _ in range(2)]


class Ledger:
    """A new project of Acme, and what its ledger adds up to."""

    def __init__(self, acme: Workspace) -> None:
        self.acme = acme
        with tenant_scope(acme.organization):
            self.project_id = create_project(name=f"totals-{uuid.uuid4().hex[:8]}").id
        tenant = TenantRef(acme.organization.id, acme.organization.schema_name)
        self.reporter = Reporter(self.project_id, tenant, ingest_token_id=uuid.uuid4())

    def deliver(self, told: Sequence[Call | SpanParent], delivery: Delivery) -> None:
        for batch, crashes in zip(delivery.batches, delivery.crashes, strict=True):
            sent = [told[place] for place in batch]
            calls = [each for each in sent if isinstance(each, Call)]
            links = [each for each in sent if isinstance(each, SpanParent)]
            if crashes:
                # The last thing of the transaction: everything before it was done and must be gone.
                with mock.patch.object(ingestion, "_store_links", side_effect=CrashError), pytest.raises(CrashError):
                    store_related(Batch(self.reporter, calls, links))
            store_related(Batch(self.reporter, calls, links))

    def sums(self) -> dict[str, Any]:
        """As reports add up: events that count, and all adjustments."""
        with tenant_scope(self.acme.organization):
            of_events = UsageEvent.objects.filter(project_id=self.project_id).aggregate(
                calls=Count("id", filter=~Q(price_status=PriceStatus.DUPLICATE)),
                unpriced=Count("id", filter=Q(price_status=PriceStatus.UNPRICED)),
                cost=Sum("cost"),
                **{name: Sum(name, filter=~Q(price_status=PriceStatus.DUPLICATE)) for name in METER_COLUMNS.values()},
            )
            names = ("calls", "unpriced", "cost", *METER_COLUMNS.values())
            of_adjustments = Adjustment.objects.filter(project_id=self.project_id).aggregate(
                **{f"{name}_sum": Sum(name) for name in names}
            )
        return {name: (of_events[name] or 0) + (of_adjustments[f"{name}_sum"] or 0) for name in names}

    def rows(self) -> dict[str, Any]:
        """The same from what each row stands at."""
        with tenant_scope(self.acme.organization):
            found = standings(UsageEvent.objects.filter(project_id=self.project_id))
        total: dict[str, Any] = {
            "calls": sum(one.price.status != PriceStatus.DUPLICATE for one in found),
            "unpriced": sum(one.price.status == PriceStatus.UNPRICED for one in found),
            "cost": sum((one.price.cost for one in found if one.price.cost is not None), Decimal()),
        }
        return total | {name: sum(one.meters.get(meter, 0) for one in found) for meter, name in METER_COLUMNS.items()}

    def verdicts(self) -> dict[uuid.UUID, tuple[str, uuid.UUID | None]]:
        """Of each report, whether another counts for it, and by which rule."""
        with tenant_scope(self.acme.organization):
            found = standings(UsageEvent.objects.filter(project_id=self.project_id))
        return {one.event.event_id: (one.price.reason if one.same_call_as else "", one.same_call_as) for one in found}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
def test_order_batches_repeats_and_crashes_change_no_total(
    acme: Workspace, story: tuple[list[Call | SpanParent], list[Delivery]]
) -> None:
    told, ways = story
    found = []
    for delivery in ways:
        ledger = Ledger(acme)
        ledger.deliver(told, delivery)
        assert ledger.sums() == ledger.rows()
        verdicts = ledger.verdicts()
        # What is left out leads to what counts for it.
        assert all(verdicts[other] == ("", None) for _, other in verdicts.values() if other is not None)
        found.append((ledger.sums(), verdicts))
    assert found[0] == found[1]
