"""`var/dev.env`: the settings of this clone's development stack, and secrets made once for it."""

import base64
import secrets
from pathlib import Path

from config.env import read_env_file
from devstack.private_file import write_private

KEY_RINGS = ("SDK_TOKEN_KEYS", "AUTH_PEPPERS", "VAULT_AT_REST_KEYS", "PRELOGIN_KEYS")
HEADER = """\
# Written by `make up`. Secrets stay what they are: without them, what the database holds can't be read.
# Lines of your own are kept. config/env.py reads this file where the environment itself has no value.
"""


# What of the Procfile acts as the database's owner, and so is given DATABASE_OWNER_URL.
OWNERS = ("release", "worker")


def write_environment(
    path: Path,
    *,
    port: int,
    database_url: str | None = None,
    database_owner_url: str | None = None,
    redis_url: str | None = None,
) -> None:
    """Write the file with mode 0600, all or nothing, around the secrets and own lines it has already.

    Mail goes to the folder `mail` beside it, unless an own line has EMAIL_URL: /dev/mail/ shows it.
    `database_url`, `database_owner_url`, `redis_url`: of the embedded servers; None leaves the variable out, for the
    user's own value in the environment.
    """
    present = read_env_file(path) if path.is_file() else {}
    made = {"SECRET_KEY": secrets.token_urlsafe(50), "EMAIL_URL": f"file://{path.parent / 'mail'}"}
    for name in KEY_RINGS:
        made[name] = f"d1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    current = {"DEBUG": "true", "SITE_URL": f"http://localhost:{port}"}
    urls = {"DATABASE_URL": database_url, "DATABASE_OWNER_URL": database_owner_url, "REDIS_URL": redis_url}
    values = {
        **made,
        **{name: value for name, value in present.items() if name not in urls},
        **current,
        **{name: url for name, url in urls.items() if url is not None},
    }
    text = HEADER + "".join(f"{name}={value}\n" for name, value in values.items())
    write_private(path, text)
