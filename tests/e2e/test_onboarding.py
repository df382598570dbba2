"""From signing up to the first call: every step of somebody new, with the real SDK at its end."""

import html
import re
import secrets
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.contract.fakes import answer_to
from tests.e2e.client import Sdk, add_any_llm_key, real_sdk
from tests.e2e.ground import Ground
from tests.e2e.keys import add_recovery_key
from tests.e2e.people import People, Person
from tests.e2e.project_pages import UUID, project_at


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with real_sdk(tmp_path_factory.mktemp("sdk")) as sdk:
        yield sdk


def test_from_signing_up_to_the_first_call(
    people: People, ground: Ground, sdk: Sdk, axe: Callable[[Page], None]
) -> None:
    word = secrets.token_hex(4)
    nora = people("nora")
    nora.sign_up(f"nora-{word}@example.com", f"nora counts the boats {word}", "Nora’s Harbour")
    nora.verify_email()

    nora.sees("Save your encryption recovery key")
    axe(nora.page)
    save_recovery_key(nora)

    nora.sees("Name your first project")
    axe(nora.page)
    nora.fill(name="Assistant")
    nora.press("Create the project")

    nora.sees("Add a provider key")
    provider_key = f"sk-{secrets.token_urlsafe(24)}"
    ground.canaries.add("first provider key", provider_key)
    nora.page.get_by_role("searchbox").fill("OPENAI_API")
    nora.page.get_by_role("radio", name=re.compile("^OpenAI ")).check()
    axe(nora.page)
    nora.page.get_by_label("OpenAI key", exact=True).fill(provider_key)
    nora.press("Seal and continue")

    nora.sees("Store your ANY_LLM_KEY")
    nora.press("Show the ANY_LLM_KEY")
    shown = nora.page.locator(".secret-value")
    expect(shown).to_have_text(re.compile(r"^ANY\.v1\."))
    key = shown.inner_text()
    add_any_llm_key(ground.canaries, key)
    axe(nora.page)
    nora.page.get_by_role("link", name="I stored it, continue").click()

    nora.sees("Make the first call")
    title = nora.page.locator("[data-waiting-title]")
    expect(title).to_have_text("Waiting for the first call")
    axe(nora.page)
    nora.press("Put your ANY_LLM_KEY in")
    install = nora.page.locator("pre", has_text="ANY_LLM_KEY=")
    expect(install).to_contain_text(key)
    variables = dict(re.findall(r"^export (\w+)=(\S*)$", install.inner_text(), re.MULTILINE))
    assert variables == {"ANY_LLM_PLATFORM_URL": f"{ground.url}/api/v1", "ANY_LLM_KEY": key}
    program = nora.page.locator("pre", has_text="from any_llm import completion").first.inner_text()
    printed = sdk.run(html.unescape(program), variables)
    assert printed.strip() == answer_to("Say hello.")
    [call] = sdk.provider.calls
    assert call.authorization == f"Bearer {provider_key}"

    # The page notices by itself.
    expect(title).to_have_text("The call has arrived")
    expect(nora.page.locator(".lamp-lit")).to_have_count(2)
    facts = nora.page.locator("[data-call]")
    expect(facts).to_contain_text("openai, gpt-4o-mini")
    expect(facts).to_contain_text(f"{call.input_tokens:,} in, {call.output_tokens:,} out")
    expect(facts).to_contain_text(re.compile(r"0\.0\d+ USD"))
    axe(nora.page)
    nora.page.get_by_role("link", name="Go to your projects").click()
    nora.sees("Projects")
    # All is done: the way in leads past the first steps from now on.
    nora.visit("/welcome/")
    nora.sees("Projects")


def save_recovery_key(person: Person) -> None:
    """Made, and two of its groups typed, once wrong."""
    person.press("Create recovery key")
    shown = person.page.locator("[data-recovery-text]")
    expect(shown).to_have_text(re.compile("^RK1-"))
    key = shown.inner_text()
    add_recovery_key(person.ground.canaries, person.email, key)
    with person.page.expect_download() as download:
        person.press("Download")
    assert key in download.value.path().read_text()
    groups = key.split("-")[1:]
    fields = person.page.locator("input[data-group]")
    fields.nth(0).fill("0000" if groups[int(fields.nth(0).get_attribute("data-group") or 0)] != "0000" else "1111")
    fields.nth(1).fill(groups[int(fields.nth(1).get_attribute("data-group") or 0)])
    person.press("I saved it")
    expect(fields.nth(0)).to_have_attribute("aria-invalid", "true")
    # Until then, nothing has changed.
    assert "POST /vault/unlock-methods" not in person.paths
    fields.nth(0).fill(groups[int(fields.nth(0).get_attribute("data-group") or 0)].lower())
    person.press("I saved it")
    person.page.wait_for_url(lambda url: "/recovery-key/" not in url)


def test_steps_can_be_left_and_come_back_to(people: People, ground: Ground) -> None:
    """A person who skips everything finds it again, and each page of hers says what is missing."""
    otto = people.signed_in("otto")
    otto.visit("/o/new/")
    otto.fill(name="Otto’s Workshop")
    otto.press("Create the organization")
    otto.page.wait_for_url(re.compile(rf"/o/{UUID}/"))
    otto.visit("/welcome/")
    otto.sees("Name your first project")
    otto.skip_onboarding()
    expect(otto.page.get_by_role("heading", name="Make your first project")).to_be_visible()
    otto.visit("/welcome/")
    otto.fill(name="Assistant")
    otto.press("Create the project")
    otto.page.get_by_role("link", name="Add one later").click()
    project = project_at(otto)
    otto.page.get_by_role("link", name="I stored it, continue").click()
    expect(otto.page.get_by_text("This project has no provider key yet")).to_be_visible()
    project.open_key_page()
    expect(otto.page.get_by_role("button", name="Make the key")).to_be_visible()
