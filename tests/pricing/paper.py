"""Small feeds and books to change, and what tests share to make them."""

import itertools
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apps.pricing.book import Book, PriceList, Row
from apps.pricing.feeds.base import Listing, PriceKey
from apps.pricing.feeds.genai import FEED, FORMAT
from apps.pricing.meters import Meter

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def key(meter: Meter, model: str = "m", **rest: Any) -> PriceKey:
    return PriceKey("testco", model, meter, **rest)


def book_of(*listings: Listing, snapshot_id: int = 1, sources: Sequence[str] = ("genai-prices", "litellm")) -> Book:
    """A book of lists, the first before the others. Row ids count through all of them."""
    ids = itertools.count(1)
    lists = []
    for source, listing in zip(sources, listings, strict=False):
        rows = [
            Row(next(ids), key, segment.start, segment.end, segment.rate)
            for key, segments in listing.prices.items()
            for segment in segments
        ]
        lists.append(PriceList(source, listing.aliases, rows))
    return Book(snapshot_id, lists)


def entry(prices: Mapping[str, Any], **constraint: Any) -> dict[str, Any]:
    return {"constraint": constraint, "prices": dict(prices)}


def document(*models: Mapping[str, Any], provider: str = "testco", falls_back_to: Sequence[str] = ()) -> bytes:
    """A document of one provider. A model is {"id", "prices": [entry, …]} and what else it needs."""
    completed = [
        {"match": {"equals": model["id"]}, "price_variants": [], **model, "prices": list(model["prices"])}
        for model in models
    ]
    listed = {"id": provider, "fallback_model_providers": list(falls_back_to), "models": completed}
    return json.dumps({"format": FORMAT, "providers": [listed]}).encode()


class PaperFeed:
    """A feed whose document the test writes."""

    source = "paper"

    def __init__(self) -> None:
        self.document = b""
        self.version = "1"

    def read(self) -> tuple[str, bytes]:
        return self.version, self.document

    def newest(self) -> tuple[str, bytes]:
        return self.read()

    def parse(self, document: bytes) -> Listing:
        return FEED.parse(document)


def make_wheel(folder: Path, package: str, version: str, files: Mapping[str, bytes]) -> Path:
    """A wheel that pip takes for one, with these files and nothing to run."""
    path = folder / f"{package}-{version}-py3-none-any.whl"
    info = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path
