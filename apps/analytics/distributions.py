"""Distributions that can be added up: how many values lie in each bucket of a geometric scale.

A value v lies in bucket ceil(log(v) / log(GAMMA)). Its middle is at most 1.9 % from any value in it, and so is every
quantile; two distributions are added by adding the counts. (Masson, Rim and Lee: DDSketch, 2019.)

Stored as a bigint[]: an entry is its bucket · 2^40 + its count, in the order of buckets.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Group = TypeVar("Group", bound=Hashable)

ACCURACY = 0.019
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
# Below a thousandth and above three years, in whatever unit: no value of a call.
LEAST_BUCKET, LAST_BUCKET = -182, 665
_SHIFT = 40
_HALF = 1 << (_SHIFT - 1)

EMPTY = "'{}'::bigint[]"


def entry(value: str, weight: str) -> str:
    """SQL: a value as an entry of its distribution; NULL for none, and for one that is not above 0."""
    bucket = f"least(greatest(ceil(ln({value}) / {math.log(GAMMA)!r}), {LEAST_BUCKET}), {LAST_BUCKET})"
    return f"CASE WHEN {value} > 0 AND {weight} <> 0 THEN ({bucket}::bigint << {_SHIFT}) + {weight} END"


def counted(entries: str) -> str:
    """SQL: the rows (bucket, number) of an array of entries; a bucket may come more than once."""
    bucket = f"(entry + {_HALF}) >> {_SHIFT}"
    number = f"entry - (({bucket}) << {_SHIFT})"
    return f"LATERAL (SELECT {bucket} AS bucket, {number} AS number FROM unnest({entries}) AS entry)"


def merged(entries: str) -> str:
    """SQL: an array of entries, with one for each bucket."""
    return f"""(
        SELECT coalesce(array_agg((bucket << {_SHIFT}) + number ORDER BY bucket), {EMPTY})
          FROM (SELECT c.bucket, sum(c.number)::bigint AS number FROM {counted(entries)} AS c GROUP BY 1) AS all_of_them
         WHERE number <> 0)"""


def sent(entries: str) -> str:
    """SQL, an aggregate: the entries of all rows' arrays as PostgreSQL sends them in binary, which `Gathered` reads."""
    # After the head of an array of one dimension; without entries there is nothing after it.
    return f"string_agg(substring(array_send({entries}) FROM 21), '')"


Counts = NDArray[np.int64]
_BUCKETS = LAST_BUCKET - LEAST_BUCKET + 1
# How many bytes an entry has, and the entry.
_ENTRY = np.dtype([("length", ">i4"), ("entry", ">i8")])


class Distribution:
    """Counts by bucket, from the least, and what can be read from them."""

    __slots__ = ("_counts", "count")

    def __init__(self, counts: Counts | None = None) -> None:
        self._counts: Counts = np.zeros(_BUCKETS, np.int64) if counts is None else counts
        self.count = int(self._counts.sum())

    def __add__(self, other: "Distribution") -> "Distribution":
        return Distribution(self._counts + other._counts)

    def quantile(self, share: float) -> float | None:
        """The value below which `share` (0 to 1) of the values lie, within ACCURACY of it; None of nothing."""
        if not self.count:
            return None
        place = np.searchsorted(np.cumsum(self._counts), share * (self.count - 1), side="right")
        return middle(LEAST_BUCKET + int(place))


class Gathered(Generic[Group]):
    """Distributions by group, of entries that are read piece by piece."""

    def __init__(self) -> None:
        self._places: dict[Group, int] = {}
        self._counts: Counts = np.zeros((0, _BUCKETS), np.int64)

    def add(self, groups: Sequence[Group], pieces: Sequence[bytes]) -> None:
        """Entries, as `sent`, for each group; groups may come more than once."""
        if not groups:
            return
        places = [self._places.setdefault(group, len(self._places)) for group in groups]
        lengths = [len(piece) // _ENTRY.itemsize for piece in pieces]
        entries = np.frombuffer(b"".join(pieces), _ENTRY)["entry"].astype(np.int64)
        buckets = (entries + _HALF) >> _SHIFT
        where = np.repeat(np.array(places, np.int64), lengths) * _BUCKETS + (buckets - LEAST_BUCKET)
        size = len(self._places) * _BUCKETS
        # Numbers are added as doubles, which are exact up to 2^53.
        added = np.bincount(where, entries - (buckets << _SHIFT), size).astype(np.int64).reshape(-1, _BUCKETS)
        added[: len(self._counts)] += self._counts
        self._counts = added

    def all(self) -> dict[Group, Distribution]:
        return {group: Distribution(self._counts[place]) for group, place in self._places.items()}


def middle(bucket: int) -> float:
    """The value that is as far, as a share, from the bucket's least as from its greatest."""
    return float(2 * GAMMA**bucket / (GAMMA + 1))
