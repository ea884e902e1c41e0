"""The original Video-LLaVA against its own forward, in every strategy; also in the tests that every family passes
(marked slow). tests/video_llava_original/ compares the network and its conversion with the original classes."""

import re

import numpy as np
import pytest
import torch
from family_checks import TEXTS, TOLERANCE, as_cached, expected, language_model_linears, worst
from stock_models import clip, load, stock_inputs

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models import STRATEGIES, AlignmentModel
from synvita_data.scoring import ScoringItem
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.testing import make_tiny
from synvita_data.video import FramePolicy, decode, encode_mp4

# Multiples of the two frames that the tiny tower reads together; wide, high, square.
VIDEOS = [clip(0, 4, 60, 110), clip(1, 2, 96, 64, step=3), clip(2, 8, 70, 70), clip(3, 6, 64, 128, step=2)]


@pytest.fixture
def family():
    return "video_llava_original"


def test_every_way_gives_the_stock_models_log_odds(stock, wording):
    reference = expected(stock, wording, VIDEOS)
    assert reference.std() > 0.1
    model = AlignmentModel(*stock)
    assert model.prompt.name == "video-llava-eval"
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy
        turned = torch.cat(list(reversed(reference.split([len(own) for own in TEXTS]))))
        encoded = [as_cached(model.family, model.encode(video)) for video in reversed(VIDEOS)]
        for strategy in STRATEGIES:
            assert worst(model(encoded, TEXTS[::-1], strategy=strategy), turned) < TOLERANCE, strategy


def test_videos_at_once_are_videos_one_by_one(stock):
    """All frames of all videos are one batch for the tower; no video may see another's frames."""
    family = AlignmentModel(*stock).family
    prepared = [AlignmentModel(*stock).prepare(video) for video in VIDEOS]
    with torch.no_grad():
        for together, video in zip(family.towers(prepared), prepared, strict=True):
            alone = family.tower(video)["patches"]
            assert torch.allclose(together["patches"], alone, atol=1e-5)


def test_ids_and_pixels_are_the_references(stock, wording):
    network, processor = stock
    model = AlignmentModel(network, processor)
    for video in VIDEOS:
        inputs = stock_inputs(processor, video, wording.format("a dog runs"))
        prepared = model.prepare(video)
        tokens = model.prompter.tokens(Text("a dog runs"), None, prepared)
        assert tokens.ids.tolist() == inputs["input_ids"][0].tolist()
        assert torch.equal(prepared.inputs["pixel_values_videos"], inputs["pixel_values_videos"])
        assert prepared.runs == (5,) * len(video)


def test_the_order_of_frames_matters_to_the_tower(stock, checkpoint_of):
    """transformers' port only permutes its tokens."""
    video = clip(4, 4, 64, 64)
    turned = type(video)(
        np.ascontiguousarray(video.pixels[::-1]), video.indices, video.timestamps, video.fps, "turned", "none"
    )
    for pair, moved in ((stock, True), (load(checkpoint_of("video_llava")), False)):
        model = AlignmentModel(*pair)
        with torch.no_grad():
            one, other = (model.encode(each).features["patches"] for each in (video, turned))
        assert ((one - other.flip(0)).abs().max() > 0.1) == moved


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_a_number_of_frames_that_time_cannot_read(stock, frames):
    with pytest.raises(
        SynvitaError, match=rf"cannot read this number of frames.*{frames}.*2 frames.*--frames"
    ):
        AlignmentModel(*stock).prepare(clip(0, frames))


def test_the_default_frames_are_the_released_codes(stock, tmp_path):
    """Eight, by linspace; a shorter video repeats frames."""
    family = AlignmentModel(*stock).family
    assert family.default_frames() == FramePolicy(count=8, rule="linspace")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 36, 64, 3), dtype=np.uint8)
    encode_mp4(pixels, 5, tmp_path / "clip.mp4")
    frames = decode(tmp_path / "clip.mp4", family.default_frames())
    assert frames.indices == tuple(np.linspace(0, 4, 8, dtype=int))
    larger = load(make_tiny("video_llava_original", tmp_path / "larger", frames_together=16))
    assert AlignmentModel(*larger).family.default_frames().count == 16


def test_lora_targets_are_the_language_models_linear_layers(stock):
    """And none of the towers', whose attention has layers of the same names."""
    network, processor = stock
    pattern = AlignmentModel(network, processor).family.lora_targets
    found = {name for name, _ in network.named_modules() if re.fullmatch(pattern, name)}
    assert found == language_model_linears(network)
    assert len(found) == 14
    assert any(name.endswith("temporal_attn.q_proj") for name, _ in network.named_modules())


def test_the_tower_is_what_features_depend_on(stock):
    named = {name for name, _ in AlignmentModel(*stock).family.tower_parameters()}
    assert any("temporal_embedding" in name for name in named)
    assert not any("language_model" in name or "projector" in name for name in named)


def test_a_checkpoint_by_its_folder(checkpoint_of, tmp_path):
    """What `synvita evaluate FOLDER` does, with and without a feature cache, and with frames it cannot read."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 36, 64, 3), dtype=np.uint8)
    encode_mp4(pixels, 10, tmp_path / "clip.mp4")
    texts = (Text("A man plays a guitar."), Text("A man plays a piano.", ((14, 19),)))
    item = ScoringItem("item", "video", tmp_path / "clip.mp4", texts, ("a", "b"))
    folder = checkpoint_of("video_llava_original")
    model = AlignmentModel(*load(folder))
    frames = decode(item.video, model.family.default_frames())
    with torch.no_grad():
        plain = model([frames], [texts], strategy="plain").log_odds.numpy()
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        scorer = AlignmentScorer.open(str(folder), device="cpu", cache=cache)
        assert (scorer.prompt, scorer.settings["family"]) == ("video-llava-eval", "video_llava_original")
        (answer,) = scorer.score([item])
        assert np.abs(answer.scores - plain).max() < TOLERANCE
    scorer = AlignmentScorer.open(str(folder), device="cpu", frames={"count": 3})
    with pytest.raises(SynvitaError, match="cannot read this number of frames"):
        scorer.check_texts(texts)  # before any video
