"""Views of usage that people save. Callers are in the organization's scope.

A shared view is everybody's to look at, and its author's and the managers' to change. One that is not shared is there
for nobody but its owner. What happens to shared ones stands in the trail under their names, without what they ask for:
that may be a label of a session or a user.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.http import Http404
from django.urls import reverse

from apps.analytics.filters import CallsForm
from apps.analytics.models import SavedView
from apps.audit.services import record
from apps.ledger.snapshot import wait_to_be_alone_at
from apps.organizations.access import MemberRequest, NotAllowedError
from apps.organizations.models import Membership
from apps.organizations.roles import ABILITIES, Ability
from web.errors import DomainError

MOST_OWN, MOST_SHARED = 50, 100
# The names of their addresses.
PAGES: Mapping[str, str] = {
    SavedView.Page.OVERVIEW: "usage",
    SavedView.Page.PERFORMANCE: "usage_performance",
    SavedView.Page.SESSIONS: "sessions",
    SavedView.Page.LEDGER: "ledger",
}


class ViewExistsError(DomainError):
    status = 409
    code = "view_exists"


class TooManyViewsError(DomainError):
    status = 409
    code = "too_many_views"


@dataclass(frozen=True, slots=True)
class Link:
    """A view, and where it leads."""

    view: SavedView
    address: str


@dataclass(frozen=True, slots=True)
class Menu:
    """The views that a page offers. `current` is the one that it shows, or showed before something else was chosen.

    `query` is what is chosen now, as a view's form takes it; "" where that is not valid.
    """

    own: list[Link]
    shared: list[Link]
    current: SavedView | None
    is_changed: bool
    may_change: bool
    query: str

    @property
    def kept(self) -> dict[str, str]:
        """What the page's filter has to send along."""
        return {"view": str(self.current.id)} if self.current else {}


def menu(request: MemberRequest, page: str, form: CallsForm) -> Menu:
    """Of a page and its form. The address names the view (`view`), or is one's without saying so."""
    links = [Link(view, address(view, request.organization.id)) for view in _visible(request.membership)]
    asked, named = form.address if form.is_valid() else None, request.GET.get("view", "")
    here = [link.view for link in links if link.view.page == page]
    current = next((view for view in here if str(view.id) == named), None)
    if current is None:
        current = next((view for view in here if view.query == asked), None)
    return Menu(
        own=[link for link in links if not link.view.is_shared],
        shared=[link for link in links if link.view.is_shared],
        current=current,
        is_changed=current is not None and asked is not None and current.query != asked,
        may_change=current is not None and may_change(current, request.membership),
        query="" if asked is None else urlencode({"page": page, **asked}),
    )


def address(view: SavedView, organization_id: uuid.UUID) -> str:
    """The page that a view is of, as the view has it."""
    return f"{reverse(PAGES[view.page], args=[organization_id])}?{urlencode({**view.query, 'view': view.id})}"


def may_change(view: SavedView, member: Membership) -> bool:
    return view.owner_id == member.user_id or Ability.MANAGE in ABILITIES[member.role]


def access(view_id: uuid.UUID, member: Membership) -> SavedView:
    """One that the member may change. Http404 for what they can't see; raises NotAllowedError."""
    return _changeable(_visible(member), view_id, member)


def _visible(member: Membership) -> QuerySet[SavedView]:
    return SavedView.objects.filter(Q(is_shared=True) | Q(owner_id=member.user_id)).order_by("name", "id")


def _changeable(views: QuerySet[SavedView], view_id: uuid.UUID, member: Membership) -> SavedView:
    view = views.filter(id=view_id).first()
    if view is None:
        raise Http404
    if not may_change(view, member):
        raise NotAllowedError("This view is shared by somebody else. Save it as your own to change it.")
    return view


@transaction.atomic
def save(*, page: str, query: Mapping[str, str], name: str, is_shared: bool, member: Membership) -> SavedView:
    """A new view. `query` is a valid form's address. Raises ViewExistsError, TooManyViewsError."""
    view = SavedView(page=page, query=dict(query), name=name, is_shared=is_shared, owner_id=member.user_id)
    _store(view, is_more=True)
    if is_shared:
        record("view.shared", actor=member.user, subject=name)
    return view


@transaction.atomic
def rename(*, view_id: uuid.UUID, name: str, is_shared: bool, member: Membership) -> SavedView:
    """Its name, and whether it is everybody's; where not, its author's. Errors as `access` and `save` have them."""
    view = _locked(view_id, member)
    before, was_shared = view.name, view.is_shared
    view.name, view.is_shared = name, is_shared
    _store(view, is_more=was_shared != is_shared)
    if is_shared and not was_shared:
        record("view.shared", actor=member.user, subject=name)
    elif was_shared and not is_shared:
        record("view.unshared", actor=member.user, subject=before)
    elif is_shared and name != before:
        record("view.renamed", actor=member.user, subject=before, name=name)
    return view


@transaction.atomic
def update(*, view_id: uuid.UUID, page: str, query: Mapping[str, str], member: Membership) -> SavedView:
    """What it shows. Errors as `access` has them."""
    view = _locked(view_id, member)
    view.page, view.query = page, dict(query)
    view.save(update_fields=["page", "query"])
    if view.is_shared:
        record("view.changed", actor=member.user, subject=view.name)
    return view


@transaction.atomic
def delete(*, view_id: uuid.UUID, member: Membership) -> SavedView:
    """Errors as `access` has them."""
    view = _locked(view_id, member)
    SavedView.objects.filter(id=view_id).delete()
    if view.is_shared:
        record("view.deleted", actor=member.user, subject=view.name)
    return view


def forget(user_id: uuid.UUID) -> None:
    """What is nobody else's of somebody who leaves. Shared views stay."""
    SavedView.objects.filter(owner_id=user_id, is_shared=False).delete()


def _locked(view_id: uuid.UUID, member: Membership) -> SavedView:
    return _changeable(_visible(member).select_for_update(), view_id, member)


def _store(view: SavedView, *, is_more: bool) -> None:
    """`is_more`: among the shared ones, or its owner's, it is one more."""
    if is_more:
        others, most, kind = (
            (SavedView.objects.filter(is_shared=True), MOST_SHARED, "shared")
            if view.is_shared
            else (SavedView.objects.filter(is_shared=False, owner_id=view.owner_id), MOST_OWN, "personal")
        )
        # One at a time, or two could be the last.
        wait_to_be_alone_at("views")
        if others.count() >= most:
            raise TooManyViewsError(f"There are {most} {kind} views, which is the most. Delete one that nobody needs.")
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError as error:
        raise ViewExistsError("There is a view of this name already. Choose another name.") from error
