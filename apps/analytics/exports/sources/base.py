"""What the modules here have in common. All of it is read in the organization's scope."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.analytics.exports.wanted import Wanted
from apps.analytics.selectors import UnansweredError, as_of
from apps.ledger.columns import Value
from apps.ledger.selectors import Totals

# Files of more rows are made in the background. What only the ledger can count is counted up to here.
MOST_STREAMED = 50_000


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with a value for each column. All that was committed before `snapshot_at` is in them."""

    columns: Sequence[str]
    rows: Iterator[Sequence[Value]]
    snapshot_at: datetime


@dataclass(frozen=True, slots=True)
class Source:
    """`table` and `totals` of the same snapshot tie to the last digit. `count` says about how many rows there
    are, MOST_STREAMED + 1 where more than MOST_STREAMED is all that is known, and raises UnansweredError for what there
    will be no table of."""

    label: str
    description: str
    table: Callable[[Wanted], Table]
    totals: Callable[[Wanted], Totals]
    count: Callable[[Wanted], int]


def summed_at() -> datetime:
    """What the sums are of. Raises UnansweredError where they were never made."""
    moment = as_of()
    if moment is None:
        raise UnansweredError("Nothing was summed up yet. That takes some seconds: try again.")
    return moment
