"""What a program does with `any-llm-platform-client`. Runs in the release's own environment (answering.py)."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

from any_llm_platform_client import AnyLLMPlatformClient  # type: ignore[import-not-found]

kept: list[Any] = []


def client(**arguments: str) -> Any:
    return AnyLLMPlatformClient(os.environ["ANY_LLM_PLATFORM_URL"], **arguments)


def shown(key: Any) -> dict[str, str | None]:
    return {
        "api_key": key.api_key,
        "provider_key_id": str(key.provider_key_id),
        "project_id": str(key.project_id),
        "provider": key.provider,
        "created_at": key.created_at.isoformat(),
        "updated_at": key.updated_at and key.updated_at.isoformat(),
    }


def fetch(key: str, provider: str, **arguments: str) -> dict[str, str | None]:
    return shown(client(**arguments).get_decrypted_provider_key(key, provider))


def fetch_async(key: str, provider: str) -> dict[str, str | None]:
    return shown(asyncio.run(client().aget_decrypted_provider_key(key, provider)))


def threads(key: str, provider: str, times: int) -> list[dict[str, str | None]]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: fetch(key, provider), range(times)))


def gather(key: str, provider: str, times: int) -> list[dict[str, str | None]]:
    async def run() -> list[Any]:
        shared = client()
        return await asyncio.gather(*(shared.aget_decrypted_provider_key(key, provider) for _ in range(times)))

    return [shown(found) for found in asyncio.run(run())]


def fetch_and_keep(key: str, provider: str) -> dict[str, str | None]:
    """Keeps the client, for `fetch_again` to go on with."""
    kept[:] = [client()]
    return fetch_again(key, provider)


def fetch_again(key: str, provider: str) -> dict[str, str | None]:
    return shown(kept[0].get_decrypted_provider_key(key, provider))


COMMANDS = {
    "version": lambda: version("any-llm-platform-client"),
    "fetch": fetch,
    "fetch_async": fetch_async,
    "threads": threads,
    "gather": gather,
    "fetch_and_keep": fetch_and_keep,
    "fetch_again": fetch_again,
}
