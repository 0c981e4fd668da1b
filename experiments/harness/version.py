"""Which code made a result."""

import functools
import os
import pathlib
import subprocess


@functools.cache
def code_version() -> str:
    """The commit of this working tree, `-dirty` where its Python differs.

    Outside git, as on a lent machine, what CODE_VERSION says, or `unknown`.
    """
    try:
        commit = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("status", "--porcelain", "--", "*.py")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("CODE_VERSION", "unknown")
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
