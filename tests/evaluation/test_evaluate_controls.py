"""`synvita evaluate` under a control, on named samples and with frames by rate, from the outside."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from in_process import run_program
from small_annotations import QUESTIONS, write_questions, write_statements

from synvita_data.annotations import read_annotations
from synvita_data.captions import Text
from synvita_data.errors import SchemaError
from synvita_data.evaluation.named import named_rows
from synvita_data.evaluation.results import read_result
from synvita_data.models.families.family import NO_VIDEO
from synvita_data.models.loading import load_alignment_model
from synvita_data.models.resolve import find_checkpoint
from synvita_data.tasks import get_task, task_of_file
from synvita_data.testing import make_tiny
from synvita_data.video import FramePolicy, decode, encode_mp4

POLICY = FramePolicy(count=8, rule="linspace")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny("video_llava_original", tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Annotations and videos of four questions."""
    folder = tmp_path_factory.mktemp("world")
    path = write_statements(folder / "nextqa-atphard-statements.csv")
    write_questions(folder / "nextqa-atphard.csv")
    for number, name in enumerate(sorted({q[0] for q in QUESTIONS})):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 32, 44, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, folder / f"next-qa/{name}.mp4")
    return path, folder / "next-qa"


@pytest.fixture
def program(capsys):
    def run(*arguments):
        status = run_program(*arguments)
        said = capsys.readouterr()
        return status, said.out, " ".join(said.err.split())

    return run


@pytest.fixture
def synvita(program, world, tmp_path):
    """`evaluate` of a model on the four questions, with its videos unless `real_root` is None."""

    def run(model, *arguments, real_root=world[1], videos=True):
        asked = ["--task", "atp-hard", "--annotations", world[0], "--out", tmp_path / "out", "--name", "tiny"]
        asked += ["--device", "cpu", "--resamples", 20] + (["--real-root", real_root] if videos else [])
        return program("evaluate", model, *asked, *arguments)

    return run


def record(tmp_path, name):
    return json.loads((tmp_path / "out/tiny" / f"{name}.json").read_text())


def scores(tmp_path, name):
    table = pq.read_table(tmp_path / "out/tiny" / f"{name}.parquet").to_pylist()
    return {(row["video_id"], row["caption"]): row["score"] for row in table}


def by_hand(checkpoint, world, change, text_only=False):
    """Scores of every statement, each alone, with the frames that `change` makes of the sampled ones."""
    model, _ = load_alignment_model(find_checkpoint(str(checkpoint)), device="cpu", text_only=text_only)
    found = {}
    for name, _, _, _, _, statements in QUESTIONS:
        video = NO_VIDEO
        if not text_only:
            frames = decode(world[1] / f"{name}.mp4", POLICY)
            video = replace(frames, pixels=change(frames.pixels))
        for statement in statements:
            with torch.no_grad():
                odds = model([video], [[Text(statement)]], strategy="plain").log_odds
            found[f"next-qa_{name}", statement] = float(odds[0])
    return found


def same(found, expected):
    assert found.keys() == expected.keys()
    return max(abs(found[key] - expected[key]) for key in found) < 1e-5


