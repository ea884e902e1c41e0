"""The first stage: the vision tower learns what stands where, on single frames with known tracks.

A shape is told by the patch in which its centre lies. Its place is told on the *canvas*: with offsets inside the patch
nothing that the language model reads says where a shape is, and directions of movement are never learned.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from synvita_data.builders.shapes.scenes import COLOURS, SHAPES

from .clips import Clips
from .network import normalised
from .optimiser import Optimiser
from .settings import HELD_OUT, Settings

# What a head says of a token: colour (or none), shape, x, y, size and eye, number of shapes in the frame.
_COLOURS, _SHAPES, _GEOMETRY, _NUMBERS = 1 + len(COLOURS), len(SHAPES), 5, 5
SAID = _COLOURS + _SHAPES + _GEOMETRY + _NUMBERS
_USUAL_RADIUS = 0.1
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey, BT.601
# bool [7, 4]: shapes that never come in a colour. They are left out where the shape of a coloured patch is learned:
# otherwise the colour alone would speak against them, and a held-out combination could not be told.
_NEVER = torch.tensor([[(colour, shape) in HELD_OUT for shape in SHAPES] for colour in ("none", *COLOURS)])


def head(width: int, seed: int) -> nn.Linear:
    """A fresh detection head on tokens of this width."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(width, SAID)


