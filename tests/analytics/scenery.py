"""Calls of two months that look like life: programs with habits, a model that is replaced, errors, own prices."""

import math
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from apps.ledger.models import Outbox, UsageEvent
from apps.pricing.meters import Meter
from apps.projects.models import Project
from tests.usage.events import add_event

# Client, models with their weights, typical input and output tokens, calls on a workday.
HABITS = [
    ("support-web", {("openai", "gpt-4o-mini"): 6, ("openai", "gpt-4o"): 2}, (2_400, 350), 14),
    ("nightly-batch", {("gemini", "gemini-2.5-flash"): 1}, (9_000, 700), 7),
    ("research", {("anthropic", "claude-sonnet-4-5"): 3, ("openai", "gpt-5-2025-08-07"): 2}, (12_000, 1_800), 6),
    ("", {("mistral", "mistral-large-latest"): 2, ("together", "house-70b"): 1}, (1_500, 400), 4),
]
ERRORS = ["RateLimitError", "RateLimitError", "APITimeoutError", "BadRequestError", "InternalServerError"]


def add_calls(projects: list[Project], *, until: datetime, days: int, scale: float = 1, seed: int = 5) -> None:
    """In the organization's scope. Each call is noted for the sums."""
    dice, made, numbers = Random(seed), list[UsageEvent](), count(1)
    for back in range(days, -1, -1):
        day = (until - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
        busy = (0.25 if day.weekday() >= 5 else 1) * (1 + 0.6 * (days - back) / max(days, 1)) * dice.uniform(0.75, 1.3)
        for place, (client, models, typical, calls) in enumerate(HABITS):
            for _ in range(round(calls * scale * busy)):
                at = day + timedelta(seconds=min(86_399, max(0, dice.gauss(13.5, 3.5) * 3_600)))
                if at > until:
                    continue
                provider, model = dice.choices(list(models), list(models.values()))[0]
                if model == "gpt-4o" and back < 20:
                    model = "gpt-4o-2024-08-06"
                size = math.exp(dice.gauss(0, 0.5))
                meters = {Meter.INPUT: round(typical[0] * size), Meter.OUTPUT: round(typical[1] * size)}
                if dice.random() < 0.3:
                    meters[Meter.CACHE_READ] = meters[Meter.INPUT] // 2
                sequence: dict[str, Any] = {}
                if client == "nightly-batch":
                    # It numbers its reports, of which one in forty never comes.
                    number = next(numbers)
                    sequence = {"sequence_source": client, "sequence_number": number + number // 40}
                failed = dice.random() < 0.03
                speed = dice.uniform(35, 140) * (0.5 if model.startswith("gpt-5") else 1)
                first = math.exp(dice.gauss(6.0, 0.45))
                made.append(
                    add_event(
                        projects[place % len(projects)],
                        {} if failed else meters,
                        at=at,
                        provider=provider,
                        model=model,
                        client_name=client,
                        ending="error" if failed else "cancelled" if dice.random() < 0.01 else "ok",
                        error_type=dice.choice(ERRORS) if failed else "",
                        total_duration_ms=first + meters[Meter.OUTPUT] / speed * 1_000,
                        time_to_first_token_ms=None if failed else first,
                        tokens_per_second=None if failed else speed,
                        **sequence,
                    )
                )
    Outbox.objects.create(events=[row.id for row in made])
