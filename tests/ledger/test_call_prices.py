"""What a report costs: unknown is never free, what failed without tokens costs nothing, and some prices are for the call
or its time alone."""

import uuid
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.ledger.calls import Call, Ending
from apps.ledger.models import PriceStatus
from apps.ledger.prices import Price, price_of
from apps.ledger.rows import meters_of
from apps.pricing import agreements
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.selectors import forget_terms
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger.facts import MAY

IN, OUT = Meter.INPUT, Meter.OUTPUT
HOUR = 3_600_000
PER_HOUR = {Meter.DURATION: Rate(Decimal(2), HOUR)}
PER_REQUEST = {Meter.REQUEST: Rate(Decimal("0.005"), 1)}


@pytest.fixture(autouse=True)
def in_scope(acme: Workspace) -> Iterator[None]:
    with tenant_scope(acme.organization):
        yield
    forget_terms()


def own_price(workspace: Workspace, provider: str, model: str, prices: Mapping[Meter, Rate]) -> None:
    """What Acme pays for it, since always."""
    agreements.set_override(
        organization_id=workspace.organization.id,
        provider=provider,
        model=model,
        prices=prices,
        author_id=workspace.owner.user.id,
        note="The contract.",
        start=MAY - timedelta(days=365),
    )
    forget_terms()


def price(meters: Mapping[Meter, int], **about: Any) -> Price:
    call = Call(event_id=uuid.uuid4(), source="json", meters=meters, **{"provider": "openai"} | about)
    return price_of(call, meters_of(call), MAY)


@pytest.mark.parametrize("meters", [{}, {IN: 0, OUT: 0}, {IN: 0}, {OUT: 0}, {IN: 0, OUT: 0, Meter.CACHE_READ: 0}])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-of-tomorrow"])
def test_no_tokens_are_no_usage_told_and_never_free(meters: dict[Meter, int], model: str) -> None:
    found = price(meters, model=model)
    assert (found.status, found.reason, found.cost) == (PriceStatus.UNPRICED, "missing_usage", None)
    found = price(meters, model=model, ending=Ending.CANCELLED)
    assert (found.status, found.reason, found.cost) == (PriceStatus.UNPRICED, "missing_usage", None)
    found = price(meters, model=model, ending=Ending.ERROR)
    assert (found.status, found.reason, found.cost) == (PriceStatus.FAILED, "", None)


def test_tokens_of_one_kind_are_usage() -> None:
    assert price({IN: 1_000_000, OUT: 0}, model="gpt-4o-mini").cost == Decimal("0.15")
    assert price({IN: 0, OUT: 1_000_000}, model="gpt-4o-mini", ending=Ending.ERROR).cost == Decimal("0.60")
    embedded = {"model": "text-embedding-3-small", "operation": "embeddings"}
    for meters in ({IN: 1_000_000}, {IN: 1_000_000, OUT: 0}):
        assert price(meters, **embedded).cost == Decimal("0.02")
    assert price({IN: 0, OUT: 0}, **embedded).reason == "missing_usage"


def test_an_error_that_told_a_part_of_its_tokens_used_something() -> None:
    found = price({IN: 1_000}, model="gpt-4o-mini", ending=Ending.ERROR)
    assert (found.status, found.reason, found.cost) == (PriceStatus.UNPRICED, "missing_usage", None)


def test_own_machines_are_free_by_rule_without_tokens_too() -> None:
    for meters in ({}, {IN: 0, OUT: 0}):
        found = price(meters, provider="ollama", model="llama3")
        assert (found.status, found.reason, found.cost) == (PriceStatus.PRICED, "self_hosted", Decimal(0))


@pytest.mark.parametrize("meters", [{}, {IN: 0, OUT: 0}, {IN: 500}, {IN: 500, OUT: 20}])
def test_an_hour_of_own_machines_costs_what_it_does_whatever_was_told_of_tokens(
    acme: Workspace, meters: dict[Meter, int]
) -> None:
    own_price(acme, "vllm", "*", PER_HOUR)
    found = price(meters, provider="vllm", model="llama3", total_duration_ms=HOUR)
    assert (found.status, found.cost) == (PriceStatus.PRICED, Decimal(2))
    [line] = found.lines
    assert (line.meter, line.quantity) == (Meter.DURATION, HOUR)
    assert price(meters, provider="vllm", model="llama3").reason == "missing_usage"


@pytest.mark.parametrize("meters", [{}, {IN: 0, OUT: 0}])
def test_requests_are_billed_as_many_as_there_were(acme: Workspace, meters: dict[Meter, int]) -> None:
    own_price(acme, "openai", "searcher", PER_REQUEST)
    assert price(meters | {Meter.REQUEST: 3}, model="searcher").cost == Decimal("0.015")
    assert price(meters, model="searcher").cost == Decimal("0.005")
    assert price(meters | {Meter.REQUEST: 3}, model="searcher", ending=Ending.ERROR).status == PriceStatus.FAILED


@pytest.mark.parametrize("meters", [{}, {IN: 0, OUT: 0}, {IN: 500}])
def test_a_price_for_the_call_is_not_all_where_tokens_have_one_too(acme: Workspace, meters: dict[Meter, int]) -> None:
    own_price(acme, "openai", "searcher", PER_REQUEST | {IN: Rate(Decimal(1), 1_000_000)})
    found = price(meters, model="searcher")
    assert (found.status, found.reason, found.cost) == (PriceStatus.UNPRICED, "missing_usage", None)


def test_a_cost_that_no_column_holds_is_none(acme: Workspace) -> None:
    own_price(acme, "openai", "gpt-of-gold", {IN: Rate(Decimal(10**7), 1), OUT: Rate(Decimal(1), 1)})
    assert price({IN: 10**5 - 1, OUT: 0}, model="gpt-of-gold").cost == Decimal(10**12 - 10**7)
    found = price({IN: 10**5, OUT: 0}, model="gpt-of-gold")
    assert (found.status, found.reason, found.cost) == (PriceStatus.UNPRICED, "out_of_bounds", None)
