"""The page of exports: which calls, as what; a download at once, or a file that a worker makes and a link to it."""

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import Http404, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from apps.analytics.exports import making
from apps.analytics.exports.formats import WRITERS
from apps.analytics.exports.making import ExportError
from apps.analytics.exports.sources import SOURCES
from apps.analytics.exports.sources.base import MOST_STREAMED
from apps.analytics.exports.wanted import Content, UnreadableError, Wanted
from apps.analytics.filters import zone_of
from apps.analytics.models import Export
from apps.analytics.names import everything, suggestions
from apps.analytics.selectors import UnansweredError
from apps.ledger.selectors.filters import projects_with_events
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import Ability
from apps.usage import services
from apps.usage.filters import FilterForm, fields_of, in_words
from apps.usage.forms import ExportForm
from apps.usage.ledger_views import filter_form, frame
from apps.usage.words import expected_rows, export_title
from apps.vault.selectors import people
from web.api import json_response

MOST_LISTED = 50


@dataclass(frozen=True, slots=True)
class Line:
    """An export as the page lists it. `rows` are those of one that is under way, as far as is known; `again` is the
    address, without its path, of a form for another one like it. What another release asked for has no details."""

    export: Export
    title: str
    chosen: list[tuple[str, str]]
    again: str
    rows: int

    @property
    def is_under_way(self) -> bool:
        return self.export.status in making.UNDER_WAY

    @property
    def expected(self) -> str:
        return expected_rows(self.export.expected_rows)

    @property
    def full(self) -> int | None:
        """Of how many rows `rows` are; None where it is only known that they are many."""
        return None if self.export.expected_rows == MOST_STREAMED + 1 else self.export.expected_rows

    @property
    def is_focus(self) -> bool:
        return bool(self.export.wanted.get("content") == Content.FOCUS)

    @property
    def costs(self) -> dict[str, Decimal]:
        """What the calls cost in the state that the file is of, by currency."""
        return {currency: Decimal(cost) for currency, cost in self.export.totals.get("costs", {}).items()}


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.VIEW)
def exports(request: MemberRequest) -> Any:
    """GET usage/exports/?content=&format=&granularity=&by=&project=&period=&… — the form, and what was made.

    POST: the file itself where it is small; with `background`, and where it is large, a worker makes it.
    """
    data = request.POST if request.method == "POST" else request.GET
    calls = filter_form(request, data)
    form = ExportForm(data) if request.method == "POST" else ExportForm(initial=_initial(data))
    if request.method == "POST" and all([calls.is_valid(), form.is_valid()]):
        wanted = form.wanted(calls.wanted(), zone_of(request))
        try:
            return _export(request, wanted, in_background=bool(data.get("background")))
        except UnansweredError as error:
            form.add_error("content", str(error))
        except ExportError as error:
            form.add_error(None, error.detail)
    with timezone.override(zone_of(request)):
        return render(
            request,
            "usage/exports.html",
            _context(request, calls, form),
            status=422 if calls.errors or form.errors else 200,
        )


def _initial(data: QueryDict) -> dict[str, Any]:
    return {
        "content": data.get("content", "rows"),
        "format": data.get("format", "csv"),
        "granularity": data.get("granularity", "day"),
        "by": data.getlist("by") or ["project", "model"],
    }


def _export(request: MemberRequest, wanted: Wanted, *, in_background: bool) -> Any:
    rows = SOURCES[wanted.content].count(wanted)
    if in_background or rows > MOST_STREAMED:
        services.request_export(wanted=wanted, expected_rows=rows, actor=request.user)
        why = "" if in_background else f" It has {expected_rows(rows)}, which takes a moment."
        messages.success(request, f"The export is being made.{why} It appears below.")
        return redirect("exports", request.organization.id)
    services.note_download(wanted=wanted, actor=request.user)
    return _download(making.streamed(wanted), wanted)


def _download(content: Any, wanted: Wanted, **headers: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        content,
        content_type=WRITERS[wanted.format].content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{wanted.file_name}"',
            "Cache-Control": "no-store",
            **headers,
        },
    )


def _context(request: MemberRequest, calls: FilterForm, form: ExportForm) -> dict[str, Any]:
    found = list(Export.objects.order_by("-id")[:MOST_LISTED])
    return frame(
        request,
        page="exports",
        form=calls,
        export=form,
        known=suggestions(),
        zone=request.organization.time_zone,
        has_any=bool(projects_with_events()),
        lines=_lines(found),
        people=people({each.author_id for each in found}),
        most_streamed=MOST_STREAMED,
    )


def _lines(found: list[Export]) -> list[Line]:
    names, rows = everything(), making.progress(found)
    return [_line(export, names, rows.get(export.pk, 0)) for export in found]


def _line(export: Export, names: dict[uuid.UUID, str], rows: int) -> Line:
    try:
        wanted = Wanted.from_json(export.wanted)
    except UnreadableError:
        return Line(export, "Export", [], "", rows)
    # The file's days, whatever the organization's are by now.
    zone = ZoneInfo(wanted.zone)
    fields = {
        "content": wanted.content.value,
        "format": wanted.format.value,
        "granularity": wanted.granularity.value if wanted.granularity else "",
        # None is a choice, too: without any the form has its own.
        "by": [each.value for each in wanted.by] or [""],
        **fields_of(wanted.filter, zone),
    }
    return Line(export, export_title(wanted), in_words(wanted.filter, names, zone), urlencode(fields, doseq=True), rows)


@require_GET
@organization_view(Ability.VIEW)
def state(request: MemberRequest) -> HttpResponse:
    """GET usage/exports/state — {"<id>": {"status", "rows"}} of those listed: what the page asks while a worker is at
    one."""
    found = list(Export.objects.only("id", "status").order_by("-id")[:MOST_LISTED])
    rows = making.progress(found)
    return json_response({str(each.pk): {"status": each.status, "rows": rows.get(each.pk, 0)} for each in found})


@require_GET
@organization_view(Ability.VIEW)
def file(request: MemberRequest, export_id: uuid.UUID) -> Any:
    """GET usage/exports/<id>/file — the file, for members, until it expires. 409 before it is there, 410 afterwards."""
    export = Export.objects.filter(pk=export_id).first()
    if export is None:
        raise Http404
    wanted, opened = Wanted.from_json(export.wanted), making.opened(export)
    services.note_download(wanted=wanted, actor=request.user, export=export)
    # As it is stored where the browser unpacks it: what it saves has the size and the hash that the page says.
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return _download(making.content(opened, packed=True), wanted, **{"Content-Encoding": "gzip"})
    return _download(making.content(opened, packed=False), wanted, **{"Content-Length": str(export.bytes)})
