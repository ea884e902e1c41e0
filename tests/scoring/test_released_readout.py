"""Evaluation as the released code does it: which rows are mirrored, the read-out, and the mode that sets both."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models.families.mplug_owl import MplugOwl
from synvita_data.models.families.qwen2_5_vl import Qwen2_5VL
from synvita_data.models.families.video_llava import VideoLlava
from synvita_data.scoring import ScoringItem
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.scoring.open import open_scorer
from synvita_data.scoring.released import choose_options, draw_flips, released_probability
from synvita_data.testing import make_tiny
from synvita_data.video import decode, encode_mp4

FIXTURE = Path(__file__).parents[1] / "video_llava_original" / "fixture"
TEXTS = tuple(map(Text, ("A man plays a guitar.", "A man plays a piano.", "A dog runs.")))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny("video_llava", tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    encode_mp4(np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8), 4, path)
    return path


def test_the_released_rows_are_mirrored():
    """The test vector of the released code's draws (random.seed(0), one a row, mirrored below 0.5)."""
    flips = draw_flips("seed0", 9230)
    assert "".join(str(int(flip)) for flip in flips[:16]) == "0011010110001001"
    assert flips.sum() == 4571
    assert not draw_flips("none", 9230).any()
    with pytest.raises(SynvitaError, match="unknown flips"):
        draw_flips("seed1", 3)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_row_is_mirrored_whatever_follows_and_nothing_else_draws(rows, more):
    state = random.getstate()
    assert draw_flips("seed0", rows + more)[:rows].tolist() == draw_flips("seed0", rows).tolist()
    assert random.getstate() == state


def test_the_read_out_is_the_releases_to_the_bit():
    io = load_file(FIXTURE / "tiny_io.safetensors")
    logits, scores = io["exact.out.answer_logits_bf16"], io["exact.out.scores_bf16"]
    found = released_probability(logits, 40, 41)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, scores)
    # The original's fp32 run, and that the dtype matters: the bf16 score is a rounded one.
    assert torch.allclose(released_probability(io["out.answer_logits"], 40, 41), io["out.scores"], atol=1e-6)
    assert (released_probability(logits.float(), 40, 41) - scores.float()).abs().max() > 1e-4


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=9))
def test_the_read_out_in_fp32_is_the_sigmoid_of_the_log_odds(values):
    logits = torch.tensor(values, dtype=torch.float64)
    expected = (logits[0] - logits[2]).sigmoid()
    assert released_probability(logits, 0, 2).item() == pytest.approx(expected.item(), abs=1e-9)


NOTHING = {"prompt": None, "dtype": None, "preprocess": None, "flips": None, "backend": None}


def test_what_is_given_comes_before_the_mode_and_that_before_training():
    trained = {"prompt": "video-llava", "placeholder_space": "processor", "preprocess": "processor"}
    clean = choose_options("clean", VideoLlava, "m", NOTHING, trained)
    assert clean.options["prompt"] == "video-llava"
    assert (clean.options["flips"], clean.options["readout"], clean.options["dtype"]) == (
        "none",
        "float32",
        "float32",
    )
    assert (clean.set_by_mode, clean.unusual()) == ({}, {})
    released = choose_options("released", VideoLlava, "m", NOTHING, trained)
    assert released.options == released.set_by_mode == {
        "prompt": "video-llava-eval", "placeholder_space": "original", "preprocess": "languagebind", "flips": "seed0",
        "readout": "released", "merge": "float16", "dtype": "bfloat16", "backend": "decord",
    }  # fmt: skip
    assert released.unusual() == {
        "flips": "seed0", "readout": "released", "merge": "float16", "mode": "released",
    }  # fmt: skip
    given = {**NOTHING, "flips": "none", "dtype": "float32", "backend": "pyav"}
    mixed = choose_options("released", VideoLlava, "m", given, trained)
    assert mixed.options["flips"] == "none"
    assert (mixed.options["dtype"], mixed.options["backend"]) == ("float32", "pyav")
    assert not {"flips", "dtype", "backend"} & mixed.set_by_mode.keys()
    owl = choose_options("released", MplugOwl, "m", NOTHING, {})
    assert owl.set_by_mode == {
        "prompt": "mplug-owl", "readout": "released", "merge": "unmerged", "dtype": "bfloat16", "backend": "decord",
    }  # fmt: skip
    assert (owl.options["flips"], owl.options["preprocess"]) == ("none", "processor")