@pytest.mark.slow
def test_controls_beside_the_result_and_on_the_leaderboard(
    checkpoint, world, synvita, program, tmp_path, monkeypatch
):
    assert synvita(checkpoint)[0] == 0
    own = (tmp_path / "out/tiny/atp-hard.json").read_bytes()
    status, out, said = synvita(checkpoint, "--control", "text", videos=False)
    assert status == 0, said
    assert "atp-hard@text" in out
    assert "not official: control: text; groups: found 4" in out
    assert synvita(checkpoint, "--control", "frame")[0] == 0
    assert synvita(checkpoint, "--control", "reverse")[0] == 0
    assert synvita(checkpoint, "--control", "shuffle", "--seed", "3")[0] == 0
    assert (tmp_path / "out/tiny/atp-hard.json").read_bytes() == own
    # What each of them says of itself.
    plain = record(tmp_path, "atp-hard")
    assert "control" not in plain
    assert "control" not in plain["model"]["settings"]
    keys = {plain["run"]["key"]}
    for name in ("text", "frame", "reverse", "shuffle"):
        found = record(tmp_path, f"atp-hard@{name}")
        assert found["control"] == found["model"]["settings"]["control"] == name
        assert found["official"] is False
        assert found["why_not_official"][0] == f"control: {name}"
        assert read_result(tmp_path / f"out/tiny/atp-hard@{name}.json").control == name
        keys.add(found["run"]["key"])
    assert len(keys) == 5
    assert record(tmp_path, "atp-hard@shuffle")["model"]["settings"]["control_seed"] == 3
    text = record(tmp_path, "atp-hard@text")
    assert text["frames"] is None
    assert not {"placeholder", "preprocess"} & text["model"].keys()
    assert "frame_indices" not in pq.read_schema(tmp_path / "out/tiny/atp-hard@text.parquet").names
    # The numbers, by hand.
    assert same(scores(tmp_path, "atp-hard"), by_hand(checkpoint, world, lambda pixels: pixels))
    assert same(scores(tmp_path, "atp-hard@text"), by_hand(checkpoint, world, None, text_only=True))
    assert same(
        scores(tmp_path, "atp-hard@frame"),
        by_hand(checkpoint, world, lambda pixels: pixels[[4] * 8]),
    )
    assert same(
        scores(tmp_path, "atp-hard@reverse"), by_hand(checkpoint, world, lambda pixels: pixels[::-1].copy())
    )
    # The leaderboard shows gaps and takes none of them for a result.
    values = {name: record(tmp_path, name)["main_score"]["value"] for name in ("atp-hard", "atp-hard@frame")}
    status, out, said = program("leaderboard", tmp_path / "out", "--json", "-", "--no-published")
    assert status == 0, said
    (row,) = json.loads(out)["rows"]
    (cell,) = row["cells"].values()
    assert cell["value"] == values["atp-hard"]
    assert sorted(cell["controls"]) == ["frame", "reverse", "shuffle", "text"]
    frame = cell["controls"]["frame"]
    assert frame["value"] == values["atp-hard@frame"]
    assert frame["gap"] == values["atp-hard"] - values["atp-hard@frame"]
    assert cell["controls"]["shuffle"]["seed"] == 3
    monkeypatch.setenv("COLUMNS", "200")
    shown = f"Δ frame {frame['gap']:+.2f}"
    for arguments in ((), ("--markdown", "-")):
        out = program("leaderboard", tmp_path / "out", "--no-published", *arguments)[1]
        assert shown in out.replace("\\", "")
    # Scores of a control are that also where they come as a file.
    common = ["--task", "atp-hard", "--annotations", world[0], "--out", tmp_path / "again"]
    table = tmp_path / "out/tiny/atp-hard@frame.parquet"
    assert program("evaluate", "--predictions", table, "--name", "tiny", *common)[0] == 0
    again = read_result(tmp_path / "again/tiny/atp-hard@frame.json")
    assert (again.control, again.official) == ("frame", False)
    assert again.main_score["value"] == values["atp-hard@frame"]
    assert not (tmp_path / "again/tiny/atp-hard.json").exists()


def test_a_result_of_a_control_never_passes_for_another(tmp_path, synvita, checkpoint, program):
    assert synvita(checkpoint, "--control", "text", videos=False)[0] == 0
    folder = tmp_path / "out/tiny"
    # Under the task's own name it is still a control, and the task's own result does not replace it unseen.
    (folder / "atp-hard@text.json").rename(folder / "atp-hard.json")
    status, out, said = program("leaderboard", tmp_path / "out", "--json", "-", "--no-published")
    assert status == 0, said
    board = json.loads(out)
    assert board["rows"] == []
    assert board["notes"] == ["tiny, ATP-Hard: no gap to the control text: no result of the task itself"]
    status, _, said = synvita(checkpoint)
    assert status == 2
    assert "taken by a result under another control" in said
    made = json.loads((folder / "atp-hard.json").read_text())
    made["control"] = "blindfold"
    (folder / "atp-hard.json").write_text(json.dumps(made))
    with pytest.raises(SchemaError, match="control 'blindfold' is none of text, frame"):
        read_result(folder / "atp-hard.json")


