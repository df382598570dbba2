"""Storing reports that may be about one call: spans, and events that name the provider's response.

Each call is read, priced and made a row by itself. Then a project's batches are stored one after the other, under its
lock, each in one transaction: look up what is known of the same calls, decide which report counts (settling.py), store
the new rows, adjust the old ones. So there is no moment at which a call counts twice, in whatever order its reports
come, and a crash leaves all of it or nothing. Batches that wait for the same project in a process share a transaction.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from django.db import transaction

from apps.directory.callers import Reporter, refuse_revoked
from apps.directory.sql import LIVE_KEY
from apps.ledger.calls import Call, SpanParent
from apps.ledger.group_commit import GroupCommit, refuse_transaction
from apps.ledger.labels import hidden
from apps.ledger.models import Adjustment, PriceStatus, UsageEvent
from apps.ledger.outcomes import Outcome
from apps.ledger.prices import Price, Priceable, price_of
from apps.ledger.related import Keys, related, report_of, store_links
from apps.ledger.rows import NewRow, after_commit, encoded, meters_of, row_of, set_price, store_rows
from apps.ledger.settling import Meters, Report, Rule, Verdict, settle
from apps.ledger.standing import Standing, adjust, duplicate_price, store
from tenancy import tenant_scope
from tenancy.sql import Statement

# Calls a transaction takes at most. More would save nothing, and have everybody wait for it with nothing to do.
MOST_CALLS = 1_024

REASONS = {
    Rule.WITHIN_CALL: "A call further out in the same trace is the same call, and counts for it.",
    Rule.AROUND_CALLS: "It does not say which model was asked, and the calls within it are reported by themselves.",
    Rule.SAME_RESPONSE: "Another report names the same response of the provider, and counts for it.",
    Rule.POSSIBLE_DUPLICATE: "Another instrumentation of the same process reported the same model and token counts for "
    "the same time: taken for one call.",
}
STANDS_ALONE = "A later report showed that this is a call of its own."
SAID_MORE = "Another report of the same call said more about what it used."


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
    keys: Keys


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
            stored = _group.store(queue, _Prepared(reporter, new, links, Keys.of([each.report for each in new], links)))
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
        wanted = Keys()
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
        known, parents = related(project_id, wanted, links)
        for event_id in known.keys() & fresh.keys():
            del fresh[event_id]
            for answer in answers:
                if answer.outcomes.get(event_id) is Outcome.STORED:
                    answer.outcomes[event_id] = Outcome.DUPLICATE
        counted = _settle(fresh, known, parents)
        store_links(project_id, links)
    after_commit(counted)
    return answers


_group: GroupCommit[_Prepared, Stored] = GroupCommit(
    _commit, most=MOST_CALLS, weight=lambda batch: len(batch.new) + len(batch.links)
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


def _settle(
    fresh: Mapping[uuid.UUID, _New], known: Mapping[uuid.UUID, Standing], parents: Mapping[uuid.UUID, uuid.UUID]
) -> list[NewRow]:
    """Stores the new rows as they count, and adjusts those that count otherwise now. Those of the new rows that count.

    `fresh` stays as it is: what could not be stored with others is tried again alone.
    """
    reports = [new.report for new in fresh.values()] + [report_of(standing) for standing in known.values()]
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
