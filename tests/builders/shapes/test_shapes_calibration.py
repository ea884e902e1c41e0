"""Noise fitted to weights: the simulation is the world's own, and a fit finds what made the weights."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from synvita_data.builders.shapes import ShapesSpec, decide_for, draw_world, generate_for
from synvita_data.builders.shapes.calibration import (
    BOUNDS,
    Weighted,
    expected,
    fit_noise,
    read_omegas,
    simulate,
    summary,
)
from synvita_data.builders.shapes.folder import make_world, score_pair
from synvita_data.builders.shapes.noise import DEFAULT, NOISES, VIDEOCON, Noise, Sight
from synvita_data.builders.shapes.vqa import VQA_MODELS, score_frames
from synvita_data.errors import SourceError
from synvita_data.weights import weigh

# Quantiles and shares of zeros of the weights of VideoCon's 16,856 triplets, by misalignment (`read_omegas`).
REAL = {
    "action": {0.5: 0.042, 0.7: 0.156, 0.8: 0.259, 0.9: 0.426, 0.95: 0.554, "zeros": 0.350, "mean": 0.133},
    "flip": {0.5: 0.0, 0.7: 0.0, 0.8: 0.019, 0.9: 0.055, 0.95: 0.096, "zeros": 0.721, "mean": 0.017},
}


@pytest.fixture(scope="module")
def worlds():
    return {kind: simulate(kind, 20, seed=5, draws=4) for kind in ("action", "flip")}


def test_sight_changes_nothing_unless_it_says_so():
    frames = np.random.RandomState(0).randint(0, 256, (2, 48, 48, 3)).astype(np.uint8)
    told = ["A red circle spins.", "A blue star grows."]
    plain = score_frames(frames, told)
    assert (score_frames(frames, told, sight=Sight(), unnatural=told) == plain).all()
    lower = score_frames(frames, told, sight=Sight(unnatural=0.5), unnatural=told[:1])
    odds = [np.log(scores / (1 - scores)) for scores in (plain, lower)]
    np.testing.assert_allclose(odds[0][..., 0] - odds[1][..., 0], 0.5)
    np.testing.assert_allclose(odds[0][..., 1], odds[1][..., 1])
    noisy = score_frames(frames, told, sight=Sight(text=0.7))
    moved = np.log(noisy / (1 - noisy)) - odds[0]
    assert (
        np.ptp(moved, axis=(0, 1)).max() < 1e-9
    )  # the same for all frames and models of a clip and a caption
    assert abs(moved[0, 0, 0] - moved[0, 0, 1]) > 1e-3


def test_the_simulation_scores_clips_as_the_world_does():
    """Without any noise of the scorers, the ω of a simulated clip is the ω of the same clip, filmed and scored."""
    spec = ShapesSpec.parse("version=2,pairs=21,seed=5,only=train,noise=none")
    pairs = [pair for pair in draw_world(spec) if pair.triplet.misalignment == "action"]
    world = simulate("action", 3, seed=5, draws=1)
    quiet = type(world)(
        world.facts,
        *(np.zeros_like(each) for each in (world.frame_noise, world.clip_noise, world.text_noise)),
    )
    sight = Sight(sharpness=1.3, focus=0.4, unnatural=0.2)
    own = quiet.omegas(sight)[0]
    checked = 0
    for pair, omega in zip(pairs, own, strict=True):
        clip = generate_for(pair.triplet, spec)
        midpoints = [(2 * k + 1) * len(clip.pixels) // 8 for k in range(4)]
        # What other faults would change is not what this test is about.
        if decide_for(pair.triplet, ShapesSpec.parse("version=2,seed=5,random.action=0")).faults:
            continue
        quiet_models = [replace(model, noise=0.0) for model in VQA_MODELS]
        scores = score_frames(
            clip.pixels[midpoints],
            [pair.triplet.neg_caption, pair.triplet.caption],
            quiet_models,
            geometry=spec.geometry,
            sight=sight,
            unnatural=[pair.triplet.neg_caption],
        )
        assert weigh(*scores.mean(axis=(0, 1))) == pytest.approx(omega, abs=1e-9)
        checked += 1
    assert checked


def test_what_is_wrong_has_smaller_weights(worlds):
    right, wrong, reverted = worlds["action"].omegas(Sight()).mean(axis=1)
    assert right > wrong > reverted
    # A caption and its flip ask scorers of single frames for the same facts.
    assert np.ptp(worlds["flip"].omegas(Sight()).mean(axis=1)) < 0.02


def test_faults_count_by_their_rates(worlds):
    omegas = worlds["action"].omegas(Sight())
    for rates, state in (((0.0, 0.0), 0), ((1.0, 0.0), 1), ((0.4, 1.0), 2)):
        noise = Noise(random={"action": rates[0]}, reverted={"action": rates[1]})
        found = expected(worlds["action"], noise, "action")
        assert found.values @ found.shares == pytest.approx(omegas[state].mean())
    half = expected(worlds["action"], Noise(random={"action": 0.5}, reverted={"action": 0.5}), "action")
    assert half.values @ half.shares == pytest.approx(omegas.mean(axis=1) @ [0.25, 0.25, 0.5])


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.99))
def test_quantiles_of_equal_shares_are_numpys(values, at):
    found = Weighted.of(np.array(values), np.ones(len(values)))
    assert found.quantile(at) == np.quantile(values, at, method="inverted_cdf")
    assert found.summary()["mean"] == pytest.approx(np.mean(values))


def made_weights(worlds):
    """Weights by misalignment, of another noise than the default."""
    sight = Sight(sharpness=1.5, spread=0.4, focus=0.4, text=0.9, unnatural=0.6)
    made = Noise(reverted={"action": 0.1}, sight=sight)
    at = (np.arange(400) + 0.5) / 400
    return {kind: expected(world, made, kind).quantile(at) for kind, world in worlds.items()}


def test_a_fit_comes_near_weights_that_were_made_with_other_noise():
    """Weights of the pairs that are filmed for the fit, under a noise that it does not know."""
    worlds = {kind: simulate(kind, 10, seed=1) for kind in ("action", "flip")}
    target = made_weights(worlds)
    fit = fit_noise(target, count=10, seed=1, rounds=12)
    assert sum(fit.distance.values()) < 0.4 * sum(fit.before.values())
    for kind, world in worlds.items():
        own = expected(world, fit.noise, kind)
        found = wasserstein_distance(target[kind], own.values, v_weights=own.shares)
        assert found == pytest.approx(fit.distance[kind], abs=1e-3)
        assert fit.summary[kind] == own.summary()
    sight = fit.noise.sight
    fitted = [sight.sharpness, sight.spread, sight.focus, sight.text, sight.unnatural]
    for (low, high), value in zip(BOUNDS.values(), [*fitted, fit.noise.reverted["action"]], strict=True):
        assert low <= value <= high
    assert fit.noise.random == DEFAULT.random


@pytest.mark.slow
def test_equal_arguments_give_equal_fits(worlds):
    target = made_weights(worlds)
    once, again = (fit_noise(target, count=5, seed=2, rounds=3) for _ in range(2))
    assert once == again


def test_the_named_noise_is_near_the_real_weights(worlds):
    """Of few pairs that it was not fitted to: much nearer than the default."""
    errors = dict.fromkeys(NOISES, 0.0)
    for kind, real in REAL.items():
        quantiles = {at: value for at, value in real.items() if isinstance(at, float)}
        for name, noise in NOISES.items():
            own = expected(worlds[kind], noise, kind)
            errors[name] += np.mean([abs(own.quantile(at) - value) for at, value in quantiles.items()])
        shown = expected(worlds[kind], VIDEOCON, kind).summary()
        assert abs(shown["zeros"] - real["zeros"]) < 0.15
        assert abs(shown["mean"] - real["mean"]) < 0.03
    assert errors["videocon"] < 0.5 * errors["default"]


def test_weights_are_read_from_triplets_and_scores(tmp_path):
    spec = ShapesSpec.parse("version=2,pairs=7,noise=videocon")
    made = make_world(tmp_path, spec, size=48)
    found = read_omegas(made.triplets, made.vqascores)
    sums = {}
    with made.vqascores.open(newline="") as handle:
        for row in csv.DictReader(handle):
            sums.setdefault(row["row"], []).append(
                float(row["neg_caption_score"]) - float(row["caption_score"])
            )
    with made.triplets.open(newline="") as handle:
        for k, row in enumerate(csv.DictReader(handle)):
            assert found[row["misalignment"]] == pytest.approx([max(0.0, np.mean(sums[str(k)]))])
    told = summary(found)
    assert told["all"]["mean"] == pytest.approx(
        np.mean([value for values in found.values() for value in values])
    )
    assert VIDEOCON.record()["sight"]["focus"] == VIDEOCON.sight.focus


def test_scores_of_a_clip_are_means_over_frames():
    spec = ShapesSpec.parse("version=2,pairs=1")
    (pair,) = draw_world(spec)
    frames = generate_for(pair.triplet, spec).pixels[[2, 7, 12, 17]]
    each = [score_pair(frames[k : k + 1], pair.triplet, spec) for k in range(4)]
    np.testing.assert_allclose(score_pair(frames, pair.triplet, spec), np.mean(each, axis=0))


def test_nothing_to_fit_to():
    with pytest.raises(SourceError, match="no real weights"):
        fit_noise({})
    with pytest.raises(SourceError, match="no pairs"):
        simulate("action", 0)
