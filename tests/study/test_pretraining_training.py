"""The pre-training of the shapes world: packed statements are the stock forward's, targets are the tracks', and the same
seed gives the same bytes. Tiny settings: what the real ones reach is held by tests/test_shipped_models.py.
"""

import hashlib
import random

import numpy as np
import pytest
import torch

from synvita_data.builders.shapes import REAL, VERSION_1, film, parse, render
from synvita_data.builders.shapes.scenes import COLOURS, SHAPES
from synvita_data.captions.prompts import get_prompt
from synvita_data.errors import SynvitaError
from synvita_data.study.pretraining import __main__ as command
from synvita_data.study.pretraining import detection, training
from synvita_data.study.pretraining.clips import WORLD, draw_clips
from synvita_data.study.pretraining.clips import film as film_for
from synvita_data.study.pretraining.export import save
from synvita_data.study.pretraining.network import new_model, normalised
from synvita_data.study.pretraining.packed import Packed
from synvita_data.study.pretraining.record import check_world
from synvita_data.study.pretraining.settings import HELD_OUT, Settings
from synvita_data.study.pretraining.statements import held_out
from synvita_data.video import FramePolicy, decode, encode_mp4

TINY = Settings(
    width=16,
    layers=2,
    heads=2,
    tower_width=16,
    tower_layers=2,
    clips=16,
    tower_steps=3,
    tower_batch=8,
    steps=4,
    early=2,
    more=2,
    batch=3,
    pairs=2,
    log_every=2,
)


@pytest.fixture(scope="module")
def tiny():
    return new_model(TINY)


@pytest.fixture(scope="module")
def made():
    lines = []
    found = training.pretrain(TINY, say=lines.append)
    return found, lines


def stock_log_odds(model, processor, pixels, text):
    """One sequence through transformers' own forward, prompt and processor: the reference."""
    prompt = get_prompt("video-llava").wrap(text)
    tokens = processor.tokenizer(prompt)["input_ids"]
    place = tokens.index(processor.tokenizer.convert_tokens_to_ids("<video>"))
    size = model.config.vision_config.image_size // model.config.vision_config.patch_size
    video = [tokens[place]] * (len(pixels) * (size * size + 1))
    ids = torch.tensor([tokens[:place] + video + tokens[place + 1 :]])
    logits = model(
        input_ids=ids, pixel_values_videos=pixels[None], attention_mask=torch.ones_like(ids)
    ).logits
    yes, no = (
        processor.tokenizer(answer, add_special_tokens=False)["input_ids"][0] for answer in ("Yes", "No")
    )
    return (logits[0, -1, yes] - logits[0, -1, no]).item()


def test_packed_statements_are_the_stock_forwards(tiny):
    model, processor = tiny
    packed = Packed(model, processor, TINY.frames)
    clips = draw_clips(2, 3, processor, TINY.frames)
    pixels = normalised(torch.from_numpy(clips.pixels), processor.video_processor)
    texts = [["A red circle.", "A small blue star moves left."], ["Two cyan squares.", "A red circle spins."]]
    with torch.no_grad():
        ids, last = packed.pack(texts)
        found = packed.log_odds(packed.states(packed.features(pixels), ids), last)
        for clip, own, odds in zip(pixels, texts, found, strict=True):
            for text, value in zip(own, odds.tolist(), strict=True):
                assert value == pytest.approx(stock_log_odds(model, processor, clip, text), abs=2e-5), text
    assert found.std() > 1e-3  # they are not all one number


