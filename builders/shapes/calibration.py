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
from numpy.typing import ArrayLike, NDArray

from synvita_data.errors import SourceError
from synvita_data.weights import mean_scores, weigh

from .generator import clip_seed, misunderstand
from .layout import VERSION_2
from .noise import DEFAULT, Noise, Sight
from .pixels import Style, film, look
from .scenes import Scene
from .spec import ShapesSpec
from .vqa import VQA_MODELS, find_shapes
from .world import Pair, draw_world

Omegas = NDArray[np.float64]
QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
# What is fitted, and its range: the scorers' sight, and how often a clip of an action shows the real caption. How often
# an action is wrong at random stays at the default: fits with rates from 0.01 to 0.15 come as near, so that ω alone does
# not tell it. How often an order of events is wrong cannot be told at all: scorers of single frames do not see it.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "sharpness": (0.2, 4.0),
    "spread": (0.0, 1.5),
    "focus": (0.0, 1.0),
    "text": (0.0, 1.5),
    "unnatural": (-0.5, 1.5),
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
    return {kind: Weighted.of(values, np.ones(len(values))).summary() for kind, values in every.items()}


# -- the world's ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulation:
    """Clips of some pairs of one misalignment, each as it is with and without a fault, and what scorers find in them.

    Attributes:
        facts: float64 [3, N, 4, M, 2, 2], what a frame says of (contrast caption, caption) to each of M scorers, the
            mean and the worst of its facts, where the clip has no fault of the pairs' kind, has one, or shows the real
            caption.
        frame_noise: float64 [N, 4, M, 2], standard normal.
        clip_noise: float64 [N], standard normal, of the sharpness.
        text_noise: float64 [N, 2], standard normal.
    """

    facts: NDArray[np.float64]
    frame_noise: NDArray[np.float64]
    clip_noise: NDArray[np.float64]
    text_noise: NDArray[np.float64]

    def omegas(self, sight: Sight) -> Omegas:
        """ω of every pair, by whether its clip is wrong: float64 [3, N]."""
        facts = self.facts @ np.array([1.0 - sight.focus, sight.focus])
        gain, bias, noise = (
            np.array([getattr(m, name) for m in VQA_MODELS]) for name in ("gain", "bias", "noise")
        )
        sharp = sight.sharpness * np.exp(sight.spread * self.clip_noise)
        odds = sharp[:, None, None, None] * gain[:, None] * facts
        odds += bias[:, None] + noise[:, None] * self.frame_noise
        odds += (sight.text * self.text_noise - np.array([sight.unnatural, 0.0]))[:, None, None, :]
        means = (1.0 / (1.0 + np.exp(-np.clip(odds, -60, 60)))).mean(axis=(2, 3))
        return weigh(means[..., 0], means[..., 1])


@dataclass(frozen=True)
class Weighted:
    """Values that stand for shares of a whole.

    Attributes:
        values: sorted.
        shares: of each, sum 1.
    """

    values: Omegas
    shares: Omegas

    @classmethod
    def of(cls, values: Omegas, shares: Omegas) -> "Weighted":
        """Of values in any order."""
        order = np.argsort(values, kind="stable")
        return cls(values[order], shares[order] / shares.sum())

    def quantile(self, at: ArrayLike) -> Omegas:
        """The smallest value with at least this share below or at it."""
        # The sum of all shares may fall short of 1 by rounding.
        places = np.searchsorted(np.cumsum(self.shares), np.asarray(at) - 1e-9)
        return self.values[np.minimum(places, len(self.values) - 1)]

    def summary(self) -> dict[str, float]:
        """Mean, share of zeros and quantiles."""
        return {
            "mean": float(self.values @ self.shares),
            "zeros": float(self.shares[self.values == 0].sum()),
            **{f"q{100 * q:.0f}": float(self.quantile(q)) for q in QUANTILES},
        }


