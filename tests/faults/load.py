"""Usage events from several connections at once, by clients that do what exporters do when something fails."""

import http.client
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from decimal import Decimal
from enum import Enum

from tests.faults.stack import HOST, Stack, Tenant, wait_until

MODEL = "gpt-4o-mini"
# Between two attempts at the same event, and how long all of the load may take.
RETRY_SECONDS = 0.05
LOAD_SECONDS = 40.0


class Habit(Enum):
    """What a client does with an event that was not, or was, acknowledged."""

    RETRYING = "sends it again, under the same id, until it is acknowledged"
    REPEATING = "does the same, and sends it once more afterwards, with other numbers"
    GIVING_UP = "tries once"


class Event:
    """A call to a provider: `number` makes its token counts unlike all others'."""

    def __init__(self, tenant: Tenant, number: int, habit: Habit = Habit.RETRYING) -> None:
        self.id = str(uuid.uuid4())
        self.habit = habit
        self.input_tokens = 1_000 + number
        self.output_tokens = 7 + 3 * number
        self._tenant = tenant
        # Of each attempt: the status, or the name of the exception.
        self.outcomes: list[int | str] = []

    def body(self, more_tokens: int = 0) -> dict[str, object]:
        return {
            "id": self.id,
            "provider_key_id": self._tenant.provider_key_id,
            "provider": self._tenant.provider,
            "model": MODEL,
            "data": {
                "input_tokens": str(self.input_tokens + more_tokens),
                "output_tokens": str(self.output_tokens + more_tokens),
            },
        }

    @property
    def is_acknowledged(self) -> bool:
        return any(outcome in (200, 201) for outcome in self.outcomes)


class _Client(threading.Thread):
    def __init__(self, load: "Load", events: list[Event]) -> None:
        super().__init__(daemon=True)
        self._load = load
        self._events = events
        self._connection = http.client.HTTPConnection(HOST, load.stack.port, timeout=LOAD_SECONDS)

    def run(self) -> None:
        try:
            for event in self._events:
                self._send(event)
                while event.habit is not Habit.GIVING_UP and not event.is_acknowledged and not self._load.is_over:
                    self._load.over.wait(RETRY_SECONDS)
                    self._send(event)
                if event.habit is Habit.REPEATING and event.is_acknowledged:
                    self._send(event, more_tokens=5_000)
                self._load.progress(event)
        finally:
            self._connection.close()

    def _send(self, event: Event, more_tokens: int = 0) -> None:
        headers = {"Authorization": f"Bearer {self._load.tenant.token}"}
        try:
            self._connection.request(
                "POST", "/api/v1/usage-events/", json.dumps(event.body(more_tokens)).encode(), headers
            )
            response = self._connection.getresponse()
            response.read()
            event.outcomes.append(response.status)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            event.outcomes.append(type(error).__name__)


