"""`synvita reproduce table3` from checkpoints as released to the table, against scores and metrics made otherwise."""

import json
import random
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from in_process import run_program
from small_annotations import QUESTIONS, TEMPLATES, ssv2_pairs
from small_table import ROWS, TASKS, expected_content, write_expected

from synvita_data.captions import Text
from synvita_data.doctor.machine import Gpu
from synvita_data.scoring import ScoringItem
from synvita_data.scoring.alignment import AlignmentScorer

PUBLIC = [row for row in ROWS if row != "videocon-video-llava"]
ADAPTER = {
    "videocon-mplug-owl": "owl-con",
    "synvita-mplug-owl": "owl-lora",
    "synvita-video-llava": "llava-lora",
}
BASE = {row: "llava" if "llava" in row else "owl" for row in ROWS}


# One run of the table for all of these tests, not one a process.
pytestmark = pytest.mark.xdist_group("reproduce")


@pytest.fixture(scope="module")
def whole(inputs, expected_file, tmp_path_factory):
    """All rows in both modes: the output folder."""
    out = tmp_path_factory.mktemp("whole") / "out"
    status = run_program(
        "reproduce", "table3", "--expected", expected_file, "--annotations", inputs / "annotations",
        "--real-root", inputs / "videos", "--device", "cpu", "--mode", "both", "--out", out,
    )  # fmt: skip
    assert status == 0
    return out


def cells(out):
    record = json.loads((out / "table.json").read_text())
    return {
        (cell["row"], cell["task"], mode): own
        for cell in record["cells"]
        for mode, own in cell["modes"].items()
    }


def scores(out, row, task, mode):
    """(video, caption, label) -> score, as they lie beside the result."""
    table = pq.read_table(out / "results" / mode / f"{row}-{mode}" / f"{task}.parquet").to_pylist()
    return {(line["video_id"], line["caption"], line["label"]): line["score"] for line in table}


def converted(out, name):
    (folder,) = (out / "checkpoints").glob(f"{name}-local-*")
    return folder


def open_plainly(out, row, **how):
    """The converted checkpoint, opened by hand and scored without packing."""
    adapter = {"adapter": str(converted(out, ADAPTER[row]))} if row in ADAPTER else {}
    prompt = "video-llava-eval" if "llava" in row else "mplug-owl"
    return AlignmentScorer.open(
        str(converted(out, BASE[row])), prompt=prompt, device="cpu", strategy="plain", **adapter, **how
    )


def average_precision(pairs):
    """Of (score, match) without ties."""
    places = [place for place, (_, match) in enumerate(sorted(pairs, reverse=True), start=1) if match]
    return np.mean([n / place for n, place in enumerate(places, start=1)])


@pytest.mark.slow
@pytest.mark.parametrize("row", PUBLIC)
def test_a_clean_row_is_what_plain_forwards_and_brute_force_give(whole, inputs, row):
    scorer = open_plainly(whole, row)
    videos = sorted({path for path, _, _ in ssv2_pairs()})
    texts = tuple(map(Text, TEMPLATES))
    found = {}
    for path in videos:
        file = inputs / "videos" / "ssv2" / f"{Path(path).stem}.mp4"
        (answer,) = scorer.score([ScoringItem(path, path, file, texts, TEMPLATES)])
        found |= {
            (path, caption): score for caption, score in zip(TEMPLATES, answer.scores.tolist(), strict=True)
        }
    own = scores(whole, row, "ssv2-temporal", "clean")
    for (video, caption, _), score in own.items():
        (path,) = [each for each in videos if Path(each).stem == video.removeprefix("ssv2_")]
        assert score == pytest.approx(found[path, caption], abs=1e-4)
    expected = 100 * np.mean(
        [
            average_precision(
                [(found[path, caption], match) for path, text, match in ssv2_pairs() if text == caption]
            )
            for caption in TEMPLATES
        ]
    )
    cell = cells(whole)[row, "ssv2-temporal", "clean"]
    assert cell["value"] == pytest.approx(expected)
    assert (cell["k"], cell["n"]) == (18, 18)


