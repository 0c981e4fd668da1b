"""Raw results: JSON lines, one finished piece of work each, in a file that survives a kill."""

import gzip
import json
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.harness.files import replacing
from experiments.harness.version import code_version

Record = dict[str, Any]

FLOOR, CEILING = "zero_action", "ground_truth"
"""Planner names of the rows that bound the others."""

LOGS = "results*.jsonl*"
"""Pattern of the logs of a folder that several processes may share, packed ones included."""


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
        with replacing(archive(self.path)) as temporary:
            temporary.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
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
