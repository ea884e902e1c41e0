"""`build_dataset`: what goes in comes out, what is bad is set aside, and nothing is half-written."""

import csv
import hashlib
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.errors import SynvitaError


def options(inputs, out: Path, **changes) -> BuildOptions:
    settings = {
        "triplets": inputs.triplets,
        "out": out,
        "config": "tiny",
        "synthetic": inputs.spec(),
        "vqascores": inputs.scores,
    }
    return BuildOptions(**{**settings, **changes})


def rows_of(out: Path, config: str = "tiny") -> dict[str, dict]:
    rows = [
        row for path in sorted((out / config).glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    return {row["video_id"]: row for row in rows}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.parts
    }


def test_rows_hold_what_the_inputs_say(inputs, tmp_path):
    result = build_dataset(options(inputs, tmp_path / "out"))
    rows = rows_of(tmp_path / "out")
    assert set(rows) == {f"video{i}" for i in range(12)}
    assert result.quarantine == []
    for i in range(12):
        row = rows[f"video{i}"]
        # Eq. 4 by hand, from the numbers the fixture wrote.
        neg, real = ((i / 16) + (i + 1) / 16) / 2, (12 - i) / 16
        assert row["weight"] == pytest.approx(max(0.0, neg - real))
        assert [s["model"] for s in row["vqascores"]] == ["model-a", "model-b"]
        assert row["shared"]["caption"] == [[0, 1], [6, len(f"a dog runs {i} times")]]
        assert row["real_available"] is False
        path = inputs.videos / f"msr-vtt_video{i}_001.mp4"
        if i < 10:
            assert row["synthetic_video"] == {"bytes": path.read_bytes(), "path": path.name}
            assert row["generation"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert row["generation"]["generator"] == "tiny"
        else:
            assert row["synthetic_video"] is None
            assert row["generation"] is None
    splits = result.record["splits"]
    assert (splits["train"]["rows"], splits["test"]["rows"]) == (9, 3)
    assert result.record["coverage"]["synthetic_video"] == [10, 12]


@pytest.mark.slow
def test_rows_say_what_cut_their_words_where_spaces_do_not(inputs, tmp_path):
    """English rows keep their name and their bytes; others carry the versions of the libraries."""
    from importlib.metadata import version

    with inputs.triplets.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    others = {
        0: ("一个男人在厨房里吃苹果。", "一个男人在厨房里切苹果。", [[0, 8], [9, 12]]),
        1: ("एक आदमी खा रहा है", "एक आदमी काट रहा है", [[0, 7], [11, 17]]),
    }
    for number, (caption, neg_caption, _) in others.items():
        rows[number] |= {"caption": caption, "neg_caption": neg_caption}
    triplets = tmp_path / "mixed.csv"
    with triplets.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    result = build_dataset(options(inputs, tmp_path / "out", triplets=triplets, vqascores=None))
    built = rows_of(tmp_path / "out")
    libraries = f"word+uniseg-{version('uniseg')}"
    models = f"{libraries}+budoux-{version('budoux')}"
    found = {name: row["shared"]["granularity"] for name, row in built.items()}
    assert found == dict.fromkeys(found, "word") | {"video0": models, "video1": libraries}
    for number, (_, _, shared) in others.items():
        assert built[f"video{number}"]["shared"]["caption"] == shared
    assert result.record["granularities"] == {"word": 10, libraries: 1, models: 1}
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"1 rows by `uniseg-{version('uniseg')}` and `budoux-{version('budoux')}`" in card
    # Nothing of it where no row needs it.
    plain = build_dataset(options(inputs, tmp_path / "plain", vqascores=None))
    assert "granularities" not in plain.record
    assert {row["shared"]["granularity"] for row in rows_of(tmp_path / "plain").values()} == {"word"}
    folded = build_dataset(
        options(inputs, tmp_path / "fold", triplets=triplets, vqascores=None, ignore_case=True)
    )
    assert sorted(folded.record["granularities"])[0] == "word-ignore-case"


def test_plain_load_dataset_reads_it(inputs, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    build_dataset(options(inputs, out))
    build_dataset(options(inputs, out, config="other", synthetic=None))
    loaded = datasets.load_dataset(str(out), "tiny", cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"train": 9, "test": 3}
    assert loaded["train"].features["misalignment"].names[3] == "flip"
    row = loaded["test"][0]
    assert row["synthetic_video"]["bytes"] == (inputs.videos / "msr-vtt_video0_001.mp4").read_bytes()
    both = datasets.load_dataset(str(out), "all", split="train", cache_dir=str(tmp_path / "cache"))
    assert both.num_rows == 18


def test_equal_inputs_give_equal_bytes(inputs, tmp_path):
    build_dataset(options(inputs, tmp_path / "one" / "out", threads=1))
    build_dataset(options(inputs, tmp_path / "two" / "out", threads=3))
    assert digests(tmp_path / "one" / "out") == digests(tmp_path / "two" / "out")


def test_a_second_run_writes_nothing(inputs, tmp_path):
    out = tmp_path / "out"
    assert not build_dataset(options(inputs, out)).was_up_to_date
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert build_dataset(options(inputs, out)).was_up_to_date
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


def test_a_shard_that_was_cut_or_deleted_is_mended(inputs, tmp_path):
    out = tmp_path / "out"
    build_dataset(options(inputs, out))
    good = digests(out)
    for damage in (lambda p: p.write_bytes(p.read_bytes()[:-10]), lambda p: p.unlink()):
        damage(next((out / "tiny").glob("train-*.parquet")))
        assert digests(out) != good
        build_dataset(options(inputs, out))
        assert digests(out) == good


def test_small_shards_hold_every_row_in_order(inputs, tmp_path):
    result = build_dataset(options(inputs, tmp_path / "out", max_shard_bytes=12_000))
    names = [shard["file"] for shard in result.record["splits"]["train"]["shards"]]
    assert len(names) > 2
    assert names == [f"train-{i:05d}-of-{len(names):05d}.parquet" for i in range(len(names))]
    order = [r["video_id"] for n in names for r in pq.read_table(tmp_path / "out/tiny" / n).to_pylist()]
    assert order == [f"video{i}" for i in range(12) if i % 4]


@pytest.mark.slow
def test_changed_inputs_replace_a_config_and_keep_the_others(inputs, tmp_path):
    out = tmp_path / "out"
    build_dataset(options(inputs, out, max_shard_bytes=12_000))
    build_dataset(options(inputs, out, config="other"))
    other = digests(out / "other")
    build_dataset(options(inputs, out, weighting="fixed"))
    assert digests(out / "other") == other
    assert {row["weight"] for row in rows_of(out).values()} == {1.0}
    assert len(list((out / "tiny").glob("train-*.parquet"))) == 1  # the many shards of before are gone
    report = json.loads((out / "build.json").read_text())
    assert set(report["configs"]) == {"tiny", "other"}


def test_bad_videos_cost_their_rows_only(inputs, tmp_path):
    videos = inputs.videos
    (videos / "msr-vtt_video1_001.mp4").write_bytes(b"")
    good = (videos / "msr-vtt_video2_001.mp4").read_bytes()
    (videos / "msr-vtt_video2_001.mp4").write_bytes(good[: len(good) // 2])
    (videos / "msr-vtt_video3_001.mp4").write_text("this is no video")
    shutil.copy(videos / "msr-vtt_video4_001.mp4", videos / "vatex_stranger_001.mp4")
    result = build_dataset(options(inputs, tmp_path / "out"))
    assert set(rows_of(tmp_path / "out")) == {f"video{i}" for i in range(12)} - {"video1", "video2", "video3"}
    lines = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    assert sorted(Path(line["file"]).name for line in lines) == [
        f"msr-vtt_video{i}_001.mp4" for i in (1, 2, 3)
    ]
    assert all(line["config"] == "tiny" and line["reason"].endswith("Error") for line in lines)
    assert result.record["unmatched_videos_first"] == ["vatex_stranger_001.mp4"]
    # What was found stays found: the check is not repeated, the reasons are the same.
    again = build_dataset(options(inputs, tmp_path / "out"))
    assert again.was_up_to_date
    assert again.quarantine == result.quarantine


def test_a_manifest_whose_digest_is_wrong_costs_its_row(inputs, tmp_path):
    manifest = inputs.videos / "manifest.jsonl"
    entries = [
        {
            "id": f"msr-vtt_video{i}",
            "path": f"msr-vtt_video{i}_001.mp4",
            "seed": 40 + i,
            "config": {"steps": 50},
        }
        for i in range(3)
    ]
    entries[1]["sha256"] = "0" * 64
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    result = build_dataset(options(inputs, tmp_path / "out"))
    rows = rows_of(tmp_path / "out")
    assert "video1" not in rows
    assert "not the one its manifest describes" in result.quarantine[-1]["problem"]
    assert rows["video2"]["generation"]["seed"] == 42
    assert json.loads(rows["video2"]["generation"]["config"]) == {"steps": 50}


def test_paths_that_leave_the_root_are_refused(inputs, tmp_path):
    secret = tmp_path / "secret.mp4"
    shutil.copy(inputs.videos / "msr-vtt_video0_001.mp4", secret)
    (inputs.videos / "link.mp4").symlink_to(secret)
    bad = ["../../etc/passwd", "/etc/passwd", "link.mp4", "a\x00b.mp4", "../secret.mp4"]
    (inputs.videos / "manifest.jsonl").write_text(
        "".join(json.dumps({"id": f"msr-vtt_video{i}", "path": path}) + "\n" for i, path in enumerate(bad))
    )
    with inputs.triplets.open("a", newline="") as handle:
        for path in ("../../etc/passwd", "/etc/passwd", "a\x00b"):
            csv.writer(handle).writerow([path, "msr-vtt", "a dog", "a cat", "train", "object"])
    result = build_dataset(options(inputs, tmp_path / "out", vqascores=None))
    unsafe = [entry for entry in result.quarantine if entry["reason"] == "UnsafePathError"]
    rows = [(Path(entry["file"]).name, entry["row"]) for entry in unsafe if "row" in entry]
    assert sorted(rows) == [
        *(("manifest.jsonl", i) for i in range(len(bad))),
        *(("triplets.csv", 12 + i) for i in range(3)),
    ]
    assert all(row["synthetic_video"] is None for row in rows_of(tmp_path / "out").values())


def test_bad_scores_cost_their_rows_only(inputs, tmp_path):
    lines = inputs.scores.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace(",0.0,", ",nan,")  # row 0, model-a
    del lines[4]  # row 1, model-b
    lines[4] = lines[4].replace(",0.625\r\n", ",1.5\r\n").replace(",0.625\n", ",1.5\n")  # row 2
    inputs.scores.write_text("".join(lines), newline="")
    result = build_dataset(options(inputs, tmp_path / "out"))
    assert set(rows_of(tmp_path / "out")) == {f"video{i}" for i in range(3, 12)}
    assert [entry["reason"] for entry in result.quarantine] == ["ScoreError"] * 3
    assert all(str(inputs.scores) == entry["file"] for entry in result.quarantine)


def test_a_score_table_of_other_triplets_is_an_error(inputs, tmp_path):
    text = inputs.scores.read_text().splitlines()
    moved = [
        line if i == 0 else str(int(line.split(",")[0]) + 500) + line[line.index(",") :]
        for i, line in enumerate(text)
    ]
    inputs.scores.write_text("\n".join(moved) + "\n")
    with pytest.raises(SynvitaError, match="does not belong to these triplets"):
        build_dataset(options(inputs, tmp_path / "out"))


def test_embedded_real_videos(inputs, tmp_path):
    root = tmp_path / "real"
    root.mkdir()
    shutil.copy(inputs.videos / "msr-vtt_video5_001.mp4", root / "video1.mp4")
    (root / "video2.mp4").write_bytes(b"broken")
    found = build_dataset(options(inputs, tmp_path / "reference", real_root=root))
    row = rows_of(tmp_path / "reference")["video1"]
    assert row["real_video"] == {"bytes": None, "path": "video1.mp4"}
    assert row["real_available"] is False
    assert found.record["coverage"]["real_video_found"] == [2, 12]
    embedded = build_dataset(options(inputs, tmp_path / "embedded", real_root=root, embed_real=True))
    rows = rows_of(tmp_path / "embedded")
    assert rows["video1"]["real_video"]["bytes"] == (root / "video1.mp4").read_bytes()
    assert rows["video1"]["real_available"] is True
    assert "video2" not in rows
    assert [Path(entry["file"]).name for entry in embedded.quarantine] == ["video2.mp4"]


@pytest.mark.slow
def test_two_builds_at_once_share_the_work(inputs, tmp_path):
    build_dataset(options(inputs, tmp_path / "alone" / "out", max_shard_bytes=12_000))
    results, errors = [], []

    def build():
        try:
            results.append(
                build_dataset(options(inputs, tmp_path / "together" / "out", max_shard_bytes=12_000))
            )
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({result.record["key"] for result in results}) == 1
    assert digests(tmp_path / "together" / "out") == digests(tmp_path / "alone" / "out")


@pytest.mark.parametrize(
    "change",
    [
        {"config": "all"},
        {"config": "../x"},
        {"weighting": "best"},
        {"granularity": "token"},
        {"embed_real": True},
        {"threads": 0},
    ],
)
def test_unusable_settings_are_refused_before_anything_is_read(inputs, tmp_path, change):
    with pytest.raises(SynvitaError):
        options(inputs, tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_a_file_without_usable_rows_is_an_error(inputs, tmp_path):
    inputs.triplets.write_text("videopath,source,caption,neg_caption\nvideo1,msr-vtt,,\n")
    with pytest.raises(SynvitaError, match="no row is left"):
        build_dataset(options(inputs, tmp_path / "out"))
    with pytest.raises(SynvitaError, match=r"missing\.csv"):
        build_dataset(replace(options(inputs, tmp_path / "out"), triplets=inputs.folder / "missing.csv"))
