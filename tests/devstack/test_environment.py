import stat
from pathlib import Path

import pytest

from config.env import Environment, read_env_file
from devstack.environment import KEY_RINGS, write_environment


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dev.env"


def test_the_file_is_what_settings_want_and_for_this_user_only(path: Path) -> None:
    write_environment(
        path, port=8123, database_url="postgresql://x", database_owner_url="postgresql://o", redis_url="redis://y"
    )

    env = Environment({}, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert env.boolean("DEBUG", default=False)
    assert env.text("SITE_URL") == "http://localhost:8123"
    assert (env.text("DATABASE_URL"), env.text("REDIS_URL")) == ("postgresql://x", "redis://y")
    assert env.text("DATABASE_OWNER_URL") == "postgresql://o"
    assert env.text("EMAIL_URL") == f"file://{path.parent}/mail"
    assert len(env.text("SECRET_KEY")) >= 50
    assert {len(env.key_ring(name).current[1]) for name in KEY_RINGS} == {32}
    assert len({env.text(name) for name in KEY_RINGS}) == len(KEY_RINGS)


def test_secrets_and_own_lines_stay_and_the_rest_is_renewed(path: Path) -> None:
    write_environment(path, port=8000, database_url="postgresql://old", database_owner_url="x", redis_url="redis://old")
    before = read_env_file(path)
    path.chmod(0o644)
    path.write_text(path.read_text() + "SPARE_SCHEMAS=1\nEMAIL_URL=smtp://mail.example:25\n")

    write_environment(path, port=9000, redis_url="redis://new")

    after = read_env_file(path)
    secrets = ("SECRET_KEY", *KEY_RINGS)
    assert [after[name] for name in secrets] == [before[name] for name in secrets]
    assert after["SPARE_SCHEMAS"] == "1"
    assert after["EMAIL_URL"] == "smtp://mail.example:25"
    assert after["SITE_URL"] == "http://localhost:9000"
    assert after["REDIS_URL"] == "redis://new"
    assert not {"DATABASE_URL", "DATABASE_OWNER_URL"} & after.keys()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_that_a_newer_version_wants_is_added(path: Path) -> None:
    write_environment(path, port=8000)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("AUTH_PEPPERS")))
    kept = read_env_file(path)

    write_environment(path, port=8000)

    after = read_env_file(path)
    assert after.pop("AUTH_PEPPERS").startswith("d1:")
    assert after == kept


def test_a_failed_write_leaves_the_old_file_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_environment(path, port=8000)
    before = path.read_bytes()

    def full_disk(_handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_environment(path, port=9000)

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
