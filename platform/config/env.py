"""Settings from the environment, loud when one is missing.

A value is looked for in this order:

1. the variable itself (`SECRET_KEY`);
2. the file named by `<VARIABLE>_FILE` (`SECRET_KEY_FILE=/run/secrets/key`), as container secrets are mounted;
3. the environment file: `ENV_FILE`, or `var/dev.env`, which the development stack writes;
4. the default in the code, where there is one.
"""

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).resolve().parents[2]


class KeyRing:
    """Named secrets of one purpose: the first one makes new values, all of them check old ones.

    `current` is the (id, secret) pair for new values; `get(id)` is a secret or None.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._keys = keys
        self.current = next(iter(keys.items()))

    def get(self, key_id: str) -> bytes | None:
        return self._keys.get(key_id)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(self._keys.items())


class Environment:
    def __init__(self, variables: Mapping[str, str], env_file: Path | None) -> None:
        self._variables = variables
        self._file = read_env_file(env_file) if env_file and env_file.is_file() else {}

    def _find(self, name: str) -> str | None:
        if name in self._variables:
            return self._variables[name]
        if path := self._variables.get(f"{name}_FILE"):
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ImproperlyConfigured(f"{name}_FILE names {path}, which can't be read: {error}") from error
        return self._file.get(name)

    def text(self, name: str, default: str | None = None, *, hint: str = "") -> str:
        """The value of `name`; ImproperlyConfigured, naming it, when it is nowhere and has no default."""
        value = self._find(name)
        if value is None:
            value = default
        if value is None:
            raise ImproperlyConfigured(
                f"{name} is not set. Set it in the environment, or {name}_FILE to a file that holds it."
                + (f" {hint}" if hint else "")
            )
        return value

    def integer(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        try:
            return int(value)
        except ValueError:
            raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None

    def boolean(self, name: str, default: bool) -> bool:
        value = self.text(name, str(default)).lower()
        if value not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
            raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")
        return value in {"1", "true", "yes", "on"}

    def words(self, name: str, default: str | None) -> list[str]:
        """A list: separated by commas, blanks around the items dropped."""
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

    def key_ring(self, name: str) -> KeyRing:
        """`id:base64[,id:base64…]`, each secret of 32 bytes or more. The first is used for new values."""
        keys: dict[str, bytes] = {}
        for item in self.words(name, None):
            key_id, _, encoded = item.partition(":")
            try:
                secret = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                secret = b""
            if not key_id or len(secret) < 32 or key_id in keys:
                raise ImproperlyConfigured(
                    f"{name} must be id:base64[,id:base64…] with distinct ids and at least 32 bytes each."
                )
            keys[key_id] = secret
        if not keys:
            raise ImproperlyConfigured(f"{name} holds no key.")
        return KeyRing(keys)


def read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines; blank lines and lines that start with # are passed over."""
    values = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith("#"):
            values[name] = value
    return values


def from_process() -> Environment:
    """The environment of this process, with the environment file behind it."""
    return Environment(os.environ, Path(os.environ.get("ENV_FILE", ROOT / "var" / "dev.env")))