def test_a_statement_sees_no_other(tiny):
    model, processor = tiny
    packed = Packed(model, processor, TINY.frames)
    features = torch.randn(1, TINY.frames * 10, TINY.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, two = (
            packed.log_odds(packed.states(features, ids), last)[0, 0].item()
            for ids, last in (
                packed.pack([["A red circle.", other]]) for other in ("A cyan star.", "Two red stars.")
            )
        )
    assert one == pytest.approx(two, abs=1e-6)


def test_pixels_are_the_processors(tiny):
    """What is kept as bytes is, normalised, what the processor gives; and a file's frames are nearly the same."""
    _, processor = tiny
    scene, seed = parse("A red circle moves left."), 7
    chosen = [1, 3, 5, 7, 9, 11, 13, 15]
    kept, _ = film_for(scene, seed, REAL, processor, chosen)
    frames = torch.from_numpy(render(scene, seed, REAL, WORLD)[chosen].transpose(0, 3, 1, 2).copy())
    expected = processor.video_processor(videos=[frames], return_tensors="pt")["pixel_values_videos"][0]
    found = normalised(torch.from_numpy(kept), processor.video_processor)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_files_frames_are_near(tiny, tmp_path):
    _, processor = tiny
    scene, seed = parse("First a blue star spins, then a yellow circle moves up."), 11
    encode_mp4(render(scene, seed, REAL, WORLD), REAL.fps, tmp_path / "clip.mp4")
    policy = FramePolicy(count=8, rule="segment-midpoints")
    frames = decode(tmp_path / "clip.mp4", policy)
    decoded = torch.from_numpy(frames.pixels.transpose(0, 3, 1, 2).copy())
    raw, _ = film_for(scene, seed, REAL, processor, list(frames.indices))
    encoded = processor.video_processor(
        videos=[decoded], do_rescale=False, do_normalize=False, return_tensors="pt"
    )["pixel_values_videos"][0].numpy()
    apart = np.abs(raw.astype(int) - encoded.astype(int))
    assert apart.mean() < 2.5  # grey levels of 255


def test_targets_are_the_tracks(tiny):
    _, processor = tiny
    scene, seed = parse("A red circle is above a blue star."), 5
    _, truth = film_for(scene, seed, REAL, processor, [0, 8])
    tracks = film(scene, seed, REAL, WORLD).tracks
    colour, shape, geometry, numbers = detection.targets(truth, 3)
    assert numbers.tolist() == [2, 2]
    for track in tracks:
        x, y = track.centre[8]
        place = int(y * 3) * 3 + int(x * 3)
        assert colour[1, place] == COLOURS.index(track.colour) + 1
        assert shape[1, place] == SHAPES.index(track.shape)
        assert geometry[1, place, :2].tolist() == pytest.approx([4 * x - 2, 4 * y - 2], abs=1e-5)
    assert (colour > 0).sum(1).tolist() == [2, 2]


def test_colours_do_not_speak_against_held_out_shapes():
    """The loss of a red shape does not push the shape that never comes in red."""
    colour, never = next(iter(sorted(HELD_OUT)))
    shown = next(shape for shape in SHAPES if (colour, shape) not in HELD_OUT)
    truth = np.zeros((1, 4, 8), np.float32)
    truth[0, 0] = [COLOURS.index(colour) + 1, SHAPES.index(shown), 0.5, 0.5, 0.1, 0, 0, 1]
    said = torch.zeros(1, 10, detection.SAID, requires_grad=True)
    detection.detection_loss(said, truth).backward()
    shapes = said.grad[0, 5, 7 : 7 + len(SHAPES)]
    assert shapes[SHAPES.index(never)] == 0
    assert shapes[SHAPES.index(shown)] < 0
    others = [SHAPES.index(each) for each in SHAPES if each not in (never, shown)]
    assert (shapes[others] > 0).all()
    # Of a grey frame the colour is not asked, and all shapes are.
    said.grad = None
    detection.detection_loss(said, truth, torch.tensor([True])).backward()
    assert (said.grad[0, 5, :7] == 0).all()
    assert said.grad[0, 5, 7 + SHAPES.index(never)] > 0


def test_no_clip_of_the_pretraining_has_a_held_out_combination(tiny):
    clips = draw_clips(24, 1, tiny[1], TINY.frames)
    assert not any(held_out(scene) for scene in clips.scenes)
    assert clips.pixels.dtype == np.uint8
    assert clips.pixels.shape == (24, 8, 3, 48, 48)


def test_the_log_tells_both_stages(made):
    found, lines = made
    stages = [line["stage"] for line in lines]
    assert stages == ["clips", "tower", "statements", "statements", "statements"]
    assert lines[-1]["step"] == TINY.steps + TINY.more
    assert all("seconds" in line for line in lines)
    assert not any("seconds" in line for line in found.log)  # what is kept repeats
    weight = "lm_head.weight"
    assert not torch.equal(found.early[weight], found.model.state_dict()[weight])
    tower = found.model.model
    for one, two in zip(tower.image_tower.parameters(), tower.video_tower.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    """Whatever torch's own random state is and however many threads it had."""
    digests = []
    for number, pretrained in enumerate((made[0], None)):
        if pretrained is None:
            torch.manual_seed(99)
            random.seed(1)
            pretrained = training.pretrain(TINY)
        folders = save(pretrained, TINY, tmp_path / str(number))
        digests.append(
            {
                f"{name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
                for name, folder in folders.items()
                for path in folder.iterdir()
            }
        )
    assert digests[0] == digests[1]
    assert len(digests[0]) > 10
    folder = tmp_path / "0" / "shapes-video-llava"
    check_world(str(folder), WORLD)
    with pytest.raises(SynvitaError, match="another version of the shapes world") as caught:
        check_world(str(folder), VERSION_1)
    assert caught.value.found == f"version {WORLD.version}"
    with pytest.raises(SynvitaError, match="already"):
        save(pretrained, TINY, tmp_path / "0")


@pytest.mark.slow
def test_the_command_makes_and_measures_both_states(tmp_path, capsys):
    out = tmp_path / "made"
    sizes = [
        "--clips",
        "24",
        "--tower-steps",
        "4",
        "--steps",
        "4",
        "--early",
        "2",
        "--more",
        "0",
        "--each",
        "2",
    ]
    assert command.main(["--out", str(out), *sizes]) == 0
    printed = capsys.readouterr().out
    assert "| noun-shape" in printed or "| shape of a noun" in printed
    for name in ("shapes-video-llava", "shapes-video-llava-early"):
        card = (out / name / "README.md").read_text()
        assert "positive control" in card
        assert sum(path.stat().st_size for path in (out / name).iterdir()) < 4e6
    assert (out / command.RELIABILITY).read_bytes().startswith(b"\x89PNG")
    assert command.main(["--out", str(out), *sizes]) == 1  # it is there already
    assert "already" in capsys.readouterr().err


def test_the_command_needs_something_to_do(capsys):
    with pytest.raises(SystemExit):
        command.main([])
    assert "--evaluate" in capsys.readouterr().err
