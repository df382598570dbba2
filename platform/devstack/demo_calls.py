"""The demo's calls: what three products of a small company ask their providers, as it could have happened.

They follow the hours and the week of the organization's time zone, and grow. Half-way the support assistant moves to
another model; later it is launched to more people, whom OpenAI limits at first; Anthropic has a bad day. For ten days
an instrumentation too many reports the reviews, too. The same seed gives the same calls of a day.
"""

import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from random import Random
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from apps.ledger.calls import Call, Ending
from apps.pricing.meters import Meter
from apps.projects.models import Project

PRODUCTION, STAGING, DEVELOPMENT = (
    Project.Environment.PRODUCTION,
    Project.Environment.STAGING,
    Project.Environment.DEVELOPMENT,
)
SUPPORT, SEARCH, REVIEW = "Support assistant", "Document search", "Code review"
# A project's name and environment.
Place = tuple[str, str]
PLACES: tuple[Place, ...] = tuple(
    (product, environment)
    for product in (SUPPORT, SEARCH, REVIEW)
    for environment in (DEVELOPMENT, STAGING, PRODUCTION)
)
DAY = timedelta(days=1)
# How many times as many calls the last day has as the first.
GROWTH = 1.9
# When things happen, as parts of the time.
SWITCH, LAUNCH, BAD_DAY, DOUBLED = 0.5, 0.68, 0.84, (0.3, 0.41)
# What is left of the launch's rush on the days after it.
RUSH = (2.6, 2.1, 1.6, 1.3, 1.15)
# How many days it takes until all calls are to the other model.
MOVING = 6


class Model(NamedTuple):
    """`first_ms` until the first token, then tokens a second: what half of the calls stay below."""

    provider: str
    name: str
    first_ms: float
    speed: float
    # Of the output.
    reasoning: float = 0


GPT_4O = Model("openai", "gpt-4o", 560, 78)
GPT_4O_MINI = Model("openai", "gpt-4o-mini", 430, 96)
GPT_4_1_MINI = Model("openai", "gpt-4.1-mini", 480, 105)
GPT_5 = Model("openai", "gpt-5", 2_900, 88, reasoning=0.55)
GPT_5_MINI = Model("openai", "gpt-5-mini", 1_150, 125, reasoning=0.35)
EMBEDDING = Model("openai", "text-embedding-3-small", 95, 0)
HAIKU = Model("anthropic", "claude-haiku-4-5", 520, 150)
SONNET = Model("anthropic", "claude-sonnet-4-5", 1_250, 68)
FLASH = Model("gemini", "gemini-2.5-flash", 610, 190, reasoning=0.3)
# On own machines, and one that no price list knows.
QWEN = Model("vllm", "qwen3-32b", 240, 42)
HOUSE = Model("together", "house/contracts-70b", 690, 55)

# How busy each hour of the day is.
OFFICE = (0, 0, 0, 0, 0, 0, 0.3, 2, 6, 10, 11, 9, 5, 8, 11, 10, 8, 5, 2, 1, 0.6, 0.4, 0.2, 0)
PUBLIC = (1.2, 0.8, 0.6, 0.5, 0.5, 0.8, 1.6, 3, 5.5, 8, 9, 9, 8, 8, 9, 9, 9, 8.5, 8, 8, 7.5, 6, 4, 2.4)
NIGHT = (0, 0, 9, 10, 3, *[0.0] * 19)
ENVIRONMENTS: Mapping[str, float] = {PRODUCTION: 0.88, STAGING: 0.05, DEVELOPMENT: 0.07}
ERRORS = {"RateLimitError": 4, "APITimeoutError": 3, "InternalServerError": 2, "BadRequestError": 2}
OUTAGE = {"OverloadedError": 6, "APITimeoutError": 3, "InternalServerError": 2}
TIMEOUT_MS = 60_000.0


class Program(NamedTuple):
    """What calls. `input` and `output` are what half of its calls stay below, `weekend` is of a workday's calls."""

    product: str
    client: str
    weight: float
    hours: tuple[float, ...]
    weekend: float
    # Before the switch and after it.
    models: Mapping[Model, float]
    later: Mapping[Model, float]
    input: int
    output: int
    operation: str = "chat"
    environments: Mapping[str, float] = ENVIRONMENTS
    source: str = "json"
    streams: bool = False
    is_batch: bool = False
    # Of the input, where a call finds any in the cache.
    cached: float = 0
    # A user's calls of so many hours are a session; how many users there are.
    session: int = 0
    users: int = 0


