"""`synvita evaluate --mode released` from the outside, on the original Video-LLaVA with its tower of time."""

import json
import shutil
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from in_process import run_program
from small_annotations import QUESTIONS, write_questions, write_statements

from synvita_data.captions import Text
from synvita_data.cli import main
from synvita_data.models.loading import load_alignment_model
from synvita_data.models.resolve import find_checkpoint
from synvita_data.scoring.released import draw_flips
from synvita_data.testing import make_tiny
from synvita_data.video import FramePolicy, decode, encode_mp4

# The question with two equal statements first: one of them is mirrored and the other is not.
ROWS = QUESTIONS[::-1]
LLAVA = "video_llava_original"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny(LLAVA, tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def world(tmp_path):
    """Annotations and videos of four questions, and the command on them."""
    path = write_statements(tmp_path / "nextqa-atphard-statements.csv", ROWS)
    write_questions(tmp_path / "nextqa-atphard.csv", ROWS)
    for number, name in enumerate(sorted({q[0] for q in ROWS})):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 32, 44, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, tmp_path / f"next-qa/{name}.mp4")
    return path, tmp_path / "next-qa"


@pytest.fixture
def synvita(capsys, tmp_path, world):
    def run(model, *arguments, out="out"):
        asked = ["evaluate", model, "--task", "atp-hard", "--annotations", world[0], "--real-root", world[1]]
        asked += ["--out", tmp_path / out, "--name", "tiny", "--device", "cpu", *arguments]
        status = run_program(*asked)
        said = capsys.readouterr()
        file = tmp_path / out / "tiny" / "atp-hard.json"
        record = json.loads(file.read_text()) if file.is_file() else {}
        return status, " ".join((said.out + said.err).split()), record

    return run


def test_all_of_it_against_the_scores_by_hand(checkpoint, world, synvita, tmp_path):
    status, said, record = synvita(checkpoint, "--mode", "released", "--backend", "pyav")
    assert status == 0, said
    assert (
        "mode released: prompt video-llava-eval, placeholder_space original, preprocess languagebind, flips seed0, "
        "readout released, merge float16, dtype bfloat16" in said
    )
    assert "backend decord" not in said  # it was given
    model = record["model"]
    assert model["kind"] == "probability"
    assert model["settings"]["mode"] == "released"
    assert model["preprocess"]["name"] == model["settings"]["preprocess"] == "languagebind"
    assert record["frames"]["policy"]["backend"] == "pyav"
    assert record["flips"] == {
        "name": "seed0", "join": "official", "texts_with_several_scores": 1, "groups_left_out": 1,
    }  # fmt: skip
    assert (record["main_score"]["k"], record["main_score"]["n"]) == (3, 4)
    # By hand: each row of the file alone, its pixels turned about where its draw says so.
    aligned, _ = load_alignment_model(
        find_checkpoint(str(checkpoint)),
        prompt="video-llava-eval",
        dtype="bfloat16",
        device="cpu",
        placeholder_space="original",
        preprocess="languagebind",
        merge="float16",
    )
    yes, no = aligned.prompter.answer_ids
    rows = [(q[0], text) for q in ROWS for text in q[5]]
    expected = set()
    for (name, caption), flip in zip(rows, draw_flips("seed0", len(rows)), strict=True):
        video = aligned.prepare(decode(world[1] / f"{name}.mp4", FramePolicy(count=8, rule="linspace")))
        video = aligned.family.mirror(video) if flip else video
        with torch.no_grad():
            logits = aligned([video], [[Text(caption)]], vocabulary=1, strategy="plain").vocabulary_logits[
                0, 0
            ]
        logits = logits[: aligned.family.released_vocabulary]
        odds = logits.softmax(-1)
        expected.add((f"next-qa_{name}", caption, float(odds[yes] / (odds[yes] + odds[no]))))
    table = pq.read_table(tmp_path / "out/tiny/atp-hard.parquet").to_pylist()
    found = {(row["video_id"], row["caption"], row["score"]) for row in table}
    assert {pair[:2] for pair in found} == {pair[:2] for pair in expected}
    # One step of bfloat16 apart at most, for packed rows add in another order.
    for video_id, caption, score in found:
        assert min(abs(score - own) for v, c, own in expected if (v, c) == (video_id, caption)) <= 2**-7
    # A second run scores nothing again, and gives the same.
    again = synvita(checkpoint, "--mode", "released", "--backend", "pyav")[2]
    assert again["run"]["videos_reused"] == 3
    assert again["metrics"] == record["metrics"]
    # What was scored in part, or by a run that left a video out, is not scored otherwise.
    shutil.move(world[1] / "111.mp4", tmp_path / "111.mp4")
    status, said, _ = synvita(checkpoint, "--mode", "released", "--backend", "pyav", "--partial", out="part")
    assert status == 0, said
    kept = pq.read_table(tmp_path / "part/tiny/atp-hard.parquet").to_pylist()
    wanted = [row for row in table if row["video_id"] != "next-qa_111"]
    assert [(row["text_id"], row["score"]) for row in kept] == [
        (row["text_id"], row["score"]) for row in wanted
    ]


def test_what_is_given_wins_and_clean_is_clean(checkpoint, synvita):
    status, said, record = synvita(
        checkpoint, "--mode", "released", "--backend", "pyav", "--flips", "none", "--dtype", "float32",
        "--readout", "float32",
    )  # fmt: skip
    assert status == 0, said
    assert "flips" not in record
    settings = record["model"]["settings"]
    assert "flips" not in settings
    assert (settings["mode"], settings["dtype"], record["model"]["kind"]) == (
        "released",
        "float32",
        "log_odds",
    )
    assert "mode released: prompt video-llava-eval, placeholder_space original, preprocess" in said
    assert "dtype" not in said.partition("mode released:")[2].partition("behind")[0]
    status, said, clean = synvita(checkpoint, out="clean")
    assert status == 0, said
    assert "mode" not in said
    assert "mode" not in clean["model"]["settings"]
    assert clean["model"]["preprocess"]["name"] == "processor"
    assert clean["model"]["kind"] == "log_odds"
    assert clean["main_score"]["k"] == 4


def test_options_that_do_not_exist_are_one_line(checkpoint, synvita):
    for options, message in (
        (("--mode", "paper"), "unknown mode"),
        (("--flips", "seed1"), "unknown flips"),
        (("--preprocess", "clip"), "unknown preprocess"),
        (("--readout", "bf16"), "unknown readout"),
        (("--merge", "fp16"), "unknown merge"),
    ):
        status, said, _ = synvita(checkpoint, *options)
        assert status == 2
        assert message in said
    status, said, _ = synvita("chance", "--mode", "released")
    assert status == 2
    assert "for Video LLMs" in said


def test_a_file_of_scores_takes_none_of_it(world, monkeypatch, capsys, tmp_path):
    arguments = ["evaluate", "--predictions", "scores.csv", "--task", "atp-hard", "--annotations", world[0]]
    monkeypatch.setattr(
        sys, "argv", ["synvita", *map(str, arguments), "--mode", "released", "--flips", "seed0"]
    )
    with pytest.raises(SystemExit, match="2"):
        main()
    said = " ".join(capsys.readouterr().err.split())
    assert "these options are for models. Found: --flips, --mode" in said
