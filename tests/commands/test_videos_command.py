"""`synvita videos check` on small annotations, triplets and datasets, with clips made here."""

import csv
import json
import subprocess
import sys

import pytest
from dataset.test_dataset import MSR_VTT, VATEX, row, write_dataset
from real_videos.test_real_times import mp4, put
from released_videos import training_rows, write_training_csv
from small_annotations import (
    HUMAN_HEADER,
    HUMAN_ROWS,
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    ssv2_pairs,
    write_csv,
    write_ssv2,
)
from typer.testing import CliRunner

from synvita_data.cli import app
from synvita_data.errors import SynvitaError


def run(*arguments):
    return CliRunner().invoke(app, ["videos", "check", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    """The annotations of three files, as VideoCon publishes them."""
    place = tmp_path / "annotations"
    place.mkdir()
    write_csv(place / "videocon_llm_entailment.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)
    write_csv(place / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    write_ssv2(place / "eval_ssv2_temporal.csv", ssv2_pairs())
    return place


@pytest.fixture
def root(tmp_path):
    """All videos of `folder`."""
    root = tmp_path / "real"
    put(root, "k600/val/eOsIGrDFuuw_000004_000014.mp4", 10)
    put(root, "msr-vtt/TrainValVideo/video12.mp4", 2)
    put(root, "tempo/videos/7.mp4", 2)
    for name in ("v_abc-DEF_123", "v_xyz"):
        put(root, f"anet/{name}.mp4", 2)
    for number in range(10, 16):
        put(root, f"ssv2/{number}.webm", 2)
    return root


def test_all_videos_of_all_benchmarks_of_a_folder(folder, root, tmp_path):
    out, missing = tmp_path / "check.json", tmp_path / "missing.csv"
    done = run(
        *(
            "--annotations",
            folder,
            "--real-root",
            root,
            "--decode",
            "all",
            "--json",
            out,
            "--missing",
            missing,
        )
    )
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert (record["needed"], record["found"], record["complete"]) == (11, 11, True)
    assert record["tasks"] == {
        "videocon-llm": {"needed": 3, "found": 3},
        "videocon-human": {"needed": 2, "found": 2},
        "videocon-human-hard": {"needed": 2, "found": 2},
        "ssv2-temporal": {"needed": 6, "found": 6},
    }
    assert {name: source["found"] for name, source in record["sources"].items()} == {
        "activitynet": 2,
        "msr-vtt": 1,
        "ssv2": 6,
        "tempo": 1,
        "vatex": 1,
    }
    assert missing.read_text() == "source,video_id,url,start,end,status,videopath\n"
    assert "videocon-human · 2 of 2 videos" in done.output
    # The train row of the CSV is none of the benchmark's.
    assert record["sources"]["tempo"]["needed"] == 1


def test_what_is_missing_or_broken_is_said_and_ends_with_1(folder, root, tmp_path):
    (root / "tempo/videos/7.mp4").write_bytes(mp4(2)[:-100])
    (root / "anet/v_xyz.mp4").unlink()
    put(root, "k600/val/eOsIGrDFuuw_000004_000014.mp4", 60)
    put(root, "more/video12.mp4", 2)
    out, missing = tmp_path / "check.json", tmp_path / "missing.csv"
    done = run(
        *("--annotations", folder, "--task", "videocon-llm", "--task", "videocon-human", "--real-root", root),
        *("--decode", "first", "--json", out, "--missing", missing),
    )
    assert done.exit_code == 1, done.output
    record = json.loads(out.read_text())
    assert record["tasks"] == {
        "videocon-llm": {"needed": 3, "found": 2},
        "videocon-human": {"needed": 2, "found": 1},
    }
    assert record["sources"]["tempo"]["unreadable"] == 1
    assert record["sources"]["activitynet"]["missing"] == 1
    assert record["sources"]["vatex"]["other_length"] == 1
    with missing.open(newline="") as handle:
        rows = {row["video_id"]: row for row in csv.DictReader(handle)}
    assert {name: row["status"] for name, row in rows.items()} == {"7": "unreadable", "v_xyz": "missing"}
    assert rows["v_xyz"]["url"] == HUMAN_ROWS[2][0]
    shown = " ".join(done.output.split())
    for said in (
        "activitynet · missing",
        "tempo · unreadable",
        "7.mp4",
        "it is the source video under the name",
    ):
        assert said in shown


def test_without_decoding_a_broken_video_counts_as_found(folder, root):
    (root / "tempo/videos/7.mp4").write_bytes(b"no video")
    arguments = ("--annotations", folder / "videocon_llm_entailment.csv", "--real-root", root)
    assert run(*arguments).exit_code == 0
    assert run(*arguments, "--decode", "first").exit_code == 1


def test_an_empty_folder(folder, tmp_path):
    (tmp_path / "nothing").mkdir()
    done = run("--annotations", folder, "--real-root", tmp_path / "nothing")
    assert done.exit_code == 1
    assert "0 of 6 videos" in done.output
    assert "still packed" in done.output


def test_triplets_of_a_build(root, tmp_path):
    file = write_csv(tmp_path / "triplets.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)
    done = run("--triplets", file, "--real-root", root)
    assert done.exit_code == 1
    assert "tempo · missing" in done.output  # the video of the train row
    assert run("--triplets", file, "--real-root", root, "--split", "test").exit_code == 0


def test_a_training_csv_of_the_authors(root, tmp_path):
    rows = training_rows(
        "msr-vtt/TrainValVideo/video12.mp4", "msr-vtt_video12_001", "a dog runs", "a cat runs"
    )
    rows += training_rows("tempo/videos/9.mp4", "tempo_9_001", "a dog sits", "a cat sits")
    done = run("--triplets", write_training_csv(tmp_path / "train_cogvideox.csv", rows), "--real-root", root)
    assert done.exit_code == 1
    assert "tempo · missing" in done.output
    assert "msr-vtt ·" not in done.output


def test_bad_rows_of_triplets_are_left_out_and_said(root, tmp_path):
    bad = ("tempo/videos/9.mp4", "tempo", "", "contrast", "", "test", "flip")
    file = write_csv(tmp_path / "triplets.csv", [*VIDEOCON_ROWS[:4], bad], VIDEOCON_HEADER)
    done = run("--triplets", file, "--real-root", root)
    assert done.exit_code == 0
    assert "1 row cannot be used" in done.output


def test_a_dataset_to_train_on(root, tmp_path):
    rows = {"train": [row(VATEX)], "test": [row(MSR_VTT)]}
    dataset = write_dataset(tmp_path / "built", {"cogvideox": rows, "lavie": {"train": [row(VATEX)]}})
    put(root, "vatex/abcdefghijk.mp4", 20)
    arguments = ("--dataset", dataset, "--real-root", root)
    assert run(*arguments).exit_code == 1
    assert run(*arguments, "--split", "train").exit_code == 0
    assert run(*arguments, "--config", "lavie").exit_code == 0
    with pytest.raises(SynvitaError, match="unknown config"):
        raise run(*arguments, "--config", "no").exception


def test_a_mapping_names_files(folder, root, tmp_path):
    (root / "tempo/videos/7.mp4").rename(root / "clip.mp4")
    mapping = write_csv(tmp_path / "map.csv", [("tempo_7", "clip.mp4")], ("video", "file"))
    arguments = ("--annotations", folder, "--task", "videocon-llm", "--real-root", root)
    assert run(*arguments).exit_code == 1
    assert run(*arguments, "--real-mapping", mapping).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one of --annotations, --triplets and --dataset"),
        (("--annotations", "A", "--triplets", "A"), "one of --annotations"),
        (("--triplets", "A", "--task", "atp-hard"), "--task is for --annotations"),
        (("--annotations", "A", "--split", "test"), "--split is for"),
        (("--annotations", "A", "--config", "c"), "--config is for --dataset"),
        (("--annotations", "A", "--source", "tempo"), "--source is for --triplets"),
        (("--annotations", "A", "--task", "nonsense"), "unknown task"),
        (("--annotations", "other.csv"), "no task is named"),
        (("--annotations", "A", "--task", "ssv2-events"), "no annotations of task ssv2-events"),
        (("--triplets", "no.csv"), "no.csv"),
        (("--dataset", "no-such-folder"), "no-such-folder"),
        (("--annotations", "A", "--missing", "."), "an output file is a folder"),
        (("--annotations", "A", "--real-mapping", "no.csv"), "no.csv"),
        (("--triplets", "A/videocon_human.csv", "--split", "nonsense"), "unknown split"),
        (("--triplets", "A/videocon_human.csv", "--split", "train"), "no row"),
    ],
)
def test_bad_options(folder, tmp_path, arguments, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "A")
    (tmp_path / "root").mkdir()
    done = run(*arguments, "--real-root", "root")
    assert isinstance(done.exception, SynvitaError), done.output
    assert said in str(done.exception)


@pytest.mark.parametrize("options", [("--decode", "some"), ("--workers", "0")])
def test_options_that_typer_refuses(folder, tmp_path, options):
    assert run("--annotations", folder, "--real-root", tmp_path, *options).exit_code == 2


def test_a_folder_that_is_not_there(folder, tmp_path):
    done = run("--annotations", folder, "--real-root", tmp_path / "no")
    assert isinstance(done.exception, SynvitaError)
    assert "does not exist" in str(done.exception)


def test_no_torch_is_loaded(folder, root):
    """Nor what brings it; PyAV only where files are read."""
    for decode, allowed in (("none", {"av"}), ("first", {"av"})):
        arguments = [
            "synvita",
            "videos",
            "check",
            "--annotations",
            folder,
            "--real-root",
            root,
            "--decode",
            decode,
        ]
        script = (
            f"import json, sys\nsys.argv = {[str(each) for each in arguments]!r}\nimport synvita_data.cli as c\n"
            "try:\n    c.main()\nexcept SystemExit as end:\n    code = end.code\n"
            "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'matplotlib', 'av'} & set(sys.modules)\n"
            "print(code, json.dumps(sorted(heavy)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        code, _, heavy = done.stderr.splitlines()[-1].partition(" ")
        assert code == "0"
        assert set(json.loads(heavy)) <= allowed


# --- the released annotations ------------------------------------------------------------------------


def test_videos_of_the_released_training_rows(real_data, repo_root, tmp_path):
    """Counted here once more, by the file's own column; the page says the same."""
    page = (repo_root / "docs" / "videos.md").read_text(encoding="utf-8")
    file = real_data / "videocon-16k" / "triplets.csv"
    out = tmp_path / "check.json"
    samples = real_data / "synvita-samples"  # synthetic videos, none of which is taken for a real one
    assert run("--triplets", file, "--real-root", samples, "--json", out).exit_code == 1
    with file.open(newline="", encoding="utf-8") as handle:
        named = {(row["source"], row["videopath"]) for row in csv.DictReader(handle)}
    sources = json.loads(out.read_text())["sources"]
    for source in ("msr-vtt", "tempo", "vatex"):
        count = sum(name == source for name, _ in named)
        assert f"{source.upper()} {count:,}" in page
        assert (sources[source]["needed"], sources[source]["missing"]) == (count, count)
    assert sum(source["needed"] for source in sources.values()) == 11_140


def test_videos_of_released_ssv2_temporal(real_data, tmp_path):
    (tmp_path / "root").mkdir()
    missing = tmp_path / "missing.csv"
    done = run(
        "--annotations", real_data / "ssv2-temporal", "--real-root", tmp_path / "root", "--missing", missing
    )
    assert done.exit_code == 1
    assert "ssv2-temporal · 0 of 216 videos" in done.output
    assert len(missing.read_text().splitlines()) == 217
