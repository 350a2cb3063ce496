"""Arrays as PNG: Pillow reads the same pixels back."""

from __future__ import annotations

import io

import numpy as np
import pytest

PIL = pytest.importorskip("PIL.Image")

from ingest_client._images import as_pixels, as_png  # noqa: E402 - after the skip


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (7, 5, 1), (7, 5, 3), (7, 5, 4)])
def test_pixels_come_back(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert (
        np.asarray(PIL.open(io.BytesIO(as_png(pixels))))
        == pixels.reshape(shape[:2] if shape[-1] == 1 and len(shape) == 3 else shape)
    ).all()


def test_numbers_of_every_kind_are_pixels():
    whole = np.array([[0, 128, 255]])
    expected = whole[:, :, None]
    for image in (whole, whole.astype(np.int64), whole / 255, (whole / 255).astype(np.float32)):
        assert (as_pixels(image) == expected).all()
    assert as_pixels(np.array([[True, False]])).ravel().tolist() == [255, 0]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.array([[256]]), "0 to 255"),
        (np.array([[-1]]), "0 to 255"),
        (np.array([[1.5]]), "0 to 1"),
        (np.array([[float("nan")]]), "0 to 1"),
        (np.zeros((2, 2, 5)), "shape"),
        (np.zeros((2, 0)), "shape"),
        (np.zeros(3), "shape"),
        (np.array([[1j]]), "whole"),
    ],
)
def test_what_is_no_picture_is_refused(image, words):
    with pytest.raises(ValueError, match=words):
        as_png(image)


def test_another_type_is_refused():
    with pytest.raises(TypeError, match="str"):
        as_png("picture.png")
