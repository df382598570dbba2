"""Who is staff: said at the console, nowhere else."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.accounts.models import User

pytestmark = pytest.mark.django_db


def staff(*arguments: str) -> str:
    out = StringIO()
    call_command("staff", *arguments, stdout=out)
    return out.getvalue()


def test_somebody_becomes_staff_and_no_longer_is() -> None:
    user = User.objects.create_user("ops@example.com", None)
    assert staff("list") == ""
    assert staff("add", " Ops@Example.com") == "ops@example.com is staff.\n"
    user.refresh_from_db()
    assert user.is_staff
    assert staff("list") == "ops@example.com\n"
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert staff("list") == "ops@example.com (account disabled)\n"
    assert staff("remove", "ops@example.com") == "ops@example.com is no longer staff.\n"
    user.refresh_from_db()
    assert not user.is_staff


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_who_has_no_account_is_nobody(verb: str) -> None:
    with pytest.raises(CommandError, match=r"no account of nobody@example\.com"):
        staff(verb, "nobody@example.com")
