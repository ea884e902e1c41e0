"""Preprocessing, pixel by pixel, against NumPy slices around PIL's own filter."""

import numpy as np
import pytest
from PIL import Image

from synvita_data.builders.vqascore.base import CLIP_MEAN, CLIP_STD, preprocess

SHAPES = [(40, 60), (60, 40), (33, 90), (90, 33), (28, 28), (41, 42), (720 // 8, 480 // 8)]


def noise(height: int, width: int, frames: int = 2) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def bicubic(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def normalized(squares: list[np.ndarray], mean, std) -> np.ndarray:
    """By channel, in the released code's order: ToTensor, then Normalize, in fp32."""
    values = np.stack(squares).astype(np.float32) / np.float32(255)
    for channel in range(3):
        values[..., channel] = (values[..., channel] - np.float32(mean[channel])) / np.float32(std[channel])
    return np.moveaxis(values, -1, 1)


def padded(pixels: np.ndarray) -> np.ndarray:
    height, width, _ = pixels.shape
    side = max(height, width)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = [122, 116, 104]  # int(255 × CLIP's mean)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def cropped(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width, _ = pixels.shape
    if height <= width:
        resized = bicubic(pixels, size, int(size * width / height))
    else:
        resized = bicubic(pixels, int(size * height / width), size)
    top = round((resized.shape[0] - size) / 2.0)
    left = round((resized.shape[1] - size) / 2.0)
    return resized[top : top + size, left : left + size]


@pytest.mark.parametrize("shape", SHAPES)
def test_pad_is_expand2square_with_the_mean_colour(shape):
    frames = noise(*shape)
    expected = normalized([bicubic(padded(frame), 28, 28) for frame in frames], CLIP_MEAN, CLIP_STD)
    assert np.array_equal(preprocess(frames, "pad", 28), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_is_resize_and_centre_crop(shape):
    frames = noise(*shape)
    expected = normalized([cropped(frame, 28) for frame in frames], CLIP_MEAN, CLIP_STD)
    assert np.array_equal(preprocess(frames, "crop", 28), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_squash_ignores_the_shape(shape):
    frames = noise(*shape)
    expected = normalized([bicubic(frame, 28, 28) for frame in frames], (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert np.array_equal(preprocess(frames, "squash", 28, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), expected)


def test_the_colour_of_the_border_is_the_mean():
    square = preprocess(np.full((1, 30, 90, 3), 255, np.uint8), "pad", 90)
    assert square.shape == (1, 3, 90, 90)
    assert square.dtype == np.float32
    assert np.abs(square[0, :, 0]).max() < 0.02  # the mean, rounded down to a level, is about zero
    assert (square[0, :, 45] > 1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_is_the_released_torchvision_pipeline(shape):
    transforms = pytest.importorskip("torchvision.transforms")
    released = transforms.Compose(
        [
            transforms.Resize(28, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop((28, 28)),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    frames = noise(*shape, frames=1)
    expected = released(Image.fromarray(frames[0])).numpy()
    np.testing.assert_allclose(preprocess(frames, "crop", 28)[0], expected, rtol=0, atol=1e-6)
