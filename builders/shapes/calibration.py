"""Noise under which the weights ω of the shapes world are spread as those of real scores: read them, simulate, fit.

`NOISES["videocon"]` was fitted to the 16,856 scores that SynViTA's authors released (their misalignments are action and
flip); `docs/shapes.md` says how well. `python -m synvita_data.builders.shapes.calibration TRIPLETS SCORES` does it again.
"""

import random
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synvita_data.errors import SourceError
from synvita_data.weights import mean_scores, weigh

from .generator import clip_seed, misunderstand
from .layout import VERSION_2
from .noise import DEFAULT, Noise, Sight
from .pixels import Style, film, look, seed_of
from .scenes import Scene
from .spec import ShapesSpec
from .vqa import VQA_MODELS, find_shapes
from .world import Pair, draw_world

Omegas = NDArray[np.float64]
QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
# What is fitted, and its range: the scorers' sight, and how often an action is wrong at random and by the real caption.
# How often an order of events is wrong cannot be told: scorers of single frames do not see it.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "sharpness": (0.2, 4.0),
    "spread": (0.0, 1.5),
    "focus": (0.0, 1.0),
    "text": (0.0, 1.5),
    "unnatural": (-0.5, 1.5),
    "random.action": (0.0, 0.6),
    "reverted.action": (0.0, 0.6),
}
ZEROS = 0.05  # what the search gives for the share of zeros, beside the distance of the quantiles


# -- real scores ------------------------------------------------------------------------------------------


def read_omegas(triplets: str | Path, scores: str | Path) -> dict[str, Omegas]:
    """ω (Eq. 4) of every scored triplet, by misalignment.

    Args:
        triplets: an annotation file.
        scores: its table of VQAScores, by row.

    Raises:
        SchemaError, ScoreError: a file cannot be read, or a row's scores cannot be used.
    """
    from synvita_data.tables.scores import read_scores

    from ..triplets import TripletReader

    table = read_scores(scores)
    means: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for triplet in TripletReader(triplets):
        found = table.for_row("", source_row=int(triplet.row or 0), videopath=triplet.videopath)
        if found and triplet.misalignment:
            means[triplet.misalignment].append(mean_scores(found))
    return {kind: weigh(*np.array(pairs).T) for kind, pairs in sorted(means.items())}


def summary(omegas: Mapping[str, Omegas]) -> dict[str, dict[str, float]]:
    """Mean, share of zeros and quantiles, of each misalignment and of `all` together."""
    every = {**omegas, "all": np.concatenate(list(omegas.values()))}
    return {
        kind: {
            "mean": float(values.mean()),
            "zeros": float((values == 0).mean()),
            **{f"q{100 * q:.0f}": float(np.quantile(values, q)) for q in QUANTILES},
        }
        for kind, values in every.items()
    }


# -- the world's ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulation:
    """Clips of some pairs of one misalignment, each as it is with and without a fault, and what scorers find in them.

    Attributes:
        facts: float64 [3, N, 4, M, 2, 2], what a frame says of (contrast caption, caption) to each of M scorers, the
            mean and the worst of its facts, where the clip has no fault of the pair's kind, has one, or shows the real caption.
        chance: float64 [2, N], a clip has a random fault, or shows the real caption, where its rate is above this.
        frame_noise: float64 [N, 4, M, 2], standard normal.
        clip_noise: float64 [N], standard normal, of the sharpness.
        text_noise: float64 [N, 2], standard normal.
    """

    facts: NDArray[np.float64]
    chance: NDArray[np.float64]
    frame_noise: NDArray[np.float64]
    clip_noise: NDArray[np.float64]
    text_noise: NDArray[np.float64]

    def omegas(self, sight: Sight, wrong: float, reverted: float) -> Omegas:
        """ω of every pair.

        Args:
            sight: of the scorers.
            wrong: rate of random faults of the pairs' kind.
            reverted: rate of clips that show the real caption.
        """
        which = np.where(self.chance[1] < reverted, 2, np.where(self.chance[0] < wrong, 1, 0))
        facts = self.facts[which, np.arange(len(which))] @ np.array([1.0 - sight.focus, sight.focus])
        gain, bias, noise = (
            np.array([getattr(m, name) for m in VQA_MODELS]) for name in ("gain", "bias", "noise")
        )
        sharp = sight.sharpness * np.exp(sight.spread * self.clip_noise)
        odds = (
            sharp[:, None, None, None] * gain[:, None] * facts
            + bias[:, None]
            + noise[:, None] * self.frame_noise
        )
        odds += (sight.text * self.text_noise - np.array([sight.unnatural, 0.0]))[:, None, None, :]
        neg, cap = (1.0 / (1.0 + np.exp(-np.clip(odds, -60, 60)))).mean(axis=(1, 2)).T
        return weigh(neg, cap)


def simulate(misalignment: str, count: int, seed: int = 0, *, size: int = 96) -> Simulation:
    """Film `count` pairs of a misalignment in three ways each, and look at them as the scorers do.

    Faults of other kinds than the pair's happen at the default rates.

    Raises:
        SourceError: no pairs.
    """
    if count < 1:
        raise SourceError("no pairs to fit noise to", found=count, expected="from 1")
    spec = ShapesSpec(pairs=7 * count, seed=seed, version=2, only="train")
    pairs = [pair for pair in draw_world(spec) if pair.triplet.misalignment == misalignment]
    style = look(1.0, size)
    facts, chance = np.empty((3, count, 4, len(VQA_MODELS), 2, 2)), np.empty((2, count))
    for n, pair in enumerate(pairs):
        own = clip_seed(spec.clip_seed, pair.triplet.pair_id, 1, VERSION_2)
        without, with_fault, chance[0, n] = _both(pair, misalignment, own)
        chance[1, n] = random.Random(seed_of("reverted", own)).random()
        for way, shown in enumerate((without, with_fault, pair.scene)):
            facts[way, n] = _look(shown, pair, own, style)
    noise = np.random.RandomState(seed)
    return Simulation(
        facts,
        chance,
        noise.standard_normal((count, 4, len(VQA_MODELS), 2)),
        noise.standard_normal(count),
        noise.standard_normal((count, 2)),
    )


