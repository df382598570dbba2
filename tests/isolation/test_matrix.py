"""Every URL by everybody: who gets in, who hears 404, 403 or "sign in", and that nothing changed for those who don't.

ORGANIZATION_ROUTES is the whole list of what lies in an organization: a new URL has to be entered here, with the least
ability that it takes, before the tests pass.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from apps.analytics import saved_views
from apps.analytics.exports.wanted import Content, Format, Wanted
from apps.ledger.repricing import preview
from apps.ledger.selectors import EventFilter
from apps.organizations.models import Invitation, Membership
from apps.organizations.roles import Ability
from apps.projects.models import Client as ProjectClient
from apps.usage.services import make_ingest_token, request_export
from tenancy import tenant_scope
from tests.cast import Member, Workspace
from tests.usage.events import add_event

Role = Membership.Role
VIEW, SEAL, KEEP, MANAGE, OWN = Ability

ORGANIZATION = "o/<uuid:organization_id>/"
PROJECT = f"{ORGANIZATION}projects/<uuid:project_id>/"
PROVIDER_KEY = f"{PROJECT}provider-keys/<uuid:provider_key_id>/"
MEMBER = f"{ORGANIZATION}members/<int:membership_id>/"
WELCOME = "welcome/<uuid:organization_id>/projects/<uuid:project_id>/"

# route → {method: the least ability}. Other methods are refused to everybody.
ORGANIZATION_ROUTES: dict[str, dict[str, Ability]] = {
    ORGANIZATION: {"GET": VIEW},
    f"{ORGANIZATION}settings/": {"GET": VIEW, "POST": MANAGE},
    f"{ORGANIZATION}settings/delete/": {"POST": OWN},
    f"{ORGANIZATION}members/": {"GET": VIEW},
    f"{ORGANIZATION}members/invite/": {"GET": MANAGE, "POST": MANAGE},
    f"{ORGANIZATION}members/invitations/<uuid:invitation_id>/resend/": {"POST": MANAGE},
    f"{ORGANIZATION}members/invitations/<uuid:invitation_id>/revoke/": {"POST": MANAGE},
    f"{ORGANIZATION}members/leave/": {"POST": VIEW},
    f"{ORGANIZATION}members/checklists/": {"GET": VIEW},
    f"{ORGANIZATION}members/checklists/<uuid:project_id>/": {"GET": VIEW, "POST": MANAGE},
    MEMBER: {"GET": MANAGE, "POST": MANAGE},
    f"{MEMBER}confirm/": {"GET": MANAGE},
    f"{MEMBER}remove/": {"GET": MANAGE, "POST": MANAGE},
    f"{MEMBER}grants": {"POST": MANAGE},
    f"{ORGANIZATION}activity/": {"GET": VIEW},
    f"{ORGANIZATION}projects/new/": {"GET": MANAGE, "POST": MANAGE},
    f"{ORGANIZATION}projects/archived/": {"GET": VIEW},
    PROJECT: {"GET": VIEW},
    f"{PROJECT}settings/": {"GET": MANAGE, "POST": MANAGE},
    f"{PROJECT}archive": {"POST": MANAGE},
    f"{PROJECT}restore": {"POST": MANAGE},
    f"{PROJECT}delete": {"POST": MANAGE},
    f"{PROJECT}clients/": {"GET": VIEW},
    f"{PROJECT}clients/add": {"POST": KEEP},
    f"{PROJECT}clients/<uuid:client_id>/rename": {"POST": KEEP},
    f"{PROJECT}clients/<uuid:client_id>/default": {"POST": KEEP},
    f"{PROJECT}clients/<uuid:client_id>/remove": {"POST": KEEP},
    f"{PROJECT}provider-keys": {"GET": VIEW},
    f"{PROJECT}provider-keys/seals": {"GET": VIEW},
    f"{PROJECT}provider-keys/add": {"POST": SEAL},
    f"{PROVIDER_KEY}replace": {"POST": SEAL},
    f"{PROVIDER_KEY}archive": {"POST": KEEP},
    f"{PROVIDER_KEY}restore": {"POST": KEEP},
    f"{PROVIDER_KEY}delete": {"POST": KEEP},
    f"{PROVIDER_KEY}reveal": {"POST": KEEP},
    f"{PROVIDER_KEY}clients": {"GET": VIEW},
    f"{PROJECT}key/": {"GET": VIEW},
    f"{PROJECT}keyset": {"GET": VIEW},
    f"{PROJECT}rotation": {"GET": KEEP},
    f"{PROJECT}rotate": {"POST": KEEP},
    f"{PROJECT}keys": {"POST": MANAGE},
    f"{PROJECT}keys/candidate": {"POST": KEEP},
    f"{PROJECT}keys/extend": {"POST": KEEP},
    f"{PROJECT}keys/retire": {"POST": KEEP},
    f"{PROJECT}keys/roll-back": {"POST": KEEP},
    f"{PROJECT}keys/undo": {"POST": KEEP},
    f"{PROJECT}keys/adopt": {"POST": KEEP},
    f"{PROJECT}keys/shown": {"POST": KEEP},
    f"{PROJECT}grants/self": {"POST": KEEP},
    f"{ORGANIZATION}prices/repricing/": {"GET": VIEW},
    f"{ORGANIZATION}prices/repricing/new/": {"GET": MANAGE, "POST": MANAGE},
    f"{ORGANIZATION}prices/repricing/<uuid:repricing_id>/": {"GET": VIEW},
    f"{ORGANIZATION}prices/repricing/<uuid:repricing_id>/state": {"GET": VIEW},
    f"{ORGANIZATION}prices/repricing/<uuid:repricing_id>/apply": {"POST": MANAGE},
    f"{ORGANIZATION}prices/repricing/<uuid:repricing_id>/reverse": {"POST": MANAGE},
    f"{ORGANIZATION}settings/usage/": {"GET": VIEW, "POST": OWN},
    f"{PROJECT}labels": {"POST": MANAGE},
    f"{PROJECT}ingest-tokens/": {"GET": VIEW},
    f"{PROJECT}ingest-tokens/add": {"POST": KEEP},
    f"{PROJECT}ingest-tokens/<uuid:token_id>/revoke": {"POST": KEEP},
    f"{ORGANIZATION}usage/": {"GET": VIEW},
    f"{ORGANIZATION}usage/performance/": {"GET": VIEW},
    f"{ORGANIZATION}ledger/doubts/": {"GET": VIEW},
    f"{ORGANIZATION}usage/exports/": {"GET": VIEW, "POST": VIEW},
    f"{ORGANIZATION}usage/exports/state": {"GET": VIEW},
    f"{ORGANIZATION}usage/exports/<uuid:export_id>/file": {"GET": VIEW},
    f"{ORGANIZATION}usage/views/new/": {"GET": VIEW, "POST": VIEW},
    # Of one that is shared; its author may, too.
    f"{ORGANIZATION}usage/views/<uuid:view_id>/": {"GET": MANAGE, "POST": MANAGE},
    f"{ORGANIZATION}usage/views/<uuid:view_id>/update": {"POST": MANAGE},
    f"{ORGANIZATION}usage/views/<uuid:view_id>/delete": {"POST": MANAGE},
    f"{ORGANIZATION}usage/sessions/": {"GET": VIEW},
    f"{ORGANIZATION}usage/sessions/<uuid:project_id>/": {"GET": VIEW},
    f"{ORGANIZATION}ledger/": {"GET": VIEW},
    f"{ORGANIZATION}prices/": {"GET": VIEW},
    f"{ORGANIZATION}prices/add/": {"GET": MANAGE, "POST": MANAGE},
    f"{ORGANIZATION}prices/end": {"POST": MANAGE},
    f"{ORGANIZATION}prices/withdraw": {"POST": MANAGE},
    f"{ORGANIZATION}prices/discounts/add/": {"GET": MANAGE, "POST": MANAGE},
    f"{ORGANIZATION}prices/discounts/end": {"POST": MANAGE},
    f"{ORGANIZATION}prices/discounts/withdraw": {"POST": MANAGE},
    f"{ORGANIZATION}prices/unpriced/": {"GET": VIEW},
    f"{ORGANIZATION}prices/list/": {"GET": VIEW},
    f"{ORGANIZATION}ledger/completeness": {"GET": VIEW},
    f"{ORGANIZATION}ledger/<uuid:event_id>/": {"GET": VIEW},
    "welcome/<uuid:organization_id>/project/": {"GET": MANAGE, "POST": MANAGE},
    f"{WELCOME}provider-key/": {"GET": MANAGE},
    f"{WELCOME}any-llm-key/": {"GET": KEEP},
    f"{WELCOME}connect/": {"GET": VIEW},
    f"{WELCOME}first-call": {"GET": VIEW},
    # For owners, and only while the organization is to be deleted: nobody in these tests.
    f"{ORGANIZATION}deleting/": {},
}

# What belongs to the person who asks and names nobody else's things, or is open to all by design.
OWN_ROUTES = re.compile(
    r"^(?:$|accounts/|account/|vault/|o/$|o/new/$|invitations/|welcome/$|welcome/start/$|welcome/recovery-key/$"
    r"|healthz$|readyz$|csp-reports$|api/v1/|v1/traces$|\^\(\?:api\|v1\)/)"
)

ROLES: dict[str, frozenset[Ability]] = {
    "owner": frozenset(Ability),
    "admin": frozenset({VIEW, SEAL, KEEP, MANAGE}),
    "developer": frozenset({VIEW, SEAL, KEEP}),
    "contributor": frozenset({VIEW, SEAL}),
    "viewer": frozenset({VIEW}),
}


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def test_every_route_is_in_the_matrix() -> None:
    found = {route for route in routes(get_resolver().url_patterns) if not OWN_ROUTES.match(route)}
    assert found == set(ORGANIZATION_ROUTES)


@dataclass(frozen=True)
class Things:
    """What the routes' placeholders can stand for, all of one organization."""

    workspace: Workspace
    ids: dict[str, str]

    @classmethod
    def of(cls, workspace: Workspace) -> "Things":
        organization = workspace.organization
        provider_key = workspace.add_provider_key("openai", f"sk-{uuid.uuid4()}")
        member = workspace.join("someone", Role.CONTRIBUTOR)
        invitation = Invitation.objects.create(
            organization=organization,
            email=f"{uuid.uuid4().hex}@example.com",
            role=Role.VIEWER,
            token_digest=uuid.uuid4().bytes * 2,
            expires_at=timezone.now() + timedelta(days=1),
        )
        owner = organization.memberships.get(user=workspace.owner.user)
        with tenant_scope(organization):
            view = saved_views.save(page="ledger", query={"period": "7"}, name="A week", is_shared=True, member=owner)
            client = ProjectClient.objects.create(project=workspace.project, name="api")
            event = add_event(workspace.project)
            repricing = preview(EventFilter(), reason="Looking", author_id=None)
            calls = Wanted(content=Content.ROWS, format=Format.CSV, filter=EventFilter(), zone="UTC")
            export = request_export(wanted=calls, expected_rows=1, actor=workspace.owner.user)
            token, _ = make_ingest_token(project=workspace.project, name="collector", actor=workspace.owner.user)
        return cls(
            workspace,
            {
                "organization_id": str(organization.id),
                "project_id": str(workspace.project.id),
                "provider_key_id": str(provider_key.id),
                "client_id": str(client.id),
                "invitation_id": str(invitation.id),
                "event_id": str(event.id),
                "token_id": str(token.id),
                "repricing_id": str(repricing.id),
                "export_id": str(export.id),
                "view_id": str(view.id),
                "membership_id": str(member.user.memberships.get().id),
            },
        )

    def url(self, route: str, others: dict[str, str] | None = None) -> str:
        ids = self.ids | (others or {})
        return "/" + re.sub(r"<\w+:(\w+)>", lambda match: ids[match[1]], route)


