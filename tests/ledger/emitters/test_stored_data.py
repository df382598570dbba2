"""docs/stored-data.md is what the code does."""

import re
from pathlib import Path

import msgspec

from apps.ledger.calls import Call, Ending
from apps.ledger.emitters import EMITTERS, KEYS, RESOURCE_KEYS, SPAN_NAMES, usage

ROOT = Path(__file__).resolve().parents[3]


def rows(heading: str) -> list[list[str]]:
    text = (ROOT / "docs" / "stored-data.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in re.findall(r"^\|.*\|$", section, re.MULTILINE)
    ]
    return cells[2:]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_field_of_a_call_is_published() -> None:
    published = [name for row in rows("The fields of a call") for name in named(row[0])]
    assert published == [field.name for field in msgspec.structs.fields(Call)]


def test_what_can_stand_in_a_field_is_published() -> None:
    kept = {name: row[1] for row in rows("The fields of a call") for name in named(row[0])}
    assert set(named(kept["ending"])) == {ending.value for ending in Ending}
    meters = {meter for emitter in EMITTERS for meter in emitter.fields.meters} | usage.PATHS.keys()
    assert set(named(kept["meters"])) == {meter.value for meter in meters}


def test_every_attribute_that_is_read_is_published() -> None:
    published = {named(row[0])[0]: row[1] for row in rows("Attributes of spans that are read")}
    assert published == {key: kind.about for key, kind in KEYS.items()}


def test_every_attribute_becomes_a_field() -> None:
    fields = {field.name for field in msgspec.structs.fields(Call)}
    for row in rows("Attributes of spans that are read"):
        assert row[2] == "whether the span stands for a call" or "meter" in row[2] or set(named(row[2])) <= fields, row


def test_what_else_is_read_is_published() -> None:
    published = rows("What else is read of spans")
    assert {named(row[1])[0]: row[2] for row in published if row[0] == "resource"} == {
        key: kind.about for key, kind in RESOURCE_KEYS.items()
    }
    [name] = SPAN_NAMES
    assert any(f"`{name}`" in row[1] for row in published)
