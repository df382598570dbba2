"""Pages of re-pricing: which calls and why, what would change, carried out, taken back."""

import uuid
from dataclasses import dataclass, field
from decimal import Decimal

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.analytics.filters import zone_of
from apps.analytics.names import everything, suggestions
from apps.ledger import repricing as engine
from apps.ledger.models import Repricing
from apps.ledger.repricing import LONGEST_REASON, Month, RepricingError
from apps.ledger.selectors import EventFilter
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import Ability
from apps.usage import services
from apps.usage.filters import fields_of, in_words
from apps.usage.ledger_views import filter_form
from apps.usage.price_views import render_prices
from apps.vault.selectors import people
from web.api import json_response

MOST_LISTED = 100
Status = Repricing.Status
# A worker is at these; the page looks again.
UNDER_WAY = (Status.PREVIEWING, Status.RUNNING, Status.REVERSING)


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        label="Why",
        help_text="It stands with every amount that changes.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


@dataclass(slots=True)
class Sum:
    """Of all lines of a preview. Amounts by currency."""

    events: int = 0
    changed: int = 0
    refused: int = 0
    unpriced_before: int = 0
    unpriced_after: int = 0
    costs_before: dict[str, Decimal] = field(default_factory=dict)
    costs_after: dict[str, Decimal] = field(default_factory=dict)
    differences: dict[str, Decimal] = field(default_factory=dict)

    def add(self, month: Month) -> None:
        self.events += month.events
        self.changed += month.changed
        self.refused += month.refused
        self.unpriced_before += month.unpriced_before
        self.unpriced_after += month.unpriced_after
        for own, added in (
            (self.costs_before, month.costs_before),
            (self.costs_after, month.costs_after),
            (self.differences, month.differences),
        ):
            for currency, amount in added.items():
                own[currency] = own.get(currency, Decimal(0)) + amount


def _sum(repricing: Repricing) -> Sum:
    found = Sum()
    for month in engine.months(repricing):
        found.add(month)
    return found


@require_GET
@organization_view(Ability.VIEW)
def repricings(request: MemberRequest) -> HttpResponse:
    """GET prices/repricing/ — all there were, the newest first."""
    found: list[Repricing] = list(Repricing.objects.order_by("-created_at", "-id")[:MOST_LISTED])
    context = {
        "rows": [(each, _sum(each)) for each in found],
        "people": people({each.author_id for each in found}),
    }
    return render_prices(request, "usage/repricings.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.MANAGE)
def new(request: MemberRequest) -> HttpResponse:
    """GET, POST prices/repricing/new/ — which calls, and why. The preview is worked out by a worker."""
    data = request.POST if request.method == "POST" else request.GET
    chosen = filter_form(request, data, period="all")
    reason = ReasonForm(request.POST if request.method == "POST" else None, initial={"reason": data.get("reason", "")})
    if request.method == "POST" and all([chosen.is_valid(), reason.is_valid()]):
        try:
            made = engine.request_preview(
                chosen.wanted(), reason=reason.cleaned_data["reason"], author_id=request.user.id
            )
        except RepricingError as error:
            reason.add_error("reason", error.detail)
        else:
            return redirect("repricing", request.organization.id, made.id)
    context = {
        "form": chosen,
        "reason": reason,
        "was_priced": "priced" in request.GET,
        "was_withdrawn": "withdrawn" in request.GET,
        "known": suggestions(),
        "crumbs": [(f"/o/{request.organization.id}/prices/repricing/", "Re-pricing")],
    }
    refused = chosen.errors or reason.errors
    return render_prices(request, "usage/repricing_new.html", context, status=422 if refused else 200)


@require_GET
@organization_view(Ability.VIEW)
def repricing(request: MemberRequest, repricing_id: uuid.UUID) -> HttpResponse:
    """GET prices/repricing/<id>/ — what would change by project and month; then how far it is, and what it did."""
    found = _access(repricing_id)
    total, names = _sum(found), everything()
    wanted = EventFilter.from_json(found.filter)
    again = {**fields_of(wanted, zone_of(request)), "reason": found.reason}
    context = {
        "repricing": found,
        "months": engine.months(found),
        "total": total,
        "names": names,
        "chosen": in_words(wanted, names, zone_of(request)),
        "again": again,
        # Whatever their status is by now. Of the platform's own, the filter was all that had no price.
        "calls": {name: value for name, value in again.items() if name not in ("status", "reason")}
        if found.author_id
        else {},
        "is_under_way": found.status in UNDER_WAY,
        "kept": engine.kept(found) if found.status == Status.REVERSED else 0,
        "people": people({found.author_id, found.reversed_by_id}),
        "reason": ReasonForm(),
        "crumbs": [(f"/o/{request.organization.id}/prices/repricing/", "Re-pricing")],
    }
    return render_prices(request, "usage/repricing.html", context)


@require_GET
@organization_view(Ability.VIEW)
def state(request: MemberRequest, repricing_id: uuid.UUID) -> HttpResponse:
    """GET prices/repricing/<id>/state — {"status", "changed"}: what the page asks while a worker is at it."""
    found = _access(repricing_id)
    return json_response({"status": found.status, "changed": found.events_changed})


@require_POST
@organization_view(Ability.MANAGE)
def apply(request: MemberRequest, repricing_id: uuid.UUID) -> HttpResponse:
    """POST prices/repricing/<id>/apply"""
    found = _access(repricing_id)
    try:
        services.start_repricing(repricing=found, actor=request.user)
    except RepricingError as error:
        messages.error(request, error.detail)
    return redirect("repricing", request.organization.id, found.id)


@require_POST
@organization_view(Ability.MANAGE)
def reverse(request: MemberRequest, repricing_id: uuid.UUID) -> HttpResponse:
    """POST prices/repricing/<id>/reverse reason"""
    found = _access(repricing_id)
    try:
        services.reverse_repricing(repricing=found, reason=request.POST.get("reason", ""), actor=request.user)
    except RepricingError as error:
        messages.error(request, error.detail)
    return redirect("repricing", request.organization.id, found.id)


def _access(repricing_id: uuid.UUID) -> Repricing:
    found: Repricing | None = Repricing.objects.filter(id=repricing_id).first()
    if found is None:
        raise Http404
    return found
