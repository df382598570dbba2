"""Stands between the browser and the web server and keeps every byte, of both directions.

What a browser's own tools report leaves some things out, such as beacons and violation reports. Here nothing is.
"""

import asyncio
import itertools
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from devstack.servers import free_port

HOST = "127.0.0.1"
CHUNK = 65_536


class Relay:
    """Passes connections from its `port` on to `target`. Each leaves a file in `sent` and one in `received`, as the
    browser sees it. A context manager."""

    def __init__(self, target: int, folder: Path) -> None:
        self.port = free_port()
        self.sent, self.received = folder / "sent", folder / "received"
        for place in (self.sent, self.received):
            place.mkdir(parents=True)
        self._target = target
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        name = f"{next(self._numbers):05}"
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.close()
            return
        # Unbuffered: what was sent is on disk before it is passed on.
        with (self.sent / name).open("wb", 0) as sent, (self.received / name).open("wb", 0) as received:
            try:
                await asyncio.gather(
                    _pass_on(reader, server_writer, sent),
                    _pass_on(server_reader, writer, received),
                )
            finally:
                writer.close()
                server_writer.close()

    async def _stop(self) -> None:
        if self._server:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._connected, HOST, self.port)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: BinaryIO) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            copy.write(data)
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()
