"""`synvita demo`: without the training extra in this process; the whole of it, and kills, as a program (slow)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from closed_page import check_closed

from synvita_data.commands import demo as command
from synvita_data.demo import chain
from synvita_data.demo.steps import Course
from synvita_data.display import Terminal
from synvita_data.errors import SynvitaError

# One worker makes the demo.
pytestmark = pytest.mark.xdist_group("demo command")

SMALL = chain.Size(pairs=42, test_pairs=14, clips=0, steps=4, batch=14)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A demo where torch is not installed: its folder, and what it printed."""
    import io

    folder = tmp_path_factory.mktemp("demo")
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "lacking", lambda *modules: modules)
        planned = chain.Demo(folder, 0, SMALL)
        course = Course(folder / chain.RECORD, planned.made_of, planned.steps)
        command.run_steps(planned, course, Terminal(stream=out), folder, "Fine-tuning needs torch.")
    return folder, out.getvalue()


def test_without_the_training_extra_the_rest_is_done(untrained):
    folder, printed = untrained
    assert "42 rows, 42 of 42 rows have their real video" in printed
    assert re.search(r"caption +A.*\[.+\]", printed)
    made = check_closed((folder / chain.REPORT).read_text(encoding="utf-8"))
    assert "Fine-tuning needs torch." in made.text
    assert "Mean VQAScore difference" in made.all("img")[0]["alt"]
    examples = [each for each in made.all("article") if each.get("class", "").startswith("k")]
    assert len(examples) == 14
    assert "Unseen" in made.text
    assert "purple, star, moves up" in made.text


def test_its_numbers_are_those_of_the_dataset(untrained):
    """ω of right and wrong clips on the page, computed again from the world's own files."""
    import csv
    from collections import defaultdict

    folder, _ = untrained
    world = folder / "world"
    truths = [json.loads(line) for line in (world / "truth.jsonl").read_text().splitlines()]
    scores = defaultdict(list)
    with (world / "vqascores.csv").open() as file:
        for row in csv.DictReader(file):
            scores[int(row["row"])].append(float(row["neg_caption_score"]) - float(row["caption_score"]))
    omega = [max(sum(scores[k]) / len(scores[k]), 0.0) for k in range(len(truths))]
    wrong = [value for value, truth in zip(omega, truths, strict=True) if not truth["right"]]
    right = [value for value, truth in zip(omega, truths, strict=True) if truth["right"]]
    text = check_closed((folder / chain.REPORT).read_text(encoding="utf-8")).text
    assert f"{len(wrong)} of 42 synthetic clips do not show" in text
    assert f"ω is {sum(wrong) / len(wrong):.3f}, that of the others {sum(right) / len(right):.3f}" in text


def test_a_demo_of_other_settings_and_a_folder_of_others_are_refused(untrained, tmp_path):
    folder, _ = untrained
    other = chain.Demo(folder, 1, SMALL, train=False)
    with pytest.raises(SynvitaError, match="other settings"):
        Course(folder / chain.RECORD, other.made_of, other.steps)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SynvitaError, match="something else than a demo"):
        chain.check_folder(chain.Demo(tmp_path, 0, SMALL))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_the_page_names_no_place_on_this_machine(untrained):
    folder, _ = untrained
    text = (folder / chain.REPORT).read_text(encoding="utf-8")
    assert str(folder) not in text
    assert folder.parts[1] not in re.sub(r"base64,[^\"]+", "", text)