def expected(world: Simulation, noise: Noise, misalignment: str) -> Weighted:
    """How ω is spread over very many pairs: each clip counts in its three states, by how often it is in them."""
    wrong, reverted = noise.random.get(misalignment, 0.0), noise.reverted.get(misalignment, 0.0)
    omegas = world.omegas(noise.sight)
    shares = np.array([(1 - reverted) * (1 - wrong), (1 - reverted) * wrong, reverted])
    return Weighted.of(omegas.ravel(), np.repeat(shares, omegas.shape[1]))


def simulate(misalignment: str, count: int, seed: int = 0, *, draws: int = 3, size: int = 96) -> Simulation:
    """Film `count` pairs of a misalignment in three ways each, and look at them as the scorers do.

    Faults of other kinds than the pair's happen at the default rates.

    Args:
        misalignment: of the pairs.
        count: of the pairs.
        seed: of pairs, clips and noise.
        draws: of the scorers' noise for each clip; N = count * draws.
        size: edge of the frames.

    Raises:
        SourceError: no pairs.
    """
    if count < 1:
        raise SourceError("no pairs to fit noise to", found=count, expected="from 1")
    spec = ShapesSpec(pairs=7 * count, seed=seed, version=2, only="train")
    pairs = [pair for pair in draw_world(spec) if pair.triplet.misalignment == misalignment]
    style = look(1.0, size)
    facts = np.empty((3, count, 4, len(VQA_MODELS), 2, 2))
    for n, pair in enumerate(pairs):
        own = clip_seed(spec.clip_seed, pair.triplet.pair_id, 1, VERSION_2)
        with_rate = (
            misunderstand(pair.contrast, random.Random(own), {**DEFAULT.random, misalignment: rate})[0]
            for rate in (0.0, 1.0)
        )
        for way, shown in enumerate((*with_rate, pair.scene)):
            facts[way, n] = _look(shown, pair, own, style)
    noise = np.random.RandomState(seed)
    count *= draws
    return Simulation(
        np.repeat(facts, draws, axis=1),
        noise.standard_normal((count, 4, len(VQA_MODELS), 2)),
        noise.standard_normal(count),
        noise.standard_normal((count, 2)),
    )


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


def fit_noise(real: Mapping[str, Omegas], *, count: int = 600, seed: int = 0, rounds: int = 60) -> Fit:
    """The noise whose ω are spread as the real ones, by differential evolution; the same for the same arguments.

    Args:
        real: ω by misalignment (`read_omegas`); action is fitted with its rate, others with the sight alone.
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

    def distance(kind: str, own: Weighted) -> float:
        return float(wasserstein_distance(wanted[kind], own.values, v_weights=own.shares))

    def lost(values: Sequence[float]) -> float:
        noise, total = _noise(values), 0.0
        for kind, world in worlds.items():
            own = expected(world, noise, kind)
            zeros = own.shares[own.values == 0].sum() - (wanted[kind] == 0).mean()
            total += distance(kind, own) + ZEROS * abs(zeros)
        return total

    found = differential_evolution(
        lost, list(BOUNDS.values()), seed=seed, maxiter=rounds, popsize=8, tol=1e-4, polish=False
    )
    noise = _noise(found.x)
    own = {kind: expected(world, noise, kind) for kind, world in worlds.items()}
    # Together as the real ones are mixed.
    sizes = {kind: len(values) for kind, values in real.items()}
    mixed = Weighted.of(
        np.concatenate([own[kind].values for kind in sizes]),
        np.concatenate([own[kind].shares * size for kind, size in sizes.items()]),
    )
    return Fit(
        noise,
        {kind: distance(kind, each) for kind, each in own.items()},
        {kind: distance(kind, expected(world, DEFAULT, kind)) for kind, world in worlds.items()},
        {kind: each.summary() for kind, each in {**own, "all": mixed}.items()},
    )


def _noise(values: Sequence[float]) -> Noise:
    """Of values in the order of BOUNDS, rounded to what is written down."""
    rounded = {name: round(float(value), 3) for name, value in zip(BOUNDS, values, strict=True)}
    reverted = rounded.pop("reverted.action")
    return replace(DEFAULT, reverted={"action": reverted}, sight=Sight(**rounded))


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
