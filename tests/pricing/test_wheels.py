"""Price files out of wheels: by hash, as data, and nothing of what is downloaded runs."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from apps.pricing.feeds import genai, litellm, wheels
from apps.pricing.feeds.base import FeedError, FeedMissingError
from apps.pricing.feeds.literals import read_literal
from tests.pricing.paper import make_wheel

pytestmark = pytest.mark.usefixtures("index")


def lock(folder: Path, wheel: Path, sha256: str | None = None) -> Path:
    name, version = wheel.name.split("-")[:2]
    path = folder / "feeds.txt"
    digest = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
    path.write_text(f"# comment\n{name}=={version} \\\n    --hash=sha256:{digest}\n", encoding="utf-8")
    return path


def test_a_file_is_taken_out_of_the_locked_wheel_and_is_there_offline(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(index, "pricefile", "1.2.0", {"pricefile/prices.json": b'{"a": 1}'})
    make_wheel(index, "pricefile", "1.3.0", {"pricefile/prices.json": b'{"a": 2}'})
    folder, locked = tmp_path / "feeds", lock(tmp_path, wheel)
    with pytest.raises(FeedMissingError, match="make install"):
        wheels.installed("pricefile", folder, locked)
    wheels.install("pricefile", "pricefile/prices.json", folder, locked)
    assert wheels.installed("pricefile", folder, locked) == ("1.2.0", b'{"a": 1}')
    # There it is without an index; another version takes its place.
    wheel.unlink()
    wheels.install("pricefile", "pricefile/prices.json", folder, locked)
    newer = lock(tmp_path, index / "pricefile-1.3.0-py3-none-any.whl")
    wheels.install("pricefile", "pricefile/prices.json", folder, newer)
    assert [path.name for path in folder.iterdir()] == ["pricefile-1.3.0.json"]
    with wheels.downloaded("pricefile") as newest:
        assert newest.version == "1.3.0"


def test_a_wheel_of_another_hash_is_refused(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, "pricefile", "1.2.0", {"pricefile/prices.json": b"{}"})
    locked = lock(tmp_path, wheel, "0" * 64)
    with pytest.raises(FeedError, match=r"(?i)hash"):
        wheels.install("pricefile", "pricefile/prices.json", tmp_path / "feeds", locked)
    assert not (tmp_path / "feeds").exists()


def test_what_can_not_be_had_is_told(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FeedError, match="could not get nosuch"), wheels.downloaded("nosuch"):
        pass
    wheel = make_wheel(index, "pricefile", "1.2.0", {"pricefile/prices.json": b"{}" * 9})
    with wheels.downloaded("pricefile") as got:
        with pytest.raises(FeedError, match="no readable"):
            got.member("pricefile/other.json")
        monkeypatch.setattr(wheels, "LARGEST", 10)
        with pytest.raises(FeedError, match="larger"):
            got.member("pricefile/prices.json")
    with pytest.raises(FeedError, match="names no version"):
        wheels.pinned("other", lock(tmp_path, wheel))
    with pytest.raises(FeedMissingError):
        wheels.pinned("other", tmp_path / "nowhere.txt")


def test_a_source_distribution_is_never_taken(index: Path) -> None:
    """Building one would run its code."""
    with zipfile.ZipFile(index / "pricefile-9.9.zip", "w") as archive:
        archive.writestr("pricefile-9.9/setup.py", "raise SystemExit('ran')")
    with pytest.raises(FeedError) as refused, wheels.downloaded("pricefile"):
        pass
    assert "ran" not in str(refused.value)


def test_the_repositorys_lock_is_what_is_installed() -> None:
    version, content = wheels.installed(litellm.PACKAGE)
    assert version == wheels.pinned(litellm.PACKAGE)
    assert len(json.loads(content)) > 1_000


# --- genai-prices' module, read without running it ---


def module() -> bytes:
    import genai_prices.data

    return Path(genai_prices.data.__file__).read_bytes()


def test_the_module_read_is_the_module_imported() -> None:
    providers = genai.read_module(module())
    assert genai._document(providers) == genai.FEED.read()[1]


def test_the_newest_feeds_are_read_from_the_index(index: Path) -> None:
    make_wheel(index, "genai_prices", "9.0.0", {"genai_prices/data.py": module()})
    assert genai.FEED.newest() == ("9.0.0", genai.FEED.read()[1])
    make_wheel(index, "litellm", "9.0.0", {litellm.MEMBER: wheels.installed("litellm")[1]})
    assert litellm.FEED.newest() == ("9.0.0", litellm.FEED.read()[1])


@pytest.mark.parametrize(
    "source",
    [
        "providers = open('/etc/passwd')",
        "providers = __import__('os').system('true')",
        "providers = [Decimal.from_float(1)]",
        "providers = [x for x in (1, 2)]",
        "providers = 'a' + 'b'",
        "providers = f'{1}'",
        "providers = (lambda: 1)()",
        "providers = Decimal(*['1'])",
        "providers = Decimal(**{'value': '1'})",
        "providers = {**{}}",
        "providers = {1: 2}",
        "providers = [*[1]]",
        "providers = 1.5",
        "providers = ...",
        "providers = b'x'",
        "providers = datetime",
        "providers = other",
        "providers = Decimal('one')",
        "providers = Decimal(wrong='1')",
        "providers = []\nprint(providers)",
        "providers = []\ndel providers",
        "providers = []\nproviders.append(1)",
        "providers = []\nother = []",
        "providers = []\nproviders = []",
        "providers: list[str]",
        "providers = []\nif True:\n    pass",
        "def providers(): pass",
        "class providers: pass",
        "providers = other = []",
        "providers, other = [], []",
        "(providers := [])",
        "for providers in []: pass",
        "providers = [",
        "",
        "providers = " + "[" * 5_000 + "]" * 5_000,
    ],
)
def test_whatever_is_no_data_is_refused(source: str) -> None:
    from decimal import Decimal

    with pytest.raises(FeedError):
        read_literal(source, "providers", {"Decimal": Decimal})


def test_data_is_read() -> None:
    source = '"""Words."""\nimport os\nfrom .types import *\n__all__ = ("x",)\nx: list = [A(1, b={"c": None}), (True, "t"), d.UTC]'
    assert read_literal(source, "x", {"A": lambda a, b: (a, b)}, {"d.UTC": "utc"}) == [
        (1, {"c": None}),
        (True, "t"),
        "utc",
    ]
