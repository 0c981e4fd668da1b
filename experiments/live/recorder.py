"""Makes a GIF of the frames that a page has recorded."""

import io
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError

MOST_FRAMES = 400


_SEEN = 8
"""Frames whose colours make the palette."""


def gif(frames: Sequence[bytes], milliseconds: float) -> bytes:
    """An endless GIF; one palette for all frames, so that still parts cost nothing.

    Args:
      frames: Pictures (PNG) of one size.
      milliseconds: From one to the next.

    Raises:
      ValueError: there is none, or too many, or one is no picture, or of another size.
    """
    if not 1 <= len(frames) <= MOST_FRAMES:
        raise ValueError(f"a recording has 1 to {MOST_FRAMES} frames, got {len(frames)}.")
    if not 20 <= milliseconds <= 2000:
        raise ValueError(f"ms must be from 20 to 2000, got {milliseconds:g}.")
    try:
        pictures = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    except UnidentifiedImageError as error:
        raise ValueError("a frame is no picture.") from error
    if len({picture.size for picture in pictures}) > 1:
        raise ValueError("all frames must have one size: do not resize the window meanwhile.")
    palette = _side_by_side(pictures[:: -(-len(pictures) // _SEEN)]).quantize(255)
    first, *rest = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    buffer = io.BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=milliseconds,
        loop=0,
        optimize=True,
    )
    return buffer.getvalue()


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    width, height = pictures[0].size
    strip = Image.new("RGB", (width * len(pictures), height))
    for index, picture in enumerate(pictures):
        strip.paste(picture, (index * width, 0))
    return strip
