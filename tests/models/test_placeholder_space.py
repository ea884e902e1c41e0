"""`placeholder_space` in models, scores, results and keys; tests/test_placeholders.py has the tokens themselves."""

import contextlib
import json
import sys

import numpy as np
import pytest
import torch
from small_annotations import ssv2_pairs, write_ssv2
from stock_models import clip, load

from synvita_data.captions import Text
from synvita_data.captions.prompts import PROMPTS
from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel
from synvita_data.models.resolve import find_checkpoint
from synvita_data.scoring.alignment import AlignmentScorer

VIDEO = clip(5)
TEXTS = [Text("a dog runs", ((2, 5),)), Text("a cat runs"), Text("two men")]


@pytest.fixture(scope="module")
def video_llava(checkpoint_of):
    return load(checkpoint_of("video_llava"))


def parts_of(tokenizer, text: str, number: int) -> list[int]:
    """The original's chunked tokenisation; a part that is a space alone has sentencepiece's two."""
    ids = [tokenizer.bos_token_id]
    for k, part in enumerate(text.split("<video>")):
        ids += [number] if k else []
        part = "  " if part == " " else part
        ids += tokenizer(part, add_special_tokens=False)["input_ids"] if part else []
    return ids


@pytest.mark.parametrize("prompt", ["video-llava", "video-llava-train", "video-llava-eval"])
@pytest.mark.parametrize("space", ["processor", "original"])
def test_ids_of_both(video_llava, prompt, space):
    network, processor = video_llava
    model = AlignmentModel(network, processor, prompt=prompt, placeholder_space=space)
    prepared = model.prepare(VIDEO)
    joiner = PROMPTS[prompt].joiner
    video = "<video>" if joiner is None else joiner.join(["<video>"] * 4)
    text = PROMPTS[prompt].wrap("a dog runs").replace("<video>", video)
    number = processor.video_token_id
    ids = (
        processor.tokenizer(text)["input_ids"]
        if space == "processor"
        else parts_of(processor.tokenizer, text, number)
    )
    run = 20 if joiner is None else 5
    expected = [i for each in ids for i in [each] * (run if each == number else 1)]
    found = model.prompter.tokens(TEXTS[0], None, prepared)
    assert found.ids.tolist() == expected
    # "dog" is hidden, whatever stands before it.
    hidden = processor.tokenizer.decode(found.ids[found.hidden].tolist())
    assert hidden.strip() == "dog"
    after = expected[max(i for i, each in enumerate(expected) if each == number) + 1 :][:3]
    told = model.prompter.behind_video
    assert told == {"space": space, "ids": after, "tokens": processor.tokenizer.convert_ids_to_tokens(after)}
    assert (told["tokens"][0] == "▁") == (space == "original")


def test_ways_agree_and_the_scores_are_others(video_llava):
    network, processor = video_llava
    odds = {}
    for space in ("processor", "original"):
        model = AlignmentModel(network, processor, placeholder_space=space)
        with torch.no_grad():
            own = [
                model([VIDEO], [TEXTS], strategy=strategy).log_odds
                for strategy in ("plain", "packed", "cached")
            ]
        assert all((each - own[0]).abs().max() < 1e-4 for each in own)
        odds[space] = own[0]
    assert (odds["processor"] - odds["original"]).abs().max() > 1e-4


def test_explanations_are_read_in_parts_too(video_llava):
    from synvita_data.models import Explanation

    network, processor = video_llava
    model = AlignmentModel(network, processor, placeholder_space="original")
    told = model.prompter.explanation(Explanation("a cat", "It is a dog."), model.prepare(VIDEO))
    targets = processor.tokenizer.convert_ids_to_tokens(list(told.targets[:-1]))
    assert "".join(targets).replace("▁", " ").strip() == "It is a dog."


def test_families_without_the_choice_say_so(checkpoint_of):
    stock = load(checkpoint_of("qwen2_5_vl"))
    with pytest.raises(SynvitaError, match="unknown placeholder_space for this model"):
        AlignmentModel(*stock, placeholder_space="original")
    with pytest.raises(SynvitaError, match="unknown placeholder_space"):
        AlignmentModel(*stock, placeholder_space="legacy")


