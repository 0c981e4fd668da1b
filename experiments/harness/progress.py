"""Progress of a run: a bar on a terminal, a line for every finished piece of work elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm


@contextlib.contextmanager
def progress(total: int, title: str = "") -> Iterator[Callable[..., None]]:
    """Shows what is done, time spent and time left.

    Args:
      total: Pieces of work.
      title: Beside the bar.

    Yields:
      `bar(finished=1, latest="")`: counts finished pieces and names the latest.
    """
    began, done = time.monotonic(), 0
    with tqdm(total=total, desc=title, disable=not sys.stderr.isatty()) as shown:

        def bar(finished: int = 1, latest: str = "") -> None:
            nonlocal done
            done += finished
            shown.set_postfix_str(latest, refresh=False)
            shown.update(finished)
            if shown.disable and latest:
                spent = time.monotonic() - began
                print(f"[{spent:4.0f} s] {done} of {total}: {latest}", flush=True)

        yield bar
