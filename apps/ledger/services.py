"""Storing usage events."""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime

from django.db import DataError, IntegrityError

from apps.directory.callers import Reporter, refuse_revoked
from apps.directory.sql import CALLER
from apps.ledger.calls import Call, SpanParent
from apps.ledger.group_commit import GroupCommit, refuse_transaction
from apps.ledger.ingestion import Batch, store_related
from apps.ledger.labels import hide_labels
from apps.ledger.outcomes import Outcome
from apps.ledger.prices import price_of
from apps.ledger.rows import NewRow, after_commit, meters_of, row_of, store_allowed_rows
from tenancy import tenant_scope
from tenancy.sql import Statement
from web.errors import DomainError

logger = logging.getLogger(__name__)

Store = Callable[[Reporter, Sequence[Call]], dict[uuid.UUID, Outcome]]

# Rows a statement takes at most; threads of one process are far fewer.
MOST_ROWS = 256


class ForeignProviderKeyError(DomainError):
    status = 422
    code = "foreign_provider_key"

    def __init__(self) -> None:
        super().__init__("provider_key_id is not a provider key of this token's project.")


# Of events that were not stored: whether the key still counts, and which of them are known.
_EXPLAIN = Statement(f"""
    WITH {CALLER}
    SELECT EXISTS (SELECT FROM caller) OR $2::integer IS NULL,
           (SELECT coalesce(string_agg(e.event_id::text, ' '), '') FROM {{tenant}}.ledger_usageevent e
             WHERE e.event_id = ANY ($3::uuid[]) AND e.project_id = $1)
""")


def _commit(rows: Sequence[NewRow]) -> list[bool]:
    """Stores rows of the current tenant in one transaction; of each, whether it was new."""
    stored = _store_allowed(rows)
    return [str(row.id) in stored for row in rows]


def _store_allowed(rows: Sequence[NewRow]) -> set[str]:
    """The ids of those that were new and allowed, all committed."""
    stored = store_allowed_rows(rows)
    if stored:
        after_commit(row for row in rows if str(row.id) in stored)
    return stored


_group = GroupCommit(_commit, most=MOST_ROWS)


def store_usage_event(reporter: Reporter, call: Call) -> Outcome:
    """Prices an event and stores it for good: when this returns, the row is committed.

    An id that the project has sent before changes nothing, whatever comes with it. Raises NotAuthenticatedError
    when the key was revoked, ForeignProviderKeyError when the provider key is not the project's. Budgets, unknown
    models and archived provider keys are no reason to refuse: the call has been made and paid.
    """
    if call.response_id:
        outcome = store_related(Batch(reporter, [call]))[call.event_id]
    else:
        refuse_transaction()
        with tenant_scope(reporter.tenant):
            hide_labels(reporter.project_id, [call])
            if _group.store(reporter.tenant.schema_name, _row(reporter, call, datetime.now(UTC))):
                return Outcome.STORED
            outcome = _explain(reporter, [call])[call.event_id]
    if outcome is Outcome.FOREIGN_PROVIDER_KEY:
        raise ForeignProviderKeyError
    return outcome


def store_usage_events(reporter: Reporter, calls: Sequence[Call]) -> Mapping[uuid.UUID, Outcome]:
    """As `store_usage_event`, for many in at most two transactions; what became of each, by its id. Where the database
    can't take an event, that one is OUT_OF_BOUNDS and costs the others nothing but time.

    Ids are distinct. Raises NotAuthenticatedError, then nothing was stored.
    """
    related = [call for call in calls if call.response_id]
    plain = [call for call in calls if not call.response_id]
    return _stored(_store_related, reporter, related) | _stored(_store_plain, reporter, plain)


def store_spans(reporter: Reporter, calls: Sequence[Call], links: Sequence[SpanParent]) -> set[uuid.UUID]:
    """Stores calls that spans are about, and the links of other spans, for good. Those that the database can't take, by
    their ids: sent again, they would be the same.

    Raises NotAuthenticatedError, then nothing was stored. Slower than `store_related` where that does.
    """
    store_related(Batch(reporter, (), links))
    outcomes = _stored(_store_related, reporter, calls)
    return {event_id for event_id, outcome in outcomes.items() if outcome is Outcome.OUT_OF_BOUNDS}


def _stored(store: Store, reporter: Reporter, calls: Sequence[Call]) -> dict[uuid.UUID, Outcome]:
    """All together; if the database can't take them, half by half, until it is known which one it can't."""
    if not calls:
        return {}
    try:
        # Copies, since storing hides their labels.
        return store(reporter, [copy(call) for call in calls])
    except (DataError, IntegrityError) as error:
        if len(calls) == 1:
            # No more of it: the message can quote the row.
            logger.error("the database can't take an event: %s", type(error.__cause__).__name__)
            return {calls[0].event_id: Outcome.OUT_OF_BOUNDS}
    half = len(calls) // 2
    return _stored(store, reporter, calls[:half]) | _stored(store, reporter, calls[half:])


def _store_related(reporter: Reporter, calls: Sequence[Call]) -> dict[uuid.UUID, Outcome]:
    return store_related(Batch(reporter, calls))


def _store_plain(reporter: Reporter, calls: Sequence[Call]) -> dict[uuid.UUID, Outcome]:
    refuse_transaction()
    now = datetime.now(UTC)
    with tenant_scope(reporter.tenant):
        hide_labels(reporter.project_id, calls)
        rows = [_row(reporter, call, now) for call in calls]
        stored = _store_allowed(rows)
        outcomes = {row.event_id: Outcome.STORED for row in rows if str(row.id) in stored}
        if refused := [call for call in calls if call.event_id not in outcomes]:
            outcomes |= _explain(reporter, refused)
    return outcomes


def _explain(reporter: Reporter, calls: Sequence[Call]) -> dict[uuid.UUID, Outcome]:
    ids = ",".join(str(call.event_id) for call in calls)
    row = _EXPLAIN.fetch_one(reporter.project_id, reporter.generation, f"{{{ids}}}")
    assert row is not None  # an aggregate always has one
    counts, known = row
    if counts != "t":
        refuse_revoked()
    found = {uuid.UUID(each) for each in str(known).split()}
    return {
        call.event_id: Outcome.DUPLICATE if call.event_id in found else Outcome.FOREIGN_PROVIDER_KEY for call in calls
    }


def _row(reporter: Reporter, call: Call, now: datetime) -> NewRow:
    occurred_at = call.started_at or now
    meters = meters_of(call)
    return row_of(reporter, call, price_of(call, meters, occurred_at), meters, occurred_at=occurred_at, now=now)