@pytest.mark.slow
@pytest.mark.parametrize("row", PUBLIC)
def test_atp_hard_counts_the_questions_that_the_official_script_counts(whole, row):
    """By its own rule: rows of one video and one wording, five of them, the first best is the answer."""
    own = scores(whole, row, "atp-hard", "clean")
    groups = defaultdict(list)
    for video, words, answer, _, _, statements in QUESTIONS:
        values = [
            own[f"next-qa_{video}", text, int(place == answer)] for place, text in enumerate(statements)
        ]
        assert values[answer] not in values[:answer] + values[answer + 1 :] or video == "222"
        groups[video, words].append(np.argmax(values) == answer)
    counted = [group[0] for group in groups.values() if len(group) == 1]
    assert len(counted) == 2
    cell = cells(whole)[row, "atp-hard", "clean"]
    assert cell["groups_left_out"] == 2
    # Question 222 has the answer's words twice: half right where they are best.
    low, high = cell["ties"]
    assert low <= 100 * np.mean(counted) <= high
    assert low <= cell["value"] <= high
    assert high - low in (0.0, 50.0)
    everything = [right for group in groups.values() for right in group]
    assert abs(cell["all_value"] - 100 * np.mean(everything)) <= (high - low) / 2


@pytest.mark.slow
@pytest.mark.parametrize("row", ["video-llava", "synvita-video-llava"])
def test_the_flip_band_is_that_of_scores_of_both_sides(whole, inputs, row):
    """Eight seeds of Python's own generator, one draw a row in the order of the file."""
    scorer = open_plainly(whole, row, mode="released", dtype="float32", frames={"backend": "pyav"})
    pairs, sides = ssv2_pairs(), {}
    for path in sorted({path for path, _, _ in pairs}):
        file = inputs / "videos" / "ssv2" / f"{Path(path).stem}.mp4"
        for mirrored in (False, True):
            item = ScoringItem(
                path, path, file, tuple(map(Text, TEMPLATES)), TEMPLATES, mirrored=(mirrored,) * 3
            )
            (answer,) = scorer.score([item])
            for caption, score in zip(TEMPLATES, answer.scores.tolist(), strict=True):
                sides[path, caption, mirrored] = score
    assert any(abs(sides[p, c, True] - sides[p, c, False]) > 0.01 for p, c, _ in pairs)
    values = []
    for seed in range(8):
        draws = random.Random(seed)
        by_caption = defaultdict(list)
        for path, caption, match in pairs:
            by_caption[caption].append((sides[path, caption, draws.random() < 0.5], match))
        values.append(100 * np.mean([average_precision(own) for own in by_caption.values()]))
    low, high = np.quantile(values, [0.005, 0.995])
    cell = cells(whole)[row, "ssv2-temporal", "released"]
    assert cell["flips"] == [pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6)]
    assert cell["value"] == pytest.approx(values[0])  # the released seed
    assert cells(whole)[row, "ssv2-temporal", "clean"]["flips"] is None


@pytest.mark.slow
def test_verdicts_follow_from_the_numbers(whole):
    record = json.loads((whole / "table.json").read_text())
    seen = set()
    for line in record["cells"]:
        for cell in line["modes"].values():
            if cell["state"] != "done":
                continue
            low, high = cell["band"]
            bands = [cell["ties"], cell["jitter"], *([cell["flips"]] if cell["flips"] else [])]
            assert low == min(cell["value"] - line["tolerance"], *(band[0] for band in bands))
            assert high == max(cell["value"] + line["tolerance"], *(band[1] for band in bands))
            assert (cell["verdict"] == "within band") == (low - 0.00501 <= line["paper"] <= high + 0.00501)
            seen.add(cell["verdict"])
    assert {"within band", "off"} <= seen  # random weights meet neither the paper nor nothing