def test_the_world_made_by_hand_is_the_demos(untrained):
    """What the page says of the first step makes the same triplets."""
    from synvita_data.builders.shapes import ShapesSpec, draw_world

    folder, _ = untrained
    planned = chain.Demo(folder, 0, SMALL)
    spec = ShapesSpec.parse(chain.spec_text(planned))
    lines = (folder / "world" / "triplets.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [pair.triplet.videopath for pair in draw_world(spec)]
    assert spec == chain.world_spec(planned)


def test_arms_have_the_settings_of_the_study():
    """The demo's arms are the study's: only sizes differ."""
    from synvita_data.study.questions import CellName, read_questions

    study = read_questions()
    own = chain.Demo(chain.Path("demo"), 3, chain.FAST).study
    for name in chain.SHOWN:
        cell = CellName(name, "default", 3)
        ours = own.recipe(own.question("main"), cell)
        theirs = study.recipe(study.question("main"), cell)
        sizes = {"pairs": ours.pairs, "test_pairs": ours.test_pairs, "steps": ours.steps}
        assert ours == replace(theirs, **sizes)
        assert (ours.steps == 0) == (name == "before")


# -- as a program ----------------------------------------------------------------------------------------


def start(folder, *options):
    """The demo in a process group of its own; what it prints goes to a file beside the folder."""
    log = folder.with_suffix(".log").open("ab")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    code = "import sys; from synvita_data.cli import main; sys.argv[0] = 'synvita'; main()"
    arguments = [sys.executable, "-c", code, "demo", "--fast", "--out", str(folder), *options]
    return subprocess.Popen(arguments, stdout=log, stderr=log, env=environment, start_new_session=True)


def until(process, condition):
    """Wait until something is there; the process must not end before."""
    while not condition():
        assert process.poll() is None, "the demo ended too early"
        time.sleep(0.05)


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole fast demo that was killed twice, while it scored and while it fine-tuned; and one that was not."""
    folder = tmp_path_factory.mktemp("killed") / "demo"
    record, work = folder / chain.RECORD, folder / ".work" / "arms"
    process = start(folder)
    until(process, lambda: record.is_file() and '"world"' in record.read_text())
    kill(process)
    world = (folder / "world" / "truth.jsonl").stat().st_mtime_ns
    process = start(folder)
    until(process, lambda: any((folder / chain.RESULTS).glob("*/shapes-llm.json")) and work.is_dir())
    kill(process)
    scores = (folder / chain.SCORES).stat().st_mtime_ns
    assert "arms" not in json.loads(record.read_text())["steps"]
    process = start(folder)
    assert process.wait() == 0, folder.with_suffix(".log").read_text()
    assert (folder / "world" / "truth.jsonl").stat().st_mtime_ns == world
    assert (folder / chain.SCORES).stat().st_mtime_ns == scores
    straight = folder.parent / "straight"
    process = start(straight)
    assert process.wait() == 0, straight.with_suffix(".log").read_text()
    return folder, straight


@pytest.mark.slow
def test_a_killed_demo_goes_on_and_comes_to_the_same(finished):
    killed, straight = (
        {name: read_facts(folder, name) for name in ("arms", "compare")} for folder in finished
    )
    assert killed["compare"] == straight["compare"]
    for name, facts in killed["arms"]["arms"].items():
        assert facts["loss"] == straight["arms"]["arms"][name]["loss"]
    log = finished[0].with_suffix(".log").read_text()
    assert log.count("done before") >= 5


def read_facts(folder, step):
    return json.loads((folder / chain.RECORD).read_text())["steps"][step]["facts"]


@pytest.mark.slow
def test_the_whole_demo(finished):
    folder = finished[1]
    log = folder.with_suffix(".log").read_text()
    assert "left in all" in log
    for title in chain.arm_titles(chain.Demo(folder)).values():
        assert title in log
    found = read_facts(folder, "compare")
    assert set(found["sets"]) == {"unseen", "train_like", "rest", "flip"}
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert list(arms) == list(chain.SHOWN)
    for name, arm in arms.items():
        for score in arm["scores"].values():
            assert score["low"] <= score["value"] <= score["high"]
            assert (score["change"] is None) == (name == "before")
        assert set(arm["concepts"]) == {"purple", "star", "moves up"}
    made = check_closed((folder / chain.REPORT).read_text(encoding="utf-8"))
    for name in ("none", "weight-1", "synvita"):
        score = arms[name]["scores"]["unseen"]
        assert f"{score['value']:.1f} [{score['low']:.1f}, {score['high']:.1f}]" in made.text
    moving = [picture for picture in made.all("img") if picture["src"].startswith("data:image/webp")]
    assert len(moving) == 28


@pytest.mark.slow
def test_an_arm_is_a_model_of_its_own(finished):
    """Its adapter, scored by `synvita evaluate`, gives the demo's number."""
    from in_process import run_program

    from synvita_data.evaluation.results import read_result

    folder = finished[1]
    benchmark, out = folder / "benchmark", folder.parent / "again"
    status = run_program(
        "evaluate",
        str(folder / "fine-tuned" / "synvita"),
        *("--task", str(benchmark / "shapes-llm.yaml"), "--annotations", str(benchmark)),
        *("--real-root", str(benchmark / "clips"), "--out", str(out), "--resamples", "0", "--name", "again"),
    )
    assert status == 0
    again = read_result(out / "again" / "shapes-llm.json").main_score["value"]
    titles = chain.arm_titles(chain.Demo(folder, 0, chain.FAST))
    own = read_result(chain.result_of(chain.Demo(folder, 0, chain.FAST), titles["synvita"], "shapes-llm"))
    assert again == pytest.approx(own.main_score["value"], abs=0.5)
