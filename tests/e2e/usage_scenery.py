"""Two months of calls for the pages of usage: of many models, priced and not, failed, cancelled, told twice."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from django.core.cache import cache
from django.utils import timezone

from apps.analytics import saved_views
from apps.analytics.exports import making
from apps.analytics.exports.wanted import Content, Format, Wanted
from apps.analytics.models import Export
from apps.analytics.selectors import Dimension, Granularity
from apps.ledger import repricing
from apps.ledger.models import UsageEvent
from apps.ledger.selectors import EventFilter
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.projects.models import Project
from apps.usage.services import make_ingest_token, set_discount, set_price
from apps.vault.models import ProviderKey
from tests.cast import Workspace
from tests.usage.events import add_event

MODELS = [
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-2.5-flash"),
    ("openai", "gpt-5-2025-08-07"),
    ("mistral", "mistral-large-latest"),
    ("ollama", "llama3.3:70b"),
    ("together", "an-organization-with-a-long-name/A-Model-With-A-Very-Long-Name-70B-Instruct-Turbo-v3.1-preview"),
]
CLIENTS = ["support-web", "nightly-batch", "a-very-long-name-of-a-program-that-nobody-shortened-in-time", ""]


def make_usage(workspace: Workspace, full: Project, staging: Project) -> dict[str, str]:
    """Ids, and a session's label, of what the pages are looked at with. In the organization's scope."""
    dice, now, actor = random.Random(4), timezone.now(), workspace.owner.user
    key = ProviderKey.objects.get(project=full, provider="openai")
    for number in range(170):
        provider, model = dice.choice(MODELS)
        meters = {Meter.INPUT: dice.randrange(40, 90_000), Meter.OUTPUT: dice.randrange(5, 4_000)}
        if dice.random() < 0.4:
            meters[Meter.CACHE_READ] = meters[Meter.INPUT] // 2
        if dice.random() < 0.3:
            meters[Meter.REASONING] = meters[Meter.OUTPUT] // 3
        add_event(
            full if number % 4 else staging,
            {} if number % 23 == 0 else meters,
            at=now - timedelta(minutes=7 + number * number * 3),
            provider=provider,
            model=model,
            client_name=dice.choice(CLIENTS),
            ending="error" if number % 23 == 0 else "cancelled" if number % 29 == 1 else "ok",
            error_type="RateLimitError" if number % 23 == 0 else "",
            session=f"conversation-{number // 6}",
            user_label="grace.hopper@example.com",
            total_duration_ms=dice.uniform(120, 64_000),
            time_to_first_token_ms=dice.uniform(40, 3_000) if number % 3 else None,
        )
    detailed = add_event(
        full,
        {Meter.INPUT: 14_200, Meter.CACHE_READ: 12_000, Meter.OUTPUT: 1_830, Meter.REASONING: 640},
        provider_key_id=key.id,
        provider="openai",
        model="gpt-5-2025-08-07",
        request_model="gpt-5",
        client_name="support-web",
        session="conversation-0",
        user_label="grace.hopper@example.com",
        source="otel",
        scope="opentelemetry.instrumentation.genai.openai",
        response_id="resp_68a1f0c2d9b08191b7a3",
        reported_cost=Decimal("0.0357"),
        total_duration_ms=8_730.0,
        time_to_first_token_ms=412.0,
        time_to_last_token_ms=8_610.0,
        tokens_per_second=209.6,
        chunks_received=381,
        avg_chunk_size=4.8,
        inter_chunk_latency_variance_ms=11.3,
        sequence_source="support-web-1",
        sequence_number=184,
    )
    add_event(full, same_call_as=detailed.event_id, source="openinference", model="gpt-5-2025-08-07")
    make_run(full, now - timedelta(minutes=50))
    unpriced = UsageEvent.objects.filter(provider="together").order_by("-occurred_at").first()
    assert unpriced is not None
    set_discount(
        provider="anthropic",
        model="",
        percent=Decimal("12.5"),
        start=now - timedelta(days=90),
        end=None,
        note="Committed spend, order 4711",
        actor=actor,
    )
    set_price(
        provider="mistral",
        model="mistral-large-latest",
        prices={
            Meter.INPUT: Rate(Decimal("1.6"), 1_000_000),
            Meter.OUTPUT: Rate(Decimal("4.8"), 1_000_000),
            Meter.CACHE_READ: Rate(Decimal("0.4"), 1_000_000),
        },
        start=now - timedelta(days=90),
        end=None,
        note="Contract of May, annex 2",
        actor=actor,
    )
    set_price(
        provider="vllm",
        model="*",
        prices={Meter.DURATION: Rate(Decimal("2.85"), 3_600_000)},
        start=now - timedelta(days=90),
        end=now + timedelta(days=30),
        note="Two leased machines, by the hour",
        actor=actor,
    )
    done = repricing.preview(EventFilter(provider="mistral"), reason="Contract of May, annex 2", author_id=actor.id)
    repricing.start(done)
    while repricing.step(done.id):
        pass
    preview = repricing.preview(
        EventFilter(provider="anthropic"), reason="Committed spend counts from the beginning", author_id=actor.id
    )
    repriced = UsageEvent.objects.filter(provider="mistral").order_by("-occurred_at").first()
    assert repriced is not None
    make_ingest_token(project=full, name="collector, Frankfurt", actor=actor)
    make_ingest_token(project=full, name="notebooks", actor=actor)
    owner = workspace.organization.memberships.get(user=actor)
    anthropic = {"period": "month", "provider": "anthropic", "status": "priced"}
    view = saved_views.save(page="ledger", query=anthropic, name="Anthropic, this month", is_shared=False, member=owner)
    long = "What the nightly batch costs by model, for the finance meeting on Mondays"
    saved_views.save(page="overview", query={"period": "7", "by": "model"}, name=long, is_shared=True, member=owner)
    failures = {"period": "today", "status": "failed"}
    saved_views.save(page="ledger", query=failures, name="Failed today", is_shared=True, member=owner)
    return {
        "view": str(view.id),
        "detailed": str(detailed.id),
        "unpriced": str(unpriced.id),
        "repriced": str(repriced.id),
        "done": str(done.id),
        "preview": str(preview.id),
        "run": RUN,
    }


def make_exports(workspace: Workspace) -> None:
    """One in each state. In the scope of an organization with usage that is summed up."""
    now, author = timezone.now(), workspace.owner.user.id
    calls = EventFilter(start=(now - timedelta(days=29)).replace(hour=0, minute=0, second=0, microsecond=0))
    rows = Wanted(content=Content.ROWS, format=Format.CSV, filter=calls, zone="UTC")
    sums = msgspec.structs.replace(
        rows, content=Content.SUMS, granularity=Granularity.DAY, by=(Dimension.PROJECT, Dimension.MODEL)
    )
    focus = msgspec.structs.replace(
        rows, content=Content.FOCUS, granularity=Granularity.HOUR, format=Format.JSONL, filter=EventFilter()
    )
    states: list[tuple[Wanted, str, dict[str, Any]]] = [
        (rows, Export.Status.EXPIRED, {"rows": 1_204}),
        (sums, Export.Status.FAILED, {"problem": "The file could not be stored."}),
        (sums, Export.Status.DONE, {}),
        (focus, Export.Status.DONE, {}),
        (rows, Export.Status.QUEUED, {}),
        (rows, Export.Status.RUNNING, {}),
    ]
    for wanted, status, changes in states:
        made = Export(wanted=wanted.to_json(), author_id=author, expected_rows=412_310, **changes)
        made.save(force_insert=True)
        if status == Export.Status.DONE:
            making.make(made.pk)
        else:
            Export.objects.filter(pk=made.pk).update(status=status)
    cache.set(making._progress_key(made.pk), 148_902, timeout=86_400)


# An agent's run: what begins after so many seconds and takes so many; a plan, searches beside each other, an answer.
RUN = "research-run/2026-11-27/why-did-the-nightly-batch-cost-more"
STEPS = [
    (0, 14, "gpt-5-2025-08-07"),
    *((15 + number % 3, 4 + 3 * (number % 4), "gpt-4o-mini") for number in range(9)),
    (31, 22, "claude-sonnet-4-5"),
    *((1_254 + number, 6 - number, "gemini-2.5-flash") for number in range(4)),
    (1_262, 3, "house-70b"),
    (1_266, 31, "gpt-5-2025-08-07"),
]
PROVIDERS = {"claude-sonnet-4-5": "anthropic", "gemini-2.5-flash": "gemini", "house-70b": "together"}


def make_run(project: Project, begin: datetime) -> None:
    for number, (after, took, model) in enumerate(STEPS):
        failed = number == 5
        add_event(
            project,
            {} if failed else {Meter.INPUT: 900 * took, Meter.OUTPUT: 60 * took},
            at=begin + timedelta(seconds=after),
            provider=PROVIDERS.get(model, "openai"),
            model=model,
            client_name="research",
            ending="error" if failed else "ok",
            error_type="RateLimitError" if failed else "",
            session=RUN,
            total_duration_ms=took * 1_000.0,
        )
