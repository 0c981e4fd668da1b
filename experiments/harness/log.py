"""What every experiment writes: resumable raw results, summary tables, progress.

Raw results are JSON lines, one finished piece of work each; tables are made from them alone.
"""

import contextlib
import csv
import gzip
import json
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from experiments.harness.version import code_version

Record = dict[str, Any]

COLUMNS = (
    "environment",
    "observation",
    "mode",
    "horizon",
    "planner",
    "goals",
    "success",
    "success_low",
    "success_high",
    "success_any_time",
    "predicted_success",
    "median_seconds",
    "model_forward",
    "model_backward",
)
"""Columns of every `summary.csv`; shares in [0, 1], times in seconds."""

FLOOR, CEILING = "zero_action", "ground_truth"
"""Planner names of the rows that bound the others."""

LOGS = "results*.jsonl*"
"""Pattern of the logs of a folder that several processes may share, packed ones included."""

_PERCENT = {"success_any_time", "predicted_success"}
_WHOLE = {"environment", "planner", "success"}
_HIDDEN = {"success_low", "success_high"}


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a success probability.

    Args:
      successes: Between 0 and `trials`.
      trials: May be 0: nothing is known, the interval is (0, 1).
      z: Standard normal quantile; 1.96 for 95%.

    Returns:
      `(low, high)` in [0, 1].
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"wilson_interval: {successes} successes in {trials} trials.")
    if trials == 0:
        return 0.0, 1.0
    share, spread = successes / trials, z * z / trials
    centre = share + spread / 2
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4)
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    # Rounding would leave 0 of n a hair above 0, and n of n a hair below 1.
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


def _plain(value: Any) -> Any:
    """Numpy and jax values as plain data, for `json`."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, pathlib.PurePath):
        return str(value)
    raise TypeError(f"A result cannot hold {type(value).__name__}: {value!r:.60}.")


class ResultLog:
    """A JSON-lines file that survives a kill and knows what it holds.

    Beside it may lie an archive of the same name with `.gz`, which is read first and never changed
    but by `pack`.

    Attributes:
      path: The file; its folder is made if needed.
      key_fields: Fields that identify a record.
      records: All complete records, in the order in which they were finished, as read from JSON;
        of several with one key the last.
    """

    def __init__(
        self,
        path: pathlib.Path | str,
        key_fields: Sequence[str] = (),
        others: Iterable[pathlib.Path] = (),
    ) -> None:
        """Reads the complete lines of an existing file and cuts off a torn last one.

        Args:
          path: Where records are appended.
          key_fields: Fields that identify a record.
          others: Logs that other processes may be writing; read, never changed.

        Raises:
          ValueError: A line before the last is not a record, so the file is not such a log.
        """
        self.path = pathlib.Path(path)
        self.key_fields = tuple(key_fields)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.records: list[Record] = []
        for other in _in_order({*others, archive(self.path)} - {self.path}):
            self.records += self._records(other, _complete_lines(other))
        self.records += self._read() if self.path.exists() else []
        self._by_key = {self._key(r): r for r in self.records}
        if self.key_fields:
            # Two runs at once may have done the same work twice.
            self.records = list(self._by_key.values())

    def _read(self) -> list[Record]:
        complete = _complete_lines(self.path)
        if self.path.stat().st_size > len(complete):
            # Another process may be at its next line: only what stays torn is cut off.
            time.sleep(0.1)
            complete = _complete_lines(self.path)
            with self.path.open("r+b") as file:
                if file.seek(0, 2) > len(complete):
                    file.truncate(len(complete))
        return self._records(self.path, complete)

    def _records(self, path: pathlib.Path, complete: bytes) -> list[Record]:
        records = []
        for number, line in enumerate(complete.decode().splitlines(), 1):
            try:
                record = json.loads(line)
                self._key(record)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f"{path}, line {number} is no result with {self.key_fields}: {error!r}. "
                    "Delete the line, or move the file away."
                ) from error
            records.append(record)
        return records

    def _key(self, record: Record) -> tuple[Any, ...]:
        return tuple(record[field] for field in self.key_fields)

    def append(self, record: Record) -> None:
        """Writes one record and the code's commit; a kill loses at most the one being written."""
        line = json.dumps({"code": code_version(), **record}, default=_plain)
        kept = json.loads(line)
        key = self._key(kept)
        with self.path.open("a") as file:
            file.write(line + "\n")
        self.records.append(kept)
        self._by_key[key] = kept

    def pack(self) -> None:
        """Moves all records into the archive; a kill on the way loses none."""
        # A kill between the last two lines leaves every record twice.
        lines = dict.fromkeys(json.dumps(record) + "\n" for record in self.records)
        packed, target = gzip.compress("".join(lines).encode(), mtime=0), archive(self.path)
        temporary = target.with_name("packing.tmp")
        temporary.write_bytes(packed)
        temporary.replace(target)
        self.path.unlink(missing_ok=True)

    def lookup(self, **key: Any) -> Record | None:
        """The latest record with exactly these key fields, or None."""
        if set(key) != set(self.key_fields):
            raise ValueError(f"Give the key fields {self.key_fields}, got {tuple(key)}.")
        return self._by_key.get(self._key(key))

    def done(self, **key: Any) -> bool:
        """Whether a record with exactly these key fields is there."""
        return self.lookup(**key) is not None


