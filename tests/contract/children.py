"""Child processes of the contract tests: ended by pid, whatever happens, with the end of their log in every failure."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

ANSWERING = Path(__file__).parent / "drivers" / "answering.py"
ANSWER_SECONDS = 60
STOP_SECONDS = 10


class ChildError(Exception):
    """A child ended, or did not answer in time."""


class RemoteError(Exception):
    """The other side's exception: `kind` is its class's name, the text is its own."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class Child:
    """A process in a session of its own, so that it can be ended with whatever it started."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path, pipes: bool = False
    ) -> None:
        self.log = log
        pipe = subprocess.PIPE if pipes else None
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output,
                start_new_session=True,
            )

    def failure(self, what: str) -> ChildError:
        status = self.process.poll()
        state = "still runs" if status is None else f"ended with status {status}"
        tail = self.log.read_text(errors="replace")[-4_000:]
        return ChildError(f"{what}; the process {state}. The end of its log:\n{tail}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


class Answering(Child):
    """A process that runs one of our files behind drivers/answering.py."""

    def __init__(self, python: Path, file: Path, *, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        # -s, -P, and no variables of ours but those given: nothing but the environment's own packages is importable.
        command = [str(python), "-s", "-P", str(ANSWERING), str(file)]
        super().__init__(command, environment=environment, folder=folder, log=log, pipes=True)
        self._buffer = b""

    @classmethod
    def beside_us(cls, file: Path, *, environment: Mapping[str, str], folder: Path, log: Path) -> Self:
        """With the Python that runs the tests."""
        return cls(Path(sys.executable), file, environment=environment, folder=folder, log=log)

    def ask(self, do: str, **arguments: Any) -> Any:
        """The command's value; RemoteError for its exception, ChildError after 60 seconds without an answer."""
        assert self.process.stdin is not None
        request = json.dumps({"do": do, "with": arguments})
        try:
            self.process.stdin.write(request.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self.failure(f"{do} could not be asked") from None
        answer = json.loads(self._line(do))
        if "error" in answer:
            raise RemoteError(answer["error"], answer["text"])
        return answer["value"]

    def _line(self, do: str) -> bytes:
        assert self.process.stdout is not None
        deadline = time.monotonic() + ANSWER_SECONDS
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(deadline - time.monotonic(), 0))
            data = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            if not data:
                raise self.failure(f"{do} was not answered")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
