"""Packs finished logs of results: `x.jsonl` becomes `x.jsonl.gz`, a fifteenth of its size.

    python -m experiments.harness.pack experiments/results/pusht_pixels/results.jsonl ...

A binary that resumes reads the packed log, too; what it plans later goes to a new `x.jsonl`, which
the same command packs with the old ones.
"""

import pathlib

from absl import app

from experiments.harness.log import ResultLog


def main(argv: list[str]) -> None:
    """Packs the logs that the arguments name."""
    for path in map(pathlib.Path, argv[1:]):
        if path.suffix != ".jsonl" or not path.exists():
            raise app.UsageError(f"{path} is no log of results: name files that end in .jsonl.")
        log = ResultLog(path)
        log.pack()
        print(f"Packed {len(log.records)} records of {path}")


if __name__ == "__main__":
    app.run(main)
