"""What a build must not replace, and what it refuses as a whole (each found by somebody who tried)."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from in_process import run_program
from test_build import digests, options, rows_of

from synvita_data.builders.dataset import build_dataset
from synvita_data.errors import SchemaError, ScoreError, SynvitaError
from synvita_data.video import encode_mp4


def test_the_folder_of_the_videos_is_never_replaced(inputs):
    before = digests(inputs.folder)
    with pytest.raises(SynvitaError, match="not shards"):
        build_dataset(options(inputs, inputs.folder, config="videos"))
    assert digests(inputs.folder) == before


@pytest.mark.parametrize("name", ["README.md", "tiny/notes.txt", "build.json"])
def test_foreign_files_are_never_replaced(inputs, tmp_path, name):
    out = tmp_path / "out"
    path = out / name
    path.parent.mkdir(parents=True)
    path.write_text('{"a": 1}')
    with pytest.raises(SynvitaError):
        build_dataset(options(inputs, out))
    assert path.read_text() == '{"a": 1}'
    assert not list(out.rglob("*.parquet"))


def test_an_out_that_is_a_file_is_refused(inputs, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SynvitaError, match="not a folder"):
        build_dataset(options(inputs, tmp_path / "out"))


@pytest.mark.parametrize(
    "name", ["figures", "README.md", "Build.json", "quarantine.jsonl", "All", "x.", "LICENSE"]
)
def test_names_of_other_things_are_no_configs(inputs, tmp_path, name):
    with pytest.raises(SynvitaError, match="not usable as a config name"):
        options(inputs, tmp_path / "out", config=name)


def test_a_broken_report_is_an_error_that_names_it(inputs, tmp_path):
    build_dataset(options(inputs, tmp_path / "out"))
    (tmp_path / "out" / "build.json").write_text("garbage")
    with pytest.raises(SchemaError, match=r"build\.json: not a build report"):
        build_dataset(options(inputs, tmp_path / "out", weighting="fixed"))


@pytest.mark.slow
def test_a_shard_whose_bytes_changed_is_written_again(inputs, tmp_path):
    build_dataset(options(inputs, tmp_path / "out"))
    good = digests(tmp_path / "out")
    shard = next((tmp_path / "out" / "tiny").glob("train-*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(data)
    assert not build_dataset(options(inputs, tmp_path / "out")).was_up_to_date
    assert digests(tmp_path / "out") == good


@pytest.mark.slow
def test_symlinks_to_one_video_serve_every_row(inputs, tmp_path):
    target, link = (inputs.videos / f"msr-vtt_video{i}_001.mp4" for i in (1, 2))
    link.unlink()
    link.symlink_to(target.name)
    build_dataset(options(inputs, tmp_path / "out"))
    rows = rows_of(tmp_path / "out")
    assert rows["video2"]["synthetic_video"]["bytes"] == target.read_bytes()
    assert rows["video1"]["synthetic_video"]["bytes"] == target.read_bytes()


def test_a_score_table_off_by_one_row_is_refused_whole(inputs, tmp_path):
    build_dataset(options(inputs, tmp_path / "out"))
    good = digests(tmp_path / "out")
    lines = inputs.scores.read_text().splitlines()
    moved = [f"{int(line.split(',')[0]) + 1}{line[line.index(',') :]}" for line in lines[1:]]
    inputs.scores.write_text("\n".join([lines[0], *moved]) + "\n")
    with pytest.raises(ScoreError):
        build_dataset(options(inputs, tmp_path / "out"))
    # Without the column that gives it away, the row that does not exist does.
    bare = [",".join([line.split(",")[0], *line.split(",")[2:]]) for line in [lines[0], *moved]]
    inputs.scores.write_text("\n".join(bare) + "\n")
    with pytest.raises(ScoreError, match="has 12 rows"):
        build_dataset(options(inputs, tmp_path / "out"))
    assert digests(tmp_path / "out") == good


@pytest.mark.slow
def test_the_figure_does_not_depend_on_the_name_of_the_folder(inputs, tmp_path):
    build_dataset(options(inputs, tmp_path / "one"))
    build_dataset(options(inputs, tmp_path / "two"))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


@pytest.mark.slow
def test_the_published_list_tells_no_home_folder(inputs, tmp_path):
    (inputs.videos / "msr-vtt_video1_001.mp4").write_bytes(b"")
    build_dataset(options(inputs, tmp_path / "out"))
    text = (tmp_path / "out" / "quarantine.jsonl").read_text()
    assert "videos/msr-vtt_video1_001.mp4" in text
    assert str(tmp_path) not in text


@pytest.mark.slow
def test_another_format_under_the_name_of_mp4_costs_its_row(inputs, tmp_path):
    import av

    path = inputs.videos / "msr-vtt_video3_001.mp4"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for pixels in np.zeros((4, 32, 48, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    result = build_dataset(options(inputs, tmp_path / "out"))
    assert [entry["problem"] for entry in result.quarantine] == ["a video is not in the format its name says"]


def test_a_cell_of_any_length_costs_its_row_only(inputs, tmp_path):
    with inputs.triplets.open("a") as handle:
        handle.write(f"video50,msr-vtt,{'a ' * 100_000},a cat,train,object\n")
        handle.write("video51,msr-vtt,a dog,a cat,train,object\n")
    result = build_dataset(options(inputs, tmp_path / "out", vqascores=None))
    assert [entry["row"] for entry in result.quarantine] == [12]
    assert "video51" in rows_of(tmp_path / "out")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from synvita_data.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
main()
"""


