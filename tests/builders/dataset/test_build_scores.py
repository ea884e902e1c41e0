"""Whose videos the scores of a build are of: bound, counted where they are not, refused where they are others'."""

import csv
import hashlib
import json
import shutil

import pytest
from test_build import digests, options, rows_of
from typer.testing import CliRunner

from synvita_data.builders.dataset import build_dataset
from synvita_data.builders.triplets import TripletReader
from synvita_data.cli import app
from synvita_data.dataset.built import open_dataset
from synvita_data.dataset.inspection import difference_figure, inspect_dataset
from synvita_data.errors import ScoreError


def sha256_of(inputs, i: int) -> str:
    return hashlib.sha256((inputs.videos / f"msr-vtt_video{i}_001.mp4").read_bytes()).hexdigest()


def bind(inputs, *, generator: str = "tiny", sample: int = 1, changes=None) -> None:
    """Give the score table of `inputs` the three columns, for the rows that have a video."""
    with inputs.scores.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        i = int(row["row"])
        if i < 10:
            row |= {"sha256": sha256_of(inputs, i), "generator": generator, "sample": sample}
            row |= (changes or {}).get(i, {})
    with inputs.scores.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)


def test_a_table_that_names_no_videos_is_counted(inputs, tmp_path):
    out = tmp_path / "out"
    record = build_dataset(options(inputs, out)).record
    assert record["scores"] == {
        "with_video": 10,
        "without_video": 2,
        "video_named_by": {"sha256": 0, "name": 0, "nothing": 10},
        "of_other_videos": 0,
    }
    assert record["coverage"]["vqascores"] == [12, 12]
    card = (out / "README.md").read_text()
    assert "| with a synthetic video and VQAScores | 10 | 12 |" in card
    assert "2 of 12 scored rows have no synthetic video here" in card
    assert "not bound to a video in 10 of 10 scored rows" in card
    figure = difference_figure(inspect_dataset(open_dataset(str(out)), "tiny"))
    assert "on the videos that were scored" in figure.axes[0].get_xlabel()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    # video10 and video11 have none: kinds 3 and 4 of seven, of which rows 3 and 4 are too.
    assert [label for label in labels if "video of 1" in label] == [
        "hallucination\n2 rows,\nvideo of 1",
        "flip\n2 rows,\nvideo of 1",
    ]


@pytest.mark.slow
def test_a_bound_table_gives_the_same_rows_and_says_so(inputs, tmp_path):
    out = tmp_path / "out"
    unbound = build_dataset(options(inputs, out))
    before = {name: value for name, value in digests(out).items() if name.endswith(".parquet")}
    bind(inputs)
    bound = build_dataset(options(inputs, out))
    assert bound.record["key"] == unbound.record["key"]
    assert bound.was_up_to_date
    assert {name: value for name, value in digests(out).items() if name.endswith(".parquet")} == before
    # The rows are the same, but what is known of them is not.
    assert bound.record["scores"]["video_named_by"] == {"sha256": 10, "name": 0, "nothing": 0}
    written = json.loads((out / "build.json").read_text())["configs"]["tiny"]
    assert written == bound.record
    assert "not bound to a video" not in (out / "README.md").read_text()
    fresh = tmp_path / "fresh"
    assert build_dataset(options(inputs, fresh)).record == bound.record
    assert digests(fresh) == digests(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"sha256": "f" * 64}, "sha256 " + "f" * 64 + ", generator tiny, sample 1"),
        ({"generator": "lavie"}, "generator lavie, sample 1"),
        ({"sample": 2}, "generator tiny, sample 2"),
        ({"sha256": "", "generator": "", "sample": 2}, "sample 2"),
    ],
)
def test_scores_of_another_video_cost_their_row(inputs, tmp_path, change, found):
    bind(inputs, changes={3: change})
    result = build_dataset(options(inputs, tmp_path / "out"))
    (entry,) = result.quarantine
    assert entry["problem"].startswith("the scores are of another video")
    assert (entry["file"], entry["row"]) == (str(inputs.scores), 6)  # two models a row
    assert entry["found"].endswith(found)
    assert entry["expected"] == f"sha256 {sha256_of(inputs, 3)}, generator tiny, sample 1"
    assert "video3" not in rows_of(tmp_path / "out")
    assert len(rows_of(tmp_path / "out")) == 11


@pytest.mark.slow
def test_videos_that_were_made_again_after_scoring_are_refused_whole(inputs, tmp_path):
    build_dataset(options(inputs, tmp_path / "out"))
    good = digests(tmp_path / "out")
    bind(inputs)
    for i in range(10):  # every video in another one's place
        shutil.move(inputs.videos / f"msr-vtt_video{i}_001.mp4", inputs.folder / f"{i}.mp4")
    for i in range(10):
        shutil.move(inputs.folder / f"{i}.mp4", inputs.videos / f"msr-vtt_video{(i + 1) % 10}_001.mp4")
    with pytest.raises(ScoreError, match=r"of another video.*9 rows more") as caught:
        build_dataset(options(inputs, tmp_path / "out"))
    assert caught.value.found.startswith("sha256 ")
    assert digests(tmp_path / "out") == good


@pytest.mark.slow
def test_a_table_of_another_generator_is_refused_whole(inputs, tmp_path):
    bind(inputs, generator="lavie")
    with pytest.raises(ScoreError, match="generator lavie"):
        build_dataset(options(inputs, tmp_path / "out"))
    assert build_dataset(options(inputs, tmp_path / "out", config="lavie")).quarantine == []