@pytest.mark.slow
def test_the_order_of_a_pair(whole):
    found = cells(whole)
    for task in TASKS:
        first, second = (found[row, task, "clean"] for row in ("videocon-mplug-owl", "synvita-mplug-owl"))
        paper = {"videocon-human": 1, "ssv2-temporal": 1, "atp-hard": 1}[
            task
        ]  # SynViTA is ahead in all three
        kept = np.sign(second["value"] - first["value"]) == paper
        for cell in (first, second):
            assert cell["order"] == ("order as in the paper" if kept else "order not as in the paper")
            if cell["verdict"] != "within band":
                assert cell["verdict"] == ("off, order kept" if kept else "off")
    assert "which is not public" in found["synvita-video-llava", "atp-hard", "clean"]["order"]
    assert found["mplug-owl", "atp-hard", "clean"]["order"] == ""


@pytest.mark.slow
def test_a_row_without_a_public_checkpoint_is_skipped(whole):
    for task in TASKS:
        assert cells(whole)["videocon-video-llava", task, "clean"] == {
            "state": "skipped",
            "reason": "not public: not released",
        }


@pytest.mark.slow
def test_the_report_can_be_sent(whole, inputs):
    for name in ("report.md", "table.md", "table.json"):
        text = (whole / name).read_text()
        for place in (whole, inputs, Path.home()):
            assert str(place) not in text
            assert str(place.parent) not in text or place.parent == Path("/")
    report = (whole / "report.md").read_text()
    assert "Tolerances are of a file of the user, `expected.yaml`, not of the package." in report
    assert "--mode both --dtype float32 --backend pyav --expected expected.yaml" in report
    for words in (
        "torch",
        "transformers",
        "device CPU",
        "synvita convert video-llava-lora",
        "c0c6d49b71bc33ce",
    ):
        assert words in report
    results = list((whole / "results").rglob("*.json"))
    named = [path for path in results if ".work" not in path.parts]
    assert len(named) == len(PUBLIC) * len(TASKS) * 2
    for path in named:
        assert str(whole) not in path.read_text()


def test_a_report_by_the_packages_own_tolerances_says_so(reproduce, tmp_path):
    from synvita_data.reproduce.expected import EXPECTED

    status, _, _ = reproduce("--out", tmp_path / "out", "--row", "videocon-video-llava", expected=EXPECTED)
    assert status == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert (
        "Tolerances are the package's, fixed on 2026-11-26 before any of these checkpoints was run." in report
    )
    assert "--expected" not in report


@pytest.mark.slow
def test_results_stand_on_a_leaderboard(whole, capsys):
    assert run_program("leaderboard", whole / "results" / "clean") == 0
    assert "synvita-video-llava-clean" in re.sub(r"\s", "", capsys.readouterr().out)


@pytest.mark.slow
def test_a_second_run_loads_no_model_and_writes_the_same(whole, reproduce, monkeypatch):
    import synvita_data.scoring.open as opening

    monkeypatch.setattr(opening, "open_scorer", lambda *_, **__: pytest.fail("a model was opened"))
    before = (whole / "table.json").read_bytes()
    status, out, _ = reproduce("--mode", "both", "--out", whole)
    assert status == 0
    assert "loading the model" not in out
    assert "fetching" not in out
    assert (whole / "table.json").read_bytes() == before


