"""The colours of frontend/styles/tokens.css can be told apart by everybody, in both themes."""

import re

import pytest

from apps.analytics import charts
from config.env import ROOT

TOKENS = (ROOT / "frontend" / "styles" / "tokens.css").read_text(encoding="utf-8")
COLOURS = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(r"--color-([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", TOKENS)
}
SURFACES = ("page", "raised", "sunken")

# Text needs 4.5:1, the edge of a control 3:1 (WCAG 2.2, 1.4.3 and 1.4.11).
TEXT = [
    (text, surface) for text in ("ink", "muted", "faint", "accent", "sealed", "open", "danger") for surface in SURFACES
]
TEXT += [(text, f"{text}-soft") for text in ("sealed", "open", "danger")]
TEXT += [("ink", f"{tone}-soft") for tone in ("sealed", "open", "danger")]
TEXT += [
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("on-danger", "danger"),
    ("on-danger", "danger-strong"),
    ("accent-strong", "page"),
    ("accent-strong", "raised"),
]
EDGES = [("edge", surface) for surface in SURFACES]
# Parts of a chart are edges, too.
EDGES += [(f"series-{number}", "raised") for number in range(1, charts.COLOURS + 1)]


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 to 1, as WCAG 2.2 defines it."""
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_every_colour_has_two_sides() -> None:
    declared = set(re.findall(r"--color-([a-z0-9-]+):", TOKENS))
    assert set(COLOURS) == declared


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("foreground", "background", "least"),
    [(*pair, 4.5) for pair in TEXT] + [(*pair, 3.0) for pair in EDGES],
)
def test_contrast(foreground: str, background: str, least: float, theme: str) -> None:
    assert contrast(COLOURS[foreground][theme], COLOURS[background][theme]) >= least
