"""Draws the pictures of the gallery, each from one command in less than two minutes.

    python -m experiments.gallery                            # all of them
    python -m experiments.gallery --picture=conditioning     # or landscape, distances, adversarial

Writes `<picture>.png` and its numbers, `<picture>.jsonl`, to experiments/results/gallery.
"""

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

from absl import app, flags
from PIL import Image

from experiments.gallery import adversarial, conditioning, distances, landscape
from experiments.gallery.sources import begin, code_version

_DEFAULT_OUTPUT = pathlib.Path("experiments/results/gallery")
Rows = list[dict[str, Any]]


def _landscape(path: pathlib.Path) -> Rows:
    rows = landscape.measure()
    landscape.draw(rows, path)
    return landscape.numbers(rows)


def _conditioning(path: pathlib.Path) -> Rows:
    rows = conditioning.measure()
    conditioning.draw(rows, path)
    return rows


def _distances(path: pathlib.Path) -> Rows:
    found = distances.measure()
    distances.draw(found, path)
    return [distances.summary(way) for way in found]


def _adversarial(path: pathlib.Path) -> Rows:
    found = adversarial.measure()
    adversarial.draw(found, path)
    return found.rows


PICTURES: dict[str, Callable[[pathlib.Path], Rows]] = {
    "landscape": _landscape,
    "conditioning": _conditioning,
    "distances": _distances,
    "adversarial": _adversarial,
}


def _shrink(path: pathlib.Path) -> None:
    """256 colours: a third of the size."""
    with Image.open(path) as picture:
        smaller = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    smaller.save(path, optimize=True)


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("picture", "all", ["all", *PICTURES], "Which to draw.")
    flags.DEFINE_string("output", str(_DEFAULT_OUTPUT), "Folder of pictures and numbers.")


def main(argv: list[str]) -> None:
    """Draws what was asked for."""
    begin(argv)
    folder, wanted = pathlib.Path(flags.FLAGS.output), flags.FLAGS.picture
    folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES if wanted == "all" else [wanted]:
        began = time.perf_counter()
        rows = PICTURES[name](folder / f"{name}.png")
        _shrink(folder / f"{name}.png")
        code = code_version()
        lines = [json.dumps({**row, "code": code}) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        print(f"{folder / name}.png: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    define_flags()
    app.run(main)
