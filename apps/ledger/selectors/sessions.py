"""Calls by the session that they name. A session is a label within a project: the same label in two is two sessions.

What a question reads is bounded, whatever the ledger and a session hold: calls are looked through from the newest on,
and of a session its newest ones are summed. The answers say where such a bound was reached.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from apps.ledger.selectors.filters import EventFilter, projects_with_events
from apps.ledger.selectors.pages import Position
from apps.ledger.selectors.sums import Totals, share, totals

# Sessions on a page.
MOST_SESSIONS = 25
# Calls that are looked through at first, of all projects together: where most name a session, they are enough. Each
# further round looks at twice as many as the one before.
LOOKED_AT, ROUNDS = 250, 6
# Of each session on a page so many of its newest calls are summed, and so many are asked whether it was on an earlier
# page; of one that is looked at by itself, so many.
MOST_LISTED, MOST_SUMMED = 500, 5_000

_END = "e.occurred_at + COALESCE(e.total_duration_ms, 0) * interval '1 millisecond'"


@dataclass(slots=True)
class Session:
    """What the calls of a session come to that match a filter, adjustments included; duplicates are no calls.

    From the beginning of the first to the end of the last. `errors` ended with one, and may have used tokens; those
    that `failed` used none. Where the session `is_cut`, this is of its newest MOST_LISTED calls, of which some match.
    """

    project_id: uuid.UUID
    label: str
    first: datetime
    last: datetime
    is_cut: bool
    calls: int = 0
    errors: int = 0
    failed: int = 0
    unpriced: int = 0
    tokens: int = 0
    costs: dict[str, Decimal] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)

    @property
    def duration(self) -> timedelta:
        return self.last - self.first

    @property
    def unpriced_share(self) -> Decimal:
        """Of the calls that used something, 0 to 1: how much the costs leave out."""
        return share(self.unpriced, self.calls - self.failed)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Latest first, by the last call that matches. Without `next_cursor` there are no earlier ones.

    `looked_until` is how far back calls were looked through, where that ended the page and not its length.
    """

    sessions: Sequence[Session]
    next_cursor: str | None = None
    looked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """From the beginning of a session's first call to the end of its last; `totals` are of the calls since
    `summed_from`, where that is not None, and else of all."""

    first: datetime
    last: datetime
    totals: Totals
    errors: int
    summed_from: datetime | None

    @property
    def duration(self) -> timedelta:
        return self.last - self.first


_Key = tuple[uuid.UUID, str]


def page_of_sessions(wanted: EventFilter, *, cursor: str = "") -> SessionPage:
    """The sessions of the calls that match, MOST_SESSIONS at most, or as many as ROUNDS rounds find.

    `cursor` is one of another page's: what that listed is left out, as far as `_look_through` looks for it. Raises
    BadCursorError.
    """
    projects = projects_with_events(with_sessions=True)
    if wanted.project_ids is not None:
        projects = [project for project in projects if project in wanted.project_ids]
    page = Position.decode(cursor) if cursor else None
    if not projects:
        return SessionPage([])
    found, reached = dict[_Key, Position](), page
    for number in range(ROUNDS):
        calls = LOOKED_AT * 2**number
        newest, reached = _look_through(wanted, projects, calls, since=reached, page=page)
        found = newest | found
        if reached is None or len(found) > MOST_SESSIONS:
            break
    latest = sorted(found, key=lambda key: found[key][1:], reverse=True)
    shown = {key: found[key] for key in latest[:MOST_SESSIONS]}
    sessions = _summed(wanted, shown)
    if len(latest) > MOST_SESSIONS:
        return SessionPage(sessions, found[latest[MOST_SESSIONS - 1]].encode())
    if reached is not None:
        return SessionPage(sessions, reached.encode(), reached.occurred_at)
    return SessionPage(sessions)