class Load:
    """Starts sending as it is entered, on a connection for each of `HABITS`; `acknowledged` counts. Leaving it waits
    until every client is done."""

    HABITS = (*[Habit.RETRYING] * 4, *[Habit.REPEATING] * 2, *[Habit.GIVING_UP] * 2)

    def __init__(self, stack: Stack, tenant: Tenant, *, events: int = 480) -> None:
        self.stack = stack
        self.tenant = tenant
        habits = itertools.cycle(self.HABITS)
        self.events = [Event(tenant, number, next(habits)) for number in range(events)]
        self.acknowledged = 0
        self.over = threading.Event()
        self._deadline = time.monotonic() + LOAD_SECONDS
        self._lock = threading.Lock()
        clients = len(self.HABITS)
        self._clients = [_Client(self, self.events[number::clients]) for number in range(clients)]

    @property
    def is_over(self) -> bool:
        return self.over.is_set() or time.monotonic() > self._deadline

    def progress(self, event: Event) -> None:
        with self._lock:
            self.acknowledged += event.is_acknowledged

    def outcomes(self) -> Counter[int | str]:
        """How often which status or exception came."""
        return Counter(outcome for event in self.events for outcome in event.outcomes)

    def failures(self) -> Counter[int | str]:
        return Counter({outcome: n for outcome, n in self.outcomes().items() if outcome not in (200, 201)})

    def __enter__(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def until(self, share: float) -> None:
        """Waits until that share of the events is acknowledged. The rest is still to come."""
        wanted = share * len(self.events)
        wait_until(lambda: self.acknowledged >= wanted, f"{wanted:g} events acknowledged")
        assert any(client.is_alive() for client in self._clients), "the load was over before the fault"

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.over.set()
        for client in self._clients:
            client.join(LOAD_SECONDS)
            assert not client.is_alive(), "a client hangs"


def unit_prices(stack: Stack, tenant: Tenant) -> tuple[Decimal, Decimal]:
    """What one token in and one token out cost by this ledger, from two events of a million tokens."""
    prices = []
    for counts in (("1000000", "0"), ("0", "1000000")):
        body = Event(tenant, 0).body() | {"data": dict(zip(("input_tokens", "output_tokens"), counts, strict=True))}
        assert stack.request("POST", "/api/v1/usage-events/", body, token=tenant.token).status == 201
        [(cost,)] = stack.query(f"SELECT cost FROM {tenant.schema}.ledger_usageevent WHERE event_id = %s", [body["id"]])
        assert cost > 0
        prices.append(cost / 1_000_000)
    return prices[0], prices[1]


def check_ledger(load: Load, prices: tuple[Decimal, Decimal]) -> None:
    """Everything that was acknowledged stands once, as it was first sent, and nothing stands that was not sent; to send
    it all again is accepted and changes nothing."""
    stack, tenant = load.stack, load.tenant
    sent = {event.id: event for event in load.events}
    acknowledged = {event.id for event in load.events if event.is_acknowledged}
    given_up = {event.id for event in load.events if event.habit is Habit.GIVING_UP}
    assert sent.keys() - acknowledged <= given_up, "a client that retries got no 2xx in time"

    rows = stack.query(
        f"SELECT event_id::text, input_tokens, output_tokens, cost FROM {tenant.schema}.ledger_usageevent"
        " WHERE event_id = ANY(%s::uuid[])",
        [list(sent)],
    )
    stored = {row[0]: row[1:] for row in rows}
    assert len(stored) == len(rows), "an id stands twice"
    assert acknowledged <= stored.keys(), "an acknowledged event is missing"
    counts = {event.id: (event.input_tokens, event.output_tokens) for event in load.events}
    assert {event_id: row[:2] for event_id, row in stored.items()} == {id_: counts[id_] for id_ in stored}

    # The sums, by PostgreSQL, against what was acknowledged and what was stored though its one answer was lost.
    unheard = stored.keys() - acknowledged
    counted = [sent[id_] for id_ in [*acknowledged, *unheard]]
    tokens_in, tokens_out = sum(e.input_tokens for e in counted), sum(e.output_tokens for e in counted)
    totals = (
        f"SELECT count(*), sum(input_tokens), sum(output_tokens), sum(cost) FROM {tenant.schema}.ledger_usageevent"
        " WHERE event_id = ANY(%s::uuid[])"
    )
    [total] = stack.query(totals, [list(sent)])
    assert total == (len(counted), tokens_in, tokens_out, tokens_in * prices[0] + tokens_out * prices[1])

    before = _fingerprint(stack, tenant)
    for event_id in sorted(acknowledged)[::20]:
        answer = stack.request("POST", "/api/v1/usage-events/", sent[event_id].body(9_000), token=tenant.token)
        assert (answer.status, answer.json["status"]) == (200, "duplicate")
    assert _fingerprint(stack, tenant) == before

    fresh = Event(tenant, len(sent))
    assert stack.request("POST", "/api/v1/usage-events/", fresh.body(), token=tenant.token).status == 201
    [(twice,)] = stack.query(
        f"SELECT count(*) - count(DISTINCT (project_id, event_id)) FROM {tenant.schema}.ledger_usageevent"
    )
    assert twice == 0


def _fingerprint(stack: Stack, tenant: Tenant) -> object:
    [row] = stack.query(
        f"SELECT count(*), md5(string_agg(e::text, E'\\n' ORDER BY id)) FROM {tenant.schema}.ledger_usageevent e"
    )
    return row
