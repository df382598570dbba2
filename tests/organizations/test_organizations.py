"""Organizations: where one lands, settings, and their end."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.db import connection
from django.http import Http404
from django.utils import timezone

from apps.audit.models import Entry
from apps.directory.models import ProjectKeyEntry
from apps.organizations import services
from apps.organizations.models import Invitation, Membership, Organization
from apps.organizations.tasks import delete_due
from apps.pricing.agreements import set_discount
from apps.pricing.selectors import discounts
from tenancy import tenant_scope
from tenancy.migrating import migrate_tenants
from tests.cast import Member, Workspace

Role = Membership.Role


def test_somebody_without_an_organization_is_shown_the_way_to_one(acme: Workspace) -> None:
    bob = Member.sign_up("bob")
    browser = bob.browser()
    assert "Create an organization" in browser.get("/o/").content.decode()
    assert browser.post("/o/new/", {"name": "  "}).status_code == 422
    answer = browser.post("/o/new/", {"name": " Initech "})
    membership = Membership.objects.select_related("organization").get(user=bob.user)
    assert answer["Location"] == f"/o/{membership.organization_id}/"
    assert (membership.role, membership.organization.name) == (Role.OWNER, "Initech")
    with tenant_scope(membership.organization):
        assert Entry.objects.get().action == "organization.created"


def test_one_lands_where_one_was(acme: Workspace, globex: Workspace) -> None:
    bob = acme.join("bob", Role.VIEWER)
    browser = bob.browser()
    assert browser.get("/o/")["Location"] == acme.url()  # the only one
    Membership.objects.create(organization=globex.organization, user=bob.user, role=Role.VIEWER)
    page = browser.get("/o/").content.decode()
    assert acme.url() in page
    assert globex.url() in page
    browser.get(globex.url("settings/"))
    assert browser.get("/o/")["Location"] == globex.url()
    assert browser.get("/o/?all").status_code == 200
    # Out again: the memory of it leads nowhere.
    Membership.objects.filter(organization=globex.organization, user=bob.user).delete()
    assert browser.get("/o/")["Location"] == acme.url()


VALID = {"name": "Acme", "time_zone": "Europe/Berlin", "currency": "EUR"}


def test_settings_are_stored_and_recorded(acme: Workspace, alice: Member) -> None:
    browser = alice.browser()
    page = browser.post(acme.url("settings/"), {**VALID, "name": " Acme GmbH ", "time_zone": "berlin"}, follow=True)
    assert "The settings are saved." in page.content.decode()
    stored = Organization.objects.get(pk=acme.organization.pk)
    assert (stored.name, stored.time_zone, stored.currency) == ("Acme GmbH", "Europe/Berlin", "EUR")
    with tenant_scope(stored):
        entry = Entry.objects.get(action="organization.changed")
        assert entry.detail == {"fields": ["name", "time_zone", "currency"]}


@pytest.mark.parametrize(
    "wrong", [{"name": " "}, {"name": "x" * 256}, {"time_zone": "Mars/Base"}, {"currency": "XXX"}, {"name": "a\0b"}]
)
def test_settings_that_cannot_be_are_refused(acme: Workspace, alice: Member, wrong: dict[str, str]) -> None:
    assert alice.browser().post(acme.url("settings/"), {**VALID, **wrong}).status_code == 422
    stored = Organization.objects.get(pk=acme.organization.pk)
    assert (stored.name, stored.time_zone) == ("Acme", "UTC")
    with tenant_scope(acme.organization), pytest.raises(services.OrganizationError):
        services.change_settings(
            organization=acme.organization, actor=alice.user, requires_second_factor=False, **{**VALID, **wrong}
        )


def test_a_second_factor_is_asked_of_everybody_by_one_who_has_one(acme: Workspace, alice: Member) -> None:
    bob = acme.join("bob", Role.ADMIN)
    demand = {**VALID, "requires_second_factor": "on"}
    browser = alice.browser()
    page = browser.post(acme.url("settings/"), demand)
    assert page.status_code == 422
    assert "Set up a second factor for yourself first" in page.content.decode()
    Authenticator.objects.create(user=alice.user, type=Authenticator.Type.TOTP, data={"secret": "s"})
    assert browser.post(acme.url("settings/"), demand).status_code == 302
    assert browser.get(acme.url("settings/")).status_code == 200
    refused = bob.browser().get(acme.url("settings/"))
    assert refused.status_code == 403
    assert "second factor" in refused.content.decode()


def test_deletion_needs_the_name_and_can_be_taken_back(acme: Workspace, alice: Member) -> None:
    sdk = acme.sdk()
    acme.add_provider_key("openai", "sk-acme")
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 200
    browser, bob = alice.browser(), acme.join("bob", Role.ADMIN)
    browser.post(acme.url("settings/delete/"), {"name": "acme"})
    assert Organization.objects.get(pk=acme.organization.pk).is_ready

    answer = browser.post(acme.url("settings/delete/"), {"name": "Acme"})
    assert answer["Location"] == acme.url("deleting/")
    stored = Organization.objects.get(pk=acme.organization.pk)
    assert stored.status == Organization.Status.DELETING
    assert stored.delete_after is not None
    assert timedelta(days=6) < stored.delete_after - timezone.now() <= timedelta(days=7)
    # At once: no key opens anything, nobody enters.
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code in (401, 404)
    for member in (alice, bob):
        assert member.browser().get(acme.url("settings/")).status_code == 404
    assert "being deleted" in browser.get("/o/").content.decode()
    assert browser.get(acme.url("deleting/")).status_code == 200
    assert bob.browser().post(acme.url("deleting/")).status_code == 404

    assert browser.post(acme.url("deleting/"))["Location"] == acme.url()
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 200
    with tenant_scope(acme.organization):
        actions = set(Entry.objects.values_list("action", flat=True))
        assert {"organization.deletion_requested", "organization.deletion_cancelled"} <= actions


def schemas() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace")
        return {name for (name,) in cursor.fetchall()}


def test_after_the_grace_everything_goes_but_a_nameless_row(
    by_owner: None, acme: Workspace, globex: Workspace, alice: Member
) -> None:
    Invitation.objects.create(
        organization=acme.organization,
        email="bob@example.com",
        role=Role.VIEWER,
        token_digest=b"x" * 32,
        expires_at=timezone.now(),
    )
    discount: dict[str, Any] = {
        "provider": "openai",
        "multiplier": Decimal("0.9"),
        "author_id": alice.user.id,
        "note": "A contract",
    }
    for each in (acme, globex):
        set_discount(organization_id=each.organization.id, **discount)
    with tenant_scope(acme.organization):
        services.request_deletion(organization=acme.organization, actor=alice.user)
    assert delete_due() == 0
    Organization.objects.filter(pk=acme.organization.pk).update(delete_after=timezone.now() - timedelta(seconds=1))
    assert acme.organization.schema_name in schemas()
    assert delete_due() == 1
    assert acme.organization.schema_name not in schemas()
    assert globex.organization.schema_name in schemas()
    stored = Organization.objects.get(pk=acme.organization.pk)
    assert (stored.status, stored.name, stored.schema_version) == (Organization.Status.DELETED, "", "")
    assert not Membership.objects.filter(organization=stored).exists()
    assert not Invitation.objects.filter(organization=stored).exists()
    assert not discounts(stored.pk)
    assert discounts(globex.organization.pk)
    # Its key can't be used again, by anybody.
    assert ProjectKeyEntry.objects.filter(organization=stored).exists()
    with pytest.raises(Http404):
        services.cancel_deletion(organization_id=stored.pk, actor=alice.user)
    assert alice.browser().get(acme.url("deleting/")).status_code == 404
    assert delete_due() == 0
    # Migrations pass it by.
    assert stored.schema_name not in [name for name, _ in migrate_tenants().failed]
