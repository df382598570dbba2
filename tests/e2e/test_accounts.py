"""Accounts in a browser: signing up and in, and a vault that opens without asking for the password twice."""

import pytest

from tests.e2e.people import People


def test_from_signing_up_to_an_unlocked_vault(people: People) -> None:
    alice = people("alice")
    alice.join("Acme")
    alice.sign_out()
    alice.sign_in()
    alice.sees_vault("unlocked")
    alice.lock()
    alice.unlock()
