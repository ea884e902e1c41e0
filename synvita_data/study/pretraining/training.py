"""The second stage, statements about clips, and both stages one after the other."""

import copy
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from synvita_data.builders.shapes.pixels import seed_of

from .clips import Clips, draw_clips
from .detection import detection_loss, falling, head, train_tower
from .network import new_model, normalised
from .optimiser import Optimiser
from .packed import Packed
from .settings import Settings
from .statements import Statement, draw_any, draw_statement

Weights = dict[str, Tensor]


@dataclass
class Pretrained:
    """What a pre-training made.

    Attributes:
        model: with the final weights, in evaluation mode.
        processor: of the model.
        early: weights of the earlier state.
        log: its lines, each a dict of numbers.
    """

    model: Any
    processor: Any
    early: Weights
    log: list[dict[str, Any]] = field(default_factory=list)


def pretrain(settings: Settings, say: Callable[[dict[str, Any]], None] = lambda line: None) -> Pretrained:
    """Both stages, on one thread; the same settings give the same weights on one machine.

    Args:
        settings: sizes, steps, seed.
        say: takes each line of the log when it is made; seconds are of this process's processor time.
    """
    begin = time.process_time()
    log: list[dict[str, Any]] = []

    def note(**numbers: Any) -> None:
        rounded = {
            key: round(value, 4) if isinstance(value, float) else value for key, value in numbers.items()
        }
        log.append(rounded)
        say(rounded | {"seconds": round(time.process_time() - begin, 1)})

    with _one_thread():
        model, processor = new_model(settings)
        clips = draw_clips(
            settings.clips,
            seed_of("clips", settings.seed),
            processor,
            settings.frames,
            partial(draw_any, shares=settings.shares),
        )
        held = draw_clips(
            max(8, min(300, settings.clips // 10)),
            seed_of("held-out clips", settings.seed),
            processor,
            settings.frames,
            partial(draw_any, shares=settings.shares, unseen=True),
        )
        note(stage="clips", clips=len(clips.scenes), parameters=sum(p.numel() for p in model.parameters()))
        train_tower(model, processor, clips, held, settings, note)
        early = _train_statements(model, processor, clips, held, settings, note)
        # The image tower is not used by videos; a copy makes the model whole.
        model.model.image_tower.load_state_dict(model.model.video_tower.state_dict())
        for name in [name for name in early if ".image_tower." in name]:
            early[name] = early[name.replace(".image_tower.", ".video_tower.")]
    return Pretrained(model.eval(), processor, early, log)


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch on one thread: sums of several come in another order each time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_statements(
    model: Any, processor: Any, clips: Clips, held: Clips, settings: Settings, note: Callable[..., None]
) -> Weights:
    """Train the whole model on statements, in place; returns the weights after `settings.early` steps."""
    early = _cycle(model, processor, clips, held, settings, note, first=0)
    if settings.more:
        _cycle(model, processor, clips, held, settings, note, first=settings.steps)
    return early


def _cycle(
    model: Any,
    processor: Any,
    clips: Clips,
    held: Clips,
    settings: Settings,
    note: Callable[..., None],
    *,
    first: int,
) -> Weights:
    """The steps from `first` to the end of their cycle: rates rise and fall once."""
    again = first > 0
    steps, highest = (settings.more, settings.more_share) if again else (settings.steps, 1.0)
    packed = Packed(model, processor, settings.frames)
    read = head(settings.width, settings.seed + (3 if again else 2))
    tower = [each for each in model.named_parameters() if "video_tower" in each[0]]
    others = [each for each in model.named_parameters() if "_tower" not in each[0]]
    groups = [(tower, settings.tower_share), ([*others, *read.named_parameters(prefix="head")], 1.0)]
    optimiser = Optimiser(groups, highest * settings.rate, highest * settings.matrix_rate)
    answers = torch.tensor([1.0, 0.0]).repeat(settings.pairs)
    early: Weights = {}
    sums: dict[str, float] = {}
    model.train()
    for step in range(first, first + steps):
        # How far the first cycle is: what is asked and what counts shifts with it.
        share = min(1.0, step / settings.steps)
        # Clips and statements of a step depend on the seed and the step alone.
        rng = random.Random(seed_of("statements", settings.seed, step))
        rows = [rng.randrange(len(clips.scenes)) for _ in range(settings.batch)]
        whole = settings.whole[0] + share * (settings.whole[1] - settings.whole[0])
        drawn = [
            [
                draw_statement(
                    clips.scenes[row], rng, whole=whole, hard=settings.hard, shares=settings.shares
                )
                for _ in range(settings.pairs)
            ]
            for row in rows
        ]
        ids, last = packed.pack(_texts(drawn))
        features = packed.features(
            normalised(torch.from_numpy(clips.pixels[rows]), processor.video_processor)
        )
        states = packed.states(features, ids)
        # Yes to the true statement of a pair, No to the false one.
        odds = packed.log_odds(states, last)
        yes_no = binary_cross_entropy_with_logits(odds, answers.expand_as(odds))
        # The next word of true statements: what there is to say of a clip.
        words = cross_entropy(
            model.lm_head(states[:, ::2, :-1]).flatten(0, 2), ids[:, ::2, 1:].flatten(), ignore_index=0
        )
        said = read(features).unflatten(1, (settings.frames, -1)).flatten(0, 1)
        found = detection_loss(said, clips.truth[rows].reshape(-1, *clips.truth.shape[2:]))
        of_words = settings.words[0] + share * (settings.words[1] - settings.words[0])
        loss = of_words * words + min(1.0, 5 * share) * yes_no + settings.detection * found
        optimiser.step(loss, falling(step - first, steps, settings.warm_up, last=0.03))
        for name, value in (("words", words), ("yes_no", yes_no), ("detection", found)):
            sums[name] = sums.get(name, 0.0) + value.item()
        done = step + 1
        if done == settings.early:
            early = copy.deepcopy(model.state_dict())
        if (done - first) % settings.log_every == 0 or done == first + steps:
            since = (done - first) % settings.log_every or settings.log_every
            most = None if done == first + steps else 80
            aucs = measure(packed, processor, held, seed=settings.seed, most=most)
            note(stage="statements", step=done, **{k: v / since for k, v in sums.items()}, auc=aucs)
            sums = {}
            model.train()
    return early


def _texts(drawn: list[list[Statement]]) -> list[list[str]]:
    """True and false statements of each clip in turn."""
    return [[text for each in own for text in (each.true, each.false)] for own in drawn]


@torch.no_grad()
def measure(
    packed: Packed, processor: Any, clips: Clips, seed: int, most: int | None = None, pairs: int = 4
) -> dict[str, float]:
    """AUC in percent of each kind of statement, on clips of combinations that were not trained on.

    Args:
        packed: the model.
        processor: of the model.
        clips: to measure on.
        seed: of the statements.
        most: clips at most; None for all.
        pairs: of statements for each clip.
    """
    from sklearn.metrics import roc_auc_score

    packed.model.eval()
    rng = random.Random(seed_of("measured", seed))
    by_kind: dict[str, list[tuple[float, float]]] = {}
    scenes = clips.scenes[:most]
    for start in range(0, len(scenes), 50):
        own = scenes[start : start + 50]
        drawn = [[draw_statement(scene, rng, whole=0.6, unseen=True) for _ in range(pairs)] for scene in own]
        ids, last = packed.pack(_texts(drawn))
        pixels = normalised(torch.from_numpy(clips.pixels[start : start + 50]), processor.video_processor)
        odds = packed.log_odds(packed.states(packed.features(pixels), ids), last).view(-1, 2).tolist()
        for statement, both in zip([each for row in drawn for each in row], odds, strict=True):
            by_kind.setdefault(statement.kind, []).append(tuple(both))
    truth = {kind: [1, 0] * len(both) for kind, both in by_kind.items()}
    return {
        kind: round(100 * float(roc_auc_score(truth[kind], np.ravel(both))), 1)
        for kind, both in sorted(by_kind.items())
    }
