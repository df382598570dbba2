"""Exports that a worker makes: for files of many rows, and for links that others of the organization can use.

The task `analytics.make_export` writes the file in one transaction of one state of the ledger, under a lock that ends
with it. So a worker that dies has made nothing, two at once make it once, and what is read is complete. What a dead
worker left in the storage is deleted by the next attempt, which `analytics.sweep` asks for. Callers are in the
organization's scope.
"""

import gzip
import hashlib
import logging
import time
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any

from django.core.cache import cache
from django.core.files import File
from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError

from apps.analytics.exports.formats import pieces
from apps.analytics.exports.sources import SOURCES
from apps.analytics.exports.wanted import UnreadableError, Wanted
from apps.analytics.models import Export
from apps.analytics.selectors import UnansweredError
from apps.ledger.columns import Value
from apps.ledger.read_api import totals_as_json
from apps.ledger.snapshot import alone_at, is_alone_at, kept_in_scope, snapshot, wait_to_be_alone_at
from tenancy.files import delete_tenant_files, storage, tenant_path
from tenancy.scope import require_tenant_id
from tenancy.tasks import ask_for
from web.errors import DomainError

logger = logging.getLogger(__name__)

Status = Export.Status
UNDER_WAY = (Status.QUEUED, Status.RUNNING)
# What an organization may have under way.
MOST_AT_ONCE = 3
# Workers that may die of one, or of something else while they are at it.
MOST_ATTEMPTS = 3
KEPT = timedelta(days=7)
# What was asked for may name sessions and users. Without a file it is kept so long after the file was made, or failed.
REMEMBERED = timedelta(days=30)
# Between two notes of how far it is.
NOTE_SECONDS = 0.5
# Bytes of a file that are read at once.
_CHUNK = 65_536


class ExportError(DomainError):
    """Why there is no file; says what to do."""

    status = 409
    code = "export_refused"


class ExpiredError(ExportError):
    status = 410
    code = "export_expired"

    def __init__(self) -> None:
        super().__init__("This export has expired and its file is deleted. Make it again on the page of exports.")


def streamed(wanted: Wanted) -> Generator[str, None, None]:
    """The file in pieces, made while it is sent, in constant memory, all of one state of the ledger. The pieces stay in
    the scope in which this is called, so they can be sent after a view has returned."""
    return kept_in_scope(_streamed(wanted))


def _streamed(wanted: Wanted) -> Generator[str, None, None]:
    with snapshot():
        yield from pieces(SOURCES[wanted.content].table(wanted), wanted.format)


# --- Asking ---


@transaction.atomic
def request_export(wanted: Wanted, *, expected_rows: int, author_id: uuid.UUID) -> tuple[Export, bool]:
    """Has a worker make it, and whether that is new: who asks twice for the same gets the one that is under way.

    Raises ExportError where enough are under way.
    """
    wait_to_be_alone_at("exports")
    under_way, asked = Export.objects.filter(status__in=UNDER_WAY), wanted.to_json()
    same = under_way.filter(author_id=author_id, wanted=asked).order_by("id").first()
    if same is not None:
        return same, False
    if under_way.count() >= MOST_AT_ONCE:
        raise ExportError(f"{MOST_AT_ONCE} exports are being made. Wait until one of them is done.")
    made = Export.objects.create(wanted=asked, expected_rows=expected_rows, author_id=author_id)
    _ask(made)
    return made, True


def _ask(export: Export) -> None:
    ask_for("analytics.make_export", export_id=str(export.pk))


# --- Making ---


def make(export_id: uuid.UUID) -> None:
    """Makes the file, unless it is made, somebody is at it, or that was tried often enough."""
    if not _begin(export_id):
        return
    try:
        alone_at(_work(export_id), partial(_make, export_id))
    except (OSError, UnansweredError, UnreadableError) as error:
        logger.exception("an export can't be made")
        _fail(export_id, "The file could not be stored." if isinstance(error, OSError) else str(error))


def _work(export_id: uuid.UUID) -> str:
    return f"export:{export_id}"


@transaction.atomic
def _begin(export_id: uuid.UUID) -> bool:
    # Alone first: what changed the row of one that is being made would undo all of that work.
    if not is_alone_at(_work(export_id)):
        return False
    export = Export.objects.select_for_update().filter(pk=export_id, status__in=UNDER_WAY).first()
    if export is None:
        return False
    if export.attempts >= MOST_ATTEMPTS:
        _fail(export_id, "It was begun several times and never finished.")
        return False
    export.status, export.attempts = Status.RUNNING, export.attempts + 1
    export.save(update_fields=["status", "attempts"])
    return True