@pytest.mark.slow
def test_another_noise_is_measured_without_a_model(whole, released, reproduce, tmp_path, monkeypatch):
    import synvita_data.scoring.open as opening

    monkeypatch.setattr(opening, "open_scorer", lambda *_, **__: pytest.fail("a model was opened"))
    content = expected_content({name: str(folder) for name, folder in released.items()})
    content["jitter"]["sigma"] = 0.0
    copy = tmp_path / "out"
    shutil.copytree(whole, copy)
    status, _, _ = reproduce(
        "--mode", "both", "--out", copy, expected=write_expected(tmp_path / "mine.yaml", content)
    )
    assert status == 0
    for place, cell in cells(copy).items():
        if cell["state"] == "done":
            assert cell["value"] == cells(whole)[place]["value"]
            if place[2] == "clean":
                # Nothing moves: both ends of the band are the value (at half a point a tie).
                assert cell["jitter"] == [pytest.approx(cell["value"])] * 2


def test_a_dry_run_loads_and_writes_nothing(inputs, expected_file, tmp_path):
    code = (
        "import sys\nfrom synvita_data.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules), 'heavy'"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "reproduce",
            "table3",
            "--expected",
            expected_file,
            "--dry-run",
            "--out",
            out,
        ]
        + ["--annotations", inputs / "annotations", "--real-root", inputs / "videos"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not out.exists()
    shown = " ".join(done.stdout.split())
    assert "ssv2-temporal 18 texts, 6 of 6 videos" in shown
    assert "15 of 18 cells can be run" in shown
    assert "not public (not released)" in shown
    assert "14.1 GiB of GPU memory" in shown
    assert "Dry run: nothing was loaded, fetched or written." in shown


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ((), "no GPU (none here)"),
        (
            (Gpu(0, "Small", 8 << 30, 7 << 30),),
            "GPU memory: 14.1 GiB are needed, 7.0 GiB are free on the Small",
        ),
        ((Gpu(0, "Small", 8 << 30, 7 << 30), Gpu(1, "Large", 80 << 30, 79 << 30)), None),
    ],
)
def test_what_the_gpus_have_no_room_for(expected_file, tmp_path, monkeypatch, gpus, words):
    from synvita_data.doctor import machine
    from synvita_data.reproduce import inputs
    from synvita_data.reproduce.expected import read_expected

    monkeypatch.setattr(machine, "find_gpus", lambda: (gpus, None if gpus else "none here"))
    asked = inputs.Asked(ROWS, TASKS, ("clean",), None, (), tmp_path)
    warnings = inputs.look(read_expected(expected_file), asked).warnings
    assert [each for each in warnings if "GPU" in each] == [
        f"{words}: models would run on the CPU, for days" if gpus == () else words
    ] * (words is not None)


def test_a_decoder_that_is_not_there_is_named(expected_file, tmp_path, capsys, inputs):
    status = run_program(
        "reproduce", "table3", "--expected", expected_file, "--backend", "nonesuch", "--dry-run", "--out", tmp_path,
        "--annotations", inputs / "annotations", "--real-root", inputs / "videos",
    )  # fmt: skip
    assert status == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "nonesuch is not installed" in shown
    assert "0 of 18 cells can be run" in shown


@pytest.mark.slow
def test_cells_without_input_are_skipped_and_others_run(reproduce, inputs, tmp_path):
    """One task without annotations, one without one of its videos."""
    annotations, videos = tmp_path / "annotations", tmp_path / "videos"
    shutil.copytree(inputs / "annotations", annotations)
    (annotations / "videocon_human.csv").unlink()
    shutil.copytree(inputs / "videos", videos)
    (videos / "ssv2" / "12.mp4").unlink()
    more, there = ("--row", "mplug-owl"), {"annotations": annotations, "videos": videos}
    status, _, err = reproduce("--out", tmp_path / "out", *more, **there)
    assert status == 0, err
    found = cells(tmp_path / "out")
    assert found["mplug-owl", "atp-hard", "clean"]["state"] == "done"
    assert "annotations of videocon-human" in found["mplug-owl", "videocon-human", "clean"]["reason"]
    reason = found["mplug-owl", "ssv2-temporal", "clean"]["reason"]
    assert "5 of 6 are there, not ssv2_12" in reason
    assert reproduce("--out", tmp_path / "out", *more, "--strict", **there)[0] == 2
    # A part is measured when that is asked for, and said to be one.
    asked = ("--partial", "--task", "atp-hard", "--task", "ssv2-temporal")
    assert reproduce("--out", tmp_path / "out", *more, *asked, **there)[0] == 0
    cell = cells(tmp_path / "out")["mplug-owl", "ssv2-temporal", "clean"]
    assert cell["state"] == "done"
    assert cell["official"] is False
    assert "15 of 18 texts were scored" in cell["why_not_official"][0]


