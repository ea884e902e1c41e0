"""What was made with the code of commit 79b0f4d is found, read and understood by the code of today.

`files/` was written then, by `make_stored_work.py`. A failure here means that somebody's finished work would be done
again, or that a published id or field changed its meaning: mend the code, not the files.
"""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from stored_work.work_keys import FILES, StoredScorer, all_keys, annotations, build, real_videos
from typer.testing import CliRunner

from synvita_data.schema import MISALIGNMENTS, arrow_schema


@pytest.fixture
def files(tmp_path) -> Path:
    """A copy, because finished work is opened for writing too."""
    return shutil.copytree(FILES, tmp_path / "files")


def triplets():
    from synvita_data.builders.triplets import TripletReader

    return list(TripletReader(FILES / "triplets.csv"))


def rows_of(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_keys_seeds_and_ids_are_the_same(tmp_path):
    then = json.loads((FILES / "keys.json").read_text())
    now = json.loads(json.dumps(all_keys(tmp_path / "work")))
    assert now.keys() == then.keys()
    for part in then:
        if isinstance(then[part], dict):  # a later version may know more presets
            now[part] = {name: now[part][name] for name in then[part]}
        assert now[part] == then[part], part


@pytest.mark.parametrize("config", ["lavie", "cogvideox"])
def test_the_published_columns_are_the_same(config):
    for path in (FILES / "dataset" / config).glob("*.parquet"):
        then = pq.read_schema(path)
        assert arrow_schema().names == then.names
        assert arrow_schema().types == then.types
        assert arrow_schema().metadata == then.metadata


def test_equal_inputs_are_built_to_the_same_key_and_rows(files, tmp_path):
    then = json.loads((files / "dataset/build.json").read_text())["configs"]
    build(files / "triplets.csv", files, tmp_path / "out")
    now = json.loads((tmp_path / "out/build.json").read_text())["configs"]
    for config, record in then.items():
        assert now[config]["key"] == record["key"]
        # Later versions may say more, but what was said is said again.
        for name, value in record.items():
            if name not in ("splits", "key"):
                assert now[config][name] == value, name
        assert rows_of(tmp_path / "out" / config) == rows_of(files / "dataset" / config)


def test_the_dataset_of_then_is_up_to_date(files, tmp_path):
    shutil.copytree(files / "dataset", tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet")}
    assert build(files / "triplets.csv", files, tmp_path / "out").was_up_to_date
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet")} == before


def test_the_dataset_of_then_is_read(files):
    from synvita_data import load_triplets
    from synvita_data.builders.publish.folder import read_built_folder
    from synvita_data.dataset.built import open_dataset
    from synvita_data.dataset.inspection import inspect_dataset

    folder = read_built_folder(files / "dataset")
    assert sorted(folder.configs) == ["cogvideox", "lavie"]
    rows = load_triplets(str(files / "dataset"), "cogvideox", split="train")
    assert [row["caption"] for row in rows] == ["a dog runs", "a dog runs", "A man sings.", "Two men run."]
    first = rows[0]
    assert first["synthetic_video"]["bytes"] == (FILES / "cogvideox/clip0.mp4").read_bytes()
    assert MISALIGNMENTS[first["misalignment"]] == "object"
    total = inspect_dataset(open_dataset(str(files / "dataset")), "cogvideox").total
    assert (total.rows, total.videos, total.scored) == (5, 4, 4)


def test_videos_of_then_are_found_done(files):
    """The program is not there: whatever were made again would fail."""
    from synvita_data.builders.generators import generate_videos

    before = {path.name: path.read_bytes() for path in (files / "generated").glob("*.mp4")}
    lines = (files / "generated/manifest.jsonl").read_text().splitlines()
    report = generate_videos(
        triplets()[:3],
        "command:python -S ./paint.py {prompts} {out} {seed}",
        files / "generated",
        overrides=["prompts_per_job=2", "revision=r1"],
        name="painter",
    )
    assert (report.made, report.failed, report.exit_status) == (0, 0, 0)
    assert {path.name: path.read_bytes() for path in (files / "generated").glob("*.mp4")} == before
    now = (files / "generated/manifest.jsonl").read_text().splitlines()
    for then, line in zip(map(json.loads, lines), map(json.loads, now), strict=True):
        same = ("id", "sample", "path", "caption", "generator", "revision", "seed", "sha256")
        assert {name: line[name] for name in same} == {name: then[name] for name in same}


def test_scores_of_then_are_found_done_and_written_again(files):
    """The model is not there: whatever were scored again would fail."""
    from synvita_data.builders.vqascore import VqaModel, score_videos
    from synvita_data.tables.scores import read_scores

    known = json.loads((files / "vqascore-model.json").read_text())
    model = VqaModel(known["label"], "no/such-model", known["revision"], known["kind"], known["type"])
    report = score_videos(
        triplets(),
        f"folder:{files / 'cogvideox'}",
        [model],
        files / "again.parquet",
        work=files / "vqascore-work",
    )
    assert report.complete
    assert report.exit_status == 0
    assert [job.made for job in report.jobs] == [0]
    then = pq.read_table(files / "scores.parquet")
    assert pq.read_table(files / "again.parquet").select(then.column_names).to_pylist() == then.to_pylist()
    assert then.num_rows == 4 * 4
    for name in ("scores.parquet", "again.parquet", "by-row.csv"):
        table = read_scores(files / name, triplets())
        assert table.problems() == []
        assert len(table) == 4


def test_a_run_of_then_is_not_scored_again(files, tmp_path):
    from synvita_data.evaluation.scoring import score_task
    from synvita_data.tasks import get_task

    pairs = annotations()
    found = score_task(
        StoredScorer(), get_task("ssv2-temporal"), pairs, real_videos(files), files / "evaluate-work"
    )
    assert found.reused == 4
    expected = [
        (FILES / path).stat().st_size / 7 + len(caption) / 3
        for path, caption in zip(pairs.videopath, pairs.caption, strict=True)
    ]
    assert found.scores.tolist() == expected


def test_results_keep_their_fields_and_are_read(files, tmp_path, monkeypatch):
    from synvita_data.cli import app
    from synvita_data.evaluation.predictions import read_predictions
    from synvita_data.evaluation.results import read_result
    from synvita_data.tasks import get_task

    monkeypatch.chdir(files)
    arguments = ["evaluate", "chance", "--task", "ssv2-temporal", "--annotations", "ssv2.csv"]
    again = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert again.exit_code == 0, again.output
    then = read_result(files / "results/chance/ssv2-temporal.json").record
    now = read_result(tmp_path / "chance/ssv2-temporal.json").record
    for name, value in then.items():
        if name not in ("versions", "run"):
            assert now[name] == value, name
    assert now["run"].keys() >= then["run"].keys()
    table = files / "results/chance/ssv2-temporal.parquet"
    assert pq.read_table(tmp_path / "chance/ssv2-temporal.parquet").equals(pq.read_table(table))
    scores = read_predictions(table, annotations(), get_task("ssv2-temporal")).scores
    assert scores.tolist() == pq.read_table(table)["score"].to_pylist()
