"""What these pages change that no other app does. Callers are in the organization's scope."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.http import Http404
from django.utils import timezone

from apps.accounts.models import User
from apps.analytics.exports import making
from apps.analytics.exports.wanted import Wanted
from apps.analytics.models import Export
from apps.audit.services import record
from apps.directory import ingest_tokens
from apps.directory.models import IngestToken
from apps.ledger import repricing as engine
from apps.ledger.columns import exact
from apps.ledger.models import Repricing
from apps.organizations.models import Organization
from apps.pricing import agreements
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, Price
from apps.pricing.terms import EVERY_MODEL
from apps.projects.models import Project
from apps.projects.services import check_not_archived, label, lock_project, organization_id
from apps.usage.words import export_title
from web.errors import DomainError

# In days: a month, so that a bill can be checked, and ten years.
SHORTEST_RETENTION, LONGEST_RETENTION = 30, 3_660


class RetentionError(DomainError):
    status = 422
    code = "invalid_retention"


@transaction.atomic
def make_ingest_token(*, project: Project, name: str, actor: User) -> tuple[IngestToken, str]:
    """A token and its text, to be shown to who asked and to be forgotten. Raises IngestTokenError,
    ProjectArchivedError."""
    project = lock_project(project.id)
    check_not_archived(project)
    token, text = ingest_tokens.issue(
        organization_id=organization_id(), project_id=project.id, name=name, user_id=actor.id
    )
    record("ingest_token.created", actor=actor, subject=label(project), project_id=project.id, token=token.name)
    return token, text


@transaction.atomic
def revoke_ingest_token(*, project: Project, token_id: uuid.UUID, actor: User) -> IngestToken:
    """Ends a token. Http404 where the project has no such token, or it was revoked before."""
    token = ingest_tokens.revoke(project_id=project.id, token_id=token_id)
    if token is None:
        raise Http404
    record("ingest_token.revoked", actor=actor, subject=label(project), project_id=project.id, token=token.name)
    return token


@transaction.atomic
def set_hides_labels(*, project: Project, hides: bool, actor: User) -> bool:
    """Whether of sessions and users only fingerprints are stored from now on; whether that is a change."""
    project = lock_project(project.id)
    if project.hides_labels == hides:
        return False
    project.hides_labels = hides
    project.updated_at = timezone.now()
    project.save(update_fields=["hides_labels", "updated_at"])
    kept = "only fingerprints" if hides else "labels as they are sent"
    record("project.labels_changed", actor=actor, subject=label(project), project_id=project.id, kept=kept)
    return True


@transaction.atomic
def set_retention(*, organization: Organization, days: int | None, actor: User) -> bool:
    """How long calls are kept, None for good; whether that is a change. What is older is deleted by the next run
    of ledger.tidy, and nobody can bring it back. Raises RetentionError."""
    if days is not None and not SHORTEST_RETENTION <= days <= LONGEST_RETENTION:
        raise RetentionError(f"Keep calls for {SHORTEST_RETENTION} to {LONGEST_RETENTION:,} days, or for good.")
    current = Organization.objects.select_for_update().get(pk=organization.pk)
    if current.usage_retention_days == days:
        return False
    current.usage_retention_days = organization.usage_retention_days = days
    current.save(update_fields=["usage_retention_days"])
    record("organization.retention_changed", actor=actor, kept=f"for {days} days" if days else "for good")
    return True


@transaction.atomic
def set_price(
    *,
    provider: str,
    model: str,
    prices: Mapping[Meter, Rate],
    start: datetime,
    end: datetime | None,
    note: str,
    actor: User,
) -> list[Price]:
    """The organization's own price of a model ("*": of all of a provider's). Raises AgreementError."""
    made = agreements.set_override(
        organization_id=organization_id(),
        provider=provider,
        model=model,
        prices=prices,
        start=start,
        end=end,
        note=note,
        author_id=actor.id,
    )
    record("price.set", actor=actor, subject=_named(made[0].provider, made[0].canonical_model), note=made[0].note)
    return made


@transaction.atomic
def end_price(*, provider: str, model: str, actor: User) -> None:
    """Ends an own price now. Raises NoAgreementError where there is none that holds now or later."""
    agreements.end_override(organization_id=organization_id(), provider=provider, model=model)
    record("price.ended", actor=actor, subject=_named(provider, model))


@transaction.atomic
def withdraw_price(*, provider: str, model: str, start: datetime, actor: User) -> None:
    """Has the own price that begins at `start` hold at no time. Raises NoAgreementError where none begins then."""
    agreements.withdraw_override(organization_id=organization_id(), provider=provider, model=model, start=start)
    record("price.withdrawn", actor=actor, subject=_named(provider, model), start=start.date().isoformat())


@transaction.atomic
def set_discount(
    *,
    provider: str,
    model: str,
    percent: Decimal,
    start: datetime,
    end: datetime | None,
    note: str,
    actor: User,
) -> Discount:
    """A discount on list prices of a model ("": of all of a provider's), in percent. Raises AgreementError."""
    made = agreements.set_discount(
        organization_id=organization_id(),
        provider=provider,
        model=model,
        multiplier=1 - percent / 100,
        start=start,
        end=end,
        note=note,
        author_id=actor.id,
    )
    subject = _named(made.provider, made.model)
    record("price.discount_set", actor=actor, subject=subject, percent=exact(percent), note=made.note)
    return made


@transaction.atomic
def end_discount(*, provider: str, model: str, actor: User) -> None:
    """Ends a discount now. Raises NoAgreementError where there is none that holds now or later."""
    agreements.end_discount(organization_id=organization_id(), provider=provider, model=model)
    record("price.discount_ended", actor=actor, subject=_named(provider, model))


@transaction.atomic
def withdraw_discount(*, provider: str, model: str, start: datetime, actor: User) -> None:
    """Has the discount that begins at `start` hold at no time. Raises NoAgreementError where none begins then."""
    agreements.withdraw_discount(organization_id=organization_id(), provider=provider, model=model, start=start)
    record("price.discount_withdrawn", actor=actor, subject=_named(provider, model), start=start.date().isoformat())


def _named(provider: str, model: str) -> str:
    """How the trail calls a model, or all of a provider's."""
    return provider if model in ("", EVERY_MODEL) else f"{provider} {model}"


@transaction.atomic
def start_repricing(*, repricing: Repricing, actor: User) -> Repricing:
    """Lets a previewed re-pricing run. Raises RepricingError."""
    was_running = repricing.status == Repricing.Status.RUNNING
    started = engine.start(repricing)
    if not was_running:
        record("repricing.started", actor=actor, reason=started.reason, repricing=str(started.id))
    return started


@transaction.atomic
def reverse_repricing(*, repricing: Repricing, reason: str, actor: User) -> Repricing:
    """Has a re-pricing taken back. Raises RepricingError."""
    was_reversing = repricing.status == Repricing.Status.REVERSING
    reversed_ = engine.reverse(repricing, reason=reason, author_id=actor.id)
    if not was_reversing:
        record("repricing.reversed", actor=actor, reason=reversed_.reversal_reason, repricing=str(reversed_.id))
    return reversed_


@transaction.atomic
def request_export(*, wanted: Wanted, expected_rows: int, actor: User) -> Export:
    """Has a worker make a file; the one that is under way where the same person asks again. Raises ExportError."""
    made, is_new = making.request_export(wanted, expected_rows=expected_rows, author_id=actor.id)
    if is_new:
        record("export.requested", actor=actor, subject=export_title(wanted), export=str(made.pk))
    return made


def note_download(*, wanted: Wanted, actor: User, export: Export | None = None) -> None:
    """For the trail: who took which calls out. Without labels that calls have: those may be names of people, and the
    trail stays when calls are deleted."""
    start, end = wanted.filter.start, wanted.filter.end
    record(
        "export.downloaded",
        actor=actor,
        subject=export_title(wanted),
        start=start and start.isoformat(),
        end=end and end.isoformat(),
        export=export and str(export.pk),
    )
