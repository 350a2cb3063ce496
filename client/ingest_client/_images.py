"""Pictures: what users hold, made into a PNG. Arrays need no imaging library: a PNG is four chunks and zlib.

    PIL.Image.Image         as it is, by Pillow
    numpy array             (H, W), or (H, W, C) with 1 to 4 channels: grey, grey and alpha, RGB, RGBA
    torch tensor            (H, W), (C, H, W) as torchvision has them, or (H, W, C); on an accelerator it is waited for

Numbers are 0 to 255 where their type is whole, and 0 to 1 where it is a float; booleans are black and white.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

__all__ = ["as_png", "is_picture"]

_COLOUR_TYPES: Final = {
    1: 0,
    2: 4,
    3: 2,
    4: 6,
}  # channels to the colour type of PNG (RFC 2083, section 4.1.1)
_SPEED: Final = 1  # of zlib: training goes on meanwhile; a tenth larger than the default, four times as fast


def is_picture(image: Any) -> bool:
    """Whether `as_png` can try it."""
    return hasattr(image, "save") or hasattr(image, "__array__") or hasattr(image, "detach")


def as_png(image: Any) -> bytes:
    """The PNG of a picture.

    Raises:
        TypeError: It is no picture.
        ValueError: Its shape or its numbers are those of no picture.
    """
    if hasattr(image, "save") and hasattr(image, "mode"):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", compress_level=_SPEED)
        return buffer.getvalue()
    return encode(as_pixels(image))


def as_pixels(image: Any) -> np.ndarray[Any, Any]:
    """Whole numbers 0 to 255 of shape (H, W, channels)."""
    import numpy as np

    is_tensor = hasattr(image, "detach")
    if not is_tensor and not hasattr(image, "__array__"):
        raise TypeError(f"a picture is a PIL image, a numpy array or a tensor, not {type(image).__name__}")
    array: np.ndarray[Any, Any] = np.asarray(image.detach().cpu() if is_tensor else image)
    if (
        is_tensor and array.ndim == 3 and array.shape[0] in {1, 3, 4}
    ):  # also where both would do: torchvision's order
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in _COLOUR_TYPES or 0 in array.shape:
        raise ValueError(
            f"a picture has the shape (H, W), (H, W, channels), or (channels, H, W) as a tensor, with 1 to 4 channels;"
            f" not {tuple(np.shape(image))}"
        )
    return _as_bytes(array)


def _as_bytes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    low, high = array.min(), array.max()
    if np.issubdtype(array.dtype, np.integer):
        if low < 0 or high > 255:
            raise ValueError(f"the numbers of a picture are 0 to 255; these are {low} to {high}")
        return array.astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"the numbers of a picture of floats are 0 to 1; these are {low:g} to {high:g}: normalise them, or give whole numbers"
            )
        scaled: np.ndarray[Any, Any] = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
        return scaled
    raise ValueError(f"the numbers of a picture are whole, floats or booleans, not {array.dtype}")


def encode(pixels: np.ndarray[Any, Any]) -> bytes:
    """The PNG (RFC 2083) of an array of uint8 with the shape (H, W, channels)."""
    import numpy as np

    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), _SPEED)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
