"""Which reports are about one call, and which of them counts.

Two instrumentations of one program, or an SDK and the library below it, report the same call. Three rules find that:

A. A call above another in the same trace, with nothing but other spans between them, is the same call seen from
   further out. Two different response ids refute it: a call that runs another one, by a tool for instance. A report
   that does not say which model of which provider was asked is around the calls within it and counts for none.
B. Calls of a provider with the same response id are one call.
C. Two reports of different instrumentation scopes in the same process, the one within the other's time, of the same
   model and token counts, are taken for one call. A guess: it needs `service.instance.id`, and two different response
   ids refute it.

Of a trace's reports the outermost counts, of several traces' the one that takes precedence (`Report.precedence`), with
the details that only the others know (cached, reasoning and audio tokens, service tier): without them a cached prompt
would cost its full price.

Pure: the verdicts depend on the set of reports alone, so it does not matter in which order or in how many requests
they arrive.
"""

import hashlib
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from apps.pricing.meters import Meter
from apps.pricing.providers import canonical

# A whole, and the parts of it that another report of the call may add.
_DETAILS = (
    (Meter.INPUT, (Meter.CACHE_READ, Meter.CACHE_WRITE, Meter.CACHE_WRITE_1H, Meter.AUDIO_IN)),
    (Meter.OUTPUT, (Meter.REASONING, Meter.AUDIO_OUT)),
)
_FIRST = {"any-llm": 0, "anthropic": 1}
# How far the inner one may reach beyond the outer's time, for rule C: Logfire's report of a stream ends when it is
# written, a little after the stream did.
SLACK = timedelta(milliseconds=100)
# How far apart two reports may begin that rule C takes for one call: it bounds a search, no call is longer.
LONGEST_CALL = timedelta(hours=1)
_ADDABLE = frozenset(meter for whole, parts in _DETAILS for meter in (whole, *parts))

Meters = Mapping[Meter, int]


class Rule(StrEnum):
    """How a report was found to be another's call; kept as the duplicate's `price_reason`."""

    WITHIN_CALL = "within_call"
    AROUND_CALLS = "around_calls"
    SAME_RESPONSE = "same_response"
    POSSIBLE_DUPLICATE = "possible_duplicate"


