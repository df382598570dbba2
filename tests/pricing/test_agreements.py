"""Own prices and discounts: what they price, whose calls, from when, and that they are closed, not edited."""

import itertools
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from apps.pricing.agreements import (
    delete_terms,
    end_discount,
    end_override,
    set_discount,
    set_override,
    withdraw_discount,
    withdraw_override,
)
from apps.pricing.book import Book
from apps.pricing.dated import AgreementError, NoAgreementError
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, OrganizationTerms, Price
from apps.pricing.rating import Flag, Rating, Reason, Rule, rate
from apps.pricing.selectors import (
    REVALIDATE_SECONDS,
    TermsShelf,
    discounts,
    forget_terms,
    overrides,
    price_rows,
)
from apps.pricing.terms import Terms
from tests.pricing.paper import NOW

pytestmark = pytest.mark.usefixtures("listed")

ACME, GLOBEX, AUTHOR = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
JANUARY, MARCH, JUNE = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 3, 6))
TOKENS = {Meter.INPUT: 1_000_000, Meter.OUTPUT: 1_000_000}
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def listed(db: None, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list prices of the installed feed, which no test here changes."""
    monkeypatch.setattr("apps.pricing.rating.current_book", lambda: book)


def per_million(price: str) -> Rate:
    return Rate(Decimal(price), 1_000_000)


def override(organization_id: uuid.UUID = ACME, **changes: Any) -> list[Price]:
    """Own prices of 1 in, 2 out, for all time unless said otherwise; known to this process at once."""
    rows = set_override(
        **{
            "organization_id": organization_id,
            "provider": "openai",
            "model": "gpt-4.1",
            "prices": {Meter.INPUT: per_million("1"), Meter.OUTPUT: per_million("2")},
            "author_id": AUTHOR,
            "note": "contract 7",
            "start": JANUARY,
            **changes,
        }
    )
    forget_terms()
    return rows


def discount(organization_id: uuid.UUID = ACME, **changes: Any) -> Discount:
    row = set_discount(
        **{
            "organization_id": organization_id,
            "provider": "openai",
            "multiplier": Decimal("0.85"),
            "author_id": AUTHOR,
            "note": "contract 8",
            "start": JANUARY,
            **changes,
        }
    )
    forget_terms()
    return row


def rated(model: str = "gpt-4.1", provider: str = "openai", at: datetime = NOW, **more: Any) -> Rating:
    return rate(
        provider, model, more.pop("meters", TOKENS), at, organization_id=more.pop("organization_id", ACME), **more
    )


# --- Own prices ---


def test_an_own_price_is_used_alone_and_for_its_organization_only() -> None:
    """GPT-4.1 lists at 2 in, 0.5 cached and 8 out."""
    rows = override()
    meters = {Meter.INPUT: 1_000_000, Meter.CACHE_READ: 400_000, Meter.OUTPUT: 1_000_000}
    rating = rated(meters=meters)
    assert (rating.cost, rating.rule, rating.discount_id) == (Decimal(3), "override", None)
    assert (rating.provider, rating.model) == ("openai", "gpt-4.1")
    # Cached tokens have no own price: they cost what input does, not what the list says.
    assert {(line.price_id, line.fallback_from) for line in rating.lines} == {
        (rows[0].pk, None),
        (rows[0].pk, Meter.CACHE_READ),
        (rows[1].pk, None),
    }
    other = rated(meters=meters, organization_id=GLOBEX)
    nobody = rate("openai", "gpt-4.1", meters, NOW)
    assert other == nobody
    assert (nobody.cost, nobody.rule) == (Decimal("9.4"), "list:genai-prices")


@pytest.mark.parametrize(
    ("provider", "model", "request_model", "own"),
    [
        ("openai", "gpt-4.1", None, True),
        ("OpenAI", " GPT-4.1 ", None, True),
        # The list knows what the response names.
        ("openai", "gpt-4.1-2025-04-14", None, True),
        ("openai", "", "gpt-4.1", True),
        ("openai", "my-deployment", "gpt-4.1", True),
        # Another model answered: what was asked for says nothing.
        ("openai", "gpt-4.1-mini", "gpt-4.1", False),
        ("openai", "gpt-4.1-mini", None, False),
        ("azureopenai", "gpt-4.1", None, False),
        # The gateway passes on to the organization's own account.
        ("portkey", "@openai/gpt-4.1", None, True),
        ("openrouter", "openai/gpt-4.1", None, True),
    ],
)
def test_the_calls_that_an_own_price_is_for(provider: str, model: str, request_model: str | None, own: bool) -> None:
    override()
    assert (rated(model, provider, request_model=request_model).rule == Rule.OVERRIDE) == own


def test_a_model_goes_before_all_of_a_provider_and_both_before_the_list() -> None:
    override()
    override(model="*", prices={Meter.INPUT: per_million("7")})
    assert rated().cost == 3
    everything = rated("gpt-4.1-mini", meters={Meter.INPUT: 1_000_000})
    assert (everything.cost, everything.model) == (Decimal(7), "*")
    # Models that no list has are priced too.
    assert rated("gpt-from-the-future", meters={Meter.INPUT: 1_000_000}).cost == 7
    # Output has no own price, nor has what it is part of: unpriced rather than half priced.
    assert rated("gpt-4.1-mini").reason is Reason.NO_METER_PRICE
    assert rated("claude-opus-4-8", "anthropic").rule == "list:genai-prices"


def test_own_prices_hold_from_and_until_their_dates() -> None:
    override(start=MARCH, end=JUNE)
    override(model="*", prices={Meter.INPUT: per_million("5"), Meter.OUTPUT: per_million("5")}, start=JUNE)
    costs = [rated(at=at).cost for at in (MARCH - MOMENT, MARCH, JUNE - MOMENT, JUNE)]
    assert costs == [10, 3, 3, 10]


def test_a_new_own_price_closes_the_old_at_its_date() -> None:
    (first,) = override(prices={Meter.INPUT: per_million("1")})
    (second,) = override(prices={Meter.INPUT: per_million("2")}, start=JUNE)
    first.refresh_from_db()
    assert (first.effective.lower, first.effective.upper, first.unit_price) == (JANUARY, JUNE, Decimal(1))
    assert (second.effective.lower, second.effective.upper) == (JUNE, None)
    meters = {Meter.INPUT: 1_000_000}
    assert [rated(at=at, meters=meters).cost for at in (JUNE - MOMENT, JUNE)] == [1, 2]


def test_a_price_for_a_time_in_between_lets_the_old_go_on_after_it() -> None:
    override(prices={Meter.INPUT: per_million("1")})
    (between,) = override(prices={Meter.INPUT: per_million("9")}, start=MARCH, end=JUNE)
    found = [(row.effective.lower, row.effective.upper, row.unit_price) for row in overrides(ACME)]
    assert found == [(JANUARY, MARCH, Decimal(1)), (MARCH, JUNE, Decimal(9)), (JUNE, None, Decimal(1))]
    assert between.unit_price == 9
    assert {row.note for row in overrides(ACME)} == {"contract 7"}


def test_ending_closes_the_range_and_withdraws_what_was_to_come() -> None:
    override(prices={Meter.INPUT: per_million("1")}, end=JUNE)
    override(prices={Meter.INPUT: per_million("2")}, start=JUNE)
    ended = end_override(organization_id=ACME, provider="openai", model="GPT-4.1", at=MARCH)
    forget_terms()
    assert len(ended) == 2
    assert [(row.effective.lower, row.effective.upper) for row in overrides(ACME)] == [(JANUARY, MARCH)]
    # The withdrawn row is still there to be explained.
    assert Price.objects.filter(organization_id=ACME).count() == 2
    assert rated(at=JUNE).rule == "list:genai-prices"
    with pytest.raises(NoAgreementError):
        end_override(organization_id=ACME, provider="openai", model="gpt-4.1", at=MARCH)
    with pytest.raises(NoAgreementError):
        end_override(organization_id=GLOBEX, provider="openai", model="gpt-4.1", at=JANUARY)


def test_withdrawn_it_holds_at_no_time_and_nothing_else_changes() -> None:
    override(prices={Meter.INPUT: per_million("1"), Meter.OUTPUT: per_million("1")}, end=MARCH)
    override(start=MARCH)
    override(prices={Meter.INPUT: per_million("9"), Meter.OUTPUT: per_million("9")}, start=JUNE)
    gone = withdraw_override(organization_id=ACME, provider="openai", model="GPT-4.1", start=MARCH)
    forget_terms()
    assert len(gone) == 2
    assert {(row.effective.lower, row.effective.upper) for row in overrides(ACME)} == {(JANUARY, MARCH), (JUNE, None)}
    assert [rated(at=at).rule for at in (MARCH - MOMENT, MARCH, JUNE)] == ["override", "list:genai-prices", "override"]
    # The withdrawn rows are still there to be explained.
    assert Price.objects.filter(organization_id=ACME).count() == 6
    for organization_id, start in ((ACME, MARCH), (ACME, JANUARY + MOMENT), (GLOBEX, JANUARY)):
        with pytest.raises(NoAgreementError):
            withdraw_override(organization_id=organization_id, provider="openai", model="gpt-4.1", start=start)


def test_rows_explain_themselves() -> None:
    rows = override()
    found = price_rows([rows[0].pk, rows[1].pk, rows[0].pk, 10**12])
    assert found == {row.pk: row for row in rows}
    assert (found[rows[0].pk].author_id, found[rows[0].pk].note) == (AUTHOR, "contract 7")


# --- Own hardware ---


@pytest.mark.parametrize(
    ("prices", "meters", "cost"),
    [
        ({Meter.REQUEST: Rate(Decimal("0.002"), 1)}, {Meter.INPUT: 500, Meter.OUTPUT: 20}, "0.002"),
        ({Meter.REQUEST: Rate(Decimal("0.002"), 1)}, {}, "0.002"),
        # 3.60 an hour for 1.5 seconds.
        ({Meter.DURATION: Rate(Decimal("3.6"), 3_600_000)}, {Meter.INPUT: 500, Meter.DURATION: 1_500}, "0.0015"),
        ({Meter.DURATION: Rate(Decimal("3.6"), 3_600_000)}, {Meter.DURATION: 1_500}, "0.0015"),
        ({Meter.INPUT: per_million("2")}, {Meter.INPUT: 500, Meter.OUTPUT: 20, Meter.DURATION: 10}, "0.001"),
    ],
)
def test_own_hardware_can_have_a_rate(prices: dict[Meter, Rate], meters: dict[Meter, int], cost: str) -> None:
    free = rated("llama3", "ollama", meters=meters)
    assert (free.cost, free.reason, free.rule) == (Decimal(0), Reason.SELF_HOSTED, "self_hosted")
    override(provider="ollama", model="*", prices=prices)
    rating = rated("llama3", "ollama", meters=meters)
    assert (rating.cost, rating.reason, rating.rule) == (Decimal(cost), Reason.NONE, "override")
    assert rated("llama3", "ollama", meters=meters, organization_id=GLOBEX).rule == Rule.SELF_HOSTED
    assert rated("ollama/llama3", "litellm", meters=meters).flags == (Flag.BY_ROUTED_MODEL,)


@pytest.mark.parametrize(
    ("prices", "meters"),
    [
        ({Meter.DURATION: Rate(Decimal("3.6"), 3_600_000)}, {Meter.INPUT: 500}),
        ({Meter.INPUT: per_million("2")}, {Meter.DURATION: 10}),
        ({Meter.INPUT: per_million("2"), Meter.REQUEST: Rate(Decimal(1), 1)}, {}),
    ],
)
def test_a_rate_for_what_was_not_reported_leaves_the_call_unpriced(
    prices: dict[Meter, Rate], meters: dict[Meter, int]
) -> None:
    override(provider="ollama", model="*", prices=prices)
    rating = rated("llama3", "ollama", meters=meters)
    assert (rating.cost, rating.reason) == (None, Reason.MISSING_USAGE)


def test_the_duration_costs_nothing_where_it_has_no_price() -> None:
    assert rated(meters={**TOKENS, Meter.DURATION: 90_000}) == rated()
    assert rated(meters={Meter.DURATION: 90_000}).reason is Reason.MISSING_USAGE


# --- Discounts ---


def test_a_discount_changes_the_list_price_and_shows_in_every_line() -> None:
    row = discount()
    plain, rating = rate("openai", "gpt-4.1", TOKENS, NOW), rated()
    assert (plain.cost, rating.cost) == (Decimal(10), Decimal("8.5"))
    assert (rating.rule, rating.discount_id) == ("list:genai-prices", row.pk)
    for line, listed in zip(rating.lines, plain.lines, strict=True):
        assert (line.unit_price, line.multiplier, line.discount_id) == (listed.unit_price, Decimal("0.85"), row.pk)
        assert line.amount == line.unit_price * line.quantity * Decimal("0.85") / line.per
        assert listed.multiplier is None
    assert rated(organization_id=GLOBEX) == plain
    assert rated("claude-opus-4-8", "anthropic").discount_id is None


def test_a_discount_never_touches_an_own_price_or_own_hardware() -> None:
    discount()
    discount(provider="ollama")
    override()
    rating = rated()
    assert (rating.cost, rating.discount_id, rating.lines[0].multiplier) == (Decimal(3), None, None)
    assert rated("llama3", "ollama").cost == 0
    assert rated("gpt-4.1-mini").discount_id


def test_a_models_discount_goes_before_its_providers_and_they_do_not_add_up() -> None:
    discount()
    discount(model="GPT-4.1", multiplier=Decimal("0.5"), start=MARCH, end=JUNE)
    assert [rated(at=at).cost for at in (JANUARY - MOMENT, JANUARY, MARCH, JUNE)] == [
        10,
        Decimal("8.5"),
        5,
        Decimal("8.5"),
    ]
    assert rated("gpt-4.1-2025-04-14", at=MARCH).cost == 5
    # Azure sells OpenAI's models at its own terms.
    assert rated(provider="azureopenai").discount_id is None
    assert rated("@openai/gpt-4.1", "portkey", at=MARCH).cost == 5


def test_discounts_are_replaced_and_ended_by_date() -> None:
    discount()
    discount(multiplier=Decimal("0.5"), start=MARCH, end=JUNE)
    found = [(row.effective.lower, row.effective.upper, row.multiplier) for row in discounts(ACME)]
    assert found == [(JANUARY, MARCH, Decimal("0.85")), (MARCH, JUNE, Decimal("0.5")), (JUNE, None, Decimal("0.85"))]
    assert len(end_discount(organization_id=ACME, provider="openai", model="*", at=MARCH)) == 2
    assert [(row.effective.lower, row.effective.upper) for row in discounts(ACME)] == [(JANUARY, MARCH)]
    with pytest.raises(NoAgreementError):
        end_discount(organization_id=ACME, provider="openai", at=MARCH)


def test_a_discount_is_withdrawn_from_its_start() -> None:
    discount()
    discount(multiplier=Decimal("0.5"), start=MARCH, end=JUNE)
    assert len(withdraw_discount(organization_id=ACME, provider="openai", start=MARCH)) == 1
    found = [(row.effective.lower, row.effective.upper, row.multiplier) for row in discounts(ACME)]
    assert found == [(JANUARY, MARCH, Decimal("0.85")), (JUNE, None, Decimal("0.85"))]
    with pytest.raises(NoAgreementError):
        withdraw_discount(organization_id=ACME, provider="openai", model="*", start=MARCH)


# --- What is refused ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"provider": " "},
        {"provider": "x" * 65},
        {"model": ""},
        {"model": "m" * 257},
        {"prices": {}},
        {"prices": {"smell": per_million("1")}},
        {"prices": {Meter.INPUT: per_million("-1")}},
        {"prices": {Meter.INPUT: per_million("NaN")}},
        {"prices": {Meter.INPUT: per_million("100000000")}},
        {"prices": {Meter.INPUT: per_million("0.00000000001")}},
        {"prices": {Meter.INPUT: Rate(Decimal(1), 0)}},
        {"prices": {Meter.INPUT: Rate(Decimal(1), 1, currency="EUR")}},
        {"prices": {Meter.INPUT: Rate(Decimal(1), 1, minimum=-1)}},
        {"note": ""},
        {"note": "x" * 201},
        {"start": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"start": JUNE, "end": JUNE},
        {"end": datetime(2027, 1, 1)},  # noqa: DTZ001
    ],
)
def test_impossible_own_prices_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(AgreementError):
        override(**wrong)
    assert not Price.objects.filter(organization_id=ACME).exists()


@pytest.mark.parametrize("multiplier", ["0", "-1", "10.00000001", "NaN", "Infinity", "0.123456789"])
def test_impossible_multipliers_are_refused(multiplier: str) -> None:
    with pytest.raises(AgreementError):
        discount(multiplier=Decimal(multiplier))


def test_the_table_refuses_two_at_a_time() -> None:
    (row,) = override(prices={Meter.INPUT: per_million("1")})
    row.pk = None
    with pytest.raises(IntegrityError, match="pricing_price_one_at_a_time"), transaction.atomic():
        row.save(force_insert=True)
    twin = discount()
    twin.pk, twin.effective = None, DateTimeTZRange(MARCH, JUNE, "[)")
    with pytest.raises(IntegrityError, match="pricing_discount_one_at_a_time"), transaction.atomic():
        twin.save(force_insert=True)
    twin.model, twin.multiplier = "other", Decimal(0)
    with pytest.raises(IntegrityError, match="pricing_discount_multiplier"), transaction.atomic():
        twin.save(force_insert=True)


def test_an_organizations_terms_go_with_it() -> None:
    override()
    discount()
    override(GLOBEX)
    delete_terms(organization_id=ACME)
    assert not overrides(ACME)
    assert not discounts(ACME)
    assert len(overrides(GLOBEX)) == 2
    assert not OrganizationTerms.objects.filter(organization_id=ACME).exists()


# --- The shelf ---


class Store:
    """The database's side of a shelf, and its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.current = 0
        self.asked: list[uuid.UUID] = []
        self.loaded = 0
        self.failing = False

    def version(self, organization_id: uuid.UUID) -> int:
        self.asked.append(organization_id)
        if self.failing:
            raise OperationalError("the server closed the connection")
        return self.current

    def load(self, organization_id: uuid.UUID, version: int) -> Terms:
        self.loaded += 1
        return Terms(version, [], [])

    def shelf(self) -> TermsShelf:
        return TermsShelf(self.load, self.version, lambda: self.now)


def test_terms_are_asked_for_every_30_seconds_and_loaded_when_they_changed() -> None:
    store = Store()
    shelf = store.shelf()
    for _ in range(3):
        assert shelf.terms(ACME) is None
    assert (len(store.asked), store.loaded) == (1, 0)
    store.current = 1
    assert shelf.terms(ACME) is None
    store.now += REVALIDATE_SECONDS
    first = shelf.terms(ACME)
    assert first
    assert shelf.terms(ACME) is first
    store.now += REVALIDATE_SECONDS
    assert shelf.terms(ACME) is first
    assert (len(store.asked), store.loaded) == (3, 1)
    shelf.forget(ACME)
    assert shelf.terms(ACME) is not first


def test_a_database_that_fails_leaves_the_terms_in_place(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.current = 1
    shelf = store.shelf()
    first = shelf.terms(ACME)
    store.failing = True
    store.now += REVALIDATE_SECONDS
    assert shelf.terms(ACME) is first
    assert shelf.terms(ACME) is first
    assert len(store.asked) == 2
    assert "going on with those at hand" in caplog.text
    with pytest.raises(OperationalError):
        shelf.terms(GLOBEX)


def test_the_organizations_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TermsShelf, "MEMORY", 10)
    store = Store()
    shelf = store.shelf()
    for _ in range(30):
        shelf.terms(uuid.uuid4())
        store.now += REVALIDATE_SECONDS / 2
        shelf.terms(ACME)
    assert len(shelf._kept) == 10
    # The one in use never went: it was asked about every 30 seconds, not each time.
    assert store.asked.count(ACME) <= 16


def test_rating_asks_once_an_organization(django_assert_num_queries: Any) -> None:
    rate("openai", "gpt-4.1", TOKENS, NOW)
    # The version, within a savepoint.
    with django_assert_num_queries(3):
        rated()
    with django_assert_num_queries(0):
        rated()
    override()
    # And then the prices and the discounts.
    with django_assert_num_queries(5):
        assert rated().cost == 3
    with django_assert_num_queries(0):
        assert rated().cost == 3


def test_names_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terms, "MEMORY", 20)
    override()
    for number in range(50):
        assert rated(f"made-up-{number}").reason is Reason.UNKNOWN_MODEL
    assert rated().cost == 3


# --- At once ---


@pytest.fixture
def own(committed: object) -> Iterator[uuid.UUID]:
    """An organization whose terms are committed."""
    organization_id = uuid.uuid4()
    yield organization_id
    delete_terms(organization_id=organization_id)


def test_changes_at_once_leave_one_price_at_a_time(own: uuid.UUID) -> None:
    count = 6
    start = threading.Barrier(count)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            start.wait()
            for day in (1, 5, 3):
                at = JANUARY + timedelta(days=day)
                override(own, prices={Meter.INPUT: per_million(str(number))}, start=at, end=at + timedelta(days=4))
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    rows = [(row.effective.lower, row.effective.upper) for row in overrides(own)]
    assert (rows[0][0], rows[-1][1]) == (JANUARY + timedelta(days=1), JANUARY + timedelta(days=9))
    assert all(before[1] == after[0] for before, after in itertools.pairwise(rows))
    assert OrganizationTerms.objects.get(pk=own).version == count * 3