def _look_through(
    wanted: EventFilter, projects: Sequence[uuid.UUID], calls: int, *, since: Position | None, page: Position | None
) -> tuple[dict[_Key, Position], Position | None]:
    """Of the next calls older than `since`, the sessions, each with its latest call that matches, and where to go on;
    None at the end. Sessions with a call that matches before the `page` began were on an earlier one; that is looked
    for among the MOST_LISTED of their calls that came right after, so one with more that do not match can come again.

    Of each project as many by its index, whether they match or not; `calls` of all together.
    """
    where, bounds = wanted.where(), _bounds(wanted)
    limit = max(1, calls // len(projects))
    values: dict[str, Any] = {**where.values, "projects": list(projects), "limit": limit}
    after = is_new = "true"
    if since is not None:
        after = "(e.occurred_at, e.id) < (%(since_time)s, %(since_id)s)"
        values |= {"since_time": since.occurred_at, "since_id": since.id}
    if page is not None:
        is_new = f"""NOT EXISTS (
            SELECT FROM (
                SELECT {where.sql} AS matches FROM ledger_usageevent e
                 WHERE e.project_id = one.project_id AND e.session = one.session AND e.session <> '' AND {bounds}
                   AND (e.occurred_at, e.id) >= (%(page_time)s, %(page_id)s)
                 ORDER BY e.occurred_at, e.id LIMIT %(most)s) AS newer
             WHERE newer.matches)"""
        values |= {"page_time": page.occurred_at, "page_id": page.id, "most": MOST_LISTED}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH looked_at AS MATERIALIZED (
                SELECT one.*
                  FROM unnest(%(projects)s::uuid[]) AS project (id)
                 CROSS JOIN LATERAL (
                       SELECT e.project_id, e.session, e.occurred_at, e.id, e.session <> '' AND {where.sql} AS matches
                         FROM ledger_usageevent e
                        WHERE e.project_id = project.id AND {bounds} AND {after}
                        ORDER BY e.occurred_at DESC, e.id DESC LIMIT %(limit)s) AS one),
            newest AS (
                SELECT DISTINCT ON (l.project_id, l.session) l.project_id, l.session, l.occurred_at, l.id
                  FROM looked_at l WHERE l.matches
                 ORDER BY l.project_id, l.session, l.occurred_at DESC, l.id DESC),
            ends AS (
                SELECT DISTINCT ON (l.project_id) l.occurred_at, l.id,
                       count(*) OVER (PARTITION BY l.project_id) AS calls
                  FROM looked_at l ORDER BY l.project_id, l.occurred_at, l.id)
            SELECT one.project_id, one.session, one.occurred_at, one.id FROM newest one WHERE {is_new}
            UNION ALL
            -- Of what is older than this not every project's calls were looked at.
            (SELECT NULL, NULL, e.occurred_at, e.id FROM ends e WHERE e.calls = %(limit)s
              ORDER BY e.occurred_at DESC, e.id DESC LIMIT 1)
            """,
            values,
        )
        rows = cursor.fetchall()
    reached = next((Position(False, *row[2:]) for row in rows if row[0] is None), None)
    newest = {(row[0], row[1]): Position(False, *row[2:]) for row in rows if row[0] is not None}
    if reached is not None:
        newest = {key: position for key, position in newest.items() if position >= reached}
    return newest, reached


def _bounds(wanted: EventFilter) -> str:
    """What of a filter an index finds; its values are among those of the whole filter."""
    return EventFilter(start=wanted.start, end=wanted.end, session=wanted.session, model=wanted.model).where().sql


def _summed(wanted: EventFilter, latest: Mapping[_Key, Position]) -> list[Session]:
    """What the sessions come to, in their order. Each with its latest call that matches, so none is empty."""
    where = wanted.where()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH calls AS MATERIALIZED (
                SELECT s.place, one.*, count(*) OVER (PARTITION BY s.place) AS looked_at,
                       row_number() OVER (PARTITION BY s.place ORDER BY one.occurred_at DESC, one.id DESC) AS nth
                  FROM unnest(%(projects)s::uuid[], %(sessions)s::text[], %(times)s::timestamptz[], %(ids)s::uuid[])
                       WITH ORDINALITY AS s (project_id, session, occurred_at, id, place)
                 CROSS JOIN LATERAL (
                       SELECT e.id, e.occurred_at, {_END} AS ended_at, e.model, e.ending, e.price_status, e.currency,
                              e.cost, CASE e.price_status WHEN 'duplicate' THEN 0 ELSE
                                  COALESCE(e.input_tokens, 0) + COALESCE(e.output_tokens, 0) END AS tokens,
                              {where.sql} AS matches
                         FROM ledger_usageevent e
                        WHERE e.project_id = s.project_id AND e.session = s.session AND e.session <> ''
                          AND {_bounds(wanted)} AND (e.occurred_at, e.id) <= (s.occurred_at, s.id)
                        -- One more than is summed says whether there are more.
                        ORDER BY e.occurred_at DESC, e.id DESC LIMIT %(most)s + 1) AS one),
            now AS (
                SELECT c.*, COALESCE(a.status, c.price_status) AS status,
                       COALESCE(a.currency, c.currency) AS currency_now,
                       COALESCE(c.cost, 0) + COALESCE(a.cost, 0) AS cost_now,
                       c.tokens + COALESCE(a.tokens, 0) AS tokens_now
                  FROM calls c
                  LEFT JOIN LATERAL (
                       SELECT (array_agg(a.price_status ORDER BY a.revision DESC))[1] AS status,
                              max(a.currency) AS currency, sum(a.cost) AS cost,
                              sum(COALESCE(a.input_tokens, 0) + COALESCE(a.output_tokens, 0)) AS tokens
                         FROM ledger_adjustment a WHERE a.event_id = c.id) AS a ON true
                 WHERE c.matches AND c.nth <= %(most)s)
            SELECT n.place, CASE n.status WHEN 'priced' THEN n.currency_now END AS unit,
                   min(n.occurred_at), max(n.ended_at), max(n.looked_at) > %(most)s,
                   count(*) FILTER (WHERE n.status <> 'duplicate'),
                   count(*) FILTER (WHERE n.status <> 'duplicate' AND n.ending = 'error'),
                   count(*) FILTER (WHERE n.status = 'failed'), count(*) FILTER (WHERE n.status = 'unpriced'),
                   sum(n.tokens_now), sum(n.cost_now),
                   array_agg(DISTINCT n.model) FILTER (WHERE n.status <> 'duplicate')
              FROM now n GROUP BY n.place, unit ORDER BY n.place, unit
            """,
            {
                **where.values,
                "projects": [project for project, _ in latest],
                "sessions": [label for _, label in latest],
                "times": [position.occurred_at for position in latest.values()],
                "ids": [position.id for position in latest.values()],
                "most": MOST_LISTED,
            },
        )
        rows = cursor.fetchall()
    keys, found = list(latest), dict[int, Session]()
    for place, currency, first, last, is_cut, calls, errors, failed, unpriced, tokens, cost, models in rows:
        project_id, label = keys[place - 1]
        session = found.setdefault(place, Session(project_id, label, first, last, is_cut))
        session.first, session.last = min(session.first, first), max(session.last, last)
        session.calls += calls
        session.errors += errors
        session.failed += failed
        session.unpriced += unpriced
        session.tokens += int(tokens)
        if currency is not None:
            session.costs[currency] = cost
        session.models = sorted({*session.models, *(models or ())})
    return list(found.values())


