"""Mail of a development stack: the folder it goes to and the pages that show it."""

import importlib
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.mail import EmailMultiAlternatives, get_connection, send_mail
from django.test import Client
from django.urls import Resolver404, clear_url_caches, resolve
from pytest_django import Settings

import config.urls
from devstack import mail

BACKEND = "devstack.mail.FolderBackend"


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.EMAIL_BACKEND = BACKEND
    settings.EMAIL_URL, settings.EMAIL_FILE_PATH = f"file://{tmp_path}/mail", f"{tmp_path}/mail"
    return tmp_path / "mail"


@pytest.fixture
def browser(folder: Path, settings: Settings) -> Iterator[Client]:
    """Of a stack that is being developed: the URLs are made anew with DEBUG on."""
    settings.DEBUG = True
    importlib.reload(config.urls)
    clear_url_caches()
    yield Client()
    settings.DEBUG = False
    importlib.reload(sys.modules["config.urls"])
    clear_url_caches()


def send(subject: str, to: str = "ada@example.com", text: str = "Hello.") -> None:
    send_mail(subject, text, None, [to])


def test_without_debug_there_is_no_such_address(db: None, folder: Path) -> None:
    send("Secret link")
    for path in ("/dev/mail/", "/dev/mail/newest", f"/dev/mail/{mail.newest_id()}/"):
        with pytest.raises(Resolver404):
            resolve(path)
        assert Client().get(path).status_code == 404


def test_a_message_is_a_private_file_and_the_newest_is_first(folder: Path) -> None:
    for number in range(3):
        send(f"Message {number}", text="Zähler: 10 €\nhttps://keys.example.com/accounts/confirm-email/abc/")
    assert [found.subject for found in mail.search_mail()] == ["Message 2", "Message 1", "Message 0"]
    first = next(mail.search_mail())
    assert first.id == mail.newest_id()
    assert first.recipients == "ada@example.com"
    assert first.text.splitlines()[0] == "Zähler: 10 €"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_several_messages_of_one_connection_stay_apart(folder: Path) -> None:
    messages = [
        EmailMultiAlternatives(f"Number {number}", "-" * 79 + "\nSubject: not this", None, [f"{number}@example.com"])
        for number in range(3)
    ]
    assert get_connection(BACKEND).send_messages(messages) == 3
    assert {found.subject for found in mail.search_mail()} == {"Number 0", "Number 1", "Number 2"}


def test_processes_that_write_at_once_lose_nothing(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, map(str, range(40))))
    assert {found.subject for found in mail.search_mail()} == set(map(str, range(40)))


def test_old_messages_are_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "KEPT", 3)
    for number in range(5):
        send(str(number))
    assert [found.subject for found in mail.search_mail()] == ["4", "3", "2"]


def test_html_is_read_as_text_with_its_links(folder: Path) -> None:
    message = EmailMultiAlternatives("Rich", "", None, ["ada@example.com"])
    message.body = (
        '<style>p {}</style><p>Confirm <b>now</b>: <a href="https://x.example/y">here</a></p><script>1</script>'
    )
    message.content_subtype = "html"
    message.send()
    assert next(mail.search_mail()).text == "Confirm now: https://x.example/y here"


def test_files_that_are_no_message_are_left_alone(folder: Path) -> None:
    send("One")
    (folder / "notes.eml").write_text("Subject: mine\n\nx")
    (folder / "half.tmp").write_text("Subject: half\n\nx")
    assert [found.subject for found in mail.search_mail()] == ["One"]
    assert mail.get_mail("notes") is None
    assert mail.get_mail("../mail/notes") is None


def test_the_list_finds_by_recipient_and_opens_a_message(db: None, browser: Client) -> None:
    send("Confirm your address", "ada@example.com", "Open http://testserver/accounts/confirm-email/k:1/ <b>now</b>")
    send("Invitation", "bob@example.com")
    page = browser.get("/dev/mail/")
    assert "Confirm your address" in page.text
    assert page.text.index("Invitation") < page.text.index("Confirm your address")
    page = browser.get("/dev/mail/?to=ADA")
    assert "Invitation" not in page.text
    (found,) = page.context["mails"]
    message = browser.get(f"/dev/mail/{found.id}/")
    assert '<a href="http://testserver/accounts/confirm-email/k:1/"' in message.text
    assert "&lt;b&gt;now&lt;/b&gt;" in message.text
    assert "No mail to them" in browser.get("/dev/mail/?to=nobody").text
    assert browser.get("/dev/mail/newest").json() == {"newest": mail.newest_id()}
    assert browser.get("/dev/mail/0123/").status_code == 404


def test_an_empty_folder_and_a_real_mail_server_are_said(db: None, browser: Client, settings: Settings) -> None:
    assert "No mail yet" in browser.get("/dev/mail/").text
    settings.EMAIL_URL = "smtp://localhost:25"
    assert "Mail leaves this machine" in browser.get("/dev/mail/").text
    assert browser.get("/dev/mail/newest").json() == {"newest": ""}
