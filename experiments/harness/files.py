"""Files that are whole or not there: a kill during a write leaves what was there before."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A hidden file beside `path`, with its ending, that takes its place when the block is done.

    Args:
      path: Where the whole file shall lie; its folder is made if needed.

    Yields:
      Where to write. An error in the block removes it and leaves `path` as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a whole file."""
    with replacing(path) as temporary:
        temporary.write_text(text)