@pytest.mark.slow
def test_a_write_that_fails_is_an_error_and_the_next_run_finishes(inputs, tmp_path):
    """A limit on the size of files stands in for a full disk: the same failing write, without a mount."""
    rng = np.random.default_rng(0)
    for i in range(10):
        encode_mp4(
            rng.integers(0, 255, (12, 96, 96, 3), dtype=np.uint8),
            8,
            inputs.videos / f"msr-vtt_video{i}_001.mp4",
        )
    arguments = ["build", "--triplets", inputs.triplets, "--vqascores", inputs.scores, "--config", "tiny"]
    arguments += ["--synthetic", inputs.spec(), "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "300000", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("tiny/*"))
    build_dataset(options(inputs, tmp_path / "out"))
    build_dataset(options(inputs, tmp_path / "reference"))
    assert digests(tmp_path / "out") == digests(tmp_path / "reference")
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("name", ["tiny", "figures", "README.md", "build.json", "quarantine.jsonl"])
def test_links_in_the_place_of_what_is_written_are_refused(inputs, tmp_path, name):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / name).symlink_to(elsewhere)
    with pytest.raises(SynvitaError, match="is a link"):
        build_dataset(options(inputs, out))
    assert (out / name).readlink() == elsewhere
    assert list(elsewhere.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.update(splits="x"),
        lambda record: record["splits"].update(test=None),
        lambda record: record["splits"]["test"]["shards"][0].update(bytes="many"),
        lambda record: record["splits"]["test"]["shards"][0].pop("file"),
        lambda record: record.update(coverage="all"),
    ],
)
def test_a_report_with_other_types_inside_is_an_error_that_names_it(inputs, tmp_path, damage):
    build_dataset(options(inputs, tmp_path / "out"))
    place = tmp_path / "out" / "build.json"
    report = json.loads(place.read_text())
    damage(report["configs"]["tiny"])
    place.write_text(json.dumps(report))
    with pytest.raises(
        SchemaError, match=r"build\.json: (not a build report|a config's entry has another form)"
    ):
        build_dataset(options(inputs, tmp_path / "out", config="second"))


@pytest.mark.slow
def test_a_table_of_more_rows_serves_the_first_ones(inputs, tmp_path):
    """A head of the triplets, or --limit; the scores are those of the same rows."""
    whole = rows_of(build_dataset(options(inputs, tmp_path / "whole")).out)
    limited = build_dataset(options(inputs, tmp_path / "limited", limit=8))
    lines = inputs.triplets.read_text().splitlines(keepends=True)
    inputs.triplets.write_text("".join(lines[:9]))
    head = build_dataset(options(inputs, tmp_path / "head"))
    assert limited.record["rows"] == head.record["rows"] == 8
    assert limited.record["options"]["limit"] == 8
    assert "limit" not in head.record["options"]
    for built in (limited, head):
        for video, row in rows_of(built.out).items():
            assert row["vqascores"] == whole[video]["vqascores"]
            assert row["weight"] == whole[video]["weight"]


def test_a_source_without_a_scheme_is_said_before_a_config_that_follows_from_it(inputs, tmp_path):
    with pytest.raises(SynvitaError, match=r"a source needs a scheme.*Write folder:"):
        options(inputs, tmp_path / "out", synthetic=str(inputs.videos), config=str(inputs.videos))


def test_a_row_set_aside_is_said_whole_and_the_exit_status_says_it(inputs, tmp_path, capsys):
    with inputs.triplets.open("a") as handle:
        handle.write("videoX,msr-vtt,a dog,a cat,train,sideways\n")
    command = ("build", "--triplets", inputs.triplets, "--config", "tiny", "--out", tmp_path / "out")
    assert run_program(*command) == 1
    said = capsys.readouterr().out
    assert "row 12: unknown misalignment. Found: 'sideways'. Expected: " in said
    assert run_program(*command) == 1  # already up to date, and the row is still left out
    assert run_program(*command, "--limit", "12") == 0


def test_a_manifest_row_with_a_name_that_is_too_long_is_set_aside(inputs, tmp_path):
    rows = [
        {"id": "msr-vtt_video1", "path": "msr-vtt_video1_001.mp4"},
        {"id": "msr-vtt_video2", "path": "a" * 300 + ".mp4"},
    ]
    (inputs.videos / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    built = build_dataset(options(inputs, tmp_path / "out"))
    assert [entry["reason"] for entry in built.quarantine] == ["UnsafePathError"]
    assert built.record["coverage"]["synthetic_video"] == [1, 12]
