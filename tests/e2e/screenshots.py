"""`python -m tests.e2e.screenshots <folder>`: every page, light and dark, at a desk and on a phone.

Files are named `<page>-<theme>-<width>.png`. A walk is a generator that yields the name of each page while it is shown;
another one is one more line in WALKS.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from playwright.sync_api import sync_playwright

from devstack import chromium
from tests.e2e import account_pages, organization_pages, usage_pages
from tests.e2e.conftest import DESK, PHONE, SETTLED
from tests.e2e.ground import Ground
from tests.e2e.people import ARGUMENTS, People, Person

ACCOUNT, ORGANIZATION, USAGE, SUMS = "account", "organization", "usage", "sums"
# Each with whether she is signed in before.
WALKS: list[tuple[Callable[[Person], Iterator[str]], bool]] = [
    (account_pages.entrance, False),
    (account_pages.account, True),
]


def shoot(person: Person, folder: Path, name: str) -> None:
    page = person.page
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        for width, height in [(DESK, 900), (PHONE, 844)]:
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate(SETTLED)
            page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=True)
    page.set_viewport_size({"width": DESK, "height": 900})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "parts", nargs="*", choices=[[], ACCOUNT, ORGANIZATION, USAGE, SUMS], help="all of them by default"
    )
    parser.add_argument("--only", nargs="+", metavar="PAGE", default=["*"], help="names of pages, * for any letters")
    arguments = parser.parse_args()
    folder: Path = arguments.folder

    def take(person: Person, name: str) -> None:
        if any(fnmatch(name, wanted) for wanted in arguments.only):
            shoot(person, folder, name)
            print(name)

    def wants(part: str) -> bool:
        return part in (arguments.parts or (ACCOUNT, ORGANIZATION, USAGE, SUMS))

    folder.mkdir(parents=True, exist_ok=True)
    executable = chromium.find()
    assert executable, chromium.ADVICE
    with (
        tempfile.TemporaryDirectory() as temporary,
        Ground(Path(temporary)) as ground,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=ARGUMENTS) as browser,
        People(ground, playwright.chromium, browser, executable).leaving() as people,
    ):
        if wants(ORGANIZATION) or wants(USAGE) or wants(SUMS):
            scenery = organization_pages.make_scenery(ground)
            visits = [organization_pages.organization, organization_pages.onboarding] if wants(ORGANIZATION) else []
            visits += [usage_pages.usage] if wants(USAGE) else []
            visits += [usage_pages.sums, usage_pages.exports] if wants(SUMS) else []
            for visit in visits:
                for person, name in visit(people, scenery):
                    take(person, name)
        for walk, is_signed_in in WALKS if wants(ACCOUNT) else []:
            person = people.signed_in(walk.__name__) if is_signed_in else people(walk.__name__)
            for name in walk(person):
                take(person, name)


if __name__ == "__main__":
    main()
