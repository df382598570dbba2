"""axe looks at every page of an account, in light and dark; the other modules have it look at theirs."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page

from tests.e2e import account_pages
from tests.e2e.people import People, Person


@pytest.mark.parametrize("walk", [account_pages.entrance, account_pages.account])
def test_axe_finds_nothing_serious(
    people: People, axe: Callable[[Page], None], walk: Callable[[Person], Iterator[str]]
) -> None:
    ada = people("ada") if walk is account_pages.entrance else people.signed_in("ada")
    faults = {}
    for name in walk(ada):
        try:
            axe(ada.page)
        except AssertionError as error:
            faults[name] = str(error)
    assert not faults, "\n".join(faults.values())
