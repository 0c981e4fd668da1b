"""What every command does before anything else."""

import logging
import os
import pathlib
from collections.abc import Sequence

import jax
from absl import app

CACHE = pathlib.Path(__file__).parents[2] / "runs" / "cache"


def begin(argv: Sequence[str], keep_programs: bool = True) -> None:
    """Refuses what is no flag, and lets compiled programs outlive this process.

    Args:
      argv: The program's name, then whatever absl did not take for a flag.
      keep_programs: Whether to keep them in `runs/cache`, for this process, its workers and the
        next run; not for commands that time compilation. JAX_COMPILATION_CACHE_DIR goes before it.

    Raises:
      app.UsageError: there is more than the program's name: a typo would be ignored silently.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments {argv[1:]}; flags start with --.")
    # JAX tells which accelerators it did not find.
    logging.getLogger("jax").setLevel(logging.WARNING)
    if keep_programs and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
        jax.config.update("jax_compilation_cache_dir", str(CACHE))
