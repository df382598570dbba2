"""The ledger: facts and what was found out about them later. Neither is ever changed.

A total is the sum over events that count plus the sum over adjustments, which are signed and bear the same measures.
"""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now

from apps.pricing.meters import Meter
from tenancy.rows import TenantModel

# Which columns hold which quantities, inclusive as apps/pricing/meters.py has them.
METER_COLUMNS = {
    Meter.INPUT: "input_tokens",
    Meter.OUTPUT: "output_tokens",
    Meter.CACHE_READ: "cache_read_tokens",
    Meter.CACHE_WRITE: "cache_write_tokens",
    Meter.CACHE_WRITE_1H: "cache_write_1h_tokens",
    Meter.REASONING: "reasoning_tokens",
    Meter.AUDIO_IN: "audio_input_tokens",
    Meter.AUDIO_OUT: "audio_output_tokens",
    Meter.REQUEST: "requests",
}


class PriceStatus(models.TextChoices):
    """Whether a row has a cost. FAILED: it ended with an error and without usage, so there is nothing to price.
    DUPLICATE: another row counts for the same call; this one is no call and has no cost."""

    PRICED = "priced"
    UNPRICED = "unpriced"
    FAILED = "failed"
    DUPLICATE = "duplicate"


class Measured(models.Model):
    """What can be added up, and the price it comes from.

    `cost` is exact, in `currency`, and empty where no price was known: never 0 for "unknown".
    """

    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    cache_read_tokens = models.BigIntegerField(null=True)
    # Both kinds; of these, what is kept for an hour.
    cache_write_tokens = models.BigIntegerField(null=True)
    cache_write_1h_tokens = models.BigIntegerField(null=True)
    reasoning_tokens = models.BigIntegerField(null=True)
    audio_input_tokens = models.BigIntegerField(null=True)
    audio_output_tokens = models.BigIntegerField(null=True)
    requests = models.BigIntegerField(null=True)
    cost = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    currency = models.CharField(max_length=3)

    price_status = models.CharField(max_length=16, choices=PriceStatus)
    # Why there is no price, or what is special about the one there is.
    price_reason = models.CharField(max_length=32, blank=True)
    # Which of the rules of apps/pricing/rating.py found it.
    price_rule = models.CharField(max_length=64, blank=True, default="", db_default="")
    price_snapshot_id = models.BigIntegerField(null=True)
    # How the cost came about: an apps.pricing.rating.Line for each meter.
    price_lines = models.JSONField(default=list)
    # The event_id of the row that counts for the same call.
    same_call_as = models.UUIDField(null=True)

    class Meta:
        abstract = True


