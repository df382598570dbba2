"""Files that only their owner may read: the stack's secrets, and what the demo's user keeps."""

import os
import tempfile
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Writes a file with mode 0600, whole or not at all. Its folder must exist."""
    # mkstemp's file has mode 0600; in the same folder, so that the rename is atomic.
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink()
        raise