@pytest.fixture
def things(acme: Workspace) -> Things:
    return Things.of(acme)


@pytest.fixture
def foreign_things(globex: Workspace) -> Things:
    return Things.of(globex)


def everything(*workspaces: Workspace) -> dict[str, str]:
    """A digest of each table, shared and of these tenants, but for sessions."""
    schemas = ["public", *(workspace.organization.schema_name for workspace in workspaces)]
    digests = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s) AND tablename <> 'accounts_session'",
            [schemas],
        )
        for schema, table in cursor.fetchall():
            cursor.execute(f'SELECT string_agg(t::text, chr(10) ORDER BY t::text) FROM "{schema}"."{table}" t')
            digests[f"{schema}.{table}"] = hashlib.sha256((cursor.fetchone()[0] or "").encode()).hexdigest()
    return digests


def ask(client: Client, method: str, url: str) -> tuple[int, str]:
    """Status and body of a request as a page's module would send it, without a body that would do anything."""
    answer = client.generic(method, url, b"{}", content_type="application/json", headers={"Accept": "application/json"})
    return answer.status_code, answer.getvalue().decode()


def requests() -> Iterator[tuple[str, str, Ability]]:
    for route, methods in ORGANIZATION_ROUTES.items():
        for method, ability in methods.items():
            yield method, route, ability


