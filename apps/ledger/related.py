"""Reports that may be about the same calls as others: what to look for, and the statements that do."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from apps.ledger.calls import SpanParent
from apps.ledger.models import UsageEvent
from apps.ledger.settling import LONGEST_CALL, SLACK, Report, Rule
from apps.ledger.standing import Standing, reported_meters, standings
from tenancy.ids import uuid7
from tenancy.sql import Statement

# Reports lead to further reports of the same calls. Real ones end at the first or second look.
MOST_LOOKS = 8

# Times are compared in microseconds here and there, and need not be rounded alike.
_REACH = f"interval '{SLACK.total_seconds() + 0.001} seconds'"
_LONGEST = f"interval '{LONGEST_CALL.total_seconds()} seconds'"

# Events and links of the same traces and responses, and events that look like the asked ones: of another scope, the one
# within the other's time. A plan that was made while the tables were small is kept, so there must be but one way to go:
# each search is a subquery with a limit, which can't be turned round, and the project is compared as text, for which
# there is no index.
_RELATED = Statement(f"""
    SELECT 'event', e.id, NULL::uuid
      FROM unnest($2::uuid[], $3::uuid[]) AS t (low, high), LATERAL (
           SELECT id FROM {{tenant}}.ledger_usageevent
            WHERE event_id BETWEEN t.low AND t.high AND project_id::text = $1 LIMIT 100000) e
    UNION ALL
    SELECT 'event', e.id, NULL
      FROM unnest($4::text[]) AS t (response_id), LATERAL (
           SELECT id FROM {{tenant}}.ledger_usageevent
            WHERE response_id = t.response_id AND NOT (response_id = '') AND project_id::text = $1 LIMIT 100000) e
    UNION ALL
    SELECT 'event', e.id, NULL
      FROM unnest($5::bigint[], $6::text[], $7::integer[], $8::integer[], $9::integer[])
           AS t (fingerprint, scope, first, last, latest), LATERAL (
           SELECT id FROM {{tenant}}.ledger_usageevent u
            WHERE fingerprint = t.fingerprint
              AND occurred_at BETWEEN ($10::timestamptz[])[t.first] - {_LONGEST}
                              AND ($11::timestamptz[])[t.latest] + {_REACH}
              AND scope <> t.scope AND project_id::text = $1
              AND EXISTS (
                  SELECT FROM generate_series(t.first, t.last) AS asked (place), LATERAL (
                         SELECT ($10::timestamptz[])[place], ($11::timestamptz[])[place],
                                u.occurred_at + u.total_duration_ms * interval '1 millisecond'
                         ) AS times (started_at, ended_at, ends_at)
                   WHERE (u.occurred_at >= started_at - {_REACH} AND ends_at <= ended_at + {_REACH})
                      OR (u.occurred_at <= started_at + {_REACH} AND ends_at >= ended_at - {_REACH}))
            LIMIT 100000) e
    UNION ALL
    SELECT 'link', l.event_id, l.parent_event_id
      FROM unnest($2::uuid[], $3::uuid[]) AS t (low, high), LATERAL (
           SELECT event_id, parent_event_id FROM {{tenant}}.ledger_spanlink
            WHERE project_id = $1::uuid AND event_id BETWEEN t.low AND t.high LIMIT 100000) l
""")

_STORE_LINKS = Statement("""
    INSERT INTO {tenant}.ledger_spanlink (id, project_id, event_id, parent_event_id)
    SELECT t.id, $1, t.event_id, t.parent_event_id
      FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS t (id, event_id, parent_event_id)
        ON CONFLICT (project_id, event_id) DO NOTHING
""")


def _trace(event_id: uuid.UUID) -> str:
    """What the event ids of a span's whole trace begin with: their first eight bytes, in hex."""
    return f"{event_id.int >> 64:016x}"


class _Lookalike(NamedTuple):
    """Of a report that rule C may be about."""

    fingerprint: int
    scope: str
    started_at: datetime
    ended_at: datetime


