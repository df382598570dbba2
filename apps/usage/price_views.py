"""Pages of prices: what the organization itself agreed on, what has no price, and what is on the lists."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.analytics.filters import zone_of
from apps.analytics.names import suggestions
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import Ability
from apps.pricing.dated import AgreementError, NoAgreementError
from apps.pricing.terms import EVERY_MODEL
from apps.usage import price_selectors, services
from apps.usage.forms import DiscountForm, LookupForm, PriceForm
from apps.usage.ledger_views import frame
from apps.usage.price_selectors import Agreed
from apps.vault.selectors import people


def render_prices(request: MemberRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """A page of prices: with times in the organization's zone. Where tabs are shown, the number of models that wait
    for a price is asked for, and only there."""
    context = frame(request, **context)
    context.setdefault("waiting", price_selectors.count_unpriced)
    context["zone"] = request.organization.time_zone
    with timezone.override(zone_of(request)):
        return render(request, template, context, status=status)


@require_GET
@organization_view(Ability.VIEW)
def prices(request: MemberRequest) -> HttpResponse:
    """GET prices/ — own prices and discounts."""
    own = price_selectors.own_prices(request.organization.id)
    agreed = price_selectors.own_discounts(request.organization.id)
    context = {
        "own": [each for each in own if not each.is_ended],
        "discounts": [each for each in agreed if not each.is_ended],
        "ended": [each for each in [*own, *agreed] if each.is_ended],
        "people": people({each.author_id for each in [*own, *agreed]}),
    }
    return render_prices(request, "usage/prices.html", context)


@require_GET
@organization_view(Ability.VIEW)
def unpriced(request: MemberRequest) -> HttpResponse:
    """GET prices/unpriced/"""
    found = price_selectors.unpriced()
    return render_prices(request, "usage/unpriced.html", {"unpriced": found, "waiting": len(found)})


@require_GET
@organization_view(Ability.VIEW)
def listed(request: MemberRequest) -> HttpResponse:
    """GET prices/list/?provider=&model="""
    form = LookupForm(request.GET or None)
    found = None
    if form.is_valid():
        found = price_selectors.look_up(request.organization.id, **form.cleaned_data)
    context = {"form": form, "lookup": found, "known": suggestions()}
    return render_prices(request, "usage/list.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.MANAGE)
def price_add(request: MemberRequest) -> HttpResponse:
    """GET, POST prices/add/ — sets an own price, and goes on to re-pricing where it holds for days that are over."""
    form = PriceForm(request.POST if request.method == "POST" else None, zone=zone_of(request), initial=_asked(request))
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        try:
            services.set_price(
                provider=chosen["provider"],
                model=chosen["model"],
                prices=form.rates,
                start=form.start,
                end=form.end,
                note=chosen["note"],
                actor=request.user,
            )
        except AgreementError as error:
            form.add_error(None, error.detail)
        else:
            messages.success(request, "The price is set. New calls are priced by it within half a minute.")
            if form.start.date() < _today(request):
                return redirect(_repricing(request, form))
            return redirect("prices", request.organization.id)
    context = {
        "form": form,
        "known": suggestions(),
        "crumbs": [(f"/o/{request.organization.id}/prices/", "Prices")],
    }
    return render_prices(request, "usage/price_add.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.MANAGE)
def discount_add(request: MemberRequest) -> HttpResponse:
    """GET, POST prices/discounts/add/"""
    form = DiscountForm(
        request.POST if request.method == "POST" else None, zone=zone_of(request), initial=_asked(request)
    )
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        try:
            services.set_discount(
                provider=chosen["provider"],
                model=chosen["model"],
                percent=chosen["percent"],
                start=form.start,
                end=form.end,
                note=chosen["note"],
                actor=request.user,
            )
        except AgreementError as error:
            form.add_error(None, error.detail)
        else:
            messages.success(request, "The discount is set. New calls are priced by it within half a minute.")
            return redirect("prices", request.organization.id)
    context = {
        "form": form,
        "known": suggestions(),
        "crumbs": [(f"/o/{request.organization.id}/prices/", "Prices")],
    }
    return render_prices(request, "usage/discount_add.html", context, status=422 if form.errors else 200)


@require_POST
@organization_view(Ability.MANAGE)
def price_end(request: MemberRequest) -> HttpResponse:
    """POST prices/end provider, model"""
    provider, model = _posted(request)
    try:
        services.end_price(provider=provider, model=model or EVERY_MODEL, actor=request.user)
    except (AgreementError, NoAgreementError) as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, "The own price has ended. What it priced stays as it is.")
    return redirect("prices", request.organization.id)


@require_POST
@organization_view(Ability.MANAGE)
def discount_end(request: MemberRequest) -> HttpResponse:
    """POST prices/discounts/end provider, model"""
    provider, model = _posted(request)
    try:
        services.end_discount(provider=provider, model=model, actor=request.user)
    except (AgreementError, NoAgreementError) as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, "The discount has ended. What it priced stays as it is.")
    return redirect("prices", request.organization.id)


@require_POST
@organization_view(Ability.MANAGE)
def price_withdraw(request: MemberRequest) -> HttpResponse:
    """POST prices/withdraw provider, model, start — and goes on to re-pricing what it priced."""
    own = _begun(request, price_selectors.own_prices(request.organization.id))
    if own is None or own.start is None:
        return _no_longer_there(request)
    services.withdraw_price(provider=own.provider, model=own.model or EVERY_MODEL, start=own.start, actor=request.user)
    messages.success(request, "The own price is withdrawn: it holds at no time.")
    return redirect(_repricing_without(request, own))


@require_POST
@organization_view(Ability.MANAGE)
def discount_withdraw(request: MemberRequest) -> HttpResponse:
    """POST prices/discounts/withdraw provider, model, start — and goes on to re-pricing what it priced."""
    agreed = _begun(request, price_selectors.own_discounts(request.organization.id))
    if agreed is None or agreed.start is None:
        return _no_longer_there(request)
    services.withdraw_discount(provider=agreed.provider, model=agreed.model, start=agreed.start, actor=request.user)
    messages.success(request, "The discount is withdrawn: it holds at no time.")
    return redirect(_repricing_without(request, agreed))


def _begun(request: MemberRequest, found: Iterable[Agreed]) -> Agreed | None:
    """The one that a form names by its provider, its model and the moment it begins."""
    asked = (*_posted(request), request.POST.get("start", ""))
    starts = ((each, each.start.isoformat()) for each in found if each.start is not None)
    return next((each for each, start in starts if (each.provider, each.model, start) == asked), None)


def _no_longer_there(request: MemberRequest) -> HttpResponse:
    messages.error(request, "It is not there any more: somebody changed it meanwhile.")
    return redirect("prices", request.organization.id)


def _posted(request: MemberRequest) -> tuple[str, str]:
    return request.POST.get("provider", ""), request.POST.get("model", "")


def _asked(request: MemberRequest) -> dict[str, Any]:
    """What a link to a form says of it. A price for calls that wait begins with the first of them."""
    asked: dict[str, Any] = {
        "provider": request.GET.get("provider", "")[:64],
        "model": request.GET.get("model", "")[:256],
        "from": _today(request),
    }
    # The form that was sent names its own day.
    if request.method != "POST" and asked["model"]:
        first = price_selectors.first_unpriced(asked["provider"], asked["model"])
        if first is not None:
            asked["from"] = first.astimezone(zone_of(request)).date()
    return asked


def _today(request: MemberRequest) -> date:
    return timezone.now().astimezone(zone_of(request)).date()


def _repricing(request: MemberRequest, form: PriceForm) -> str:
    """The form that prices the past by a new price, filled in."""
    chosen = form.cleaned_data
    model = "" if chosen["model"].strip() == EVERY_MODEL else chosen["model"].strip()
    asked = {"reason": chosen["note"], "priced": "1"}
    return _repricing_of(request, chosen["provider"].strip(), model, chosen["from"], chosen["to"], asked)


def _repricing_without(request: MemberRequest, agreed: Agreed) -> str:
    """The form that prices the past without a price or discount, filled in."""
    assert agreed.start is not None
    zone = zone_of(request)
    last = (agreed.end - timedelta(microseconds=1)).astimezone(zone).date() if agreed.end else None
    asked = {"reason": f"Withdrawn: {agreed.note}", "withdrawn": "1"}
    first = agreed.start.astimezone(zone).date()
    return _repricing_of(request, agreed.provider, agreed.model, first, last, asked)


def _repricing_of(
    request: MemberRequest, provider: str, model: str, first: date, last: date | None, more: dict[str, str]
) -> str:
    period = {"period": "custom", "from": first.isoformat(), "to": last.isoformat() if last else ""}
    asked = {"provider": provider, "model": model, **period, **more}
    return f"{reverse('repricing_new', args=[request.organization.id])}?{urlencode(asked)}"
