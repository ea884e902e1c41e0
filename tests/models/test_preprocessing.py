"""`preprocess` languagebind against what the original transform made of random frames, and where its name goes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from stock_models import clip, load
from torch.nn.functional import interpolate

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel
from synvita_data.models.features import FeatureCache
from synvita_data.models.resolve import find_checkpoint
from synvita_data.models.videos import Clip, VideoPreparer
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.video import encode_mp4
from synvita_data.video.preprocessing import MEAN, STD, languagebind

FIXTURE = Path(__file__).parents[1] / "video_llava_original" / "fixture" / "tiny_io.safetensors"
# What a rewrite met, with room for the kernels of other releases of torch (make_fixture_notes.md).
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def fixture():
    return {name[4:]: value for name, value in load_file(FIXTURE).items() if name.startswith("pre.")}


def worst_difference(made, fixture, name):
    """Of plain and mirrored pixels, of their means and of the edges: everything that the fixture keeps."""
    found = []
    for side, pixels in (("plain", made), ("flip", made.flip(-1))):
        own = pixels.transpose(0, 1)  # (c, t, h, w), as the original gives it
        kept = own[:, [0, 7]] if name == "small" else own
        found.append((kept[..., ::9, ::9] - fixture[f"{name}.{side}"]).abs().max())
        found.append((own.mean((-2, -1)) - fixture[f"{name}.{side}_mean"]).abs().max())
    first = made[0]
    edges = torch.stack([first[:, 0], first[:, -1], first[..., 0], first[..., -1]], dim=1)
    found.append((edges - fixture[f"{name}.plain_edges"]).abs().max())
    return max(float(each) for each in found)


@pytest.mark.parametrize("name", ["small", "tall", "large"])
def test_pixels_are_the_original_transforms(fixture, name):
    made = languagebind(fixture[f"{name}.frames"].numpy())
    assert made.shape == (len(fixture[f"{name}.frames"]), 3, 224, 224)
    assert made.dtype == torch.float32
    assert worst_difference(made, fixture, name) < TOLERANCE


def by_hand(
    pixels, *, mode="bilinear", antialias=False, other=int, crop=round, mean=MEAN, std=STD, flipped=False
):
    """The transform once more, with one detail to get wrong."""
    size = 224
    frames = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    frames = (frames - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    height, width = frames.shape[-2:]
    short = min(height, width)
    height, width = (size if side == short else other(side / short * size) for side in (height, width))
    frames = interpolate(frames, (height, width), mode=mode, antialias=antialias, align_corners=False)
    top, left = crop((height - size) / 2), crop((width - size) / 2)
    frames = frames[..., top : top + size, left : left + size]
    return frames.flip(-1) if flipped else frames


# Detail -> the frames on which it shows, as in the table of make_fixture_notes.md.
MUTANTS = {
    "antialias": ({"antialias": True}, ["large"]),
    "bicubic": ({"mode": "bicubic"}, ["small", "large", "tall"]),
    "bicubic with antialias": ({"mode": "bicubic", "antialias": True}, ["small", "large", "tall"]),
    "offset floored": ({"crop": int}, ["large"]),
    "other side rounded": ({"other": round}, ["small", "large", "tall"]),
    "ImageNet's mean": ({"mean": (0.485, 0.456, 0.406)}, ["small", "large", "tall"]),
    "ImageNet's deviation": ({"std": (0.229, 0.224, 0.225)}, ["small", "large", "tall"]),
    "the other side": ({"flipped": True}, ["small", "large", "tall"]),
}


@pytest.mark.parametrize("detail", [None, *MUTANTS])
def test_every_detail_shows(fixture, detail):
    wrong, shows_on = MUTANTS.get(detail, ({}, []))
    for name in ("small", "large", "tall"):
        made = by_hand(fixture[f"{name}.frames"].numpy(), **wrong)
        assert (worst_difference(made, fixture, name) > 100 * TOLERANCE) == (name in shows_on), name


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.sampled_from([1, 14, 28, 33]),
    value=st.integers(0, 255),
)
def test_any_frame_becomes_a_square_and_one_colour_stays_one(height, width, size, value):
    made = languagebind(np.full((2, height, width, 3), value, np.uint8), size)
    assert made.shape == (2, 3, size, size)
    expected = (value / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.allclose(made, expected.view(1, 3, 1, 1).expand_as(made), atol=1e-5)


def test_a_model_prepares_with_it_and_says_so(checkpoint_of):
    network, processor = load(checkpoint_of("video_llava"))
    frames = clip(3, frames=8, height=40, width=61)
    model = AlignmentModel(network, processor, preprocess="languagebind")
    prepared = model.prepare(frames)
    pixels = prepared.inputs["pixel_values_videos"]
    assert torch.equal(pixels[0], languagebind(frames.pixels, 28))
    assert torch.equal(model.family.mirror(prepared).inputs["pixel_values_videos"], pixels.flip(-1))
    assert model.family.preprocessing == {
        "name": "languagebind", "size": 28, "mean": list(MEAN), "std": list(STD),
    }  # fmt: skip
    # It travels with the preparer, and the other preprocessing gives other pixels of the same tokens.
    preparer = VideoPreparer.of(model)
    assert torch.equal(preparer.prepare(frames).inputs["pixel_values_videos"], pixels)
    own = AlignmentModel(network, processor)
    assert own.family.preprocessing["name"] == "processor"
    other = own.prepare(frames)
    assert (other.inputs["pixel_values_videos"] - pixels).abs().max() > 0.1
    assert (other.runs, other.placeholder) == (prepared.runs, prepared.placeholder)
    texts = [[Text("a man runs")]]
    scores = [each([frames], texts).log_odds.item() for each in (model, own)]
    assert scores[0] != scores[1]


def test_other_names_and_other_families_are_refused(checkpoint_of):
    stock = load(checkpoint_of("video_llava"))
    with pytest.raises(SynvitaError, match="unknown preprocess"):
        AlignmentModel(*stock, preprocess="clip")
    owl = load(checkpoint_of("qwen2_5_vl"))
    with pytest.raises(SynvitaError, match="unknown preprocess for this model"):
        AlignmentModel(*owl, preprocess="languagebind")
    family = AlignmentModel(*owl).family
    with pytest.raises(SynvitaError, match="cannot be mirrored"):
        family.mirror(None)


def test_settings_and_keys_hold_it(checkpoint_of, tmp_path):
    folder = str(checkpoint_of("video_llava"))
    plain = AlignmentScorer.open(folder, device="cpu", preprocess="processor")
    other = AlignmentScorer.open(folder, device="cpu", preprocess="languagebind")
    more = {"preprocess": "languagebind", "preprocess_size": 28}
    more |= {"preprocess_mean": list(MEAN), "preprocess_std": list(STD)}
    assert other.settings == {**plain.settings, **more}
    video = tmp_path / "clip.mp4"
    encode_mp4(np.zeros((8, 28, 28, 3), np.uint8), 8, video)
    caches = [FeatureCache.of(each.model, "r", tmp_path / "cache") for each in (plain, other)]
    keys = [cache.key(Clip(video), mirrored=side) for cache in caches for side in (False, True)]
    assert len(set(keys)) == 4
    merged = FeatureCache.of(plain.model, "r", tmp_path / "cache", merge="float16")
    assert merged.key(Clip(video)) not in keys


def test_a_fine_tune_is_asked_as_it_was_trained(checkpoint_of, tmp_path):
    import shutil

    folder = tmp_path / "tuned"
    shutil.copytree(checkpoint_of("video_llava"), folder)
    (folder / "training_args.json").write_text(json.dumps({"preprocess": "languagebind"}))
    assert find_checkpoint(str(folder)).trained_preprocess == "languagebind"
    assert AlignmentScorer.open(str(folder), device="cpu").settings["preprocess"] == "languagebind"
    asked = AlignmentScorer.open(str(folder), device="cpu", preprocess="processor")
    assert "preprocess" not in asked.settings
    (folder / "training_args.json").write_text(json.dumps({"preprocess": "elsewhere"}))
    assert find_checkpoint(str(folder)).trained_preprocess is None
