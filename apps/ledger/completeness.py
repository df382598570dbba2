"""How much of what happened the ledger can't know of, or knows badly.

Reports come from programs of the customer: some never arrive, arrive late or bear a wrong time. None of it can be put
right here, so it is shown: missing numbers of reporters that number their reports, keys that were fetched but nothing
was reported with, and rows to be read with care.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from apps.ledger.models import PriceStatus
from apps.ledger.rows import Flag
from apps.ledger.selectors.filters import EventFilter
from apps.ledger.settling import Rule
from apps.pricing.providers import canonical

# Reports that take longer came in late: an hour is more than any call, export interval and retry take together.
LATE = timedelta(hours=1)
# How long after a fetch a first report may take.
PATIENCE = timedelta(minutes=30)
# How far a reporter's clock may be behind ours, so that a call seems to begin before its key was fetched.
CLOCKS = timedelta(minutes=5)
# Missing numbers that are named, and reporters with gaps.
MOST_NUMBERS = 10
MOST_SOURCES = 100


@dataclass(frozen=True, slots=True)
class Gap:
    """Reports of one reporter that never arrived: how many of those between its first and last, and the first few of
    their numbers."""

    project_id: uuid.UUID
    source: str
    missing: int
    first_numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class Completeness:
    """Of the events of a filter: how many bear a time that can't be right, came in more than LATE after their call
    began, were left out as possible duplicates (a guess), have no price; and gaps, those with most missing first."""

    events: int
    skewed: int
    late: int
    possible_duplicates: int
    unpriced: int
    gaps: Sequence[Gap]


@dataclass(frozen=True, slots=True)
class Fetch:
    """That a program got a provider key, as the vault knows it: with which key, or as which client, and when last."""

    project_id: uuid.UUID
    at: datetime
    provider_key_id: uuid.UUID | None = None
    # The key's provider: spans name that and not the key.
    provider: str = ""
    client_name: str | None = None


def completeness(wanted: EventFilter) -> Completeness:
    """Two statements. Like totals, it reads every event that matches."""
    where, bounds = wanted.where(), wanted.adjustments_where()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH changed AS (
                SELECT DISTINCT ON (a.event_id) a.event_id, a.price_status, a.price_reason
                  FROM ledger_adjustment a
                 WHERE a.project_id = ANY(%(projects)s::uuid[]) AND {bounds.sql}
                 ORDER BY a.event_id, a.revision DESC)
            SELECT count(*), count(*) FILTER (WHERE e.flags @> %(skewed)s::jsonb),
                   count(*) FILTER (WHERE e.received_at - e.occurred_at > make_interval(secs => %(late)s)),
                   count(*) FILTER (WHERE COALESCE(c.price_status, e.price_status) = %(duplicate)s
                                      AND COALESCE(c.price_reason, e.price_reason) = %(guessed)s),
                   count(*) FILTER (WHERE COALESCE(c.price_status, e.price_status) = %(unpriced)s)
              FROM ledger_usageevent e LEFT JOIN changed c ON c.event_id = e.id
             WHERE e.project_id = ANY(%(projects)s::uuid[]) AND {where.sql}
            """,
            {
                **where.values,
                **bounds.values,
                "projects": wanted.projects(),
                "skewed": f'["{Flag.CLOCK_SKEW.value}"]',
                "late": LATE.total_seconds(),
                "duplicate": PriceStatus.DUPLICATE.value,
                "guessed": Rule.POSSIBLE_DUPLICATE.value,
                "unpriced": PriceStatus.UNPRICED.value,
            },
        )
        events, skewed, late, possible_duplicates, unpriced = cursor.fetchone()
    return Completeness(events, skewed, late, possible_duplicates, unpriced, _gaps(wanted))