@pytest.mark.parametrize("role", ROLES)
def test_members_do_what_their_role_may_and_nothing_else(things: Things, role: str) -> None:
    member = things.workspace.join(role, Role(role))
    browser = member.browser()
    before = everything(things.workspace)
    wrong = {}
    for method, route, ability in requests():
        # A page that shows one state of the ledger begins a transaction of its own.
        if method == "GET":
            status, body = ask(browser, method, things.url(route))
        else:
            with transaction.atomic():
                status, body = ask(browser, method, things.url(route))
                transaction.set_rollback(True)
        if ability in ROLES[role]:
            # A page, or what is missing in the empty body; a role's owner still proves who they are for some.
            right = status in {200, 302, 400, 409, 422} or "reauthentication_required" in body or "no_grant" in body
        else:
            right = status == 403 and "not_allowed" in body
        if not right:
            wrong[f"{method} {route}"] = (status, body[:200])
    assert wrong == {}
    assert everything(things.workspace) == before


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_not_do_changes_nothing(things: Things, role: str) -> None:
    browser = things.workspace.join(role, Role(role)).browser()
    before = everything(things.workspace)
    for method, route, ability in requests():
        if ability not in ROLES[role]:
            ask(browser, method, things.url(route))
    assert everything(things.workspace) == before