class UsageEvent(Measured, TenantModel):
    """One call to a provider, as its reporter described it, and what it cost by the prices of that moment.

    Counts are tokens, durations milliseconds. Ids of projects and keys are plain, so that facts outlive what they name.
    """

    append_only = True

    # What makes sending twice harmless: the id the client chose, or of a span the trace id's last eight bytes and the
    # span id's eight, so that a trace's rows stand together in the index.
    event_id = models.UUIDField()
    project_id = models.UUIDField()
    # Who reported it: a generation of the project's key, or a token for ingestion.
    key_generation = models.PositiveIntegerField(null=True)
    ingest_token_id = models.UUIDField(null=True)
    provider_key_id = models.UUIDField(null=True)
    # "json" or the emitter's name.
    source = models.CharField(max_length=32)
    # When the call began, by the reporter's clock; where it names no time, when its report came in.
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())

    provider = models.CharField(max_length=64)
    # As the response named it, else as it was asked for.
    model = models.CharField(max_length=256)
    request_model = models.CharField(max_length=256, blank=True, default="", db_default="")
    operation = models.CharField(max_length=32, blank=True, default="", db_default="")
    service_tier = models.CharField(max_length=32, blank=True, default="", db_default="")
    is_batch = models.BooleanField(default=False, db_default=False)
    # Whether the reporter counts cached tokens as part of the input. The columns always do.
    cache_in_input = models.BooleanField(default=True, db_default=True)
    client_name = models.CharField(max_length=255, blank=True)
    session = models.CharField(max_length=200, blank=True, default="", db_default="")
    user_label = models.CharField(max_length=200, blank=True, default="", db_default="")
    ending = models.CharField(max_length=16, default="ok", db_default="ok")
    error_type = models.CharField(max_length=128, blank=True, default="", db_default="")

    time_to_first_token_ms = models.FloatField(null=True)
    time_to_last_token_ms = models.FloatField(null=True)
    total_duration_ms = models.FloatField(null=True)
    tokens_per_second = models.FloatField(null=True)
    chunks_received = models.BigIntegerField(null=True)
    avg_chunk_size = models.FloatField(null=True)
    inter_chunk_latency_variance_ms = models.FloatField(null=True)

    # What the reporter thinks it cost. Kept to compare, never counted.
    reported_cost = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    # What to know about the row: apps.pricing.rating.Flag, and apps.ledger.rows.Flag.
    flags = models.JSONField(default=list)

    trace_id = models.UUIDField(null=True)
    parent_event_id = models.UUIDField(null=True)
    response_id = models.CharField(max_length=128, blank=True, default="", db_default="")
    # The instrumentation scope.
    scope = models.CharField(max_length=128, blank=True, default="", db_default="")
    # What two reports of one call without any id in common still share (apps/ledger/settling.py).
    fingerprint = models.BigIntegerField(null=True)
    # A reporter that numbers its reports, and the number: gaps are reports that never arrived.
    sequence_source = models.CharField(max_length=64, blank=True, default="", db_default="")
    sequence_number = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            # What is rarest comes first, here and below: ingestion looks things up by these, and a plan that was made
            # while the table was small must not take an index by project for as good.
            models.UniqueConstraint(fields=["event_id", "project_id"], name="usage_event_once"),
            models.CheckConstraint(
                condition=models.Q(price_status="priced", cost__isnull=False)
                | (~models.Q(price_status="priced") & models.Q(cost__isnull=True)),
                name="usage_event_unpriced_has_no_cost",
            ),
            models.CheckConstraint(
                condition=models.Q(price_status="duplicate", same_call_as__isnull=False)
                | (~models.Q(price_status="duplicate") & models.Q(same_call_as__isnull=True)),
                name="usage_event_duplicate_of_something",
            ),
        ]
        indexes = [
            # Rows of other models are passed over without a look at the table. An index by model would be taken for
            # questions about all models, too, and have the table read in their order.
            models.Index(fields=["project_id", "-occurred_at", "-id", "model"], name="usage_event_latest"),
            # Rows lie in the order in which they came in, so a month is a few stretches of the table.
            BrinIndex(fields=["occurred_at"], autosummarize=True, name="usage_event_period"),
            models.Index(fields=["response_id"], condition=~models.Q(response_id=""), name="usage_event_response"),
            models.Index(
                fields=["fingerprint", "occurred_at"],
                condition=models.Q(fingerprint__isnull=False),
                name="usage_event_fingerprint",
            ),
            models.Index(
                fields=["provider", "model", "id"],
                condition=models.Q(price_status="unpriced"),
                name="usage_event_unpriced",
            ),
            models.Index(
                fields=["project_id", "sequence_source", "sequence_number"],
                condition=models.Q(sequence_number__isnull=False),
                name="usage_event_sequence",
            ),
            models.Index(
                fields=["project_id", "same_call_as"],
                condition=models.Q(same_call_as__isnull=False),
                name="usage_event_same_call",
            ),
            # Who asks for calls that did not end well need not pass over millions of others.
            models.Index(
                fields=["project_id", "-occurred_at", "-id"],
                condition=~models.Q(ending="ok"),
                name="usage_event_not_ok",
            ),
            # The only one for sessions: rows without a label, which are most, are not in it.
            models.Index(
                fields=["project_id", "session", "-occurred_at", "-id"],
                condition=~models.Q(session=""),
                name="usage_event_session",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}:{self.model} {self.event_id}"


class Adjustment(Measured, TenantModel):
    """What changes about an event later: signed amounts to add, the state after, and why.

    An event's revisions are numbered 1, 2, … and it stands as the last of them says; its amounts are its own and the
    sum of these. Measures that don't change are empty.
    """

    append_only = True

    class Kind(models.TextChoices):
        # It turned out to be another row's call, or not to be.
        SAME_CALL = "same_call"
        # Another report of the same call said more.
        DETAIL = "detail"
        REPRICE = "reprice"
        REVERSAL = "reversal"

    event = models.ForeignKey(UsageEvent, on_delete=models.PROTECT, related_name="adjustments", db_index=False)
    revision = models.PositiveIntegerField()
    # The event's, so that sums need no join.
    project_id = models.UUIDField()
    occurred_at = models.DateTimeField()

    kind = models.CharField(max_length=16, choices=Kind)
    # In words, for people: who asked for it says it, or the rule that did it.
    reason = models.CharField(max_length=500)
    # Empty: the platform by itself.
    author_id = models.UUIDField(null=True)
    repricing_id = models.UUIDField(null=True)
    made_at = models.DateTimeField(db_default=Now())

    calls = models.SmallIntegerField()
    unpriced = models.SmallIntegerField()
    # What to know about the price after it: apps.pricing.rating.Flag. Null: an older release did not keep it.
    flags = models.JSONField(null=True)
    # What the price after it was asked for with, where another report named it.
    service_tier = models.CharField(max_length=32, blank=True, default="", db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["event", "revision"], name="adjustment_revision_once"),
        ]
        indexes = [
            models.Index(fields=["project_id", "-occurred_at"], name="adjustment_by_time"),
            models.Index(
                fields=["repricing_id", "event"],
                condition=models.Q(repricing_id__isnull=False),
                name="adjustment_repricing",
            ),
            models.Index(fields=["event"], condition=models.Q(price_status="unpriced"), name="adjustment_unpriced"),
            models.Index(
                fields=["project_id", "same_call_as"],
                condition=models.Q(same_call_as__isnull=False),
                name="adjustment_same_call",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} revision {self.revision}: {self.kind}"


class Outbox(TenantModel):
    """A note of what one transaction did to the ledger, for who sums it up (apps/analytics) and then takes it away.

    Rows that it added, by their ids; where it deleted some, which project is to be counted again between which times.
    """

    events = ArrayField(models.UUIDField(), default=list)
    adjustments = ArrayField(models.UUIDField(), default=list)
    recount_project_id = models.UUIDField(null=True)
    recount_from = models.DateTimeField(null=True)
    # The last of the calls in question.
    recount_to = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{len(self.events)} events, {len(self.adjustments)} adjustments"


class SpanLink(TenantModel):
    """A span that is no call, no tool and no agent, kept for a day: calls above and below it that arrive separately are
    one call."""

    project_id = models.UUIDField()
    event_id = models.UUIDField()
    parent_event_id = models.UUIDField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project_id", "event_id"], name="span_link_once")]

    def __str__(self) -> str:
        return f"{self.event_id} below {self.parent_event_id}"


class Repricing(TenantModel):
    """Rating past events again with the prices known now: a preview, then adjustments, which can be taken back.

    One without an author is what the platform did by itself: its preview says what it did.
    """

    class Status(models.TextChoices):
        # Being worked out.
        PREVIEWING = "previewing"
        PREVIEWED = "previewed"
        RUNNING = "running"
        DONE = "done"
        # Prices changed under way: what it did stands, the rest was left as it was.
        STOPPED = "stopped"
        REVERSING = "reversing"
        REVERSED = "reversed"

    status = models.CharField(max_length=16, choices=Status, default=Status.PREVIEWED)
    # Which events: apps.ledger.selectors.EventFilter as JSON.
    filter = models.JSONField(default=dict)
    reason = models.CharField(max_length=500)
    author_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    # Which prices: they are checked to be the same when it runs.
    price_version = models.CharField(max_length=64)
    # By project and month: what stands now and what would.
    preview = models.JSONField(default=list)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # The last event that was done: where a run that died goes on.
    cursor = models.UUIDField(null=True)
    events_changed = models.PositiveBigIntegerField(default=0)
    reversed_by_id = models.UUIDField(null=True)
    reversal_reason = models.CharField(max_length=500, blank=True, default="", db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["status"], condition=models.Q(status__in=["running"]), name="repricing_one_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"
