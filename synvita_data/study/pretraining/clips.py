"""Clips to pre-train on, with what stands where in them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from synvita_data.builders.shapes import REAL, VERSION_2, Style
from synvita_data.builders.shapes import film as film_scene
from synvita_data.builders.shapes.scenes import COLOURS, SHAPES, Scene
from synvita_data.video.sampling import linspace, segment_midpoints

from .statements import draw_any

WORLD = VERSION_2  # whose clips the shipped models know
TRACKS = 4  # the most shapes of a clip


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Clips as the model gets them, but for the normalisation.

    Attributes:
        pixels: uint8 [N, T, 3, S, S], resized and cropped by the processor.
        truth: float32 [N, T, 4, 8], of every shape in every frame: number of its colour + 1 (0 for no shape), number of
            its shape, x and y (shares of the canvas), radius, x and y of the eye (in radii), and whether it is visible.
        scenes: what the clips show.
    """

    pixels: np.ndarray
    truth: np.ndarray
    scenes: list[Scene]


def draw_style(rng: random.Random) -> Style:
    """A look between that of the real clips and the generator's: the model shall know both."""
    if rng.random() < 0.45:
        return REAL
    return Style(
        frames=rng.choice((16, 20)),
        background=rng.uniform(50, 240),
        grain=rng.choice((0.0, rng.uniform(0, 8))),
        saturation=rng.uniform(0.75, 1),
        softness=rng.uniform(0.8, 2.4),
        wobble=rng.choice((0.0, 0.05)),
    )


def film(
    scene: Scene, seed: int, style: Style, processor: Any, chosen: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """`pixels` [T, 3, S, S] and `truth` [T, 4, 8] of one clip, as in `Clips`.

    Args:
        scene: what it shows.
        seed: of places and background.
        style: how it is filmed.
        processor: of the model.
        chosen: the frames that are looked at.
    """
    clip = film_scene(scene, seed, style, WORLD, frames=chosen)
    frames = torch.from_numpy(np.ascontiguousarray(clip.pixels.transpose(0, 3, 1, 2)))
    # All of the processor's work but what `network.normalised` does, so that a byte a value is kept.
    resized = processor.video_processor(
        videos=[frames], do_rescale=False, do_normalize=False, return_tensors="pt"
    )["pixel_values_videos"][0]
    truth = np.zeros((len(chosen), TRACKS, 8), np.float32)
    for number, track in enumerate(clip.tracks):
        truth[:, number, 0] = COLOURS.index(track.colour) + 1
        truth[:, number, 1] = SHAPES.index(track.shape)
        truth[:, number, 2:4], truth[:, number, 4] = track.centre[chosen], track.radius[chosen]
        truth[:, number, 5:7], truth[:, number, 7] = track.eye[chosen], track.visible[chosen]
    return resized.numpy(), truth


def draw_clips(
    count: int,
    seed: int,
    processor: Any,
    frames: int,
    scene_of: Callable[[random.Random], Scene] = draw_any,
) -> Clips:
    """`count` random clips, the same for the same seed.

    Half of them are looked at as f̄ is (segment midpoints), half as Video-LLaVA is by default (`linspace`).

    Args:
        count: how many.
        seed: of scenes, places, looks and frames.
        processor: of the model.
        frames: to look at.
        scene_of: draws a scene.
    """
    rng = random.Random(seed)
    size = processor.video_processor.crop_size["height"]
    pixels = np.empty((count, frames, 3, size, size), np.uint8)
    truth = np.empty((count, frames, TRACKS, 8), np.float32)
    scenes = []
    for number in range(count):
        scene, style = scene_of(rng), draw_style(rng)
        rule = segment_midpoints if rng.random() < 0.5 else linspace
        pixels[number], truth[number] = film(
            scene, rng.getrandbits(62), style, processor, rule(style.frames, frames)
        )
        scenes.append(scene)
    return Clips(pixels, truth, scenes)
