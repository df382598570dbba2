"""Storing usage events."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from apps.directory.callers import Reporter, refuse_revoked
from apps.directory.sql import CALLER
from apps.ledger.calls import Call
from apps.ledger.group_commit import GroupCommit, refuse_transaction
from apps.ledger.ingestion import Batch, store_related
from apps.ledger.outcomes import Outcome
from apps.ledger.prices import price_of
from apps.ledger.rows import NewRow, after_commit, meters_of, row_of, store_allowed_rows
from tenancy import tenant_scope
from tenancy.sql import Statement
from web.errors import DomainError

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
    stored = _store(rows)
    return [str(row.id) in stored for row in rows]


def _store(rows: Sequence[NewRow]) -> set[str]:
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
            if _group.store(reporter.tenant.schema_name, _row(reporter, call, datetime.now(UTC))):
                return Outcome.STORED
            outcome = _explain(reporter, [call])[call.event_id]
    if outcome is Outcome.FOREIGN_PROVIDER_KEY:
        raise ForeignProviderKeyError
    return outcome


def store_usage_events(reporter: Reporter, calls: Sequence[Call]) -> Mapping[uuid.UUID, Outcome]:
    """As `store_usage_event`, for many in at most two transactions; what became of each, by its id.

    Ids are distinct. Raises NotAuthenticatedError, then nothing was stored.
    """
    outcomes: dict[uuid.UUID, Outcome] = {}
    if related := [call for call in calls if call.response_id]:
        outcomes |= store_related(Batch(reporter, related))
    if plain := [call for call in calls if not call.response_id]:
        refuse_transaction()
        now = datetime.now(UTC)
        with tenant_scope(reporter.tenant):
            rows = [_row(reporter, call, now) for call in plain]
            stored = _store(rows)
            outcomes |= {row.event_id: Outcome.STORED for row in rows if str(row.id) in stored}
            if refused := [call for call in plain if call.event_id not in outcomes]:
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
