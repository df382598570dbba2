"""The demo's usage: its calls (demo_calls.py), reported as programs report theirs.

They go through the same code as everybody's, so they are priced by the lists of their time, settled and summed up. A
day's calls have the same ids whenever they are made: what was cut short goes on where it stopped, and two at once store
each call once.
"""

import uuid
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

from django.db.models import Max
from django.utils import timezone

from apps.accounts.models import User, canonical_email
from apps.analytics import rollups
from apps.directory.callers import Reporter
from apps.directory.ingest_tokens import live_tokens
from apps.ledger import repricing
from apps.ledger.calls import Call
from apps.ledger.models import Repricing, UsageEvent
from apps.ledger.outcomes import Outcome
from apps.ledger.retention import delete_batch
from apps.ledger.selectors import EventFilter
from apps.ledger.services import store_usage_events
from apps.organizations.models import Organization
from apps.pricing.models import Discount
from apps.pricing.selectors import discounts, newest_snapshot_id
from apps.projects.clients import add_client
from apps.projects.models import Project
from apps.projects.services import create_project
from apps.usage.services import make_ingest_token, set_discount, start_repricing, withdraw_discount
from devstack.demo import DESCRIPTION, ORGANIZATION, DemoError
from devstack.demo_calls import DAY, PLACES, PROGRAMS, Place, Story
from tenancy import NotOwnerError, TenantRef, tenant_scope
from tenancy.scope import require_tenant_id

# Calls that are stored at once.
BATCH = 1_000
TOKEN = "demo"
DISCOUNTED, PERCENT = "anthropic", Decimal(12)
# From which part of the time on the discount holds. It is entered in the end, so calls of before are priced again.
DISCOUNT = 0.66
NOTE = "Committed spend, order 4711"


def owner_named(email: str) -> User:
    """DemoError where nobody has an account with that address."""
    owner = User.objects.filter(email=canonical_email(email)).first()
    if owner is None:
        raise DemoError(
            f"Nobody has an account with the address {email}. Sign up with it in the browser first, since a password "
            "and its keys never leave that; or leave --owner out for an account that the demo makes."
        )
    return owner


def add_usage(organization: Organization, owner: User, *, days: int, calls: int, seed: int, replace: bool) -> int:
    """Adds about so many calls of so many days until now, of days after those that there are; how many were new.

    `replace` deletes first what there is, which needs the owner of the database. Raises DemoError for an organization
    that holds more than the demo, and where something is missing.
    """
    if newest_snapshot_id() is None:
        raise DemoError("There are no list prices, so nothing would have a cost. Run manage.py import_prices first.")
    zone, now = ZoneInfo(organization.time_zone), timezone.now()
    story = Story(days, calls, seed, zone, now)
    with tenant_scope(organization):
        _check(organization)
        if replace:
            _empty(owner)
        reporters = {place: _reporter(organization, place, owner) for place in PLACES}
        begin = max(story.first, _last_day(reporters, zone) or story.first)
    stored, day, ids = 0, begin, _ids(reporters)
    while day <= story.last:
        stored += _store(reporters, story.calls_of(day, ids))
        day += DAY
    with tenant_scope(organization):
        _agree_on_discount(story, owner)
        rollups.until_done(partial(rollups.roll_up, organization.time_zone))
    return stored


def _check(organization: Organization) -> None:
    others = Project.objects.exclude(description=DESCRIPTION).filter(deleted_at=None)
    if organization.name != ORGANIZATION or others.exists():
        raise DemoError(
            f"The organization {organization} has projects that the demo did not make, so it may be somebody's own. "
            "Rename it, and the demo makes another one."
        )


def _empty(owner: User) -> None:
    """Deletes all calls and ends what was agreed on, as if it had never been."""
    try:
        own = Project.objects.filter(name__in={name for name, _ in PLACES}, description=DESCRIPTION)
        for project_id in own.values_list("id", flat=True):
            while delete_batch(project_id, timezone.now() + DAY):
                pass
    except NotOwnerError as error:
        raise DemoError(
            "Only the owner of the database deletes usage. Set DATABASE_OWNER_URL, or leave --replace out."
        ) from error
    if (standing := _discount()) is not None:
        withdraw_discount(provider=DISCOUNTED, model="", start=standing.effective.lower, actor=owner)


def _reporter(organization: Organization, place: Place, owner: User) -> Reporter:
    """Who reports the calls of a project, which is made if there is none: a token that nobody knows the text of."""
    name, environment = place
    project = Project.objects.filter(name=name, environment=environment, archived_at=None).first()
    if project is None:
        project = create_project(name=name, environment=environment, description=DESCRIPTION, actor=owner)
    known = set(project.clients.values_list("name", flat=True))
    for program in PROGRAMS:
        if program.product == name and environment in program.environments and program.client not in known:
            add_client(project=project, name=program.client, actor=owner)
    token = next((token for token in live_tokens(project.id) if token.name == TOKEN), None)
    if token is None:
        token, _ = make_ingest_token(project=project, name=TOKEN, actor=owner)
    return Reporter(project.id, TenantRef(organization.pk, organization.schema_name), ingest_token_id=token.id)


def _ids(reporters: Mapping[Place, Reporter]) -> dict[Place, uuid.UUID]:
    return {place: reporter.project_id for place, reporter in reporters.items()}


def _last_day(reporters: Mapping[Place, Reporter], zone: ZoneInfo) -> date | None:
    """Of the last call there is. It may have been stored in part."""
    events = UsageEvent.objects.filter(project_id__in=_ids(reporters).values())
    last: datetime | None = events.aggregate(last=Max("occurred_at"))["last"]
    return None if last is None else last.astimezone(zone).date()


def _store(reporters: Mapping[Place, Reporter], calls: Iterable[tuple[Place, Call]]) -> int:
    """How many were new."""
    by_place: dict[Place, list[Call]] = {}
    for place, call in calls:
        by_place.setdefault(place, []).append(call)
    return sum(
        outcome is Outcome.STORED
        for place, of_place in by_place.items()
        for start in range(0, len(of_place), BATCH)
        for outcome in store_usage_events(reporters[place], of_place[start : start + BATCH]).values()
    )


def _discount() -> Discount | None:
    return discounts(require_tenant_id()).filter(provider=DISCOUNTED, model="", note=NOTE).first()


def _agree_on_discount(story: Story, owner: User) -> None:
    """A discount that is known only now, and the calls since it holds priced again, once."""
    discount = _discount()
    if discount is None:
        day = story.first + int(DISCOUNT * story.days) * DAY
        start = datetime.combine(day, time(), story.zone)
        discount = set_discount(
            provider=DISCOUNTED, model="", percent=PERCENT, start=start, end=None, note=NOTE, actor=owner
        )
    if Repricing.objects.filter(reason=NOTE, status=Repricing.Status.DONE, created_at__gt=discount.created_at).exists():
        return
    wanted = EventFilter(provider=DISCOUNTED, start=discount.effective.lower)
    started = start_repricing(repricing=repricing.preview(wanted, reason=NOTE, author_id=owner.id), actor=owner)
    while repricing.step(started.id):
        pass