def _both(pair: Pair, kind: str, seed: int) -> tuple[Scene, Scene, float]:
    """What is filmed without and with a fault of this kind, and above which rate it is with one."""

    def filmed(rate: float) -> Scene:
        return misunderstand(pair.contrast, random.Random(seed), {**DEFAULT.random, kind: rate})[0]

    without, with_fault = filmed(0.0), filmed(1.0)
    low, high = 0.0, 1.0
    for _ in range(30):  # where the one becomes the other
        middle = (low + high) / 2
        low, high = (low, middle) if filmed(middle) == with_fault else (middle, high)
    return without, with_fault, high


def _look(shown: Scene, pair: Pair, seed: int, style: Style) -> NDArray[np.float64]:
    """float64 [4, M, 2, 2]: what the four midpoint frames say of contrast caption and caption."""
    midpoints = [(2 * k + 1) * style.frames // 8 for k in range(4)]
    frames = film(shown, seed, style, VERSION_2, frames=midpoints).pixels
    found = np.empty((4, len(VQA_MODELS), 2, 2))
    for f, frame in enumerate(frames):
        seen = find_shapes(frame)
        for m, model in enumerate(VQA_MODELS):
            found[f, m] = [model.facts(seen, scene, VERSION_2) for scene in (pair.contrast, pair.scene)]
    return found


# -- fitting ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """A noise, and how near it comes.

    Attributes:
        noise: fitted.
        distance: by misalignment, the mean distance of the quantiles of ω (Wasserstein-1).
        before: the same of the default noise.
        summary: of the world's ω under the fitted noise (`summary`).
    """

    noise: Noise
    distance: Mapping[str, float]
    before: Mapping[str, float]
    summary: Mapping[str, Mapping[str, float]]


def fit_noise(real: Mapping[str, Omegas], *, count: int = 200, seed: int = 0, rounds: int = 60) -> Fit:
    """The noise whose ω are spread as the real ones, by differential evolution; the same for the same arguments.

    Args:
        real: ω by misalignment (`read_omegas`); action is fitted with its rates, others with the sight alone.
        count: pairs that are filmed for each misalignment.
        seed: of the pairs and of the search.
        rounds: generations of the search at most.

    Raises:
        SourceError: there are no weights.
    """
    from scipy.optimize import differential_evolution
    from scipy.stats import wasserstein_distance

    if not real or not all(len(values) for values in real.values()):
        raise SourceError("no real weights to fit noise to", fix="Give triplets with scores")
    worlds = {kind: simulate(kind, count, seed) for kind in real}
    # Distances need no more than a thousand quantiles.
    wanted = {kind: np.quantile(values, (np.arange(1000) + 0.5) / 1000) for kind, values in real.items()}

    def spread(noise: Noise) -> dict[str, Omegas]:
        return {
            kind: world.omegas(noise.sight, noise.random.get(kind, 0.0), noise.reverted.get(kind, 0.0))
            for kind, world in worlds.items()
        }

    def distances(noise: Noise) -> dict[str, float]:
        return {kind: float(wasserstein_distance(wanted[kind], own)) for kind, own in spread(noise).items()}

    def lost(values: Sequence[float]) -> float:
        own = spread(_noise(values))
        return sum(
            wasserstein_distance(wanted[kind], each)
            + ZEROS * abs((wanted[kind] == 0).mean() - (each == 0).mean())
            for kind, each in own.items()
        )

    found = differential_evolution(
        lost, list(BOUNDS.values()), seed=seed, maxiter=rounds, popsize=8, tol=1e-4, polish=False
    )
    noise = _noise(found.x)
    # Together as the real ones are mixed.
    own = spread(noise)
    shares = {kind: len(values) / sum(map(len, real.values())) for kind, values in real.items()}
    mixed = np.concatenate(
        [np.quantile(own[kind], _grid(round(2000 * share))) for kind, share in shares.items()]
    )
    told = summary(own) | {"all": summary({"all": mixed})["all"]}
    return Fit(noise, distances(noise), distances(DEFAULT), told)


def _grid(count: int) -> NDArray[np.float64]:
    return (np.arange(count) + 0.5) / count


def _noise(values: Sequence[float]) -> Noise:
    """Of values in the order of BOUNDS, rounded to what is written down."""
    rounded = {name: round(float(value), 3) for name, value in zip(BOUNDS, values, strict=True)}
    wrong, reverted = rounded.pop("random.action"), rounded.pop("reverted.action")
    return replace(
        DEFAULT,
        random={**DEFAULT.random, "action": wrong},
        reverted={"action": reverted},
        sight=Sight(**rounded),
    )


def _main(triplets: str, scores: str) -> None:
    from synvita_data.display import Terminal

    terminal = Terminal()
    real = read_omegas(triplets, scores)
    fit = fit_noise(real)
    terminal.line(f"{fit.noise}")
    for kind, distance in fit.distance.items():
        terminal.line(f"{kind}: distance {distance:.4f}, of the default noise {fit.before[kind]:.4f}")
    for kind, values in summary(real).items():
        for whose, numbers in (("real", values), ("world", fit.summary[kind])):
            cells = "  ".join(f"{name} {number:.3f}" for name, number in numbers.items())
            terminal.line(f"{kind:<7}{whose:<6}{cells}")


if __name__ == "__main__":
    _main(*sys.argv[1:3])
