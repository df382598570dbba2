"""The rules of the layout that no tool knows (docs/architecture.md)."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def python_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


def test_platform_is_not_a_package() -> None:
    """`platform` is a module of the standard library; a package of that name would hide it from everything."""
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not list((ROOT / "platform").glob("*.py"))


def test_packages_below_platform_hide_no_standard_module() -> None:
    names = {path.name for path in (ROOT / "platform").iterdir() if path.is_dir()}
    assert names.isdisjoint(sys.stdlib_module_names)


def test_the_standard_librarys_platform_is_the_one_imported() -> None:
    program = "import config.settings, platform; print(platform.python_implementation())"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == sys.implementation.name.capitalize().replace("Cpython", "CPython")


def test_tenants_are_entered_through_tenant_scope_only() -> None:
    """`with organization:` and a schema set on the connection are django-tenants' ways; both leak between threads."""
    pattern = re.compile(r"with (?:self\.)?(?:organization|tenant)\s*:|connection\.set_(?:schema|tenant)")
    found = [str(path.relative_to(ROOT)) for path in python_files() if pattern.search(path.read_text(encoding="utf-8"))]
    allowed = {"tests/test_layout.py", "tests/tenancy/test_holes.py"}
    assert set(found) <= allowed


def test_arrows_run_down() -> None:
    """Which app may import which. A new arrow is a decision: make it here and in docs/architecture.md."""
    allowed = {
        "accounts": set(),
        "organizations": {"accounts", "audit", "pricing"},
        "audit": {"accounts"},
        "directory": {"organizations"},
        "pricing": {"accounts"},
        "projects": {"accounts", "audit", "directory", "organizations"},
        "vault": {"accounts", "audit", "directory", "ledger", "organizations", "pricing", "projects"},
        "activity": {"organizations"},
        "ledger": {"activity", "audit", "directory", "organizations", "pricing"},
        "analytics": {"activity", "audit", "directory", "ledger", "organizations", "pricing", "projects", "vault"},
        "members": {"accounts", "analytics", "audit", "organizations", "projects", "vault"},
        "onboarding": {"accounts", "directory", "ledger", "organizations", "projects", "vault"},
        "sdk": {"directory", "projects", "vault"},
        "usage": {
            "accounts",
            "analytics",
            "audit",
            "directory",
            "ledger",
            "organizations",
            "pricing",
            "projects",
            "vault",
        },
    }
    arrows: dict[str, set[str]] = {app: set() for app in allowed}
    for path in (ROOT / "apps").rglob("*.py"):
        app = path.relative_to(ROOT / "apps").parts[0]
        found = set(re.findall(r"^\s*(?:from|import) apps\.(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        if app in arrows:
            arrows[app] |= found - {app}
    assert {app: targets - allowed[app] for app, targets in arrows.items() if targets - allowed[app]} == {}


def test_platform_code_imports_no_app_but_through_the_demo() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "platform").rglob("*.py")
        if re.search(r"^(?:from|import) apps\.", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert set(found) == {f"platform/devstack/demo{part}.py" for part in ("", "_calls", "_usage")}
