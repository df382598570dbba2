"""`manage.py demo --usage`: calls that look like life, through the code that stores everybody's."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from apps.ledger.calls import Call, Ending
from apps.ledger.completeness import missing_reports
from apps.ledger.models import Adjustment, PriceStatus, Repricing, UsageEvent
from apps.ledger.selectors import EventFilter, totals
from apps.ledger.verifying import Report, verify
from apps.organizations.models import Organization
from apps.projects.models import Project
from apps.projects.services import create_project
from devstack import demo
from devstack.demo_calls import BAD_DAY, DAY, LAUNCH, PLACES, PRODUCTION, SUPPORT, Place, Story
from tenancy import tenant_scope
from tenancy.ids import uuid7
from tests.cast import Member, Workspace

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)
STORY = Story(days=90, calls=20_000, seed=1, zone=BERLIN, now=NOW)
IDS = {place: uuid7() for place in PLACES}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demo, "FOLDER", tmp_path / "demo")
    return tmp_path / "demo"


def run(*options: str, is_meant: bool = True) -> dict[str, Any]:
    """Tests are like production: DEBUG is off."""
    output, meant = StringIO(), ["--in-production"] if is_meant else []
    call_command("demo", "--json", "--usage=9d", "--calls=700", *meant, *options, stdout=output)
    made: dict[str, Any] = json.loads(output.getvalue())
    return made


def the_demo() -> Organization:
    return Organization.objects.get(name=demo.ORGANIZATION)


@pytest.fixture(scope="module")
def calls() -> list[tuple[Place, Call]]:
    return [found for number in range(90) for found in STORY.calls_of(STORY.first + number * DAY, IDS)]


def on(calls: list[tuple[Place, Call]], day: Any) -> list[Call]:
    return [call for _, call in calls if call.started_at and call.started_at.astimezone(BERLIN).date() == day]


class TestCalls:
    def test_the_same_seed_gives_the_same_calls(self, calls: list[tuple[Place, Call]]) -> None:
        day = STORY.first + 40 * DAY
        assert list(STORY.calls_of(day, IDS)) == list(STORY.calls_of(day, IDS))
        other = Story(days=90, calls=20_000, seed=2, zone=BERLIN, now=NOW)
        assert {c.event_id for _, c in STORY.calls_of(day, IDS)}.isdisjoint(
            c.event_id for _, c in other.calls_of(day, IDS)
        )
        assert len({call.event_id for _, call in calls}) == len(calls)

    def test_there_are_about_as_many_as_asked_for_and_none_is_of_the_future(
        self, calls: list[tuple[Place, Call]]
    ) -> None:
        assert 0.9 < len(calls) / STORY.calls < 1.1
        assert all(call.started_at is not None and call.started_at < NOW for _, call in calls)
        assert {place for place, _ in calls} == set(PLACES)

    @pytest.mark.parametrize("days", [1, 2, 30])
    def test_any_number_of_days_will_do(self, days: int) -> None:
        story = Story(days=days, calls=100 * days, seed=1, zone=BERLIN, now=NOW)
        made = [len(list(story.calls_of(story.first + number * DAY, IDS))) for number in range(days)]
        assert min(made) > 20
        assert sum(made) < 120 * days

    def test_they_follow_the_hours_and_the_week_and_grow(self, calls: list[tuple[Place, Call]]) -> None:
        local = [call.started_at.astimezone(BERLIN) for _, call in calls if call.started_at]
        hours = Counter(moment.hour for moment in local)
        assert hours[10] > 2 * hours[20] > 4 * hours[4]
        weekdays = Counter(moment.weekday() for moment in local)
        assert min(weekdays[n] for n in range(5)) > 1.8 * max(weekdays[5], weekdays[6])
        weeks = [sum(len(on(calls, STORY.first + (start + n) * DAY)) for n in range(7)) for start in (0, 77)]
        assert weeks[1] > 1.4 * weeks[0]

    def test_something_happens(self, calls: list[tuple[Place, Call]]) -> None:
        launch, bad = STORY.happens(LAUNCH, 1), STORY.happens(BAD_DAY, 3)
        assert len(on(calls, launch)) > 1.4 * len(on(calls, launch - 7 * DAY))
        errors = [call for call in on(calls, bad) if call.ending is Ending.ERROR]
        usual = [call for call in on(calls, bad - 7 * DAY) if call.ending is Ending.ERROR]
        assert len(errors) > 5 * max(len(usual), 1)
        assert {call.provider for call in errors if call.error_type == "OverloadedError"} == {"anthropic"}
        assert "RateLimitError" in {call.error_type for call in on(calls, launch)}
        models = [
            {call.model for place, call in calls if place == (SUPPORT, PRODUCTION) and call.started_at < edge}  # type: ignore[operator]  # all have one
            for edge in (NOW - timedelta(days=50), NOW)
        ]
        assert models[1] - models[0] == {"gpt-5-mini"}

    def test_a_call_holds_together(self, calls: list[tuple[Place, Call]]) -> None:
        for _, call in calls:
            meters = {meter.value: count for meter, count in call.meters.items()}
            assert meters.get("cache_read", 0) + meters.get("cache_write", 0) <= meters.get("input", 0)
            assert meters.get("reasoning", 0) <= meters.get("output", 0)
            assert (call.ending is Ending.ERROR) == bool(call.error_type) == (not meters)
            assert (call.time_to_first_token_ms or 0) <= (call.total_duration_ms or 0)


def test_they_are_priced_settled_and_summed_up(acme: Workspace, folder: Path) -> None:
    made = run()
    organization = the_demo()
    assert made["usage_url"] == f"http://testserver/o/{organization.id}/usage/"
    with tenant_scope(organization):
        found = totals(EventFilter())
        assert found.events == made["new_calls"]
        assert 500 < found.calls < 800
        assert min(found.unpriced, found.failed, found.duplicates) > 0
        assert found.costs["USD"] > 0
        unpriced = UsageEvent.objects.filter(price_status=PriceStatus.UNPRICED)
        assert set(unpriced.values_list("model", flat=True)) == {"house/contracts-70b"}
        assert {row.cost for row in UsageEvent.objects.filter(provider="vllm", ending="ok")} == {0}
        assert missing_reports(EventFilter()) > 0
        assert Adjustment.objects.filter(kind=Adjustment.Kind.REPRICE, cost__lt=0).exists()
        assert list(verify(Report())) == []
        call_command("rollups", "verify", "--organization", str(organization.id), stdout=StringIO())


# Between two runs some seconds go by, with the calls of these.
FEW = 10


def test_running_it_again_goes_on(acme: Workspace, folder: Path) -> None:
    first = run()["new_calls"]
    assert run()["new_calls"] < FEW
    with tenant_scope(the_demo()):
        assert Project.objects.count() == len(PLACES) + 1
        assert UsageEvent.objects.count() - first < FEW
        assert Repricing.objects.count() == 1


def test_replacing_begins_anew(acme: Workspace, folder: Path, by_owner: None) -> None:
    first = run()["new_calls"]
    assert run("--replace", "--seed=2")["new_calls"] > first / 2
    with tenant_scope(the_demo()):
        again = UsageEvent.objects.count()
        assert first / 2 < again < 2 * first
        assert Repricing.objects.filter(status=Repricing.Status.DONE).count() == 2
        assert list(verify(Report())) == []
        call_command("rollups", "verify", "--organization", str(the_demo().id), stdout=StringIO())


def test_replacing_takes_the_owner_of_the_database(
    acme: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    monkeypatch.setattr("tenancy.roles.may_create", lambda: False)
    monkeypatch.setattr("tenancy.roles.settings.DATABASE_OWNER", {})
    with pytest.raises(CommandError, match="DATABASE_OWNER_URL"):
        run("--replace")


def test_an_account_that_signed_up_owns_it(alice: Member, folder: Path) -> None:
    assert run(f"--owner={alice.user.email}")["email"] == alice.user.email
    assert not folder.exists()
    organization = the_demo()
    assert organization.memberships.get().user == alice.user
    assert alice.browser().get(f"/o/{organization.id}/usage/").status_code == 200
    with pytest.raises(CommandError, match="Sign up with it in the browser first"):
        run("--owner=nobody@example.com")


def test_an_organization_that_may_be_somebodys_own_is_left_alone(alice: Member, folder: Path) -> None:
    organization = demo.organization_of(alice.user)
    with tenant_scope(organization):
        create_project(name="Mine", description="Not the demo's.")
    with pytest.raises(CommandError, match="somebody's own"):
        run(f"--owner={alice.user.email}")
    with tenant_scope(organization):
        assert not UsageEvent.objects.exists()
        assert Project.objects.count() == 1


def test_production_has_to_be_meant(alice: Member, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="--in-production"):
        run(f"--owner={alice.user.email}", is_meant=False)
    assert not Organization.objects.filter(name=demo.ORGANIZATION).exists()
    # The command's alone: with the others' the dev pages would get addresses.
    settings = SimpleNamespace(DEBUG=True, SITE_URL="http://localhost:8000")
    monkeypatch.setattr("devstack.management.commands.demo.settings", settings)
    assert run(f"--owner={alice.user.email}", is_meant=False)["new_calls"] > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--usage=90"], "such as 90d"),
        (["--usage=731d"], "such as 90d"),
        (["--usage=9d", "--calls=0"], "from 1 to"),
        (["--owner=a@example.com"], "such as --usage 90d"),
        (["--usage=9d", "--owner=a@example.com", "--provider-key=openai=sk"], "seal provider keys"),
    ],
)
def test_what_makes_no_sense_is_a_clear_error(folder: Path, options: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("demo", *options)
