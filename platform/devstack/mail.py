"""Mail of a development stack: a folder in place of a server, a file for each message."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.message import EmailMessage as ParsedMessage
from email.parser import BytesParser
from html.parser import HTMLParser
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from devstack.private_file import write_private
from tenancy.ids import uuid7

KEPT = 500
SUFFIX = ".eml"
NAME = re.compile(r"[0-9a-f]{32}")


class FolderBackend(BaseEmailBackend):
    """Django's mail backend for `EMAIL_URL=file:///a/folder`. Web and worker processes write there side by side: each
    message is a file of its own, whole or not there, and its name sorts by the time it was sent."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder = mail_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            # Messages end their lines with \n here, and the file keeps that.
            write_private(folder / f"{uuid7().hex}{SUFFIX}", message.message().as_string())
        for path in _files()[KEPT:]:
            # Another process may be tidying up, too.
            path.unlink(missing_ok=True)
        return len(email_messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message as somebody reads it. `text` is its plain part, or what can be read of its HTML part."""

    id: str
    sent_at: datetime | None
    sender: str
    recipients: str
    subject: str
    text: str


def mail_folder() -> Path:
    return Path(settings.EMAIL_FILE_PATH)


def newest_id() -> str:
    """Of the last message; empty before the first."""
    return next((path.stem for path in _files()), "")


def search_mail(recipient: str = "") -> Iterator[Mail]:
    """Newest first, those whose recipients contain `recipient`."""
    wanted = recipient.strip().lower()
    for path in _files():
        mail = _read(path)
        if mail is not None and wanted in mail.recipients.lower():
            yield mail


def get_mail(mail_id: str) -> Mail | None:
    return _read(mail_folder() / f"{mail_id}{SUFFIX}") if NAME.fullmatch(mail_id) else None


def _files() -> list[Path]:
    """Newest first. The folder is made with the first message."""
    return sorted((path for path in mail_folder().glob(f"*{SUFFIX}") if NAME.fullmatch(path.stem)), reverse=True)


def _read(path: Path) -> Mail | None:
    """None for a message that was removed meanwhile."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    message = BytesParser(policy=policy.default).parsebytes(content)
    date = message["Date"]
    recipients = [value for name in ("To", "Cc") for value in message.get_all(name, [])]
    return Mail(
        id=path.stem,
        sent_at=date.datetime if date is not None else None,
        sender=str(message["From"] or ""),
        recipients=", ".join(map(str, recipients)),
        subject=str(message["Subject"] or ""),
        text=_text(message),
    )


def _text(message: ParsedMessage) -> str:
    part = message.get_body(("plain", "html"))
    if part is None:
        return ""
    content = str(part.get_content())
    return content if part.get_content_subtype() == "plain" else _readable(content)


def _readable(html: str) -> str:
    reader = _HtmlText()
    reader.feed(html)
    return re.sub(r"\n\s*\n+", "\n\n", "".join(reader.words)).strip()


class _HtmlText(HTMLParser):
    """The text of HTML, with the addresses that links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in {"style", "script", "head"}
        if tag in {"p", "div", "br", "tr", "li", "h1", "h2", "h3", "table"}:
            self.words.append("\n")
        if tag == "a" and (href := dict(attrs).get("href")):
            self.words.append(f"{href} ")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in {"style", "script", "head"}

    def handle_data(self, data: str) -> None:
        if self._silent <= 0:
            self.words.append(data)
