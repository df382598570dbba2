"""Saving what a page of usage shows, under a name; changing and deleting that."""

import uuid
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from apps.analytics import saved_views
from apps.analytics.filters import CallsForm, DashboardForm, choices
from apps.analytics.models import SavedView
from apps.analytics.names import everything
from apps.analytics.saved_views import TooManyViewsError, ViewExistsError
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import Ability
from apps.usage.filters import FilterForm, chosen_in_words
from apps.usage.ledger_views import frame

# What each page can be asked for: nothing else is saved.
FORMS: dict[str, type[CallsForm]] = {
    SavedView.Page.OVERVIEW: DashboardForm,
    SavedView.Page.PERFORMANCE: DashboardForm,
    SavedView.Page.SESSIONS: FilterForm,
    SavedView.Page.LEDGER: FilterForm,
}


class NameForm(forms.Form):
    """What a view is called, and whose it is."""

    OWN, ALL = "own", "all"

    name = forms.CharField(max_length=80, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    who = forms.ChoiceField(
        label="Who sees it",
        choices=[(OWN, "Only you"), (ALL, "Everybody in the organization")],
        widget=forms.RadioSelect,
        initial=OWN,
    )

    @property
    def chosen(self) -> dict[str, Any]:
        """As the services take it."""
        return {"name": self.cleaned_data["name"], "is_shared": self.cleaned_data["who"] == self.ALL}


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.VIEW)
def new(request: MemberRequest) -> HttpResponse:
    """GET, POST usage/views/new/?page=overview&… — saves what an address of that page asks for."""
    page, asked = _asked(request)
    if not asked.is_valid():
        # The page itself says what is wrong.
        return redirect(f"{_path(request, page)}?{request.GET.urlencode()}")
    form = NameForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            view = saved_views.save(page=page, query=asked.address, member=request.membership, **form.chosen)
        except (ViewExistsError, TooManyViewsError) as error:
            form.add_error("name", error.detail)
        else:
            messages.success(request, f"The view {view.name} is saved.")
            return _to(request, view)
    back = f"{_path(request, page)}?{urlencode(asked.address)}"
    return _render(request, form, page, asked, back=back)


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.VIEW)
def view(request: MemberRequest, view_id: uuid.UUID) -> HttpResponse:
    """GET, POST usage/views/<id>/ — its name and whose it is. For its author, and for managers where it is shared."""
    found = saved_views.access(view_id, request.membership)
    known = {"name": found.name, "who": NameForm.ALL if found.is_shared else NameForm.OWN}
    form = NameForm(request.POST) if request.method == "POST" else NameForm(initial=known)
    if request.method == "POST" and form.is_valid():
        try:
            changed = saved_views.rename(view_id=view_id, member=request.membership, **form.chosen)
        except (ViewExistsError, TooManyViewsError) as error:
            form.add_error("name", error.detail)
        else:
            messages.success(request, f"The view {changed.name} is saved.")
            return _to(request, changed)
    asked = FORMS[found.page](found.query, **choices(request))
    back = saved_views.address(found, request.organization.id)
    return _render(request, form, found.page, asked, view=found, back=back)


@require_POST
@organization_view(Ability.VIEW)
def update(request: MemberRequest, view_id: uuid.UUID) -> HttpResponse:
    """POST usage/views/<id>/update?page=overview&… — has it show what an address of that page asks for."""
    page, asked = _asked(request)
    saved_views.access(view_id, request.membership)
    if not asked.is_valid():
        return redirect(f"{_path(request, page)}?{request.GET.urlencode()}")
    changed = saved_views.update(view_id=view_id, page=page, query=asked.address, member=request.membership)
    messages.success(request, f"The view {changed.name} shows this now.")
    return _to(request, changed)


@require_POST
@organization_view(Ability.VIEW)
def delete(request: MemberRequest, view_id: uuid.UUID) -> HttpResponse:
    """POST usage/views/<id>/delete — the page stays as the view had it."""
    gone = saved_views.delete(view_id=view_id, member=request.membership)
    messages.success(request, f"The view {gone.name} is deleted.")
    return redirect(f"{_path(request, gone.page)}?{urlencode(gone.query)}")


def _asked(request: MemberRequest) -> tuple[str, CallsForm]:
    """The page whose address stands in this one, and its form."""
    page = request.GET.get("page") or SavedView.Page.OVERVIEW
    if page not in FORMS:
        raise Http404
    return page, FORMS[page](request.GET, **choices(request))


def _path(request: MemberRequest, page: str) -> str:
    return reverse(saved_views.PAGES[page], args=[request.organization.id])


def _to(request: MemberRequest, found: SavedView) -> HttpResponse:
    return redirect(saved_views.address(found, request.organization.id))


def _render(request: MemberRequest, form: NameForm, page: str, asked: CallsForm, **context: Any) -> HttpResponse:
    shown = chosen_in_words(asked, everything()) if asked.is_valid() else []
    context |= {"form": form, "page": SavedView.Page(page).label, "shown": shown, "is_valid": asked.is_valid()}
    return render(request, "usage/saved_view.html", frame(request, **context), status=422 if form.errors else 200)
