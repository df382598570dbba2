"""Storing reports that may be about one call: spans, and events that name the provider's response.

Each call is read, priced and made a row by itself. Then a project's batches are stored one after the other, under its
lock, each in one transaction: look up what is known of the same calls, decide which report counts (settling.py), store
the new rows, adjust the old ones. So there is no moment at which a call counts twice, in whatever order its reports
come, and a crash leaves all of it or nothing. Batches that wait for the same project in a process share a transaction.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from django.db import transaction

from apps.directory.callers import Reporter, refuse_revoked
from apps.directory.sql import LIVE_KEY
from apps.ledger.calls import Call
from apps.ledger.group_commit import GroupCommit, refuse_transaction
from apps.ledger.labels import hidden
from apps.ledger.models import Adjustment, PriceStatus, UsageEvent
from apps.ledger.outcomes import Outcome
from apps.ledger.prices import Price, Priceable, price_of
from apps.ledger.rows import NewRow, after_commit, encoded, meters_of, row_of, set_price, store_rows
from apps.ledger.settling import LONGEST_CALL, SLACK, Meters, Report, Rule, Verdict, settle
from apps.ledger.standing import Standing, adjust, duplicate_price, reported_meters, standings, store
from tenancy import tenant_scope
from tenancy.ids import uuid7
from tenancy.sql import Statement

# Calls a transaction takes at most. More would save nothing, and have everybody wait for it with nothing to do.
MOST_CALLS = 1_024
# Reports lead to further reports of the same calls. Real ones end at the first or second look.
MOST_LOOKS = 8

REASONS = {
    Rule.WITHIN_CALL: "A call further out in the same trace is the same call, and counts for it.",
    Rule.AROUND_CALLS: "It does not say which model was asked, and the calls within it are reported by themselves.",
    Rule.SAME_RESPONSE: "Another report names the same response of the provider, and counts for it.",
    Rule.POSSIBLE_DUPLICATE: "Another instrumentation of the same process reported the same model and token counts for "
    "the same time: taken for one call.",
}
STANDS_ALONE = "A later report showed that this is a call of its own."
SAID_MORE = "Another report of the same call said more about what it used."


class SpanParent(NamedTuple):
    """A span that is no call, and the one above it."""

    event_id: uuid.UUID
    parent_event_id: uuid.UUID


@dataclass(slots=True)
class Batch:
    """What one request reports."""

    reporter: Reporter
    calls: Sequence[Call]
    links: Sequence[SpanParent] = ()


class _New(msgspec.Struct, gc=False):
    """A call, and what can be made of it before anything else is known. `encoded` is the row as it is stored."""

    report: Report
    price: Price
    row: NewRow
    encoded: bytes


@dataclass(slots=True)
class _Prepared:
    """A batch on its way: all that needs no lock has been done."""

    reporter: Reporter
    new: Sequence[_New]
    links: Sequence[SpanParent]
    # What to look for.
    keys: "_Keys"


@dataclass(slots=True)
class Stored:
    """What became of a batch: of each call by its event id, or why none of it was taken."""

    outcomes: dict[uuid.UUID, Outcome] = field(default_factory=dict)
    is_revoked: bool = False


def store_related(batch: Batch) -> dict[uuid.UUID, Outcome]:
    """Stores the batch for good: when this returns, all of it is committed. Of each call, what became of it.

    Raises NotAuthenticatedError when the reporter's key was revoked: then nothing is stored.
    """
    refuse_transaction()
    reporter = batch.reporter
    outcomes: dict[uuid.UUID, Outcome] = {}
    queue = f"{reporter.tenant.schema_name}/{reporter.project_id}"
    with tenant_scope(reporter.tenant):
        context = _context_of(reporter.project_id)
        for start in range(0, max(len(batch.calls), len(batch.links), 1), MOST_CALLS):
            part = slice(start, start + MOST_CALLS)
            now = datetime.now(UTC)
            new = []
            for call in batch.calls[part]:
                if call.provider_key_id is None or call.provider_key_id in context.provider_keys:
                    new.append(_prepare(reporter, call, context, now))
                else:
                    outcomes[call.event_id] = Outcome.FOREIGN_PROVIDER_KEY
            links = batch.links[part]
            stored = _group.store(
                queue, _Prepared(reporter, new, links, _Keys.of([each.report for each in new], links))
            )
            if stored.is_revoked:
                refuse_revoked()
            outcomes |= stored.outcomes
    return outcomes


def _prepare(reporter: Reporter, call: Call, context: "_Context", now: datetime) -> _New:
    """The call's row as it is if no other report is about it, which is so of nearly all. Outside the lock, since most
    of the work is here."""
    if context.hides_labels:
        call.session, call.user = (hidden(reporter.project_id, label) for label in (call.session, call.user))
    if call.source == "any-llm" and reporter.generation is not None:
        # The SDK had its key from here; what other instrumentations called with is not known.
        call.provider_key_id = call.provider_key_id or context.in_use.get(call.provider)
    occurred_at = call.started_at or call.ended_at or now
    meters = meters_of(call)
    price = price_of(call, meters, occurred_at)
    row = row_of(reporter, call, price, meters, occurred_at=occurred_at, now=now)
    report = Report(
        call.event_id,
        call.parent_event_id,
        call.source,
        call.scope,
        call.provider,
        frozenset(filter(None, (call.model, call.request_model))),
        call.response_id,
        row.fingerprint,
        occurred_at,
        call.total_duration_ms,
        meters,
        call.service_tier,
    )
    return _New(report, price, row, encoded(row))


_CONTEXT = Statement("""
    SELECT p.hides_labels,
           (SELECT coalesce(json_object_agg(v.id, CASE WHEN v.archived_at IS NULL THEN v.provider END), '{}')
              FROM {tenant}.vault_providerkey v WHERE v.project_id = p.id)
      FROM {tenant}.projects_project p
     WHERE p.id = $1