@dataclass(slots=True)
class Keys:
    """What to look for: traces, responses, and what others must look like."""

    traces: set[str] = field(default_factory=set)
    responses: set[str] = field(default_factory=set)
    lookalikes: set[_Lookalike] = field(default_factory=set)

    @classmethod
    def of(cls, reports: Iterable[Report], links: Iterable[SpanParent] = ()) -> "Keys":
        keys = cls({_trace(link.event_id) for link in links})
        for report in reports:
            keys.traces.add(_trace(report.event_id))
            if report.response_id:
                keys.responses.add(report.response_id)
            if report.fingerprint is not None and report.duration_ms is not None:
                keys.lookalikes.add(_Lookalike(report.fingerprint, report.scope, report.started_at, report.ended_at))
        return keys

    def arrays(self) -> Sequence[str]:
        """$2 to $11 of _RELATED."""
        lookalikes = sorted(self.lookalikes)
        windows = _windows(lookalikes)
        scopes = {scope: _quoted(scope) for scope in {each.scope for each in lookalikes}}
        return (
            _array([trace + "0" * 16 for trace in self.traces]),
            _array([trace + "f" * 16 for trace in self.traces]),
            _array(_quoted(each) for each in self.responses),
            _array(str(lookalikes[window.first].fingerprint) for window in windows),
            _array(scopes[lookalikes[window.first].scope] for window in windows),
            # PostgreSQL counts from 1.
            _array(str(window.first + 1) for window in windows),
            _array(str(window.last + 1) for window in windows),
            _array(str(window.latest + 1) for window in windows),
            _array(each.started_at.isoformat() for each in lookalikes),
            _array(each.ended_at.isoformat() for each in lookalikes),
        )

    def __bool__(self) -> bool:
        return bool(self.traces or self.responses or self.lookalikes)

    def __ior__(self, other: "Keys") -> "Keys":
        self.traces |= other.traces
        self.responses |= other.responses
        self.lookalikes |= other.lookalikes
        return self

    def __isub__(self, other: "Keys") -> "Keys":
        self.traces -= other.traces
        self.responses -= other.responses
        self.lookalikes -= other.lookalikes
        return self


@dataclass(slots=True)
class _Window:
    """A stretch of time in which to look for what looks like the reports from `first` to `last`. Of these `latest` ends
    last. Places in a list."""

    first: int
    last: int
    latest: int


def _windows(lookalikes: Sequence[_Lookalike]) -> list[_Window]:
    """Of sorted lookalikes. Those of one fingerprint and scope whose windows overlap share one: a program that makes
    the same call over and over would have the same rows read for each of them."""
    windows: list[_Window] = []
    for place, each in enumerate(lookalikes):
        if windows:
            window = windows[-1]
            before = lookalikes[window.latest]
            is_alike = each.fingerprint == before.fingerprint and each.scope == before.scope
            if is_alike and each.started_at - LONGEST_CALL <= before.ended_at:
                window.last = place
                if each.ended_at > before.ended_at:
                    window.latest = place
                continue
        windows.append(_Window(place, place, place))
    return windows


def _quoted(text: str) -> str:
    """As an item of a PostgreSQL array."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _array(items: Iterable[str]) -> str:
    """A PostgreSQL array's text form. Items need no quotes, or have them."""
    return "{" + ",".join(items) + "}"


def related(
    project_id: uuid.UUID, wanted: Keys, links: Mapping[uuid.UUID, uuid.UUID]
) -> tuple[dict[uuid.UUID, Standing], dict[uuid.UUID, uuid.UUID]]:
    """All events that may be the same calls as the new ones, by event id, and all links of their traces."""
    known: dict[uuid.UUID, Standing] = {}
    parents = dict(links)
    asked = Keys()
    for _ in range(MOST_LOOKS):
        wanted -= asked
        if not wanted:
            break
        asked |= wanted
        rows = _RELATED.fetch_all(project_id, *wanted.arrays())
        parents |= {uuid.UUID(str(one)): uuid.UUID(str(above)) for kind, one, above in rows if kind == "link"}
        ids = {uuid.UUID(str(one)) for kind, one, _ in rows if kind == "event"}
        ids -= {standing.event.id for standing in known.values()}
        if not ids:
            break
        found = standings(UsageEvent.objects.filter(id__in=ids))
        known |= {standing.event.event_id: standing for standing in found}
        wanted = Keys.of([report_of(standing) for standing in found])
    return known, parents


def report_of(standing: Standing) -> Report:
    """What a stored event was reported as."""
    event, rule = standing.event, standing.price.reason
    return Report(
        event.event_id,
        event.parent_event_id,
        event.source,
        event.scope,
        event.provider,
        frozenset(filter(None, (event.model, event.request_model))),
        event.response_id,
        event.fingerprint,
        event.occurred_at,
        event.total_duration_ms,
        reported_meters(event),
        event.service_tier,
        was_within=standing.same_call_as if rule == Rule.WITHIN_CALL else None,
        was_around=standing.same_call_as if rule == Rule.AROUND_CALLS else None,
    )


def store_links(project_id: uuid.UUID, links: Mapping[uuid.UUID, uuid.UUID]) -> None:
    """`links`: a span that is no call → the one above it. One that is known stays as it is."""
    if links:
        columns = [(str(uuid7()), str(one), str(above)) for one, above in links.items()]
        _STORE_LINKS.fetch_all(project_id, *(_array(column) for column in zip(*columns, strict=True)))