def missing_reports(wanted: EventFilter) -> int:
    """How many reports never arrived, of all reporters together: what the gaps of `completeness` come to, in a tenth of
    the time. It reads the events that have a number, some 500,000 a second."""
    where = wanted.where()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT sum(missing) FROM (
                SELECT max(e.sequence_number)::numeric - min(e.sequence_number) + 1
                       - count(DISTINCT e.sequence_number) AS missing
                  FROM ledger_usageevent e
                 WHERE e.project_id = ANY(%(projects)s::uuid[]) AND e.sequence_number IS NOT NULL AND {where.sql}
                 GROUP BY e.project_id, e.sequence_source) AS reporters
            """,
            {**where.values, "projects": wanted.projects()},
        )
        return int(cursor.fetchone()[0] or 0)


def _gaps(wanted: EventFilter) -> list[Gap]:
    """Between the events that match, those with most missing first. A number that came with another time than its
    neighbours may look like one."""
    where = wanted.where()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH numbered AS (
                SELECT e.project_id, e.sequence_source, e.sequence_number,
                       lead(e.sequence_number) OVER (PARTITION BY e.project_id, e.sequence_source
                                                         ORDER BY e.sequence_number) AS following
                  FROM ledger_usageevent e
                 WHERE e.project_id = ANY(%(projects)s::uuid[]) AND e.sequence_number IS NOT NULL AND {where.sql}),
            holes AS (
                SELECT project_id, sequence_source, sequence_number + 1 AS first, following - 1 AS last,
                       row_number() OVER (PARTITION BY project_id, sequence_source ORDER BY sequence_number) AS place
                  FROM numbered WHERE following - sequence_number > 1)
            SELECT project_id, sequence_source, sum(last - first + 1),
                   array_agg(ARRAY[first, last] ORDER BY first) FILTER (WHERE place <= %(numbers)s)
              FROM holes GROUP BY project_id, sequence_source
             ORDER BY 3 DESC, project_id, sequence_source LIMIT %(sources)s
            """,
            {**where.values, "projects": wanted.projects(), "numbers": MOST_NUMBERS, "sources": MOST_SOURCES},
        )
        return [
            Gap(project_id, source, int(missing), _first_of(holes))
            for project_id, source, missing, holes in cursor.fetchall()
        ]


def _first_of(holes: Iterable[tuple[int, int]]) -> list[int]:
    numbers: list[int] = []
    for first, last in holes:
        numbers += range(first, min(last + 1, first + MOST_NUMBERS - len(numbers)))
    return numbers


def silent(fetches: Sequence[Fetch], *, now: datetime | None = None, patience: timedelta = PATIENCE) -> list[Fetch]:
    """Of these, the ones that nothing was reported for since: no event of that project with the key, or of its provider
    where the report names no key, or by the client. Fetches of the last `patience` are given time.

    At most two statements. Of a fetch that is silent they read all of the project's events since.
    """
    until = (timezone.now() if now is None else now) - patience
    asked = [fetch for fetch in fetches if fetch.at <= until]
    if not asked:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT f.place
              FROM unnest(%(projects)s::uuid[], %(times)s::timestamptz[], %(keys)s::uuid[], %(clients)s::text[])
                   WITH ORDINALITY AS f (project_id, since, provider_key_id, client_name, place)
             WHERE NOT EXISTS (
                   SELECT FROM ledger_usageevent e
                    WHERE e.project_id = f.project_id AND e.occurred_at >= f.since
                      AND (e.provider_key_id = f.provider_key_id OR e.client_name = f.client_name))
             ORDER BY f.place
            """,
            {
                "projects": [fetch.project_id for fetch in asked],
                "times": [fetch.at - CLOCKS for fetch in asked],
                "keys": [fetch.provider_key_id for fetch in asked],
                "clients": [fetch.client_name for fetch in asked],
            },
        )
        quiet = [asked[place - 1] for (place,) in cursor.fetchall()]
    keyless = _keyless_providers(quiet)
    return [each for each in quiet if canonical(each.provider) not in keyless.get((each.project_id, each.at), ())]


def _keyless_providers(fetches: Sequence[Fetch]) -> Mapping[tuple[uuid.UUID, datetime], set[str]]:
    """Of each project and time, the providers of calls since then that name no provider key."""
    asked = sorted({(fetch.project_id, fetch.at) for fetch in fetches if fetch.provider_key_id and fetch.provider})
    if not asked:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT f.project_id, f.at, array_agg(DISTINCT e.provider)
              FROM unnest(%(projects)s::uuid[], %(times)s::timestamptz[]) AS f (project_id, at)
              JOIN ledger_usageevent e
                ON e.project_id = f.project_id AND e.provider_key_id IS NULL
               AND e.occurred_at >= f.at - make_interval(secs => %(clocks)s)
             GROUP BY f.project_id, f.at
            """,
            {
                "projects": [project_id for project_id, _ in asked],
                "times": [at for _, at in asked],
                "clocks": CLOCKS.total_seconds(),
            },
        )
        return {(project, at): {canonical(each) for each in providers} for project, at, providers in cursor.fetchall()}
