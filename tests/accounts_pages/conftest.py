import time

import pytest
from allauth.account.internal.userkit import user_id_to_str
from allauth.account.models import EmailAddress
from django.test import Client

from tests.cast import Member


def proven(member: Member) -> Client:
    """A browser whose person has just shown who they are, as signing in with the password does."""
    client = member.browser()
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time(), "reauthenticated": True}]
    session["account_authentication_methods_user"] = user_id_to_str(member.user)
    session.save()
    return client


@pytest.fixture
def ada(db: None) -> Member:
    member = Member.sign_up("ada")
    EmailAddress.objects.get_or_create(
        user=member.user, email=member.user.email, defaults={"verified": True, "primary": True}
    )
    EmailAddress.objects.filter(user=member.user).update(verified=True, primary=True)
    return member


@pytest.fixture
def browser(ada: Member) -> Client:
    return proven(ada)