def test_mplug_owl_reads_pieces_in_either(checkpoint_of):
    stock = load(checkpoint_of("mplug-owl"))
    ids = []
    for space in ("processor", "original"):
        model = AlignmentModel(*stock, placeholder_space=space)
        ids.append(model.prompter.tokens(TEXTS[1], None, model.prepare(VIDEO)).ids.tolist())
        assert model.prompter.behind_video["tokens"][0] == "▁"
    assert ids[0] == ids[1]


def test_a_preparer_keeps_it(video_llava):
    import pickle

    from synvita_data.models.videos import VideoPreparer

    model = AlignmentModel(*video_llava, placeholder_space="original")
    preparer = pickle.loads(pickle.dumps(VideoPreparer.of(model)))  # noqa: S301 (our own bytes)
    assert preparer.family.placeholder_space == "original"


def test_default_scores_keep_their_settings_and_the_other_is_named(checkpoint_of):
    folder = str(checkpoint_of("video_llava"))
    plain = AlignmentScorer.open(folder, device="cpu")
    assert plain.settings == {
        "family": "video_llava",
        "dtype": "float32",
        "attention": "split",
        "way": "by counts",
    }
    other = AlignmentScorer.open(folder, device="cpu", placeholder_space="original")
    assert other.settings == {**plain.settings, "placeholder_space": "original"}
    assert other.behind_placeholder["space"] == "original"


def test_a_fine_tune_is_asked_as_it_was_trained(checkpoint_of, tmp_path):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(checkpoint_of("video_llava"), folder)
    noted = {"prompt": "video-llava-train", "placeholder_space": "original"}
    (folder / "training_args.json").write_text(json.dumps(noted))
    assert find_checkpoint(str(folder)).trained_space == "original"
    scorer = AlignmentScorer.open(str(folder), device="cpu")
    assert scorer.settings["placeholder_space"] == "original"
    asked = AlignmentScorer.open(str(folder), device="cpu", placeholder_space="processor")
    assert "placeholder_space" not in asked.settings
    (folder / "training_args.json").write_text(json.dumps({"placeholder_space": "elsewhere"}))
    assert find_checkpoint(str(folder)).trained_space is None


@pytest.mark.parametrize("space", [None, "original"])
def test_results_record_what_follows_the_video(checkpoint_of, tmp_path, monkeypatch, capsys, space):
    """Through the command: printed when the model is loaded, and in the result."""
    from synvita_data.cli import main
    from synvita_data.video import encode_mp4

    pairs = ssv2_pairs()
    annotations = write_ssv2(tmp_path / "eval_ssv2_temporal.csv", pairs)
    for number, path in enumerate(sorted({path for path, _, _ in pairs})):
        file = tmp_path / "videos" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, file.with_suffix(".mp4"))
    more = [] if space is None else ["--placeholder-space", space]
    arguments = [
        "evaluate", str(checkpoint_of("video_llava")), "--task", "ssv2-temporal", "--annotations", str(annotations),
        "--real-root", str(tmp_path / "videos"), "--out", str(tmp_path / "out"), "--name", "tiny", "--device", "cpu",
        "--partial", "--frames", "4", *more,
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["synvita", *arguments])
    with contextlib.suppress(SystemExit):  # the result says whether it went well
        main()
    shown = capsys.readouterr().out
    (file,) = (tmp_path / "out").rglob("ssv2-temporal.json")
    record = json.loads(file.read_text())["model"]
    assert record["placeholder"]["space"] == space or (
        space is None and record["placeholder"]["space"] == "processor"
    )
    assert (record["placeholder"]["tokens"][0] == "▁") == (space == "original")
    assert (
        f"behind the placeholder ({record['placeholder']['space']}): {record['placeholder']['ids'][0]} "
        in shown
    )
    assert record["settings"].get("placeholder_space") == space
