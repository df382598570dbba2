"""Distributions that can be added up: how many values lie in each bucket of a geometric scale.

A value v lies in bucket ceil(log(v) / log(GAMMA)). Its middle is at most 1.9 % from any value in it, and so is every
quantile; two distributions are added by adding the counts. (Masson, Rim and Lee: DDSketch, 2019.)

Stored as a bigint[]: an entry is its bucket · 2^40 + its count, in the order of buckets.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Self

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


class Distribution:
    """Counts by bucket, and what can be read from them."""

    __slots__ = ("_counts", "count")

    def __init__(self, counts: Mapping[int, int]) -> None:
        self._counts = {bucket: number for bucket, number in sorted(counts.items()) if number > 0}
        self.count = sum(self._counts.values())

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Self:
        """Of (bucket, count), in any order, repeated or not."""
        counts: dict[int, int] = {}
        for bucket, number in pairs:
            counts[bucket] = counts.get(bucket, 0) + number
        return cls(counts)

    def __add__(self, other: "Distribution") -> "Distribution":
        return Distribution.of((*self._counts.items(), *other._counts.items()))

    def quantile(self, share: float) -> float | None:
        """The value below which `share` (0 to 1) of the values lie, within ACCURACY of it; None of nothing."""
        rank, passed = share * (self.count - 1), 0
        for bucket, number in self._counts.items():
            passed += number
            if passed > rank:
                return middle(bucket)
        return None


def middle(bucket: int) -> float:
    """The value that is as far, as a share, from the bucket's least as from its greatest."""
    return float(2 * GAMMA**bucket / (GAMMA + 1))
