"""The installed feed, parsed once, a book of it that no database was asked for, and a feed that the test writes."""

import os
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from apps.pricing.book import Book
from apps.pricing.feeds import litellm
from apps.pricing.feeds.base import Alias, Listing, PriceKey, Rate, Segment
from apps.pricing.feeds.genai import FEED
from apps.pricing.selectors import forget_book, forget_terms
from apps.pricing.unpriced import forget_noted
from tests.pricing.paper import PaperFeed, book_of


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> PaperFeed:
    """The only feed there is."""
    feed = PaperFeed()
    monkeypatch.setattr("apps.pricing.services.FEEDS", {feed.source: feed})
    return feed


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the package index there is."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_NO_CACHE_DIR": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture(autouse=True)
def no_book_left() -> Iterator[None]:
    """A book read inside a test holds rows that are rolled back after it."""
    forget_book()
    forget_terms()
    forget_noted()
    yield
    forget_book()
    forget_terms()
    forget_noted()


@pytest.fixture(scope="session")
def listing() -> Listing:
    return FEED.parse(FEED.read()[1])


@pytest.fixture(scope="session")
def book(listing: Listing) -> Book:
    return book_of(listing)


@pytest.fixture(scope="session")
def second_listing() -> Listing:
    """litellm's file as it was installed."""
    return litellm.FEED.parse(litellm.FEED.read()[1])


@pytest.fixture(scope="session")
def both(listing: Listing, second_listing: Listing) -> Book:
    """A book of both feeds."""
    return book_of(listing, second_listing)


@pytest.fixture
def small_book() -> Callable[[Mapping[PriceKey, str]], Book]:
    """Builds a book of undated prices per million units; every model is called by its own name."""

    def build(prices: Mapping[PriceKey, str]) -> Book:
        rows = {key: [Segment(None, None, Rate(Decimal(price), 1_000_000))] for key, price in prices.items()}
        models = dict.fromkeys((key.provider, key.model) for key in prices)
        aliases = [Alias(provider, {"equals": model}, provider, model) for provider, model in models]
        return book_of(Listing(aliases, rows))

    return build
