"""What every binary does with its command line before anything else."""

from collections.abc import Sequence

from absl import app


def refuse_arguments(argv: Sequence[str]) -> None:
    """Raises if something on the command line is no flag: a typo would be ignored silently.

    Args:
      argv: The program's name, then whatever absl did not take for a flag.

    Raises:
      app.UsageError: there is more than the program's name.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments {argv[1:]}; flags start with --.")