PROGRAMS = (
    Program(
        SUPPORT, "support-web", 34, PUBLIC, 0.5, {GPT_4O: 3, GPT_4O_MINI: 7}, {GPT_5_MINI: 17, GPT_4O_MINI: 3},
        2_400, 310, streams=True, cached=0.6, session=5, users=900,
    ),
    Program(SUPPORT, "triage-worker", 15, PUBLIC, 0.5, {HAIKU: 1}, {HAIKU: 1}, 850, 36),
    Program(SEARCH, "search-api", 21, OFFICE, 0.15, {EMBEDDING: 1}, {EMBEDDING: 1}, 42, 0, operation="embeddings"),
    Program(
        SEARCH, "answers", 10, OFFICE, 0.15, {FLASH: 1}, {FLASH: 1}, 6_800, 430, streams=True, session=3, users=260
    ),
    Program(
        SEARCH, "nightly-index", 7, NIGHT, 1, {GPT_4_1_MINI: 1}, {GPT_4_1_MINI: 1}, 3_900, 240,
        environments={PRODUCTION: 1}, is_batch=True,
    ),
    Program(
        REVIEW, "review-bot", 6, OFFICE, 0.1, {SONNET: 1}, {SONNET: 4, GPT_5: 1}, 15_000, 1_150, source="anthropic",
        streams=True, cached=0.75, session=4, users=14,
    ),
    Program(
        REVIEW, "notebooks", 3, OFFICE, 0.25, {QWEN: 7, HOUSE: 2}, {QWEN: 6, HOUSE: 3}, 1_700, 420,
        environments={DEVELOPMENT: 1}, users=5,
    ),
)  # fmt: skip
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Story:
    """`days` days of the zone until now, with about so many calls. `now` is aware."""

    days: int
    calls: int
    seed: int
    zone: ZoneInfo
    now: datetime

    @property
    def last(self) -> date:
        return self.now.astimezone(self.zone).date()

    @property
    def first(self) -> date:
        return self.last - (self.days - 1) * DAY

    def happens(self, part: float, weekday: int) -> date:
        """The day of that part of the time, or the workday of that number shortly before it."""
        day = self.first + int(part * self.days) * DAY
        return day - (day.weekday() - weekday) % 7 * DAY

    def calls_of(self, day: date, ids: Mapping[Place, uuid.UUID]) -> Iterator[tuple[Place, Call]]:
        """The day's calls that were made before now, of the projects that `ids` names, in no order."""
        dice = Random(f"{self.seed} {day}")  # noqa: S311 - repeatable on purpose
        expected = self.calls / sum(self._busy(each, program) for each in self._all_days() for program in PROGRAMS)
        mood = dice.uniform(0.9, 1.12)
        number = 0
        for program in PROGRAMS:
            mean = expected * self._busy(day, program) * mood * dice.uniform(0.93, 1.08)
            made = sorted(self._time(day, program, dice) for _ in range(int(mean + dice.random())))
            for place_in_day, at in enumerate(made, start=1):
                environment = _choice(dice, program.environments)
                place = (program.product, environment)
                call = self._call(program, day, at, dice)
                number += 1
                call.event_id = uuid.uuid5(ids[place], f"{self.seed} {day} {number}")
                if program.is_batch:
                    # A process a night, which numbers its reports. On two nights its last reports but one got lost.
                    call.sequence_source, call.sequence_number = f"{program.client}-{day}", place_in_day
                    lost = day in (self.happens(0.76, 1), self.happens(0.93, 2))
                    if lost and len(made) - 3 <= place_in_day < len(made):
                        continue
                if at >= self.now:
                    continue
                yield place, call
                if call.response_id and self._is_doubled(day):
                    yield place, _reported_again(call, uuid.uuid5(call.event_id, "again"))

    def _all_days(self) -> Iterator[date]:
        return (self.first + number * DAY for number in range(self.days))

    def _busy(self, day: date, program: Program) -> float:
        busy = program.weight * (program.weekend if day.weekday() >= 5 else 1)
        if program.product == SUPPORT and 0 <= (since := (day - self.happens(LAUNCH, 1)).days) < len(RUSH):
            busy *= RUSH[since]
        return busy * math.pow(GROWTH, (day - self.first).days / max(self.days - 1, 1))

    def _is_doubled(self, day: date) -> bool:
        return DOUBLED[0] <= (day - self.first).days / self.days < DOUBLED[1]

    def _time(self, day: date, program: Program, dice: Random) -> datetime:
        hour = dice.choices(range(24), cum_weights=list(accumulate(program.hours)))[0]
        moment = time(hour, dice.randrange(60), dice.randrange(60), dice.randrange(1_000_000))
        return datetime.combine(day, moment, self.zone).astimezone(UTC)

    def _call(self, program: Program, day: date, at: datetime, dice: Random) -> Call:
        model = _choice(dice, self._models(program, day, dice))
        call = Call(
            event_id=uuid.UUID(int=0),
            source=program.source,
            provider=model.provider,
            model=model.name,
            request_model=model.name,
            operation=program.operation,
            is_batch=program.is_batch,
            started_at=at,
            client_name=program.client,
        )
        if program.users:
            user = int(program.users * dice.random() ** 2.2)
            call.user = f"user-{user:03}"
            if program.session:
                call.session = f"{program.client}-{day:%m%d}-{user:03}-{at.hour // program.session}"
        if (error := self._error(model, day, at, dice)) is not None:
            call.ending, call.error_type = Ending.ERROR, error
            call.total_duration_ms = TIMEOUT_MS if error == "APITimeoutError" else _around(dice, 260, 0.6)
            return call
        size = math.exp(dice.gauss(0, 0.28))
        call.meters = _used(program, model, dice, size)
        _measure(call, program, model, dice)
        if program.source == "anthropic" and model.provider == "anthropic":
            call.scope, call.response_id = "com.anthropic.sdk.messages", f"msg_{dice.getrandbits(96):024x}"
        elif program.source == "anthropic":
            # Another library makes these spans.
            call.source, call.scope = "semconv", "opentelemetry.instrumentation.openai_v2"
        return call

    def _models(self, program: Program, day: date, dice: Random) -> Mapping[Model, float]:
        since = (day - (self.first + int(SWITCH * self.days) * DAY)).days
        return program.later if dice.random() < (since + 1) / MOVING else program.models

    def _error(self, model: Model, day: date, at: datetime, dice: Random) -> str | None:
        hour = at.astimezone(self.zone).hour
        rolled = dice.random()
        if model.provider == "anthropic" and day == self.happens(BAD_DAY, 3) and 8 <= hour < 19 and rolled < 0.7:
            return _choice(dice, OUTAGE)
        if model.provider == "openai" and day == self.happens(LAUNCH, 1) and 10 <= hour < 14 and rolled < 0.14:
            return "RateLimitError"
        return _choice(dice, ERRORS) if rolled < 0.009 else None