""")

# Waits for the project's lock. Which keys count it sees as of before the wait.
_BEGIN = Statement(f"""
    SELECT (SELECT coalesce(json_agg(k.generation), '[]') FROM public.directory_projectkeyentry k
              JOIN public.organizations_organization o ON o.id = k.organization_id
             WHERE k.project_id = $1::uuid AND {LIVE_KEY})
      FROM (SELECT pg_advisory_xact_lock(hashtextextended('ledger:' || $1, 0))) waited
""")

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


class _Context(NamedTuple):
    """What the project's row and provider keys say."""

    hides_labels: bool
    provider_keys: frozenset[uuid.UUID]
    # Of each provider the key that is not archived.
    in_use: Mapping[str, uuid.UUID]


def _commit(batches: Sequence[_Prepared]) -> list[Stored]:
    """Stores batches of one project in one transaction."""
    project_id = batches[0].reporter.project_id
    with transaction.atomic():
        generations = _begin(project_id)
        answers: list[Stored] = []
        fresh: dict[uuid.UUID, _New] = {}
        links: dict[uuid.UUID, uuid.UUID] = {}
        wanted = _Keys()
        for batch in batches:
            reporter, answer = batch.reporter, Stored()
            answers.append(answer)
            if reporter.ingest_token_id is None and reporter.generation not in generations:
                answer.is_revoked = True
                continue
            for new in batch.new:
                event_id = new.report.event_id
                if event_id in fresh:
                    answer.outcomes[event_id] = Outcome.DUPLICATE
                else:
                    answer.outcomes[event_id] = Outcome.STORED
                    fresh[event_id] = new
            links.update(batch.links)
            wanted |= batch.keys
        if not (fresh or links):
            return answers
        known, parents = _related(project_id, wanted, links)
        for event_id in known.keys() & fresh.keys():
            del fresh[event_id]
            for answer in answers:
                if answer.outcomes.get(event_id) is Outcome.STORED:
                    answer.outcomes[event_id] = Outcome.DUPLICATE
        counted = _settle(fresh, known, parents)
        _store_links(project_id, links)
    after_commit(counted)
    return answers


_group: GroupCommit[_Prepared, Stored] = GroupCommit(
    _commit, most=MOST_CALLS, weight=lambda batch: len(batch.new) + len(batch.links)
)


def _report_of(standing: Standing) -> Report:
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


def _context_of(project_id: uuid.UUID) -> _Context:
    """Raises NotAuthenticatedError for a project that is gone."""
    row = _CONTEXT.fetch_one(project_id)
    if row is None:
        refuse_revoked()
    keys = {uuid.UUID(key): provider for key, provider in json.loads(str(row[1])).items()}
    in_use = {provider: key for key, provider in keys.items() if provider is not None}
    return _Context(row[0] == "t", frozenset(keys), in_use)


def _begin(project_id: uuid.UUID) -> frozenset[int]:
    """Takes the project's lock. The generations of its key that count."""
    row = _BEGIN.fetch_one(project_id)
    assert row is not None  # a row without conditions
    return frozenset(json.loads(str(row[0])))