def targets(truth: np.ndarray, grid: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the patches of frames should say.

    Args:
        truth: float [B, 4, 8], as in `Clips.truth`.
        grid: patches along an edge.

    Returns:
        Colours int64 [B, grid²], 0 for none; shapes int64 [B, grid²]; geometry fp32 [B, grid², 5]; numbers of visible
        shapes int64 [B].
    """
    known = torch.as_tensor(truth)
    frames, patches = len(known), grid * grid
    colour = torch.zeros(frames, patches, dtype=torch.long)
    shape, geometry = colour.clone(), torch.zeros(frames, patches, _GEOMETRY)
    visible = (known[:, :, 0] > 0) & (known[:, :, 7] > 0)
    for track in range(known.shape[1]):
        rows = visible[:, track].nonzero()[:, 0]
        own = known[rows, track]
        column, line = ((own[:, axis] * grid).long().clamp(0, grid - 1) for axis in (2, 3))
        places = line * grid + column
        colour[rows, places] = own[:, 0].long()
        shape[rows, places] = own[:, 1].long()
        size = torch.log(own[:, 4] / _USUAL_RADIUS)
        geometry[rows, places] = torch.stack(
            [own[:, 2] * 4 - 2, own[:, 3] * 4 - 2, size, own[:, 5] * 2, own[:, 6] * 2], 1
        )
    return colour, shape, geometry, visible.sum(1)


def detection_loss(said: Tensor, truth: np.ndarray, grey: Tensor | None = None) -> Tensor:
    """Cross-entropy of colour, shape and number, and L1 of the geometry.

    Args:
        said: fp32 [B, 1 + grid², SAID]. The class token says how many shapes there are, and the geometry of a lone one.
        truth: float [B, 4, 8].
        grey: bool [B], frames that have lost their colours, which are then not asked for; None for none of them.
    """
    grid = round((said.shape[1] - 1) ** 0.5)
    colour, shape, geometry, numbers = targets(truth, grid)
    colours, shapes, geometries, counts = said.split([_COLOURS, _SHAPES, _GEOMETRY, _NUMBERS], dim=-1)
    there = colour > 0
    asked = colour if grey is None else colour.masked_fill(grey[:, None] & there, -100)
    loss = cross_entropy(colours[:, 1:].flatten(0, 1), asked.flatten()) * 2
    loss = loss + cross_entropy(counts[:, 0], numbers) * 0.5
    if there.any():
        never = _NEVER[colour[there]]
        if grey is not None:
            never = never & ~grey[:, None].expand_as(there)[there][:, None]
        loss = loss + cross_entropy(shapes[:, 1:][there].masked_fill(never, -1e4), shape[there])
        loss = loss + (geometries[:, 1:][there] - geometry[there]).abs().mean()
    alone = there.sum(1) == 1
    if alone.any():
        loss = loss + (geometries[alone, 0] - geometry[alone][there[alone]]).abs().mean()
    return loss


def seen(model: Any, pixels: Tensor) -> Tensor:
    """The tower's last layer for frames, [B, 1 + patches, D]: what `vision_feature_layer=-1` takes."""
    output = model.model.video_tower(pixels, output_hidden_states=True)
    states: Tensor = output.hidden_states[-1]
    return states


def train_tower(
    model: Any, processor: Any, clips: Clips, held: Clips, settings: Settings, say: Callable[..., None]
) -> None:
    """Train the video tower on single frames, in place.

    Args:
        model: of `network.new_model`.
        processor: of the same.
        clips: to train on.
        held: to measure on.
        settings: steps, batch and rate.
        say: takes the numbers of a line of the log, by name.
    """
    tower, read = model.model.video_tower, head(settings.tower_width, settings.seed + 1)
    weights = [*_named(tower, "tower"), *_named(read, "head")]
    optimiser = Optimiser([(weights, 1.0)], settings.tower_rate, settings.tower_matrix_rate)
    draw = np.random.RandomState(settings.seed)
    pixels = clips.pixels.reshape(-1, *clips.pixels.shape[2:])
    truth = clips.truth.reshape(-1, *clips.truth.shape[2:])
    for step in range(settings.tower_steps):
        rows = draw.randint(0, len(pixels), settings.tower_batch)
        frames, grey = torch.from_numpy(pixels[rows]), torch.from_numpy(draw.rand(len(rows)) < settings.grey)
        luma = (frames * torch.tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
        frames = torch.where(grey[:, None, None, None], luma, frames)
        said = read(seen(model, normalised(frames, processor.video_processor)))
        loss = detection_loss(said, truth[rows], grey)
        optimiser.step(loss, falling(step, settings.tower_steps, settings.warm_up, last=0.05))
        done = step + 1
        if done % (4 * settings.log_every) == 0 or done == settings.tower_steps:
            say(stage="tower", step=done, loss=loss.item(), **_accuracy(model, processor, read, held))


def _named(module: nn.Module, prefix: str) -> list[tuple[str, nn.Parameter]]:
    return [(f"{prefix}.{name}", own) for name, own in module.named_parameters()]


def falling(step: int, steps: int, warm_up: int, last: float) -> float:
    """Factor of a rate: a linear rise over `warm_up` steps times half a cosine from 1 to `last`."""
    rise = min(1.0, (step + 1) / warm_up)
    return float(rise * (last + (1 - last) * 0.5 * (1 + np.cos(np.pi * step / steps))))


@torch.no_grad()
def _accuracy(model: Any, processor: Any, read: nn.Linear, held: Clips, most: int = 1600) -> dict[str, float]:
    """Share of shapes whose colour, and whose shape, is told right; of frames whose number is; error of the place."""
    pixels = held.pixels.reshape(-1, *held.pixels.shape[2:])[:most]
    truth = held.truth.reshape(-1, *held.truth.shape[2:])[:most]
    said = read(seen(model, normalised(torch.from_numpy(pixels), processor.video_processor)))
    grid = round((said.shape[1] - 1) ** 0.5)
    colour, shape, geometry, numbers = targets(truth, grid)
    colours, shapes, geometries, counts = said.split([_COLOURS, _SHAPES, _GEOMETRY, _NUMBERS], dim=-1)
    there = colour > 0
    right = {
        "colour": (colours[:, 1:].argmax(-1) == colour)[there],
        "shape": (shapes[:, 1:].argmax(-1) == shape)[there],
        "number": counts[:, 0].argmax(-1) == numbers,
    }
    error = (geometries[:, 1:] - geometry).abs()[there][:, :2].mean() / 4
    return {name: each.float().mean().item() for name, each in right.items()} | {"place": error.item()}
