"""How a process keeps its book current: rarely, by one thread, and whatever the database does."""

import threading
from collections.abc import Callable

import pytest
from django.db import OperationalError, connection

from apps.pricing.book import Book
from apps.pricing.selectors import REVALIDATE_SECONDS, Shelf

pytestmark = pytest.mark.django_db


class Stock:
    """The database's side of a shelf, and its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.newest_id = 1
        self.asked = 0
        self.loaded = 0
        self.failing: Exception | None = None
        self.before_answer: Callable[[], object] = lambda: None

    def newest(self) -> int:
        self.asked += 1
        self.before_answer()
        if self.failing:
            raise self.failing
        return self.newest_id

    def load(self) -> Book:
        self.loaded += 1
        self.before_answer()
        if self.failing:
            raise self.failing
        return Book(self.newest_id, [])

    def shelf(self) -> Shelf:
        return Shelf(self.load, self.newest, lambda: self.now)


@pytest.fixture
def stock() -> Stock:
    return Stock()


def test_the_newest_snapshot_is_asked_for_every_30_seconds(stock: Stock) -> None:
    shelf = stock.shelf()
    first = shelf.book()
    for _ in range(50):
        stock.now += (REVALIDATE_SECONDS - 1) / 50
        assert shelf.book() is first
    assert (stock.asked, stock.loaded) == (0, 1)
    stock.now += 2
    assert shelf.book() is first
    assert (stock.asked, stock.loaded) == (1, 1)
    stock.newest_id = 2
    assert shelf.book() is first
    stock.now += REVALIDATE_SECONDS
    assert shelf.book().snapshot_id == 2
    assert (stock.asked, stock.loaded) == (2, 2)


def test_a_database_that_fails_leaves_the_book_in_place(stock: Stock, caplog: pytest.LogCaptureFixture) -> None:
    shelf = stock.shelf()
    first = shelf.book()
    stock.failing = OperationalError("the server closed the connection")
    stock.now += REVALIDATE_SECONDS
    assert shelf.book() is first
    assert shelf.book() is first
    assert stock.asked == 1
    assert "going on with those at hand" in caplog.text
    stock.failing = None
    stock.newest_id = 2
    stock.now += REVALIDATE_SECONDS
    assert shelf.book().snapshot_id == 2


def test_without_a_book_the_failure_is_told_and_the_next_call_tries_again(stock: Stock) -> None:
    shelf = stock.shelf()
    stock.failing = OperationalError("the server is starting up")
    with pytest.raises(OperationalError):
        shelf.book()
    stock.failing = None
    assert shelf.book().snapshot_id == 1


def test_a_failed_question_does_not_break_the_callers_transaction(stock: Stock) -> None:
    def fail_for_real() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")
        return 0

    shelf = Shelf(stock.load, fail_for_real, lambda: stock.now)
    first = shelf.book()
    stock.now += REVALIDATE_SECONDS
    assert shelf.book() is first
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_while_one_thread_asks_the_others_go_on(stock: Stock) -> None:
    shelf = stock.shelf()
    first = shelf.book()
    stock.now += REVALIDATE_SECONDS
    stock.newest_id = 2
    asking, answer = threading.Event(), threading.Event()

    def wait() -> None:
        asking.set()
        assert answer.wait(10)

    stock.before_answer = wait
    renewed: list[Book] = []

    def work() -> None:
        renewed.append(shelf.book())
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert asking.wait(10)
    assert [shelf.book() for _ in range(5)] == [first] * 5
    assert stock.asked == 1
    answer.set()
    thread.join()
    assert shelf.book() is renewed[0]
    assert renewed[0].snapshot_id == 2


def test_the_first_book_is_loaded_once_for_all_threads(stock: Stock) -> None:
    shelf = stock.shelf()
    loading, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        loading.set()
        assert go_on.wait(10)

    stock.before_answer = wait
    books: list[Book] = []

    def work() -> None:
        books.append(shelf.book())
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert loading.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert stock.loaded == 1
    assert len(set(map(id, books))) == 1
