"""What the ledger makes of a call: the rows that a test expects, and those that there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from tests.contract.running import Platform
from tests.contract.scripted import (
    CACHED,
    CHAT,
    CLAUDE,
    EMBEDDED,
    EMBEDDING,
    FRESH,
    INPUT,
    OUTPUT,
    READ,
    REASONING,
    SAID,
    TURN_INPUT,
    TURN_OUTPUT,
    WRITTEN_1H,
    WRITTEN_5M,
)

DATED = "gpt-4o-mini-2024-07-18"


@dataclass(frozen=True)
class Row:
    """A call as it stands in the ledger. `meters` without those that are 0 and the call itself; `cost` in dollars,
    exact, None for none."""

    status: str
    operation: str
    provider: str
    model: str
    request_model: str
    meters: Mapping[str, int] = field(default_factory=dict)
    cost: Decimal | None = None
    reason: str = ""
    ending: str = "ok"
    error_type: str = ""
    # Whether there is a time to the first token.
    first_token: bool = False

    def but(self, **changes: Any) -> "Row":
        return replace(self, **changes)

    def without(self, *meters: str, cost: str) -> "Row":
        """Of an emitter that does not tell these."""
        kept = {meter: count for meter, count in self.meters.items() if meter not in meters}
        return replace(self, meters=kept, cost=Decimal(cost))

    def silent(self) -> "Row":
        """Of a call that told nothing of its usage."""
        return replace(self, status="unpriced", meters={}, cost=None, reason="missing_usage")

    def failed(self, error_type: str) -> "Row":
        """There was no answer, so the model is the one that was asked for."""
        model = self.request_model
        return replace(self, status="failed", model=model, meters={}, cost=None, ending="error", error_type=error_type)


# By the list prices of 2024 and 2025, in dollars per million tokens. gpt-4o-mini: 0.15 in, 0.075 from the cache,
# 0.60 out. text-embedding-3-small: 0.02. Claude Sonnet 4.5: 3 in, 0.30 read, 3.75 and 6 written, 15 out.
ASKED = Row(
    "priced",
    "chat",
    "openai",
    DATED,
    CHAT,
    {"input": INPUT, "cache_read": CACHED, "output": OUTPUT, "reasoning": REASONING},
    Decimal("0.000285"),
)
# The same, told without what was cached.
ASKED_UNCACHED = "0.000360"
ANSWERED = ASKED.but(meters={"input": TURN_INPUT, "output": TURN_OUTPUT}, cost=Decimal("0.000258"))
EMBEDDED_TEXT = Row("priced", "embeddings", "openai", EMBEDDING, EMBEDDING, {"input": EMBEDDED}, Decimal("0.00000008"))
CLAUDE_INPUT = FRESH + READ + WRITTEN_5M + WRITTEN_1H
CLAUDE_ASKED = Row(
    "priced",
    "chat",
    "anthropic",
    CLAUDE,
    CLAUDE,
    {
        "input": CLAUDE_INPUT,
        "cache_read": READ,
        "cache_write": WRITTEN_5M + WRITTEN_1H,
        "cache_write_1h": WRITTEN_1H,
        "output": SAID,
    },
    Decimal("0.003225"),
)
# The same, told without the cache.
CLAUDE_UNCACHED = "0.005400"
CLAUDE_ANSWERED = CLAUDE_ASKED.but(meters={"input": TURN_INPUT, "output": TURN_OUTPUT}, cost=Decimal("0.005400"))


@dataclass(frozen=True)
class Found:
    """What is new in a project: calls, in the order they began, and why what is no call isn't; all columns of both."""

    calls: list[Row]
    duplicates: list[str]
    rows: list[dict[str, Any]]


def found(platform: Platform, schema: str, known: set[str]) -> Found:
    """The rows that are not `known`, which they are from now on.

    Also makes sure that all rows, as they stand, and the sums over facts and adjustments are the same amounts.
    """
    ledger = platform.control.ask("ledger", schema=schema)
    _check_sums(ledger)
    rows = [row for row in ledger["rows"] if row["event_id"] not in known]
    known.update(row["event_id"] for row in rows)
    calls = [row for row in rows if row["status"] != "duplicate"]
    return Found(
        calls=[_row(row) for row in calls],
        duplicates=sorted(row["reason"] for row in rows if row["status"] == "duplicate"),
        rows=rows,
    )


def _row(row: Mapping[str, Any]) -> Row:
    meters = dict(row["meters"])
    assert meters.pop("request") == 1
    return Row(
        status=row["status"],
        operation=row["operation"],
        provider=row["provider"],
        model=row["model"],
        request_model=row["request_model"],
        meters={meter: count for meter, count in meters.items() if count},
        cost=None if row["cost"] is None else Decimal(row["cost"]),
        reason=row["reason"],
        ending=row["ending"],
        error_type=row["error_type"],
        first_token=row["first_token_ms"] is not None,
    )


def _check_sums(ledger: Mapping[str, Any]) -> None:
    standing: dict[str, Decimal] = {"cost": Decimal(0)}
    rows: Sequence[Mapping[str, Any]] = ledger["rows"]
    for row in rows:
        if row["status"] == "duplicate":
            assert row["cost"] is None
            continue
        standing["cost"] += Decimal(row["cost"] or 0)
        for meter, count in row["meters"].items():
            standing[meter] = standing.get(meter, Decimal(0)) + count
    sums = {name: Decimal(total) for name, total in ledger["sums"].items() if Decimal(total) or name == "cost"}
    assert sums == {name: total for name, total in standing.items() if total or name == "cost"}