@pytest.mark.slow
def test_one_table_for_two_generators(inputs, tmp_path):
    """Row numbers with the generator beside them: each config takes its own, and no two are equal."""
    lines = []
    for place, generator in enumerate(("tiny", "other")):
        for i in range(12):
            lines.append(f"{i},m,{(i + place) / 16},0.25,{generator},1")
    inputs.scores.write_text(
        "row,model,neg_caption_score,caption_score,generator,sample\n" + "\n".join(lines)
    )
    for place, config in enumerate(("tiny", "other")):
        result = build_dataset(options(inputs, tmp_path / "out", config=config))
        assert result.quarantine == []
        assert result.record["scores"]["video_named_by"] == {"sha256": 0, "name": 10, "nothing": 0}
        assert result.record["scores"]["of_other_videos"] == 12
        for i in range(12):
            (score,) = rows_of(tmp_path / "out", config)[f"video{i}"]["vqascores"]
            assert score["neg_caption_score"] == (i + place) / 16
    with pytest.raises(ScoreError, match="generator tiny"):
        build_dataset(options(inputs, tmp_path / "out", config="third"))


@pytest.mark.slow
def test_samples_by_row_number(inputs, tmp_path):
    for i in range(2):
        shutil.copy(
            inputs.videos / f"msr-vtt_video{i + 5}_001.mp4", inputs.videos / f"msr-vtt_video{i}_002.mp4"
        )
    header = "row,model,neg_caption_score,caption_score,sample\n"
    lines = [f"{i},m,0.{i}{sample},0,{sample}" for i in range(2) for sample in (1, 2)]
    inputs.scores.write_text(header + "\n".join(lines) + "\n")
    result = build_dataset(options(inputs, tmp_path / "out"))
    assert result.quarantine == []
    assert result.record["scores"]["with_video"] == 4
    import pyarrow.parquet as pq

    rows = [row for path in (tmp_path / "out/tiny").glob("*") for row in pq.read_table(path).to_pylist()]
    found = {
        (row["video_id"], row["generation"]["sample"]): row["vqascores"][0]["neg_caption_score"]
        for row in rows
        if row["vqascores"]
    }
    assert found == {(f"video{i}", s): float(f"0.{i}{s}") for i in range(2) for s in (1, 2)}
    # Without the column nothing says which is which.
    inputs.scores.write_text("row,model,neg_caption_score,caption_score\n0,m,0.5,0\n5,m,0.5,0\n")
    result = build_dataset(options(inputs, tmp_path / "out"))
    assert ["which of several" in entry["problem"] for entry in result.quarantine] == [True, True]


@pytest.mark.slow
def test_one_table_of_unnamed_videos_for_two_generators_is_said_aloud(inputs, tmp_path):
    out = tmp_path / "out"
    build_dataset(options(inputs, out))
    others = inputs.folder / "others"
    others.mkdir()
    # The same file for video0: that its scores are equal is right.
    shutil.copy(inputs.videos / "msr-vtt_video0_001.mp4", others / "msr-vtt_video0_001.mp4")
    for i in range(1, 4):
        shutil.copy(inputs.videos / f"msr-vtt_video{i}_001.mp4", others / f"msr-vtt_video{i + 1}_001.mp4")
    arguments = ["build", "--triplets", inputs.triplets, "--vqascores", inputs.scores, "--out", out]
    arguments += ["--synthetic", f"folder:{others}", "--config", "others"]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "12 rows with VQAScores, 4 of them with their synthetic video" in told
    assert "8 of 12 scored rows have no synthetic video here" in told
    assert "11 rows have the same scores as in config tiny" in told
    configs = json.loads((out / "build.json").read_text())["configs"]
    assert configs["others"]["equal_scores"] == {"tiny": 11}
    assert configs["tiny"]["equal_scores"] == {"others": 11}
    looked = CliRunner().invoke(app, ["inspect", str(out), "--figures", str(tmp_path / "figures")])
    assert looked.exit_code == 0, looked.output
    told = " ".join(looked.output.split())
    assert "11 rows have the same scores as in config tiny" in told
    assert "11 rows have the same scores as in config others" in told
    assert "not bound to a video in 4 of 4 scored rows" in told
    # A table of its own mends it, in both entries.
    text = inputs.scores.read_text().replace("model-a", "model-c")
    inputs.scores.write_text(text)
    build_dataset(options(inputs, out, config="others", synthetic=f"folder:{others}"))
    configs = json.loads((out / "build.json").read_text())["configs"]
    assert (configs["others"]["equal_scores"], configs["tiny"]["equal_scores"]) == ({}, {})


def test_a_manifest_with_a_generator_of_its_own(inputs, tmp_path):
    triplets = list(TripletReader(inputs.triplets))
    lines = [
        {"id": triplets[i].pair_id, "path": f"msr-vtt_video{i}_001.mp4", "generator": "CogVideoX-5b"}
        for i in range(10)
    ]
    (inputs.videos / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    bind(inputs, generator="CogVideoX-5b")
    record = build_dataset(options(inputs, tmp_path / "out")).record
    assert record["scores"]["video_named_by"] == {"sha256": 10, "name": 0, "nothing": 0}
    assert record["scores"]["without_video"] == 2


def test_a_report_of_an_earlier_version_is_inspected(inputs, tmp_path):
    out = tmp_path / "out"
    build_dataset(options(inputs, out))
    report = json.loads((out / "build.json").read_text())
    del report["configs"]["tiny"]["scores"], report["configs"]["tiny"]["equal_scores"]
    (out / "build.json").write_text(json.dumps(report))
    for remove in (False, True):
        if remove:
            (out / "build.json").unlink()
        done = CliRunner().invoke(app, ["inspect", str(out), "--figures", str(tmp_path / "figures")])
        assert done.exit_code == 0, done.output
        assert "2 of 12 scored rows have no synthetic video here" in " ".join(done.output.split())