@pytest.mark.slow
def test_a_broken_checkpoint_and_a_wrong_base_end_their_own_rows_only(released, reproduce, tmp_path):
    from released_layouts import write_mplug_owl_lora

    broken = tmp_path / "broken"
    shutil.copytree(released["owl-lora"], broken)
    weights = broken / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    repositories = {name: str(folder) for name, folder in released.items()}
    repositories |= {"owl-lora": str(broken)}
    repositories |= {"owl-con": str(write_mplug_owl_lora(tmp_path / "other", seed=1, base_seed=5))}
    expected = write_expected(tmp_path / "mine.yaml", expected_content(repositories))
    rows = ("mplug-owl", "videocon-mplug-owl", "synvita-mplug-owl")
    asked = [word for row in rows for word in ("--row", row)]
    status, _, err = reproduce(
        "--out", tmp_path / "out", "--task", "ssv2-temporal", *asked, expected=expected
    )
    assert status == 2
    found = cells(tmp_path / "out")
    assert found["mplug-owl", "ssv2-temporal", "clean"]["state"] == "done"
    for row, words in (
        ("videocon-mplug-owl", "base is not this one"),
        ("synvita-mplug-owl", "adapter_model.safetensors"),
    ):
        cell = found[row, "ssv2-temporal", "clean"]
        assert cell["state"] == "failed"
        assert words in cell["reason"]
        assert "\n" not in cell["reason"]
        assert str(tmp_path) not in (tmp_path / "out" / "report.md").read_text()
        assert sum(line.startswith(f"{row}, ssv2-temporal") for line in err.splitlines()) == 1
    # Mended, only what failed is done again.
    shutil.copy(released["owl-lora"] / "adapter_model.safetensors", weights)
    status, out, _ = reproduce(
        "--out", tmp_path / "out", "--task", "ssv2-temporal", *asked, expected=expected
    )
    assert status == 2  # the wrong base is still wrong
    assert cells(tmp_path / "out")["synvita-mplug-owl", "ssv2-temporal", "clean"]["state"] == "done"
    assert "mplug-owl, clean: loading" not in re.sub(r"(synvita|videocon)-mplug-owl, clean: loading", "", out)


def test_what_a_killed_conversion_left_is_removed(released, expected_file, tmp_path):
    from synvita_data.reproduce.checkpoints import Checkpoints
    from synvita_data.reproduce.expected import read_expected

    checkpoints = Checkpoints(read_expected(expected_file), tmp_path)
    place = checkpoints._place("owl", "local")
    leftover = place.with_name(f".part-0badcafe-{place.name}")
    leftover.mkdir(parents=True)
    (leftover / "model.safetensors").write_bytes(b"half")
    prepared = checkpoints.prepare("mplug-owl")
    assert prepared.model == place
    assert not leftover.exists()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [".claims", place.name]


def test_another_process_that_converts_is_named(expected_file, tmp_path):
    from synvita_data.errors import StoreError
    from synvita_data.jobs import Store
    from synvita_data.reproduce.checkpoints import Checkpoints
    from synvita_data.reproduce.expected import read_expected

    with Store(tmp_path / "checkpoints" / ".claims", owner="another") as store, store.claim("owl"):
        checkpoints = Checkpoints(read_expected(expected_file), tmp_path)
        with pytest.raises(StoreError, match="another process is converting this checkpoint"):
            checkpoints.prepare("mplug-owl")