def _make(export_id: uuid.UUID) -> None:
    """In one state of the ledger, in which the export is marked as done, too."""
    export = Export.objects.filter(pk=export_id, status=Status.RUNNING).first()
    if export is None:
        return
    delete_tenant_files(str(export_id))
    wanted = Wanted.from_json(export.wanted)
    source = SOURCES[wanted.content]
    table, digest = source.table(wanted), hashlib.sha256()
    with TemporaryFile() as packed:
        # Without a time in it: the same rows make the same file.
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
            for piece in pieces(replace(table, rows=_counted(export, table.rows)), wanted.format):
                data = piece.encode()
                export.bytes += file.write(data)
                digest.update(data)
        packed.seek(0)
        export.file = storage().save(tenant_path(f"{export_id}.{wanted.format}.gz"), File(packed))
    export.status, export.finished_at = Status.DONE, timezone.now()
    export.expires_at, export.snapshot_at = export.finished_at + KEPT, table.snapshot_at
    export.sha256, export.totals = digest.hexdigest(), totals_as_json(source.totals(wanted))
    export.save()


def _counted(export: Export, rows: Iterator[Sequence[Value]]) -> Iterator[Sequence[Value]]:
    noted = time.monotonic()
    for row in rows:
        yield row
        export.rows += 1
        if time.monotonic() - noted >= NOTE_SECONDS:
            noted = time.monotonic()
            # Its transaction ends when all is done, so how far it is stands elsewhere.
            with suppress(RedisError):
                cache.set(_progress_key(export.pk), export.rows, timeout=3_600)


def _progress_key(export_id: uuid.UUID) -> str:
    return f"exports:{require_tenant_id()}:{export_id}"


def _fail(export_id: uuid.UUID, problem: str) -> None:
    changes: dict[str, Any] = {"status": Status.FAILED, "problem": problem, "finished_at": timezone.now()}
    if Export.objects.filter(pk=export_id, status__in=UNDER_WAY).update(**changes):
        delete_tenant_files(str(export_id))


# --- Looking ---


def progress(exports: Sequence[Export]) -> Mapping[uuid.UUID, int]:
    """How many rows those have that are under way, as far as is known."""
    keys = {_progress_key(each.pk): each.pk for each in exports if each.status == Status.RUNNING}
    try:
        found = cache.get_many(list(keys)) if keys else {}
    except RedisError:
        found = {}
    return {keys[key]: int(rows) for key, rows in found.items()}


def opened(export: Export) -> IO[bytes]:
    """Its file, packed by gzip. Raises ExportError where there is none (yet), ExpiredError where there is none any
    more."""
    if export.status in UNDER_WAY:
        raise ExportError("This export is still being made. The page of exports says how far it is.")
    if export.status == Status.FAILED:
        raise ExportError("This export could not be made. Make it again on the page of exports.")
    if export.status == Status.EXPIRED or (export.expires_at is not None and export.expires_at <= timezone.now()):
        raise ExpiredError
    try:
        return storage().open(export.file)
    except FileNotFoundError:
        raise ExpiredError from None


def content(file: IO[bytes], *, packed: bool) -> Iterator[bytes]:
    """All that is in an opened file, as it is stored or unpacked. It is closed then."""
    with file, gzip.GzipFile(fileobj=file) as plain:
        while data := (file if packed else plain).read(_CHUNK):
            yield data


# --- Tidying ---


def tidy() -> None:
    """Asks again for exports whose task was lost, which is harmless where it was not. Deletes files that have
    expired, and later what was asked for."""
    for export in Export.objects.filter(status__in=UNDER_WAY).order_by("id"):
        _ask(export)
    for export in Export.objects.filter(status=Status.DONE, expires_at__lte=timezone.now()).order_by("id"):
        delete_tenant_files(str(export.pk))
        Export.objects.filter(pk=export.pk).update(status=Status.EXPIRED)
    Export.objects.filter(
        status__in=(Status.EXPIRED, Status.FAILED), finished_at__lte=timezone.now() - REMEMBERED
    ).delete()
