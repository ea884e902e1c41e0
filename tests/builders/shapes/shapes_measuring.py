"""What is in a frame, measured with SciPy and colorsys, not with the package's eyes."""

import colorsys

import numpy as np
from scipy import ndimage


def blobs(frame):
    """(colour, centre x, centre y, area, mask) of every coloured blob, from the left."""
    spread = frame.max(axis=2).astype(int) - frame.min(axis=2)
    labels, count = ndimage.label(spread > 40)
    found = []
    for label in range(1, count + 1):
        # The eye's rim of one or two pixels can fall below the threshold: the outline counts.
        mask = ndimage.binary_fill_holes(labels == label)
        y, x = np.nonzero(mask)
        if len(x) >= 5:
            found.append((hue_name(frame[labels == label]), x.mean(), y.mean(), len(x), mask))
    return sorted(found, key=lambda blob: blob[1])


def hue_name(pixels):
    """The colour word for the most vivid pixels, by ranges of hue in degrees."""
    vivid = pixels[np.argsort(np.ptp(pixels.astype(int), axis=1))[-len(pixels) // 2 :]]
    hue = 360 * colorsys.rgb_to_hsv(*(vivid.mean(axis=0) / 255))[0]
    limits = {
        "red": 25,
        "yellow": 90,
        "green": 158,
        "cyan": 205,
        "blue": 252,
        "purple": 320,
        "red again": 361,
    }
    return next(name for name, top in limits.items() if hue < top).removesuffix(" again")


def eye_angles(clip):
    """Angle of the darkest spot of a lone shape in each frame, degrees clockwise from the top; NaN if central."""
    angles = []
    for frame in clip:
        ((_, x, y, area, mask),) = blobs(frame)
        inner = ndimage.binary_erosion(mask, iterations=2)
        value = np.where(inner, frame.max(axis=2).astype(float), np.inf)
        rows, columns = np.nonzero(value < np.median(value[inner]) * 0.6)
        dx, dy = columns.mean() - x, rows.mean() - y
        far = np.hypot(dx, dy) > 0.2 * np.sqrt(area / np.pi)
        angles.append(np.degrees(np.arctan2(dx, -dy)) % 360 if far else np.nan)
    return np.array(angles)
