"""An organization with millions of calls, and the pages over them.

`main` runs in a process of its own on the stack's database (see sums.py) and prints JSON. Calls are spread over ninety
days, three projects and nine models, and come in the order of their times, as calls do; each project has two programs,
and a key of each of three providers. A quarter of the calls have a session. They are made in SQL: what is asked here is
how long it takes to look at them.
"""

import importlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from django.core.management import call_command
from django.db import connection
from django.test import Client

from apps.accounts.models import User
from apps.analytics import rollups
from apps.analytics.models import DayRollup, QuarterRollup
from apps.analytics.rollups import Progress
from apps.ledger.models import UsageEvent
from apps.organizations.models import Organization
from apps.projects.models import Project
from apps.projects.services import create_project
from tenancy import tenant_scope
from tenancy.roles import as_owner

DAYS = 90
PROJECTS = 3
# Rows that one statement makes.
STEP = 500_000
ROUNDS = 40

_FILL = """
    INSERT INTO ledger_usageevent (
        id, event_id, project_id, source, occurred_at, received_at, provider, model, request_model, client_name,
        provider_key_id, session, operation, ending, error_type, price_status, price_reason, price_rule, price_lines,
        cost, currency, input_tokens, output_tokens, requests, time_to_first_token_ms, total_duration_ms,
        tokens_per_second, flags)
    SELECT uuidv7(), gen_random_uuid(), (%(projects)s::uuid[])[1 + n %% %(count_of_projects)s], 'any-llm', at, now(),
           (ARRAY['openai', 'anthropic', 'mistral'])[1 + m %% 3], 'model-' || m, 'model-' || m,
           'program-' || n %% %(count_of_projects)s || '-' || (r * 1.2)::int,
           ('00000000-0000-4000-9000-0000000000' || n %% %(count_of_projects)s || m %% 3)::uuid,
           CASE WHEN n %% 4 = 0 THEN 'session-' || floor(n / 40) ELSE '' END, 'chat',
           CASE WHEN r < 0.02 THEN 'error' ELSE 'ok' END, CASE WHEN r < 0.02 THEN 'Timeout' ELSE '' END,
           CASE WHEN m = 8 THEN 'unpriced' ELSE 'priced' END, CASE WHEN m = 8 THEN 'unknown_model' ELSE '' END,
           CASE WHEN m = 8 THEN '' ELSE 'list:genai-prices' END,
           CASE WHEN m = 8 THEN '[]' ELSE jsonb_build_array(jsonb_build_object(
               'price_id', 1, 'meter', 'input', 'quantity', (r * 5000)::int, 'unit_price', '0.15', 'per', 1000000,
               'amount', (r / 100)::numeric(24, 12)::text)) END,
           CASE WHEN m = 8 THEN NULL ELSE (r / 100)::numeric(24, 12) END, CASE WHEN m = 8 THEN '' ELSE 'USD' END,
           (r * 5000)::int, (r * 500)::int, 1, 100 + 900 * r, 500 + exp(9 * r), 20 + 80 * r, '[]'
      FROM (SELECT n, floor(9 * random() ^ 2)::int AS m, random() AS r,
                   now() - (%(size)s - n - random()) / (%(size)s - %(there)s) * %(days)s * interval '1 day' AS at
              FROM generate_series(%(first)s::bigint, %(last)s) AS n) AS one
"""

# Name → path within the organization.
PAGES = {
    "overview": "usage/",
    "overview, 90 days by model": "usage/?period=90&by=model",
    "performance": "usage/performance/",
    "performance, 90 days": "usage/performance/?period=90",
    "sessions": "usage/sessions/",
    "sessions, 90 days of a model": "usage/sessions/?period=90&model=model-8",
    "ledger": "ledger/",
    "ledger, 90 days of a model": "ledger/?period=90&model=model-1",
    "ledger, a session": "ledger/?period=90&session=session-12500",
}


def main(size: int) -> None:
    """Fills the first organization's ledger up to so many calls, sums all of it up, and looks at the pages."""
    organization = Organization.objects.order_by("id")[0]
    with tenant_scope(organization):
        there = UsageEvent.objects.count()
        projects = _projects()
        for first in range(there, size, STEP):
            _fill(projects, there, size, first)
        with as_owner(), connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) ledger_usageevent")
        started = time.perf_counter()
        if rollups.recount(organization.time_zone) is not Progress.DONE:
            raise SystemExit("Somebody else is at the sums.")
        rebuilt = time.perf_counter() - started
        with as_owner(), connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) analytics_quarterrollup, analytics_dayrollup")
        rows = QuarterRollup.objects.count() + DayRollup.objects.count()
    print(
        json.dumps(
            {
                "calls": size,
                "rebuilt_per_second": round(size / rebuilt),
                "rows_of_sums": rows,
                "pages": _pages(organization),
            }
        )
    )


def _projects() -> list[UUID]:
    for number in range(Project.objects.count(), PROJECTS):
        create_project(name=f"Project {number}")
    return list(Project.objects.order_by("created_at").values_list("id", flat=True))


def _fill(projects: Sequence[UUID], there: int, size: int, first: int) -> None:
    """The next STEP of the calls that come to those that are `there`, up to `size`."""
    with connection.cursor() as cursor:
        cursor.execute(
            _FILL,
            {
                "projects": list(projects),
                "count_of_projects": len(projects),
                "days": DAYS,
                "there": there,
                "size": size,
                "first": first,
                "last": min(first + STEP, size) - 1,
            },
        )


def _pages(organization: Organization) -> dict[str, dict[str, float]]:
    """Milliseconds on the server of each page, in turns."""
    # What the web server loads: it also says how often the garbage collector looks.
    importlib.import_module("config.wsgi")
    call_command("collectstatic", interactive=False, verbosity=0)
    client = Client()
    client.force_login(
        User.objects.get(memberships__organization=organization),
        backend="allauth.account.auth_backends.AuthenticationBackend",
    )
    found: dict[str, list[float]] = {name: [] for name in PAGES}
    for number in range(ROUNDS + 1):
        for name, path in PAGES.items():
            url = f"/o/{organization.pk}/{path}"

            def look(url: str = url) -> None:
                answer = client.get(url)
                assert answer.status_code == 200, (url, answer.status_code)

            took = _milliseconds(look)
            if number:  # the first round fills caches
                found[name].append(took)
    return {
        name: {
            "median_ms": round(statistics.median(times), 1),
            "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
        }
        for name, times in found.items()
    }


def _milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)
