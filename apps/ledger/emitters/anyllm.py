"""any-llm's SDK, releases 1.11 to 1.15: one span `llm.request` a call (docs/sdk-contract.md).

It passes the application's `user` on as `gen_ai.conversation.id`. Its spans have no cached or reasoning tokens and
no response id; those come with the spans of the libraries below it.
"""

from dataclasses import replace

from apps.ledger.emitters import semconv
from apps.ledger.emitters.base import Emitter, Span


class AnyLLM(Emitter):
    name = "any-llm"
    scopes = ("any-llm",)
    fields = replace(
        semconv.FIELDS,
        first_token_ms=("anyllm.performance.ttft_ms",),
        cancelled=("anyllm.stream.cancelled",),
        client=("anyllm.client_name",),
        session=("anyllm.user_session_label", "session.id", "anyllm.session_label"),
        user=("user.id", "enduser.id", "gen_ai.user", "gen_ai.conversation.id"),
    )
    span_names = frozenset(("llm.request",))
    first_token_events = frozenset(("llm.first_token",))

    def operation(self, span: Span) -> str:
        return "chat" if span.name == "llm.request" else ""
