"""What sums cost at a million and at ten million calls: counting them, and reading them for pages.

`main` runs in a process of its own on the stack's database (see rollups.py) and prints JSON. Calls are spread over
ninety days, three projects, nine models, five programs and two keys; prices are not looked up: sums don't ask for them.
"""

import json
import statistics
import time
from collections.abc import Callable

from django.db import connection
from django.test import Client

from apps.accounts.models import User
from apps.analytics import rollups
from apps.analytics.models import Rollup
from apps.analytics.rollups import Progress
from apps.ledger.models import Outbox, UsageEvent
from apps.organizations.models import Organization
from tenancy import tenant_scope

DAYS = 90
# Rows of one transaction of the ledger, as spans come.
BATCH = 512
# How many calls are counted at each size to see how fast that goes.
COUNTED = 100_000
ROUNDS = 20

_FILL = """
    INSERT INTO ledger_usageevent (
        id, event_id, project_id, source, occurred_at, received_at, provider, model, client_name, provider_key_id,
        operation, ending, error_type, price_status, price_reason, cost, currency, input_tokens, output_tokens,
        requests, time_to_first_token_ms, total_duration_ms, tokens_per_second, price_lines, flags)
    SELECT uuidv7(), gen_random_uuid(), ('00000000-0000-4000-8000-00000000000' || n %% 3)::uuid, 'any-llm', at, now(),
           (ARRAY['openai', 'anthropic', 'mistral'])[1 + m %% 3], 'model-' || m, 'program-' || (r * 5)::int,
           ('00000000-0000-4000-9000-00000000000' || n %% 2)::uuid, 'chat',
           CASE WHEN r < 0.02 THEN 'error' ELSE 'ok' END, CASE WHEN r < 0.02 THEN 'Timeout' ELSE '' END,
           CASE WHEN m = 8 THEN 'unpriced' ELSE 'priced' END, '',
           CASE WHEN m = 8 THEN NULL ELSE (r / 100)::numeric(24, 12) END, CASE WHEN m = 8 THEN '' ELSE 'USD' END,
           (r * 5000)::int, (r * 500)::int, 1, 100 + 900 * r, 500 + exp(9 * r), 20 + 80 * r, '[]', '[]'
      FROM (SELECT n, floor(9 * random() ^ 2)::int AS m, random() AS r,
                   now() - random() * %(days)s * interval '1 day' AS at FROM generate_series(1, %(count)s) AS n) AS one
    RETURNING id
"""


def main(size: int) -> None:
    """Fills the first organization's ledger up to so many calls, counts them, and measures."""
    organization = Organization.objects.order_by("id")[0]
    with tenant_scope(organization):
        there = UsageEvent.objects.count()
        started = time.perf_counter()
        while there < size:
            there += _fill(min(500_000, size - there), noted=False)
        filled = time.perf_counter() - started
        started = time.perf_counter()
        assert rollups.recount("UTC") is Progress.DONE
        rebuilt = time.perf_counter() - started
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE ledger_usageevent, analytics_rollup")
        for _ in range(COUNTED // 10_000):
            _fill(10_000, noted=True)
        started = time.perf_counter()
        while rollups.roll_up("UTC") is Progress.MORE:
            pass
        counted = time.perf_counter() - started
        rows = Rollup.objects.count()
    print(
        json.dumps(
            {
                "calls": size,
                "fill_seconds": round(filled, 1),
                "rebuild_per_second": round(size / rebuilt),
                "counted_per_second": round(COUNTED / counted),
                "rollup_rows": rows,
                "pages": _pages(organization),
            }
        )
    )


def _fill(count: int, *, noted: bool) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_FILL, {"count": count, "days": DAYS})
        ids = [row_id for (row_id,) in cursor.fetchall()]
    if noted:
        Outbox.objects.bulk_create(Outbox(events=ids[at : at + BATCH]) for at in range(0, len(ids), BATCH))
    return count


def _pages(organization: Organization) -> dict[str, dict[str, float]]:
    """Milliseconds on the server of each page."""
    client = Client()
    client.force_login(
        User.objects.get(memberships__organization=organization),
        backend="allauth.account.auth_backends.AuthenticationBackend",
    )
    found = {}
    for name, path in PAGES.items():
        url = f"/o/{organization.pk}/{path}"

        def look(url: str = url) -> None:
            answer = client.get(url)
            assert answer.status_code == 200, (url, answer.status_code)

        look()
        times = sorted(_milliseconds(look) for _ in range(ROUNDS))
        found[name] = {"median_ms": round(statistics.median(times), 1), "p95_ms": round(times[-2], 1)}
    return found


def _milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


# Name → path within the organization.
PAGES = {
    "overview": "usage/",
    "overview, 90 days by model": "usage/?period=90&by=model",
    "performance": "usage/performance/",
}
