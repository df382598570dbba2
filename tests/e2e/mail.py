"""A real SMTP server, and what it was given."""

import email.policy
import re
import threading
import time
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from devstack.servers import free_port

HOST = "127.0.0.1"
SECONDS = 20.0


@dataclass(frozen=True)
class Mail:
    """One mail to one address, as it came."""

    to: str
    raw: bytes
    message: EmailMessage = field(repr=False)

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        """The part in plain text, decoded."""
        part = self.message.get_body(("plain",))
        assert part is not None, "a mail without plain text"
        return str(part.get_content())

    def link(self, path: str = "") -> str:
        """The one link whose address holds `path`."""
        [link] = {link for link in re.findall(r"https?://[^\s<>\"]+", self.text) if path in link}
        return str(link)


class Mailbox:
    """Listens on a port of its own; a context manager. Every mail is kept, and handed out once."""

    def __init__(self) -> None:
        self.url = ""
        self.mails: list[Mail] = []
        self._unread: list[Mail] = []
        self._arrived = threading.Condition()
        port = free_port()
        self.url = f"smtp://{HOST}:{port}"
        self._controller = Controller(self, hostname=HOST, port=port)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        raw = envelope.original_content or b""
        message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(raw)
        with self._arrived:
            for address in envelope.rcpt_tos:
                mail = Mail(address, raw, message)
                self.mails.append(mail)
                self._unread.append(mail)
            self._arrived.notify_all()
        return "250 OK"

    def wait_for(self, address: str, subject_part: str = "", *, seconds: float = SECONDS) -> Mail:
        """The oldest mail to this address, with this in its subject, that was not handed out before. AssertionError,
        which tells what did come, when there is none in time."""
        deadline = time.monotonic() + seconds
        with self._arrived:
            while True:
                for mail in self._unread:
                    if mail.to == address and subject_part.lower() in mail.subject.lower():
                        self._unread.remove(mail)
                        return mail
                if not self._arrived.wait(deadline - time.monotonic()):
                    came = [(mail.to, mail.subject) for mail in self._unread]
                    raise AssertionError(f"no mail to {address} about {subject_part!r} in {seconds:g} s, but {came}")

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()