def archive(path: pathlib.Path) -> pathlib.Path:
    """Where the records of a log lie packed."""
    return path.with_name(path.name + ".gz")


def read_results(folder: pathlib.Path) -> list[Record]:
    """All records of a folder's logs; of several of one piece of work the last is to count."""
    paths = _in_order(folder.glob(LOGS))
    return [json.loads(line) for p in paths for line in _complete_lines(p).splitlines()]


def _in_order(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """The logs among them that exist, by name, each after its archive."""
    logs = (p for p in paths if p.exists() and p.name.endswith((".jsonl", ".jsonl.gz")))
    return sorted(logs, key=lambda p: (p.name.removesuffix(".gz"), p.suffix != ".gz"))


def _complete_lines(path: pathlib.Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return content[: content.rfind(b"\n") + 1]


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a whole file; a kill during the write leaves the previous one."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def write_summary(path: pathlib.Path | str, rows: Sequence[Record]) -> None:
    """Writes one row per cell: the columns every experiment has, then the rows' own.

    Args:
      path: The csv file.
      rows: A missing or None value leaves its cell blank.
    """
    extra = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *extra], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _shown(name: str, row: Record) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if name == "success":
        text = f"{100 * value:.0f}"
        if row.get("success_low") is not None and row.get("success_high") is not None:
            text += f" [{100 * row['success_low']:.0f}–{100 * row['success_high']:.0f}]"
        return text
    if name in _PERCENT:
        return f"{100 * value:.0f}"
    if isinstance(value, (float, np.floating)):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def print_table(rows: Sequence[Record], title: str = "", columns: Iterable[str] = ()) -> None:
    """Prints rows as a table, shares in percent, success with its 95% interval.

    Args:
      rows: As for `write_summary`.
      title: Above the table.
      columns: Which ones, in order; by default all that are filled somewhere.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    present = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    chosen = list(columns) or [
        n for n in present if n not in _HIDDEN and any(r.get(n) is not None for r in rows)
    ]
    shares = any("success" in r for r in rows)
    table = Table(title=title or None, caption="shares in %, [95% interval]" if shares else None)
    for name in chosen:
        is_number = any(isinstance(r.get(name), (int, float)) for r in rows)
        table.add_column(
            name.replace("_", " "), justify="right" if is_number else "left", no_wrap=name in _WHOLE
        )
    for row in rows:
        table.add_row(*[escape(_shown(name, row)) for name in chosen])
    # Away from a terminal rich assumes 80 columns, which would wrap every header.
    console = Console()
    (console if console.is_terminal else Console(width=max(console.width, 150))).print(table)


@contextlib.contextmanager
def progress(total: int, title: str = "") -> Iterator[Callable[..., None]]:
    """A progress bar with time spent and time left.

    Args:
      total: Pieces of work.
      title: Beside the bar.

    Yields:
      `bar(finished=1, latest="")`: counts finished pieces and names the latest.
    """
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[latest]}"),
    )
    with rich_progress.Progress(*columns) as bars:
        task = bars.add_task(title, total=total, latest="")

        def bar(finished: int = 1, latest: str = "") -> None:
            bars.update(task, advance=finished, latest=latest)

        yield bar