def extent(project_id: uuid.UUID, label: str) -> Extent | None:
    """A session as a whole; None where there is none. Reads MOST_SUMMED of its calls."""
    wanted = EventFilter(project_ids=(project_id,), session=label)
    where = wanted.where()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH calls AS NOT MATERIALIZED (
                SELECT e.* FROM ledger_usageevent e WHERE e.project_id = %(project)s AND {where.sql}),
            newest AS MATERIALIZED (
                SELECT e.occurred_at, {_END} AS ended_at,
                       e.ending = 'error' AND COALESCE((
                           SELECT a.price_status FROM ledger_adjustment a WHERE a.event_id = e.id
                            ORDER BY a.revision DESC LIMIT 1), e.price_status) <> 'duplicate' AS is_error
                  FROM calls e ORDER BY e.occurred_at DESC, e.id DESC LIMIT %(most)s)
            SELECT (SELECT e.occurred_at FROM calls e ORDER BY e.occurred_at, e.id LIMIT 1), min(n.occurred_at),
                   max(n.ended_at), count(*) FILTER (WHERE n.is_error)
              FROM newest n
            """,
            {**where.values, "project": project_id, "most": MOST_SUMMED},
        )
        [(first, oldest, last, errors)] = cursor.fetchall()
    if first is None:
        return None
    since = None if oldest == first else oldest
    sums = totals(EventFilter(project_ids=(project_id,), session=label, start=since))
    return Extent(first, last, sums, errors, since)