def _used(program: Program, model: Model, dice: Random, size: float) -> dict[Meter, int]:
    meters = {Meter.INPUT: max(1, round(program.input * size))}
    if program.output:
        meters[Meter.OUTPUT] = max(1, round(_around(dice, program.output, 0.45) * (1 + 1.5 * model.reasoning)))
        if model.reasoning:
            meters[Meter.REASONING] = round(meters[Meter.OUTPUT] * model.reasoning * dice.uniform(0.6, 1.1))
    if program.cached and meters[Meter.INPUT] >= 1_024:
        rest = meters[Meter.INPUT]
        if dice.random() < 0.7:
            meters[Meter.CACHE_READ] = round(rest * program.cached * dice.uniform(0.6, 1.1))
            rest -= meters[Meter.CACHE_READ]
        if model.provider == "anthropic":
            meters[Meter.CACHE_WRITE] = round(rest * dice.uniform(0.3, 0.8))
    return meters


def _measure(call: Call, program: Program, model: Model, dice: Random) -> None:
    """Sets how long it took. A stream in a hundred and more is given up by who reads it, before it is over."""
    output = dict(call.meters).get(Meter.OUTPUT, 0)
    first = _around(dice, model.first_ms, 0.35)
    speed = _around(dice, model.speed, 0.2) if model.speed else 0
    if program.streams and dice.random() < 0.018:
        call.ending = Ending.CANCELLED
        output = max(1, round(output * dice.uniform(0.05, 0.7)))
        reasoning = {Meter.REASONING: min(call.meters[Meter.REASONING], output)} if model.reasoning else {}
        call.meters = {**call.meters, Meter.OUTPUT: output, **reasoning}
    call.total_duration_ms = first + (output / speed * 1_000 if output else 0)
    if program.streams:
        call.time_to_first_token_ms, call.time_to_last_token_ms = first, call.total_duration_ms
        call.chunks_received = max(1, round(output * dice.uniform(0.8, 1)))
        call.avg_chunk_size = dice.uniform(3.6, 4.9)
        call.inter_chunk_latency_variance_ms = _around(dice, 14, 0.5)
    if output:
        call.tokens_per_second = speed


def _reported_again(call: Call, event_id: uuid.UUID) -> Call:
    """The same call as another instrumentation of the same program reports it, which knows neither client nor user."""
    return Call(
        event_id=event_id,
        source="openllmetry",
        scope="opentelemetry.instrumentation.anthropic",
        provider=call.provider,
        model=call.model,
        request_model=call.request_model,
        operation=call.operation,
        meters={meter: call.meters[meter] for meter in (Meter.INPUT, Meter.OUTPUT)},
        started_at=call.started_at,
        total_duration_ms=call.total_duration_ms,
        response_id=call.response_id,
    )


def _around(dice: Random, median: float, spread: float) -> float:
    return median * math.exp(dice.gauss(0, spread))


def _choice(dice: Random, weights: Mapping[Thing, float]) -> Thing:
    return dice.choices(list(weights), list(weights.values()))[0]