def _related(
    project_id: uuid.UUID, wanted: "_Keys", links: Mapping[uuid.UUID, uuid.UUID]
) -> tuple[dict[uuid.UUID, Standing], dict[uuid.UUID, uuid.UUID]]:
    """All events that may be the same calls as the new ones, by event id, and all links of their traces."""
    known: dict[uuid.UUID, Standing] = {}
    parents = dict(links)
    asked = _Keys()
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
        wanted = _Keys.of([_report_of(standing) for standing in found])
    return known, parents


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
class _Keys:
    """What to look for: traces, responses, and what others must look like."""

    traces: set[str] = field(default_factory=set)
    responses: set[str] = field(default_factory=set)
    lookalikes: set[_Lookalike] = field(default_factory=set)

    @classmethod
    def of(cls, reports: Iterable[Report], links: Iterable[SpanParent] = ()) -> "_Keys":
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

    def __ior__(self, other: "_Keys") -> "_Keys":
        self.traces |= other.traces
        self.responses |= other.responses
        self.lookalikes |= other.lookalikes
        return self

    def __isub__(self, other: "_Keys") -> "_Keys":
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


def _settle(
    fresh: Mapping[uuid.UUID, _New], known: Mapping[uuid.UUID, Standing], parents: Mapping[uuid.UUID, uuid.UUID]
) -> list[NewRow]:
    """Stores the new rows as they count, and adjusts those that count otherwise now. Those of the new rows that count.

    `fresh` stays as it is: what could not be stored with others is tried again alone.
    """
    reports = [new.report for new in fresh.values()] + [_report_of(standing) for standing in known.values()]
    verdicts = settle(reports, parents)
    adjustments: list[Adjustment | None] = []
    rows: list[bytes] = []
    counted: list[NewRow] = []
    for event_id, new in fresh.items():
        verdict = verdicts[event_id]
        if verdict.rule is not None:
            duplicate = copy(new.row)
            set_price(duplicate, duplicate_price(verdict.rule), instead_of=new.price)
            duplicate.same_call_as = verdict.same_call_as
            rows.append(encoded(duplicate))
            continue
        rows.append(new.encoded)
        counted.append(new.row)
        if verdict.meters is not new.report.meters and _says_more(verdict, new.report.meters, new.row.service_tier):
            adjustments.append(_towards(verdict, _standing_of(new)))
    store_rows(rows)
    for event_id, standing in known.items():
        adjustments.append(_towards(verdicts[event_id], standing))
    store(adjustments)
    return counted


def _standing_of(new: _New) -> Standing:
    """What a row that is about to be stored counts for by itself."""
    row = new.row
    event = UsageEvent(
        id=row.id,
        event_id=row.event_id,
        project_id=row.project_id,
        occurred_at=row.occurred_at,
        provider=row.provider,
        model=row.model,
        request_model=row.request_model,
        operation=row.operation,
        is_batch=row.is_batch,
        ending=row.ending,
        total_duration_ms=row.total_duration_ms,
    )
    return Standing(event, 0, new.price, None, new.report.meters, row.service_tier)


def _towards(verdict: Verdict, standing: Standing) -> Adjustment | None:
    """What makes a stored event count as the verdict says; None where it does."""
    was_duplicate = standing.price.status == PriceStatus.DUPLICATE
    if verdict.rule is not None:
        return adjust(
            standing,
            price=duplicate_price(verdict.rule),
            meters={},
            same_call_as=verdict.same_call_as,
            kind=Adjustment.Kind.SAME_CALL,
            reason=REASONS[verdict.rule],
        )
    if not was_duplicate and not _says_more(verdict, standing.meters, standing.service_tier):
        return None
    priced: Priceable = replace(standing, service_tier=verdict.service_tier or standing.service_tier)
    return adjust(
        standing,
        price=price_of(priced, verdict.meters, standing.event.occurred_at),
        meters=verdict.meters,
        kind=Adjustment.Kind.SAME_CALL if was_duplicate else Adjustment.Kind.DETAIL,
        reason=STANDS_ALONE if was_duplicate else SAID_MORE,
        service_tier=verdict.service_tier,
    )


def _says_more(verdict: Verdict, meters: Meters, service_tier: str) -> bool:
    return verdict.meters != meters or verdict.service_tier not in ("", service_tier)


def _store_links(project_id: uuid.UUID, links: Mapping[uuid.UUID, uuid.UUID]) -> None:
    if links:
        columns = [(str(uuid7()), str(one), str(above)) for one, above in links.items()]
        _STORE_LINKS.fetch_all(project_id, *(_array(column) for column in zip(*columns, strict=True)))