class Report(msgspec.Struct, frozen=True, gc=False):
    """What settling looks at. `meters` as they were reported.

    `was_within` and `was_around` are the call that rule A found when it last looked: the spans between may have been
    forgotten since.
    """

    event_id: uuid.UUID
    parent_event_id: uuid.UUID | None
    source: str
    scope: str
    provider: str
    models: frozenset[str]
    response_id: str
    fingerprint: int | None
    started_at: datetime
    duration_ms: float | None
    meters: Meters
    service_tier: str
    was_within: uuid.UUID | None = None
    was_around: uuid.UUID | None = None

    @property
    def names_model(self) -> bool:
        """Whether it says which model of which provider was asked. Without, there is no price for it."""
        return bool(self.provider and self.models)

    @property
    def ended_at(self) -> datetime:
        return self.started_at + timedelta(milliseconds=self.duration_ms or 0)

    @property
    def precedence(self) -> tuple[bool, int, datetime, uuid.UUID]:
        """Of reports of one call the least counts: one that names the model; then the SDK's, which knows the client;
        then that of the provider's own library, which sees the bill; then the outermost."""
        return not self.names_model, _FIRST.get(self.source, len(_FIRST)), self.started_at, self.event_id


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Either the report counts, for `meters`, or `same_call_as` does and `rule` says why."""

    same_call_as: uuid.UUID | None
    rule: Rule | None
    meters: Meters
    service_tier: str


def fingerprint(instance: str, meters: Meters) -> int | None:
    """What rule C's candidates have in common, as a bigint; None for a report the rule can't be about."""
    if not instance:
        return None
    counts = (meters.get(Meter.INPUT), meters.get(Meter.OUTPUT))
    if not any(counts):
        return None
    digest = hashlib.blake2b(repr((instance, *counts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def settle(reports: Iterable[Report], parents: Mapping[uuid.UUID, uuid.UUID]) -> dict[uuid.UUID, Verdict]:
    """Of each report, by its event id. `parents` are the links of spans that are no calls."""
    by_id = {report.event_id: report for report in reports}
    verdicts: dict[uuid.UUID, Verdict] = {}
    if not any(report.parent_event_id for report in by_id.values()):
        # Most reports have nothing by which they could be another's call.
        alone = [each for each in by_id.values() if not each.response_id and each.fingerprint is None]
        verdicts = {each.event_id: Verdict(None, None, each.meters, each.service_tier) for each in alone}
        by_id = {event_id: report for event_id, report in by_id.items() if event_id not in verdicts}
    groups = _Groups(by_id)
    above, around = _nesting(by_id, parents)
    for inner, outer in above.items():
        groups.join(inner, outer)
    _join_responses(groups, by_id.values())
    _join_lookalikes(groups, above.keys() | around.keys())

    inside: dict[uuid.UUID, list[uuid.UUID]] = {}
    for inner, outer in above.items():
        if inner not in around:
            inside.setdefault(outer, []).append(inner)
    no_calls: list[tuple[set[uuid.UUID], uuid.UUID]] = []
    for members in groups.members():
        if around and (first := _first_within(members, around, by_id)) is not None:
            no_calls.append((members, first))
            continue
        if len(members) == 1:
            (only,) = members
            verdicts[only] = Verdict(None, None, by_id[only].meters, by_id[only].service_tier)
            continue
        outermost = sorted(
            (by_id[each] for each in members if each not in above),
            key=lambda one: (one.event_id in around, one.precedence),
        )
        winner = outermost[0]
        known = [_with_inner(report, by_id, inside) for report in outermost]
        meters = known[0]
        for other in known[1:]:
            meters = _filled(meters, other)
        in_order = sorted(members, key=lambda each: by_id[each].precedence)
        tiers = (winner.service_tier, *(by_id[each].service_tier for each in in_order))
        verdicts[winner.event_id] = Verdict(None, None, meters, next(filter(None, tiers), ""))
        responses = {_response(winner)} - {None}
        for each in members - {winner.event_id}:
            if each in above:
                rule = Rule.WITHIN_CALL
            elif _response(by_id[each]) in responses or _shares_response(by_id[each], members, by_id):
                rule = Rule.SAME_RESPONSE
            else:
                rule = Rule.POSSIBLE_DUPLICATE
            verdicts[each] = Verdict(winner.event_id, rule, {}, "")
    for members, first in no_calls:
        counted = verdicts[first].same_call_as or first
        verdicts |= {each: Verdict(counted, Rule.AROUND_CALLS, {}, "") for each in members}
    return verdicts


class _Groups:
    """Reports of one call, as they are found to be."""

    def __init__(self, by_id: Mapping[uuid.UUID, Report]) -> None:
        self.reports = by_id
        self._group = {each: {each} for each in by_id}

    def of(self, event_id: uuid.UUID) -> set[uuid.UUID]:
        return self._group[event_id]

    def join(self, one: uuid.UUID, other: uuid.UUID) -> None:
        mine, theirs = self._group[one], self._group[other]
        if mine is theirs:
            return
        if len(mine) < len(theirs):
            mine, theirs = theirs, mine
        mine |= theirs
        for each in theirs:
            self._group[each] = mine

    def members(self) -> list[set[uuid.UUID]]:
        return list({id(group): group for group in self._group.values()}.values())


def _nesting(
    by_id: Mapping[uuid.UUID, Report], parents: Mapping[uuid.UUID, uuid.UUID]
) -> tuple[dict[uuid.UUID, uuid.UUID], dict[uuid.UUID, set[uuid.UUID]]]:
    """Rule A: the call above each report that lies within one, free of cycles, whatever the links say. And what lies
    within each report that names no model, where anything does."""
    above: dict[uuid.UUID, uuid.UUID] = {}
    around: dict[uuid.UUID, set[uuid.UUID]] = {}
    for event_id in sorted(each for each, report in by_id.items() if report.parent_event_id is not None):
        report = by_id[event_id]
        for outer in _reports_above(report, by_id, parents):
            if outer.names_model:
                if not (report.response_id and outer.response_id) or report.response_id == outer.response_id:
                    above[event_id] = outer.event_id
                break
            around.setdefault(outer.event_id, set()).add(event_id)
        else:
            if report.was_within is not None and report.was_within in by_id:
                above[event_id] = report.was_within
    for event_id, report in by_id.items():
        if report.was_around is not None and report.was_around in by_id and event_id not in around:
            around[event_id] = {report.was_around}
    for event_id in sorted(above):
        place, passed = event_id, {event_id}
        while place in above:
            place = above[place]
            if place in passed:
                # Spans that are each other's parents are nobody's: the first of the circle counts.
                circle = [place]
                while above[circle[-1]] != place:
                    circle.append(above[circle[-1]])
                del above[min(circle)]
                break
            passed.add(place)
    return above, around


def _reports_above(
    report: Report, by_id: Mapping[uuid.UUID, Report], parents: Mapping[uuid.UUID, uuid.UUID]
) -> Iterator[Report]:
    """The nearest first; none twice."""
    place, passed = report.parent_event_id, {report.event_id}
    while place is not None and place not in passed:
        passed.add(place)
        outer = by_id.get(place)
        if outer is not None:
            yield outer
        place = parents.get(place) if outer is None else outer.parent_event_id


def _first_within(
    members: set[uuid.UUID], around: Mapping[uuid.UUID, set[uuid.UUID]], by_id: Mapping[uuid.UUID, Report]
) -> uuid.UUID | None:
    """Of a group whose reports are all around calls, the first of these; None for others."""
    if not all(each in around for each in members):
        return None
    within = {each for one in members for each in around[one]} - around.keys()
    return min(within, key=lambda each: by_id[each].precedence, default=None)


def _response(report: Report) -> tuple[str, str] | None:
    return (canonical(report.provider), report.response_id) if report.response_id else None


def _join_responses(groups: _Groups, reports: Iterable[Report]) -> None:
    """Rule B."""
    first: dict[tuple[str, str], uuid.UUID] = {}
    for report in reports:
        if response := _response(report):
            groups.join(first.setdefault(response, report.event_id), report.event_id)


def _shares_response(report: Report, members: set[uuid.UUID], by_id: Mapping[uuid.UUID, Report]) -> bool:
    response = _response(report)
    return response is not None and any(
        _response(by_id[each]) == response for each in members if each != report.event_id
    )


def _join_lookalikes(groups: _Groups, nested: Set[uuid.UUID]) -> None:
    """Rule C, among reports of calls of their own, as far as rule A knows: not `nested` in others nor around some."""
    alike: dict[int, list[Report]] = {}
    for report in groups.reports.values():
        if report.fingerprint is not None and report.duration_ms is not None and report.event_id not in nested:
            alike.setdefault(report.fingerprint, []).append(report)
    for _, candidates in sorted(alike.items()):
        if len(candidates) > 1 and len({one.scope for one in candidates}) > 1:
            _join_alike(groups, candidates)


def _join_alike(groups: _Groups, candidates: Sequence[Report]) -> None:
    """Of one fingerprint: each within the shortest that holds it, and each with at most one of every other scope. A
    program may make the same call thousands of times, so only those around its time are looked at."""
    in_order = sorted(candidates, key=lambda one: (one.duration_ms, one.precedence))
    rank = {one.event_id: place for place, one in enumerate(in_order)}
    by_start = sorted(candidates, key=lambda one: one.started_at)
    starts = [one.started_at for one in by_start]
    longest = min(in_order[-1].ended_at - in_order[-1].started_at, LONGEST_CALL)
    taken: set[tuple[uuid.UUID, str]] = set()
    for inner in in_order:
        first = bisect_left(starts, inner.started_at - longest)
        last = bisect_right(starts, inner.started_at + SLACK)
        near = [
            outer
            for outer in by_start[first:last]
            if outer.scope != inner.scope and rank[outer.event_id] > rank[inner.event_id]
        ]
        for outer in sorted(near, key=lambda one: rank[one.event_id]):
            pair = {(outer.event_id, inner.scope), (inner.event_id, outer.scope)}
            if not pair & taken and _look_alike(inner, outer, groups):
                taken |= pair
                groups.join(inner.event_id, outer.event_id)
                break


def _look_alike(inner: Report, outer: Report, groups: _Groups) -> bool:
    if not inner.models & outer.models or inner.started_at - outer.started_at > LONGEST_CALL:
        return False
    if not (outer.started_at - SLACK <= inner.started_at <= outer.ended_at):
        return False
    if not (outer.started_at <= inner.ended_at <= outer.ended_at + SLACK):
        return False
    mine, theirs = groups.of(inner.event_id), groups.of(outer.event_id)
    responses = {_response(groups.reports[each]) for each in mine | theirs} - {None}
    return len(responses) < 2 or mine is theirs


def _with_inner(
    report: Report, by_id: Mapping[uuid.UUID, Report], inside: Mapping[uuid.UUID, Sequence[uuid.UUID]]
) -> Meters:
    """A report's meters with what the calls within it know. Without recursion: a trace may be deep."""
    order = [report.event_id]
    for each in order:
        order += inside.get(each, ())
    known: dict[uuid.UUID, Meters] = {}
    for each in reversed(order):
        meters = by_id[each].meters
        if inner := inside.get(each):
            meters = _filled(meters, _sum(known[one] for one in inner))
        known[each] = meters
    return known[report.event_id]


def _sum(all_meters: Iterable[Meters]) -> Meters:
    total: dict[Meter, int] = {}
    for meters in all_meters:
        for meter, quantity in meters.items():
            if meter in _ADDABLE:
                total[meter] = total.get(meter, 0) + quantity
    return total


def _filled(own: Meters, other: Meters) -> Meters:
    """`own`, and what it lacks of `other`: parts only where both mean the same whole."""
    filled = dict(own)
    for whole, parts in _DETAILS:
        if whole not in other:
            continue
        if filled.setdefault(whole, other[whole]) == other[whole]:
            for part in parts:
                if part in other:
                    filled.setdefault(part, other[part])
    return filled
