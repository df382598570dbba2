"""Reads of the ledger. Callers are in the organization's scope, and say which projects they may see."""

from apps.ledger.selectors.explanations import Explanation, explain
from apps.ledger.selectors.filters import NO_KEY, EventFilter
from apps.ledger.selectors.pages import MOST_ROWS, BadCursorError, Page, count_up_to, page_of_events, stream
from apps.ledger.selectors.recent import latest_event, oldest_call, recent_clients
from apps.ledger.selectors.sessions import Extent, Session, SessionPage, extent, page_of_sessions
from apps.ledger.selectors.sums import Totals, totals

__all__ = [
    "MOST_ROWS",
    "NO_KEY",
    "BadCursorError",
    "EventFilter",
    "Explanation",
    "Extent",
    "Page",
    "Session",
    "SessionPage",
    "Totals",
    "count_up_to",
    "explain",
    "extent",
    "latest_event",
    "oldest_call",
    "page_of_events",
    "page_of_sessions",
    "recent_clients",
    "stream",
    "totals",
]