def test_what_a_family_does_not_have_is_refused(checkpoint, tmp_path):
    with pytest.raises(SynvitaError, match="does not evaluate this kind of model"):
        choose_options("released", Qwen2_5VL, "m", NOTHING, {})
    with pytest.raises(SynvitaError, match="cannot be mirrored"):
        choose_options("clean", Qwen2_5VL, "m", {**NOTHING, "flips": "seed0"}, {})
    for options, message in (
        ({"mode": "paper"}, "unknown mode"),
        ({"flips": "seed7"}, "unknown flips"),
        ({"readout": "bf16"}, "unknown readout"),
        ({"merge": "bfloat16"}, "unknown merge"),
        ({"preprocess": "clip"}, "unknown preprocess"),
    ):
        with pytest.raises(SynvitaError, match=message):
            open_scorer(str(checkpoint), device="cpu", video_llm=options)
    with pytest.raises(SynvitaError, match="for Video LLMs"):
        open_scorer("chance", video_llm={"mode": "released"})


def test_a_mode_is_recorded_and_scores_as_its_options_do(checkpoint, video):
    own = {"frames": {"backend": "pyav"}, "device": "cpu"}  # decord is not everywhere
    made = open_scorer(str(checkpoint), **own, video_llm={"mode": "released"})
    assert made.kind == "probability"
    assert made.prompt == "video-llava-eval"
    assert made.flips == "seed0"
    assert made.set_by_mode["dtype"] == "bfloat16"
    assert "backend" not in made.set_by_mode
    assert made.frames.backend == "pyav"
    json.dumps(made.settings)
    assert {name: made.settings[name] for name in ("mode", "dtype", "preprocess", "flips", "readout", "merge")} == {
        "mode": "released", "dtype": "bfloat16", "preprocess": "languagebind", "flips": "seed0",
        "readout": "released", "merge": "float16",
    }  # fmt: skip
    item = ScoringItem("i", "v", video, TEXTS, ("a", "b", "c"), mirrored=(False, True, True))
    (answer,) = made.score([item])
    by_hand = open_scorer(
        str(checkpoint),
        **own,
        dtype="bfloat16",
        video_llm={
            "prompt": "video-llava-eval",
            "placeholder_space": "original",
            "preprocess": "languagebind",
            "flips": "seed0",
            "readout": "released",
            "merge": "float16",
        },
    )
    (same,) = by_hand.score([item])
    assert answer.scores.tolist() == same.scores.tolist()
    # Values of bfloat16: what it cannot hold never comes out.
    assert torch.tensor(answer.scores).bfloat16().float().tolist() == answer.scores.tolist()
    # From fp32 log-odds of the same weights they are a rounding away.
    clean = open_scorer(
        str(checkpoint),
        **own,
        dtype="bfloat16",
        video_llm={
            "prompt": "video-llava-eval",
            "placeholder_space": "original",
            "preprocess": "languagebind",
            "merge": "float16",
        },
    )
    assert clean.kind == "log_odds"
    (odds,) = clean.score([item])
    assert np.abs(1 / (1 + np.exp(-odds.scores)) - answer.scores).max() < 0.02


def test_rows_that_a_conversion_added_take_no_part_in_the_softmax(checkpoint, video):
    """In a softmax they would move the bf16 numbers; here they may be as likely as they like."""
    item = ScoringItem("i", "v", video, TEXTS, ("a", "b", "c"))
    made = AlignmentScorer.open(str(checkpoint), device="cpu", dtype="bfloat16", readout="released")
    family = made.model.family
    head = family.model.get_output_embeddings().weight
    added = range(family.released_vocabulary, len(head))
    assert {"<image>", "<video>"} <= set(family.tokenizer.convert_ids_to_tokens(list(added)))
    (before,) = made.score([item])
    with torch.no_grad():
        head[family.released_vocabulary :] = 50 * torch.randn(len(added), head.shape[1]).bfloat16()
    (after,) = made.score([item])
    assert after.scores.tolist() == before.scores.tolist()