def test_named_samples(checkpoint, synvita, tmp_path, world, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, out, said = synvita(checkpoint, "--video", "111.mp4")
    assert status == 0, said
    assert not (tmp_path / "out/tiny").exists()  # nothing that could pass for a result
    expected = by_hand(checkpoint, world, lambda pixels: pixels)
    own = [(name, text) for name, text in expected if name == "next-qa_111"]
    assert len(own) == 10
    for key in own:
        (line,) = [line for line in out.splitlines() if line.rstrip().endswith(key[1])]
        number, label, *_ = line.split()
        assert abs(float(number) - expected[key]) < 1e-4
        right = {q[5][q[2]] for q in QUESTIONS if q[0] == "111"}
        assert label == str(int(key[1] in right))
    assert "atp-hard · next-qa_111" in out
    assert "frames 0, 2, 4, 6, 8, 10, 12, 15" in out
    # One question of it; the score is the one that was made already.
    annotations = read_annotations(get_task("atp-hard"), world[0])
    question = next(each for each in annotations.groups if "111" in each)
    status, out, said = synvita(checkpoint, "--item", question, "--control", "text", videos=False)
    assert status == 0, said
    assert sum(question in line for line in out.splitlines()) == 5
    # The whole run finds what was scored.
    assert synvita(checkpoint)[0] == 0
    assert record(tmp_path, "atp-hard")["run"]["videos_reused"] == 1


def test_unknown_samples_and_contradictory_options_are_one_line(checkpoint, synvita, world, program):
    for arguments, words in (
        (("--video", "next-qa_112"), ["no video of this id", "next-qa_112", "next-qa_111"]),
        (("--item", "111_99"), ["no item of this id", "111_"]),
        (("--video", "111", "--limit", 2), ["--limit is for whole benchmarks"]),
        (("--frames", 4, "--fps", 2), ["--frames, or --fps"]),
        (("--frames", 4, "--max-frames", 2), ["--frames, or --fps"]),
        (("--max-frames", 2), ["max_frames bounds a frame rate"]),
        (("--fps", 0), ["a frame rate is not positive"]),
        (("--control", "blind"), ["unknown control", "text, frame, reverse, shuffle"]),
    ):
        status, out, said = synvita(checkpoint, *arguments)
        assert (status, out) == (2, "")
        for word in words:
            assert word in said
    assert "--real-root DIR" in synvita(checkpoint, "--control", "frame", videos=False)[2]
    asked = ["--task", "atp-hard", "--annotations", world[0], "--control", "frame", "--fps", 2, "--item", "x"]
    said = program("evaluate", "--predictions", "scores.csv", *asked)[2]
    assert "for models. Found: --control, --item, --fps" in said
    assert "chance looks at no video" in synvita("chance", "--control", "text")[2]


def test_a_sample_that_cannot_be_read_or_is_not_there(checkpoint, synvita, world, tmp_path):
    broken = tmp_path / "next-qa"
    broken.mkdir()
    (broken / "111.mp4").write_bytes(b"no video")
    status, out, said = synvita(checkpoint, "--video", "111", real_root=broken)
    assert status == 2
    assert "atp-hard · next-qa_111" in out
    assert "111" in said
    status, _, said = synvita(checkpoint, "--video", "222", real_root=broken)
    assert status == 2
    assert "a video that is asked for is not there" in said


def test_frames_by_rate(tmp_path_factory, synvita, tmp_path):
    tiny = make_tiny("llava_onevision", tmp_path_factory.mktemp("by rate") / "model")
    assert synvita(tiny, "--fps", 4, "--max-frames", 4, "--limit", 1)[0] == 0
    frames = record(tmp_path, "atp-hard")["frames"]
    assert (frames["policy"]["fps"], frames["policy"]["max_frames"]) == (4.0, 4)
    assert frames["first_video"]["indices"] == [0, 4, 8, 12]


def test_towers_take_one_frame_and_nothing_else(tmp_path_factory, synvita, tmp_path):
    clip = make_tiny("clip", tmp_path_factory.mktemp("clip") / "model")
    for control, reason in (
        ("text", "there is none without frames"),
        ("reverse", "a mean over frames, which has no order"),
        ("shuffle", "a mean over frames, which has no order"),
    ):
        status, _, said = synvita(clip, "--control", control)
        assert status == 2
        assert reason in said
    assert synvita(clip, "--control", "frame")[0] == 0
    found = record(tmp_path, "atp-hard@frame")
    # Alone, the frame has the same score.
    (index,) = set(found["frames"]["first_video"]["indices"])
    assert index == 9  # of 1, 3, … 15
    assert synvita(clip, "--frames", 1)[0] == 0
    assert set(record(tmp_path, "atp-hard")["frames"]["first_video"]["indices"]) == {8}


def test_names_of_samples(world):
    task = get_task("atp-hard")
    annotations = read_annotations(task, world[0])
    read = [(task, annotations)]
    rows = {name: named_rows(read, [name], [])[0].tolist() for name in ("111", "next-qa_111")}
    assert (
        rows["111"] == rows["next-qa_111"] == np.flatnonzero(annotations.video_id == "next-qa_111").tolist()
    )
    (both,) = named_rows(read, ["111"], [annotations.groups[0], annotations.groups[-1]])
    wanted = (annotations.video_id == "next-qa_111") | np.isin(annotations.group_code, [0, 3])
    assert both.tolist() == np.flatnonzero(wanted).tolist()
    twice = replace(annotations, videos=tuple(replace(v, name="same") for v in annotations.videos))
    twice = replace(twice, videos=tuple(replace(v, source=f"s{k}") for k, v in enumerate(twice.videos)))
    with pytest.raises(SchemaError, match="several videos of atp-hard have this name"):
        named_rows([(task, twice)], ["same"], [])


FORMS = {  # table, and names of items with how many rows each is
    "entailment": (
        "video,caption,neg_caption\nv1.mp4,a dog runs,a dog sleeps\nv2.mp4,a cat runs,a dog sleeps\n",
        {"a cat runs": 2, "a dog sleeps": 4},
    ),
    "retrieval": (
        "video,caption,label\nv1.mp4,one,1\nv2.mp4,one,0\nv1.mp4,two,0\nv2.mp4,two,1\n",
        {"one": 2, "two": 2},
    ),
    "yes_no": ("id,video,question,answer\nq1,v1.mp4,is it red?,yes\nq2,v1.mp4,is it blue?,no\n", {"q2": 1}),
    "pairs": (
        "id,video,question,answer,pair\nq1,v1.mp4,is it red?,yes,p1\nq2,v2.mp4,is it red?,no,p1\n"
        "p1,v2.mp4,is it blue?,no,p2\nq4,v3.mp4,is it blue?,yes,p2\n",
        {"q1": 1, "p2": 2, "is it red?": 2, "p1": 1},  # a question that is called as a pair comes before it
    ),
    "groups": (
        "video,caption,group\nv1.mp4,on the left,g\nv2.mp4,on the right,g\n"
        "v3.mp4,first in,h\nv4.mp4,first out,h\n",
        {"g": 4, "first in": 4},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_items_of_every_form(tmp_path, form):
    text, items = FORMS[form]
    path = tmp_path / "mine.csv"
    path.write_text(text)
    task = task_of_file(path, form)
    read = [(task, read_annotations(task, path))]
    assert {name: len(named_rows(read, [], [name])[0]) for name in items} == items


def test_doctor_knows_the_options(program, checkpoint, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ["evaluate", checkpoint, "--task", "atp-hard", "--annotations", world[0]]

    def look(*arguments):
        status, out, _ = program("doctor", "--json", "-", *asked, *arguments)
        report = json.loads(out)
        return status, " | ".join(f"{c['state']} {c['subject']}: {c['text']}" for c in report["checks"])

    status, said = look("--control", "text")
    assert status == 0, said
    assert "ok videos: the control text looks at none" in said
    status, said = look("--control", "blind", "--real-root", world[1])
    assert status == 1
    assert "bad options: unknown control" in said
    status, said = look("--real-root", world[1], "--fps", "4", "--max-frames", "6", "--video", "111")
    assert status == 0, said
    assert "4 frames a second, 6 at most (named)" in said
    assert "1 of 1 videos found" in said
    status, said = look("--real-root", world[1], "--video", "112")
    assert status == 1
    assert "no video of this id" in said
    status, said = look("--real-root", world[1], "--max-frames", "6")
    assert status == 1
    assert "max_frames bounds a frame rate" in said
