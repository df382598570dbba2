"""Which events: one filter for pages, totals, exports and re-pricing."""

import uuid
from datetime import datetime
from typing import Any, NamedTuple, Self

import msgspec
from django.db import connection

from apps.ledger.calls import Ending
from apps.ledger.models import PriceStatus


class Where(NamedTuple):
    """A condition on rows: SQL and its parameters by name."""

    sql: str
    values: dict[str, Any]


# As a filter's provider_key_id: of calls that name none.
NO_KEY = uuid.UUID(int=0)
# What is compared as it stands; the SQL may add conditions on `project_id`.
_EXACT = (
    "provider", "model", "operation", "client_name", "error_type", "session", "user_label", "source", "event_id",
)  # fmt: skip


class EventFilter(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"start": "from", "end": "to"},
):
    """What is not None has to hold; "" stands for events that say nothing, NO_KEY for those that name no key.

    `project_ids` None means all of the organization, and () none. `start` ≤ occurred_at < `end`, both aware.
    `status` is the one an event has now, after all adjustments. Raises ValueError for naive times and for texts that
    PostgreSQL has none of.
    """

    project_ids: tuple[uuid.UUID, ...] | None = None
    start: datetime | None = None
    end: datetime | None = None
    provider: str | None = None
    # As the row has it: the response's, else the one asked for.
    model: str | None = None
    operation: str | None = None
    client_name: str | None = None
    provider_key_id: uuid.UUID | None = None
    status: PriceStatus | None = None
    ending: Ending | None = None
    error_type: str | None = None
    session: str | None = None
    user_label: str | None = None
    source: str | None = None
    # The id its reporter gave it.
    event_id: uuid.UUID | None = None

    def __post_init__(self) -> None:
        for name, moment in (("from", self.start), ("to", self.end)):
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{name} needs a time zone")
        for name in _EXACT:
            if isinstance(wanted := getattr(self, name), str) and "\0" in wanted:
                raise ValueError(f"{name} can't hold a NUL character")

    def to_json(self) -> dict[str, Any]:
        """For a JSON column or a task's argument; `from_json` reads it."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises msgspec.ValidationError, which says where."""
        return msgspec.convert(data, cls, strict=False)

    def where(self) -> Where:
        """Of events `e`, all of it but for the projects."""
        sql, values = self.where_of("e")
        if self.status is not None:
            sql += (
                " AND COALESCE((SELECT a.price_status FROM ledger_adjustment a WHERE a.event_id = e.id"
                " ORDER BY a.revision DESC LIMIT 1), e.price_status) = %(status)s"
            )
            values["status"] = self.status.value
        return Where(sql, values)

    def adjustments_where(self) -> Where:
        """What of it adjustments `a` bear themselves, so that their index helps; of a session, which has few events,
        whose they are. With the projects as the parameter `projects`."""
        sql, values = EventFilter(start=self.start, end=self.end).where_of("a")
        if self.session:
            of_session = EventFilter(session=self.session, start=self.start, end=self.end).where_of("e")
            sql += (
                " AND a.event_id IN (SELECT e.id FROM ledger_usageevent e"
                f" WHERE e.project_id = ANY(%(projects)s::uuid[]) AND {of_session.sql})"
            )
            values |= of_session.values
        return Where(sql, values)

    def where_of(self, table: str, *, time: str = "occurred_at") -> Where:
        """Of rows that have the columns of events, all of it but for the projects and the status. `time` is the column
        that `start` and `end` are about."""
        conditions, values = ["true"], dict[str, Any]()
        for name, operator, column in (
            ("start", ">=", time),
            ("end", "<", time),
            *((each, "=", each) for each in _EXACT),
        ):
            if (wanted := getattr(self, name)) is not None:
                conditions.append(f"{table}.{column} {operator} %({name})s")
                values[name] = wanted
        if self.session:
            # As the partial index has it.
            conditions.append(f"{table}.session <> ''")
        if self.provider_key_id == NO_KEY:
            conditions.append(f"{table}.provider_key_id IS NULL")
        elif self.provider_key_id is not None:
            conditions.append(f"{table}.provider_key_id = %(provider_key_id)s")
            values["provider_key_id"] = self.provider_key_id
        if self.ending is not None:
            conditions.append(f"{table}.ending = %(ending)s")
            values["ending"] = self.ending.value
            if self.ending is not Ending.OK:
                # As the partial index has it.
                conditions.append(f"{table}.ending <> 'ok'")
        return Where(" AND ".join(conditions), values)

    def projects(self) -> list[uuid.UUID]:
        """Those asked for, or all that the ledger has events of."""
        return list(self.project_ids) if self.project_ids is not None else projects_with_events()


def projects_with_events(*, with_sessions: bool = False) -> list[uuid.UUID]:
    """Those with calls, or with calls that name their session. Jumps through an index from one project to the next:
    as many steps as there are projects."""
    condition, order = "true", "e.project_id"
    if with_sessions:
        # All of the partial index's order, or the planner takes one by project and time and reads what lies between.
        condition, order = "e.session <> ''", "e.project_id, e.session, e.occurred_at DESC, e.id DESC"
    with connection.cursor() as cursor:
        cursor.execute(f"""
            WITH RECURSIVE found AS (
                (SELECT e.project_id FROM ledger_usageevent e WHERE {condition} ORDER BY {order} LIMIT 1)
                UNION ALL
                SELECT (SELECT e.project_id FROM ledger_usageevent e
                         WHERE e.project_id > found.project_id AND {condition} ORDER BY {order} LIMIT 1)
                  FROM found WHERE found.project_id IS NOT NULL)
            SELECT project_id FROM found WHERE project_id IS NOT NULL
        """)
        return [project_id for (project_id,) in cursor.fetchall()]
