"""Many captions of a video with 7B models: speed against plain batches, and against the FLOP that must be."""

import math
from typing import Any

import numpy as np
import torch

from synvita_data.models import AlignmentModel, EncodedVideo
from synvita_data.models.features import KnownVideo
from synvita_data.models.strategies import pack
from synvita_data.scoring import ScoringItem
from synvita_data.scoring.alignment import AlignmentScorer

from .figures import Figures, dense_rate, flop_of, peak_gib, seconds
from .shapes import attention_flop, captions, frames_of, language_weights, prompts_of, seven_billion

FAMILIES = ("video_llava", "mplug-owl", "qwen2_5_vl")
COUNTS = (18, 49)
GOAL = 45.0  # percent of the bound


def run(figures: Figures) -> None:
    rate = dense_rate(figures)
    for family in FAMILIES:
        with figures.step(family):
            model = seven_billion(family, figures.device, figures.small)
            with torch.inference_mode():
                for count in COUNTS:
                    score(figures, family, model, count, rate)
                scorer_stream(figures, family, model)
            del model


def score(figures: Figures, family: str, model: AlignmentModel, count: int, rate: float) -> None:
    """Seconds a video from prepared frames, tower included, for `count` captions."""
    name = f"{family}, {count} captions"
    texts = captions(count)
    videos = [
        model.prepare(frames_of(family, seed, figures.small)) for seed in range(2 if figures.small else 6)
    ]
    flop = flop_of_video(model, videos[0], texts)
    bound = flop / rate
    rounds = 1 if figures.small else 3
    taken = {}
    for way in ("packed", "cached"):
        taken[way] = seconds(
            lambda way=way: [model([v], [texts], strategy=way).log_odds for v in videos], rounds
        )
        taken[way] /= len(videos)
    chosen = seconds(lambda: [model([v], [texts]).log_odds for v in videos], rounds) / len(videos)
    figures.add(
        f"{name}: packed {1e3 * taken['packed']:.1f}, cached {1e3 * taken['cached']:.1f}, chosen",
        1e3 * chosen,
        "ms/video",
    )
    figures.add(f"{name}: videos a second", 1 / chosen, "1/s")
    figures.add(
        f"{name}: share of the bound of {1e3 * bound:.1f} ms",
        100 * bound / chosen,
        "%",
        None if figures.small else GOAL,
    )
    figures.add(
        f"{name}: peak memory, model included", peak_gib(lambda: model([videos[0]], [texts]).log_odds), "GiB"
    )
    encode = seconds(lambda: [model.encode(v) for v in videos], rounds) / len(videos)
    figures.add(f"{name}: of it the vision tower", 1e3 * encode, "ms/video")
    plain, batch = plain_batches(figures, model, videos[0], texts)
    figures.add(
        f"{name}: plain batches of {batch} (the fastest size), tower run for every pair",
        1e3 * plain,
        "ms/video",
    )
    figures.add(f"{name}: faster than plain batches", plain / chosen, "x")
    agree(figures, name, model, videos[0], texts[:12])
    if count == COUNTS[0]:
        figures.profile(f"scoring-{family}-{count}", lambda: model([videos[1]], [texts]).log_odds)


def flop_of_video(model: AlignmentModel, video: Any, texts: Any) -> float:
    """The least that scoring these texts takes: the tower once, the prefix once, each text's own tokens once."""
    packed = pack(prompts_of(model, texts, video))
    branches = np.bincount(packed.branch[packed.prefix :]).tolist()
    encoded = model.encode(video)
    tower = flop_of(lambda: model.encode(video)) + flop_of(lambda: model.family.tokens([encoded.features]))
    attention = attention_flop(model, packed.prefix, branches)
    return tower + 2 * language_weights(model) * len(packed) + attention


def plain_batches(figures: Figures, model: AlignmentModel, video: Any, texts: Any) -> tuple[float, int]:
    """Seconds a video of one forward a pair, in the batches that are fastest. A pair costs the same in all of them
    but for a few tokens, so one batch of each size is timed and multiplied."""
    best = (math.inf, 0)
    for batch in (3,) if figures.small else (8, 18):
        chosen = texts[:batch]
        try:
            taken = seconds(
                lambda own=chosen: model([video], [own], strategy="plain", plain_batch=len(own)), 1
            )
        except torch.OutOfMemoryError:
            break
        best = min(best, (taken / len(chosen) * len(texts), batch))
    return best


def agree(figures: Figures, name: str, model: AlignmentModel, video: Any, texts: Any) -> None:
    """The ways in bf16: a difference is rounding of bf16, to be seen beside that of the plain way with itself in other
    batches, and beside the spread of the scores."""
    found = {way: model([video], [texts], strategy=way).log_odds for way in ("plain", "packed", "cached")}
    found["plain in batches of 4"] = model([video], [texts], strategy="plain", plain_batch=4).log_odds
    spread = float(found["plain"].std())
    for way in ("plain in batches of 4", "packed", "cached"):
        apart = float((found[way] - found["plain"]).abs().max())
        figures.add(
            f"{name}: {way} - plain in bf16, largest (spread of scores {spread:.2g})", apart, "log-odds"
        )


class FromMemory(AlignmentScorer):
    """The scorer, with videos that are there already in the place of a decoder, which a GPU machine may lack.

    Args:
        prepared: the videos; an item's id says which, counted round.
    """

    def __init__(self, model: AlignmentModel, prepared: list[Any], **options: Any) -> None:
        super().__init__(model, "random", "none", **options)
        record = {"backend": "none", "timestamps": (), "indices": ()}
        # In place of the preparer's own, which would decode.
        self._preparer.decoded = lambda item, key=None: KnownVideo(  # type: ignore[method-assign]
            EncodedVideo(prepared[int(item.item_id) % len(prepared)]), record
        )


def scorer_stream(figures: Figures, family: str, model: AlignmentModel) -> None:
    """The product's scorer over a stream of videos, frames at hand: what `synvita evaluate` does behind the decoder."""
    texts = tuple(captions(18))
    clips = [frames_of(family, seed, figures.small) for seed in range(4)]
    prepared = [model.prepare(frames) for frames in clips]
    items = [
        ScoringItem(str(n), str(n), b"", texts, tuple(map(str, range(18))))
        for n in range(4 if figures.small else 16)
    ]

    scorer = FromMemory(model, prepared)

    def score() -> None:
        for answer in scorer.score(items):
            assert answer.error is None, answer.error

    taken = seconds(score, 1 if figures.small else 2) / len(items)
    figures.add(f"{family}, 18 captions: the scorer over a stream of videos", 1e3 * taken, "ms/video")
    work = seconds(lambda: model.prepare(clips[0]), 1)
    figures.add(
        f"{family}: the processor's work on the CPU for a video, one of the scorer's threads",
        1e3 * work,
        "ms",
    )