def test_mplug_owl_in_the_released_mode(video, tmp_path):
    made = open_scorer(
        str(make_tiny("mplug-owl", tmp_path / "owl")),
        device="cpu",
        frames={"backend": "pyav", "count": 4},
        video_llm={"mode": "released"},
    )
    assert (made.kind, made.flips, made.prompt) == ("probability", "none", "mplug-owl")
    assert made.settings["dtype"] == "bfloat16"
    assert not {"preprocess", "flips"} & made.settings.keys()
    assert made.settings["merge"] == "unmerged"
    (answer,) = made.score([ScoringItem("i", "v", video, TEXTS, ("a", "b", "c"))])
    model = made.model
    with torch.no_grad():
        prepared = model.prepare(decode(video, made.frames))
        logits = [model([prepared], [[text]], vocabulary=1).vocabulary_logits[0, 0] for text in TEXTS]
    expected = [released_probability(own, *model.prompter.answer_ids).item() for own in logits]
    assert np.abs(answer.scores - expected).max() <= 2**-7


@pytest.mark.parametrize("strategy", [None, "plain", "packed", "cached"])
@pytest.mark.parametrize("preprocess", ["processor", "languagebind"])
def test_each_text_sees_its_side_and_the_cache_keeps_both(checkpoint, video, tmp_path, preprocess, strategy):
    options = {"device": "cpu", "preprocess": preprocess, "strategy": strategy}
    made = AlignmentScorer.open(str(checkpoint), **options)
    # One text on both sides, the others on one.
    texts, sides = (*TEXTS, TEXTS[0]), (True, False, True, False)
    item = ScoringItem("i", "v", video, texts, ("a", "b", "c", "a"), mirrored=sides)
    (answer,) = made.score([item])
    # By hand: the prepared pixels turned about, each pair alone through the model.
    prepared = made.model.prepare(decode(video, made.frames))
    turned = made.model.family.mirror(prepared)
    expected = [
        made.model([turned if side else prepared], [[text]], strategy="plain").log_odds.item()
        for text, side in zip(texts, sides, strict=True)
    ]
    assert np.abs(answer.scores - expected).max() < 1e-5
    assert abs(answer.scores[0] - answer.scores[3]) > 1e-4
    if strategy is None:
        cached = AlignmentScorer.open(str(checkpoint), cache=tmp_path / "features", **options)
        first, second = (next(iter(cached.score([item]))) for _ in range(2))
        assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 2
        assert first.scores.tolist() == second.scores.tolist() == answer.scores.tolist()
        # One side is enough for who asks for one.
        plain = ScoringItem("p", "v", video, TEXTS, ("a", "b", "c"))
        other = AlignmentScorer.open(str(checkpoint), cache=tmp_path / "features", **options)
        (of_cache,), (bare,) = other.score([plain]), made.score([plain])
        assert of_cache.scores.tolist() == bare.scores.tolist()


def test_a_video_is_decoded_once_for_both_sides(checkpoint, video, monkeypatch):
    from synvita_data.models import videos

    decoded, encoded = [], []

    def decode_too(*arguments, **named):
        decoded.append(arguments[0])
        return decode(*arguments, **named)

    monkeypatch.setattr(videos, "decode", decode_too)
    made = AlignmentScorer.open(str(checkpoint), device="cpu")
    tower = made.model.family.towers
    monkeypatch.setattr(made.model.family, "towers", lambda all_: encoded.extend(all_) or tower(all_))
    item = ScoringItem("i", "v", video, TEXTS, ("a", "b", "c"), mirrored=(False, True, False))
    list(made.score([item]))
    assert (len(decoded), len(encoded)) == (1, 2)
