"""What the pages for new people say about any-llm: its providers, and the programs they are shown to copy."""

import ast
import html
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.template.loader import render_to_string
from django.utils.html import strip_tags

from apps.onboarding.views import SDK
from apps.vault.providers import BY_NAME, PROVIDERS, Key
from tests.contract.environments import python_of
from tests.contract.releases import SDKS, ClientRelease, SdkRelease, each
from tests.contract.scene import Running, Tenant

NEWEST = SDKS[-1]


@pytest.fixture(scope="module")
def package() -> Path:
    """The release's own source. It is read, not imported: each provider would want a library of its own."""
    [found] = python_of(NEWEST).parent.parent.glob("lib/python*/site-packages/any_llm")
    return found


def provider_classes(package: Path) -> Iterator[tuple[str, ast.ClassDef]]:
    for path in sorted((package / "providers").glob("*/*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and "PROVIDER_NAME" in constants(node):
                yield constants(node)["PROVIDER_NAME"], node


def constants(class_: ast.ClassDef) -> dict[str, str]:
    return {
        target.id: statement.value.value
        for statement in class_.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name) and isinstance(statement.value.value, str)
    }


def test_every_provider_of_the_release_can_be_chosen(package: Path) -> None:
    [names] = [
        node
        for node in ast.parse((package / "constants.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "LLMProvider"
    ]
    # For mzai, SDKs send their token in place of a provider key: none is ever fetched.
    assert set(constants(names).values()) - {"mzai"} == set(BY_NAME)
    assert len(BY_NAME) == len(PROVIDERS)


def test_variables_are_those_of_the_release(package: Path) -> None:
    for name, class_ in provider_classes(package):
        if name in BY_NAME:
            variable = constants(class_)["ENV_API_KEY_NAME"].removesuffix("/GOOGLE_API_KEY")
            assert BY_NAME[name].variable == variable.replace("None", ""), name


def test_who_needs_no_key_is_what_the_release_says(package: Path) -> None:
    """A provider may go without when it checks for itself, and the check lets an empty key pass."""
    lenient = set()
    for name, class_ in provider_classes(package):
        checks = [
            node for node in class_.body if isinstance(node, ast.FunctionDef) and node.name == "_verify_and_set_api_key"
        ]
        if checks and not any(isinstance(node, ast.Raise) for check in checks for node in ast.walk(check)):
            lenient.add(name)
    # These two take credentials of AWS instead, and refuse only where there are neither.
    lenient |= {"bedrock", "sagemaker"}
    assert {provider.name for provider in PROVIDERS if provider.key is not Key.REQUIRED} == lenient


def test_the_examples_name_a_release_that_is_tested() -> None:
    assert NEWEST.version == SDK


def snippet(name: str) -> str:
    """As it is copied from the page."""
    context = {"provider": BY_NAME["openai"], "sdk": SDK, "platform_url": "http://localhost/api/v1"}
    return html.unescape(strip_tags(render_to_string(f"onboarding/snippets/{name}.html", context))).strip()


@pytest.mark.parametrize("sdk", each([NEWEST]), indirect=True)
@pytest.mark.parametrize("name", ["python", "shell"])
def test_the_examples_work(sdk: Running[SdkRelease], tenant: Tenant, name: str, tmp_path: Path) -> None:
    variables = {"ANY_LLM_KEY": tenant.key, "OPENAI_BASE_URL": tenant.api_base}
    environment = {**sdk.environment, **variables, "PATH": f"{sdk.python.parent}:/usr/bin:/bin"}
    python = [str(sdk.python), "-c", snippet("python")]
    command = python if name == "python" else ["sh", "-c", snippet("shell")]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Say hello." in done.stdout
    [row] = tenant.new_usage()
    assert (row["provider"], row["price_status"]) == ("openai", "priced")


def test_the_platforms_address_and_key_are_exported() -> None:
    exported = dict(re.findall(r"^export (\w+)=(.*)$", snippet("install"), re.MULTILINE))
    assert exported == {"ANY_LLM_PLATFORM_URL": "http://localhost/api/v1", "ANY_LLM_KEY": "ANY.v1.…"}


def test_a_local_provider_is_fetched_as_empty(client: Running[ClientRelease], tenant: Tenant) -> None:
    """Nothing is stored for it, and clients open a box nevertheless."""
    made = tenant.platform.control.ask("make_workspace", provider_keys={"ollama": ""})
    assert client.driver.ask("fetch", key=made["key"], provider="ollama")["api_key"] == ""