@pytest.mark.parametrize("role", ROLES)
def test_members_of_another_organization_learn_and_change_nothing(things: Things, globex: Workspace, role: str) -> None:
    browser = globex.join(role, Role(role)).browser()
    before = everything(things.workspace, globex)
    heard = {f"{method} {route}": ask(browser, method, things.url(route))[0] for method, route, _ in requests()}
    assert {request: status for request, status in heard.items() if status != 404} == {}
    assert everything(things.workspace, globex) == before


def test_visitors_are_asked_to_sign_in(things: Things) -> None:
    before = everything(things.workspace)
    for method, route, _ in requests():
        url = things.url(route)
        assert ask(Client(), method, url)[0] == 401, route
        answer = Client().generic(method, url)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/accounts/login/"), route
    assert everything(things.workspace) == before


def test_removed_members_are_strangers(things: Things) -> None:
    member = things.workspace.join("gone", Role.OWNER)
    browser = member.browser()
    assert ask(browser, "GET", things.url(ORGANIZATION))[0] == 200
    Membership.objects.filter(user=member.user).delete()
    before = everything(things.workspace)
    for method, route, _ in requests():
        assert ask(browser, method, things.url(route))[0] == 404, route
    assert everything(things.workspace) == before


@pytest.mark.parametrize(
    "name",
    [
        "project_id",
        "provider_key_id",
        "client_id",
        "invitation_id",
        "membership_id",
        "event_id",
        "token_id",
        "repricing_id",
        "export_id",
        "view_id",
    ],
)
def test_another_organizations_things_are_not_found_in_ones_own(
    things: Things, foreign_things: Things, name: str
) -> None:
    """An owner asks in their own organization for what lies in another."""
    browser = things.workspace.owner.browser()
    before = everything(things.workspace, foreign_things.workspace)
    asked = 0
    for method, route, _ in requests():
        if f":{name}>" in route:
            asked += 1
            status, body = ask(browser, method, things.url(route, {name: foreign_things.ids[name]}))
            # Some look at the body first, which has nothing in it: they have not looked at the thing at all.
            unread = status in {302, 400, 422} or "reauthentication_required" in body
            assert status == 404 or unread, (method, route, status, body[:200])
    assert asked
    assert everything(things.workspace, foreign_things.workspace) == before


def test_other_methods_are_refused(things: Things) -> None:
    browser = things.workspace.owner.browser()
    before = everything(things.workspace)
    for route, methods in ORGANIZATION_ROUTES.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods.keys():
            assert ask(browser, method, things.url(route))[0] in {405, 404}, (method, route)
    assert everything(things.workspace) == before


class TestSdk:
    """The endpoints of programs: a token of one organization's project, the other's things."""

    def test_a_token_opens_its_own_project_only(self, acme: Workspace, globex: Workspace) -> None:
        acme.add_provider_key("groq", "gsk-acme")
        key = globex.add_provider_key("mistral", "globex")
        before = everything(acme, globex)
        sdk = acme.sdk()
        answer = sdk.client.get("/api/v1/provider-keys/mistral", headers=sdk.bearer)
        assert answer.status_code == 404
        event = {
            "id": str(uuid.uuid4()),
            "provider_key_id": str(key.id),
            "provider": "mistral",
            "model": "m",
            "data": {"input_tokens": "1", "output_tokens": "1"},
        }
        answer = sdk.client.post("/api/v1/usage-events/", event, content_type="application/json", headers=sdk.bearer)
        assert answer.status_code == 422
        assert everything(acme, globex) == before

    @pytest.mark.parametrize("route", ["keyset", "provider-keys", "rotation"])
    def test_a_programs_token_is_no_session(self, things: Things, route: str) -> None:
        sdk = things.workspace.sdk()
        headers = {**sdk.bearer, "Accept": "application/json"}
        assert sdk.client.get(things.url(f"{PROJECT}{route}"), headers=headers).status_code == 401

    def test_a_session_is_no_programs_token(self, alice: Member) -> None:
        assert alice.browser().get("/api/v1/provider-keys/openai").status_code == 401
