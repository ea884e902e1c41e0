"""`synvita evaluate` from the outside: files in, files out, errors with status 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from in_process import run_program
from small_annotations import OWL, owl, ssv2_pairs, write_csv, write_ssv2

PAIRS = ssv2_pairs()
SCORES = [round(0.05 * (number * 7 % 20), 2) for number in range(len(PAIRS))]


@pytest.fixture
def annotations(tmp_path):
    return write_ssv2(tmp_path / "eval_ssv2_temporal.csv", PAIRS)


@pytest.fixture
def synvita(capsys):
    """Run the program in this process: exit status, standard output and error as one line each."""

    def run(*arguments):
        status = run_program(*arguments)
        out, err = capsys.readouterr()
        return status, " ".join(out.split()), " ".join(err.split())

    return run


def score_rows(wrap=owl, scores=SCORES, more=()):
    return [(path, wrap(text), score, *more) for (path, text, _), score in zip(PAIRS, scores, strict=True)]


def read(folder, model, task="ssv2-temporal"):
    path = folder / model / f"{task}.json"
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in {path}"))


def expected_map(scores=SCORES, without=()):
    """Sampling-free: mean over orders of ties by brute force over permutations of six videos."""
    from itertools import groupby, permutations, product
    from statistics import fmean

    found = []
    for caption in sorted({text for _, text, _ in PAIRS}):
        rows = [
            (score, match)
            for (path, text, match), score in zip(PAIRS, scores, strict=True)
            if text == caption and path not in without
        ]
        rows.sort(key=lambda row: -row[0])
        blocks = [list(permutations([m for _, m in block])) for _, block in groupby(rows, lambda row: row[0])]
        values = []
        for choice in product(*blocks):
            order = [match for block in choice for match in block]
            places = [place for place, match in enumerate(order, start=1) if match]
            values.append(fmean(n / place for n, place in enumerate(places, start=1)))
        found.append(fmean(values))
    return 100 * fmean(found)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (None, score_rows(more=(0.5, 0.5))),  # VideoCon
        (None, score_rows(str)),  # SynViTA, batched
        (("videopath", "caption", "entailment"), score_rows(str)),  # SynViTA, one by one
    ],
)
def test_released_score_files(tmp_path, synvita, annotations, header, rows):
    path = write_csv(tmp_path / "model-x.csv", rows, header)
    out = tmp_path / "results"
    status, shown, _ = synvita(
        "evaluate", "--predictions", path, "--task", "ssv2-temporal", "--annotations", annotations,
        "--out", out,
    )  # fmt: skip
    assert status == 0
    record = read(out, "model-x")
    assert record["main_score"]["value"] == pytest.approx(expected_map())
    assert f"{expected_map():.2f}" in shown
    assert record["coverage"] == {"k": 18, "n": 18}
    assert record["score_file"]["rows"] == 18
    assert record["score_file"]["file"] == "model-x.csv"
    assert record["bootstrap"] == {"seed": 0, "resamples": 1000}
    assert (record["partial"], record["official"]) == (False, False)  # not the paper's 3,888 rows
    assert "not official: rows: found 18, expected 3,888" in shown


def test_results_as_json(tmp_path, synvita, annotations):
    arguments = ("evaluate", "chance", "--task", "ssv2-temporal", "--annotations", annotations)
    arguments += ("--out", tmp_path / "r")
    status, shown, _ = synvita(*arguments, "--json", "-")
    assert status == 0
    (found,) = json.loads(shown)["results"]
    assert found["result"] == read(tmp_path / "r", "chance") == json.loads(Path(found["file"]).read_text())
    status, shown, told = synvita(*arguments, "--json", tmp_path / "all.json")
    assert status == 0
    assert "ssv2-temporal" in shown
    assert "written:" in told
    (again,) = json.loads((tmp_path / "all.json").read_text())["results"]
    assert again["result"] == read(tmp_path / "r", "chance")
    scores = tmp_path / "r/chance/ssv2-temporal.parquet"
    status, shown, _ = synvita("evaluate", "--predictions", scores, *arguments[2:], "--json", "-")
    assert json.loads(shown)["results"][0]["result"]["metrics"] == found["result"]["metrics"]
    status, _, error = synvita(*arguments, "--json", tmp_path)
    assert status == 2
    assert "--json cannot be written" in error


def test_scores_of_an_earlier_run_give_equal_metrics(tmp_path, synvita, annotations):
    common = ("--task", "ssv2-temporal", "--annotations", annotations, "--out", tmp_path / "r")
    assert synvita("evaluate", "chance", "--seed", 3, *common)[0] == 0
    scores = tmp_path / "r/chance/ssv2-temporal.parquet"
    assert synvita("evaluate", "--predictions", scores, "--name", "copy", "--seed", 3, *common)[0] == 0
    first, copy = read(tmp_path / "r", "chance"), read(tmp_path / "r", "copy")
    assert copy["metrics"] == first["metrics"]
    assert copy["model"]["kind"] == "probability"
    assert (tmp_path / "r/copy/ssv2-temporal.parquet").read_bytes() == scores.read_bytes()


def test_score_files_need_neither_torch_nor_evaluate_nor_datasets(tmp_path, annotations):
    path = write_csv(tmp_path / "model.csv", score_rows())
    program = (
        "import sys\nfrom synvita_data.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'evaluate', 'datasets', 'transformers', 'av', 'accelerate'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    command = [sys.executable, "-c", program, "evaluate", "--predictions", path, "--task", "ssv2-temporal"]
    command += ["--annotations", annotations, "--out", tmp_path / "results"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "results", "model")["main_score"]["value"] == pytest.approx(expected_map())


def with_score(place, value):
    rows = [list(row) for row in score_rows()]
    rows[place][2] = value
    return rows


def write_cut(path):
    write_csv(path, score_rows(str))
    text = path.read_text()
    path.write_text(text[: text.rindex(",") - 8])  # inside the last caption


CASES = {
    "nan": (lambda p: write_csv(p, with_score(4, "nan")), ["row 4", "not a finite number"]),
    "infinity": (lambda p: write_csv(p, with_score(5, "-inf")), ["row 5", "not a finite number"]),
    "no number": (lambda p: write_csv(p, with_score(6, "high")), ["row 6", "high"]),
    "disagreeing": (
        lambda p: write_csv(p, [*score_rows(), (PAIRS[2][0], owl(PAIRS[2][1]), 0.99)]),
        ["row 18", "two different scores", "row 2"],
    ),
    "unknown caption": (
        lambda p: write_csv(p, [*score_rows(), (PAIRS[2][0], "Juggling [something]", 0.99)]),
        ["row 18", "Juggling [something]"],
    ),
    "unknown video": (
        lambda p: write_csv(p, [*score_rows(), ("videos/999.avi", PAIRS[2][1], 0.99)]),
        ["row 18", "videos/999.avi"],
    ),
    "missing": (lambda p: write_csv(p, score_rows()[:-2]), ["row 16", "2 of 18 texts have no score"]),
    "truncated": (write_cut, ["row 17"]),
    "empty": (lambda p: p.write_bytes(b""), []),
    "absent": (lambda p: None, []),
    "not a probability": (lambda p: write_csv(p, with_score(7, 1.5)), ["row 7", "1.5", "log_odds"]),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_score_files_are_refused_with_file_and_row(tmp_path, synvita, annotations, case):
    path = tmp_path / "model.csv"
    make, words = CASES[case]
    make(path)
    status, shown, error = synvita(
        "evaluate", "--predictions", path, "--task", "ssv2-temporal", "--annotations", annotations,
        "--out", tmp_path / "results",
    )  # fmt: skip
    assert (status, shown) == (2, "")
    assert error.startswith(f"error: {path}")
    for word in words:
        assert word in error
    assert not list((tmp_path / "results").rglob("*.*"))


def test_a_truncated_parquet_file_is_refused(tmp_path, synvita, annotations):
    common = ("--task", "ssv2-temporal", "--annotations", annotations, "--out", tmp_path / "r")
    synvita("evaluate", "chance", *common)
    whole = (tmp_path / "r/chance/ssv2-temporal.parquet").read_bytes()
    path = tmp_path / "cut.parquet"
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        status, _, error = synvita("evaluate", "--predictions", path, *common)
        assert status == 2
        assert f"{path}: this is not a readable Parquet file" in error


def test_missing_and_unknown_scores_are_counted_where_allowed(tmp_path, synvita, annotations):
    rows = [row for row in score_rows() if row[0] != PAIRS[0][0]] + [("videos/999.avi", PAIRS[2][1], 0.99)]
    path = write_csv(tmp_path / "model.csv", rows)
    status, shown, _ = synvita(
        "evaluate", "--predictions", path, "--task", "ssv2-temporal", "--annotations", annotations,
        "--out", tmp_path / "results", "--partial", "--allow-unknown",
    )  # fmt: skip
    assert status == 0
    record = read(tmp_path / "results", "model")
    assert record["coverage"] == {"k": 15, "n": 18}
    assert record["partial"]
    assert not record["official"]
    assert record["score_file"]["unknown"] == 1
    assert record["main_score"]["value"] == pytest.approx(expected_map(without={PAIRS[0][0]}))
    assert "15 of 18 texts were scored" in shown


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "either a MODEL or --predictions"),
        (("chance", "--predictions", "x.csv", "--task", "ssv2-temporal"), "either a MODEL or --predictions"),
        (("chance",), "no task is named"),
        (("chance", "--task", "ssv2-temporal"), "no annotations"),
        (("chance", "--task", "imagenet", "--annotations", "HERE"), "videocon-llm, videocon-human"),
        (("chance", "--task", "ssv2-temporal", "--annotations", "nowhere.csv"), "nowhere.csv"),
        (("some/model", "--task", "ssv2-temporal", "--annotations", "HERE"), "--real-root"),
        (
            (
                "--predictions", "x.csv", "--task", "ssv2-temporal", "--task", "atp-hard",
                "--annotations", "HERE",
            ),
            "of one task",
        ),
        (
            ("--predictions", "x.csv", "--task", "ssv2-temporal", "--annotations", "HERE", "--limit", "2"),
            "--limit is for models",
        ),
        (
            (
                "--predictions", "HERE", "--task", "ssv2-temporal", "--annotations", "HERE",
                "--kind", "percent",
            ),
            "unknown kind of score",
        ),
        (("chance", "--task", "ssv2-temporal", "--annotations", "HERE", "--out", "HERE"), "--out"),
        (
            ("no/model", "--task", "ssv2-temporal", "--annotations", "HERE", "--real-root", ".", "--partial"),
            "the model cannot be found",
        ),
    ],
)  # fmt: skip
def test_wrong_use_is_explained(tmp_path, synvita, annotations, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    arguments = [annotations if each == "HERE" else each for each in arguments]
    if "--kind" in arguments:
        arguments[1] = write_csv(tmp_path / "scores.csv", score_rows())
    status, _, error = synvita("evaluate", *arguments)
    assert status == 2
    assert error.startswith("error: ")
    assert word in error


def test_a_folder_of_real_videos_that_is_none(tmp_path, synvita, annotations):
    status, _, error = synvita(
        "evaluate", "chance", "--task", "ssv2-temporal", "--annotations", annotations,
        "--real-root", tmp_path / "nowhere", "--out", tmp_path / "r",
    )  # fmt: skip
    assert status == 2
    assert "nowhere: the folder of real videos does not exist" in error


def test_names_of_models(tmp_path, synvita, annotations):
    path = write_csv(tmp_path / "scores.csv", score_rows())
    out = tmp_path / "r"
    for name in ("org/[bold]model[/nope]", "org--a", "org/a"):
        status, shown, _ = synvita(
            "evaluate", "--predictions", path, "--name", name, "--task", "ssv2-temporal",
            "--annotations", annotations, "--out", out,
        )  # fmt: skip
        assert status == 0
        assert name in shown
    names = {json.loads(each.read_text())["model"]["name"] for each in out.rglob("*.json")}
    assert names == {"org/[bold]model[/nope]", "org--a", "org/a"}


def test_a_process_that_is_not_the_first_writes_no_result(tmp_path, synvita, annotations, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments = ("evaluate", "chance", "--task", "ssv2-temporal", "--annotations", annotations)
    arguments += ("--out", tmp_path / "r")
    assert synvita(*arguments)[0] == 0
    assert not list((tmp_path / "r").rglob("ssv2-temporal.*"))
    monkeypatch.setenv("RANK", "0")
    assert synvita(*arguments)[0] == 0
    record = read(tmp_path / "r", "chance")
    assert (record["run"]["videos_reused"], record["run"]["processes"]) == (6, 2)


def test_several_tasks_in_one_run(tmp_path, synvita, annotations):
    annotations.rename(tmp_path / "eval_ssv2_temporal.csv")
    write_ssv2(tmp_path / "eval_ssv2_events.csv", PAIRS)
    status, _, _ = synvita(
        "evaluate", "chance", "--task", "ssv2-temporal", "--task", "ssv2-events", "--task", "ssv2-temporal",
        "--annotations", tmp_path, "--out", tmp_path / "r",
    )  # fmt: skip
    assert status == 0
    first, second = (read(tmp_path / "r", "chance", f"ssv2-{name}") for name in ("temporal", "events"))
    assert first["run"]["key"] != second["run"]["key"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("clip", tmp_path_factory.mktemp("clip"))


class TestClip:
    """With a tiny CLIP and rendered clips; one class, so that transformers is imported in one process."""

    @pytest.fixture
    def root(self, tmp_path):
        from synvita_data.builders.shapes import parse, render
        from synvita_data.video import encode_mp4

        (tmp_path / "real/videos").mkdir(parents=True)
        for number in range(6):
            pixels = render(parse("A large red star moves left."), seed=number)[: 4 + number]
            encode_mp4(pixels, 8, tmp_path / f"real/videos/{10 + number}.mp4")
        return tmp_path / "real"

    def arguments(self, clip, annotations, root, out, *more):
        common = ("--task", "ssv2-temporal", "--annotations", annotations, "--real-root", root, "--out", out)
        return ("evaluate", clip, *common, "--name", "tiny clip", "--resamples", 50, *more)

    def test_a_run_with_what_the_result_says_of_it(self, clip, annotations, root, tmp_path, synvita):
        assert synvita(*self.arguments(clip, annotations, root, tmp_path / "r", "--frames", 2))[0] == 0
        path = next((tmp_path / "r").glob("tiny*/ssv2-temporal.json"))
        record = json.loads(path.read_text())
        assert record["model"]["name"] == "tiny clip"
        assert record["model"]["kind"] == "similarity"
        assert record["model"]["settings"]["dtype"] == "float32"
        assert record["frames"]["policy"]["count"] == 2
        assert record["frames"]["first_video"] == {"indices": [1, 3], "backend": "pyav"}
        assert record["texts_cut"] == 0
        assert {"torch", "transformers", "av", "numpy", "python"} <= record["versions"].keys()
        table = pq.read_table(path.with_suffix(".parquet"))
        assert table.num_rows == 18
        frames = dict(zip(table["video_id"].to_pylist(), table["frame_indices"].to_pylist(), strict=True))
        # Middle frames of both halves of 4, 5, … 9 frames.
        assert frames == {f"ssv2_{10 + n}": [(4 + n) // 4, 3 * (4 + n) // 4] for n in range(6)}
        scores = dict(
            zip(
                zip(table["video_id"].to_pylist(), table["caption"].to_pylist(), strict=True),
                table["score"].to_pylist(),
                strict=True,
            )
        )
        in_order = [scores[f"ssv2_{video[7:9]}", caption] for video, caption, _ in PAIRS]
        assert record["main_score"]["value"] == pytest.approx(expected_map(in_order))
        assert all(-1 <= score <= 1 for score in in_order)

        # Again: nothing is scored anew, and only `run` differs.
        assert synvita(*self.arguments(clip, annotations, root, tmp_path / "r", "--frames", 2))[0] == 0
        again = json.loads(path.read_text())
        assert again.pop("run")["videos_reused"] == 6
        assert record.pop("run")["videos_reused"] == 0
        assert again == record

    def test_captions_that_are_cut_are_said(self, clip, root, tmp_path, synvita):
        from small_annotations import ssv2_pairs, write_csv

        long = "Covering " + "something with " * 90 + "a lid"
        pairs = [
            (video, long if n % 3 == 0 else text, match)
            for n, (video, text, match) in enumerate(ssv2_pairs())
        ]
        path = write_csv(tmp_path / "pairs.csv", pairs, ("videopath", "caption", "match"))
        found = synvita(*self.arguments(clip, path, root, tmp_path / "r", "--frames", 2))
        assert found[0] == 0
        told = " ".join(" ".join(map(str, found[1:])).split())
        assert "1 caption is longer than the model reads, first:" in told
        assert "where the model reads 77: cut at character" in told
        assert "6 texts of videos are longer than the model reads" in told
        record = json.loads(next((tmp_path / "r").glob("tiny*/ssv2-temporal.json")).read_text())
        assert record["texts_cut"] == 6

    def test_missing_and_unreadable_videos(self, clip, annotations, root, tmp_path, synvita, monkeypatch):
        (root / "videos/11.mp4").unlink()
        whole = (root / "videos/14.mp4").read_bytes()
        (root / "videos/14.mp4").write_bytes(whole[: len(whole) // 2])
        (root / "videos/15.mp4").write_bytes(b"")
        with monkeypatch.context() as patch:  # no model is loaded to learn that
            patch.setattr("synvita_data.scoring.open.open_scorer", lambda *_, **__: pytest.fail("loaded"))
            status, _, error = synvita(*self.arguments(clip, annotations, root, tmp_path / "r"))
        assert status == 2
        assert "2 videos are not there. Found: ssv2_11, ssv2_15." in error
        assert "--partial" in error
        assert not list((tmp_path / "r").rglob("ssv2-temporal.json"))

        status, shown, _ = synvita(*self.arguments(clip, annotations, root, tmp_path / "r", "--partial"))
        assert status == 0
        assert "not official: 9 of 18 texts were scored" in shown
        record = json.loads(next((tmp_path / "r").glob("tiny*/*.json")).read_text())
        assert record["coverage"] == {"k": 9, "n": 18}
        assert (record["partial"], record["official"]) == (True, False)
        assert record["videos_missing"] == ["ssv2_11", "ssv2_15"]
        assert [each["video_id"] for each in record["videos_unreadable"]] == ["ssv2_14"]
        assert any("empty" in each["problem"] for each in record["problems"])
        # Others read results: which videos, but not where they and the annotations lie.
        assert str(tmp_path) not in json.dumps(record)
        assert record["run"]["videos_reused"] == 0

        (root / "videos/15.mp4").write_bytes(whole)
        (root / "videos/11.mp4").write_bytes(whole)
        status, _, error = synvita(*self.arguments(clip, annotations, root, tmp_path / "r"))
        assert (status, "1 video cannot be read. Found: ssv2_14" in error) == (2, True), error
        (root / "videos/14.mp4").write_bytes(whole)
        status, _, _ = synvita(*self.arguments(clip, annotations, root, tmp_path / "r"))
        assert status == 0
        record = json.loads(next((tmp_path / "r").glob("tiny*/*.json")).read_text())
        assert record["coverage"] == {"k": 18, "n": 18}

    def test_a_typing_error_in_a_baseline_is_said(self, annotations, synvita):
        for wrong, right in (("chanc", "chance"), ("word", "words")):
            status, _, error = synvita(
                "evaluate", wrong, "--task", "ssv2-temporal", "--annotations", annotations
            )
            assert status == 2
            assert f"unknown model. Found: {wrong}." in error
            assert f"Did you mean {right}?" in error

    def test_no_video_at_all_is_an_error(self, clip, annotations, root, tmp_path, synvita):
        (tmp_path / "empty").mkdir()
        arguments = self.arguments(clip, annotations, tmp_path / "empty", tmp_path / "r", "--partial")
        status, _, error = synvita(*arguments)
        assert status == 2
        assert "6 videos are not there" in error

    @pytest.mark.slow
    def test_accelerate_launch_gives_the_same_bits(self, clip, annotations, root, tmp_path):
        environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "HF_HUB_OFFLINE": "1"}
        environment.pop("OMP_NUM_THREADS", None)  # accelerate gives two processes one thread each, one all
        # `--cpu --num_processes 2` would start one process where there is no MPI.
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
        launch += ["--main_process_port", "0", "-m", "synvita_data.cli"]
        results = {}
        for name, program in (("one", [sys.executable, "-m", "synvita_data.cli"]), ("two", launch)):
            arguments = self.arguments(clip, annotations, root, tmp_path / name)
            done = subprocess.run(
                [*program, *map(str, arguments)],
                env=environment,
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            folder = next((tmp_path / name).glob("tiny*"))
            record = json.loads((folder / "ssv2-temporal.json").read_text())
            results[name] = (record, (folder / "ssv2-temporal.parquet").read_bytes())
        (one, one_scores), (two, two_scores) = results["one"], results["two"]
        assert (one["run"]["processes"], two["run"]["processes"]) == (1, 2)
        assert two_scores == one_scores
        for record in (one, two):
            del record["run"]
        assert two == one


def test_the_real_scores(real_data, tmp_path, synvita):
    folder = real_data / "ssv2-temporal"
    status, shown, _ = synvita(
        "evaluate", "--predictions", folder / "eval_ssv2_temporal_scores.csv", "--task", "ssv2-temporal",
        "--annotations", folder, "--name", "owl-con", "--out", tmp_path,
    )  # fmt: skip
    assert status == 0
    record = read(tmp_path, "owl-con")
    assert record["official"]
    assert record["main_score"]["value"] == pytest.approx(15.565456, abs=1e-6)
    assert "map 15.57" in shown
    assert "between 11.65 and 21.87" in shown
    assert record["score_file"]["distinct_scores"] == 24
    scores = pq.read_table(tmp_path / "owl-con/ssv2-temporal.parquet")["score"].to_numpy()
    assert len(np.unique(scores)) == 24


def test_the_owl_prompt_is_the_one_of_the_released_files(real_data):
    """What `small_annotations` writes is what the real file holds."""
    import csv

    with (real_data / "ssv2-temporal/eval_ssv2_temporal.csv").open(newline="") as handle:
        prompt = next(csv.DictReader(handle))["caption"]
    start, _, end = OWL.partition("{}")
    assert prompt.startswith(start)
    assert prompt.endswith(end)
