"""Frames on disk, each packed by itself: a million take about a gigabyte, read in any order."""

import pathlib
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.harness.files import replacing
from experiments.models.sources import Source


class StoredFrames:
    """Frames `[..., S, S, 3]` uint8 in a file; indexed as an array, unpacked by `np.asarray`.

    Attributes:
        index: [...], which frame of the file each is.
    """

    def __init__(
        self, packed: NDArray[np.uint8], ends: NDArray[np.int64], index: NDArray[Any], side: int
    ) -> None:
        """`packed` holds all frames one after the other, frame `i` up to `ends[i]`."""
        self._packed, self._ends, self.index, self._side = packed, ends, index, side

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the unpacked array."""
        return (*self.index.shape, self._side, self._side, 3)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Of the unpacked array."""
        return np.dtype(np.uint8)

    @property
    def nbytes(self) -> int:
        """Of the unpacked array."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Any) -> "StoredFrames":
        """Some of them; `key` must leave the axes of a frame alone."""
        return StoredFrames(self._packed, self._ends, np.asarray(self.index[key]), self._side)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Unpacks them."""
        del copy
        found = np.empty((self.index.size, self._side**2 * 3), np.uint8)
        for row, frame in zip(found, self.index.ravel(), strict=True):
            first = self._ends[frame - 1] if frame else 0
            plain = zlib.decompress(self._packed[first : self._ends[frame]].tobytes())
            row[:] = np.frombuffer(plain, np.uint8)
        return found.reshape(self.shape).astype(dtype or np.uint8, copy=False)


def store(source: Source, states: NDArray[Any], path: pathlib.Path) -> StoredFrames:
    """The frames of states [n, T + 1, S], drawn once, into `path` and a file of its `.ends`."""
    side = source.render(states[0, :1]).shape[1]
    table = path.with_suffix(".ends.npy")
    if not path.exists():
        sizes = []
        # The file's presence says that its table is there, too.
        with replacing(path) as temporary, temporary.open("wb") as file:
            for trajectory in tqdm(states, desc="frames", unit="trajectory"):
                for frame in source.render(trajectory):
                    packed = zlib.compress(frame.tobytes())
                    sizes.append(len(packed))
                    file.write(packed)
            np.save(table, np.cumsum(sizes))
    index = np.arange(states.shape[0] * states.shape[1]).reshape(states.shape[:2])
    return StoredFrames(np.memmap(path, np.uint8, "r"), np.load(table), index, side)
