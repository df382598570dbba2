import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def documented(heading: str) -> set[str]:
    text = (ROOT / "docs" / "settings.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE))


def test_every_setting_of_the_application_is_documented() -> None:
    code = (ROOT / "platform" / "config" / "settings.py").read_text()
    read = set(re.findall(r'\benv\.\w+\(\s*"([A-Z_]+)"', code))
    assert read == documented("The application")
    assert {"SECRET_KEY", "DATABASE_URL", "LOG_LEVEL"} <= read


def test_defaults_are_as_documented() -> None:
    code = (ROOT / "platform" / "config" / "settings.py").read_text()
    text = (ROOT / "docs" / "settings.md").read_text()
    for name, default in re.findall(r'\benv\.\w+\("([A-Z_]+)", (?:default=)?"?([^")]+)"?\)', code):
        if not default.startswith("hint"):
            row = re.search(rf"^\| `{name}` \| `([^`]*)` \|", text, re.MULTILINE)
            assert row is not None
            assert row[1].lower() == default.lower()


def test_every_variable_of_the_procfile_is_documented() -> None:
    variables = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", (ROOT / "Procfile").read_text()))
    assert set(variables) == documented("The processes")
    text = (ROOT / "docs" / "settings.md").read_text()
    assert all(f"| `{name}` | `{default}` |" in text for name, default in variables.items())
