"""Datasets of the authors' videos: rows that refer to them, rows that hold them, and weights of a training CSV."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from released_videos import LAYOUTS, mp4, training_rows, write_layout, write_training_csv, write_triplets
from test_build import digests

from synvita_data import load_triplets
from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.publish.folder import read_built_folder
from synvita_data.cli import main
from synvita_data.errors import MissingVideoError, SynvitaError, VideoError

NAMES = [f"msr-vtt_video{n}_001" for n in range(4)]
VIDEOS = {f"{name}.mp4": mp4(n) for n, name in enumerate(NAMES)}


@pytest.fixture
def triplets(tmp_path):
    rows = [(f"video{n}", "msr-vtt", f"a dog runs {n} times", f"a cat runs {n} times") for n in range(5)]
    return write_triplets(tmp_path / "triplets.csv", rows)


def build(triplets, root, out, **options):
    settings = {"config": "cogvideox", "synthetic": f"root:{root}", "max_shard_bytes": 12_000} | options
    return build_dataset(BuildOptions(triplets=triplets, out=out, **settings))


def cells(out, config="cogvideox"):
    rows = [
        row for path in sorted((out / config).glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    return {row["video_id"]: row for row in rows}


def load(out, tmp_path, **options):
    return load_triplets(out, "cogvideox", split="train", cache_dir=tmp_path / "arrow", **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_refer_to_videos_and_load_triplets_finds_them(tmp_path, triplets, layout, monkeypatch, capsys):
    root = write_layout(tmp_path / "copy", layout, VIDEOS)
    result = build(triplets, root, tmp_path / "out")
    assert [(row["synthetic_video"] or {}).get("bytes") for row in cells(tmp_path / "out").values()] == [
        None
    ] * 5
    assert (result.record["authors_videos"]["referred"], result.record["authors_videos"]["embedded"]) == (
        4,
        0,
    )
    monkeypatch.setattr(sys, "argv", ["synvita", "inspect", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        main()
    shown = " ".join(capsys.readouterr().out.split())
    assert "authors' videos: 4 are not held here: rows refer to copy (licence: none stated)" in shown
    assert "authors' videos: 1 of 5 rows have no synthetic video" in shown
    for path in (tmp_path / "out").rglob("*.parquet"):  # no video and no place of this machine
        assert all(data not in path.read_bytes() for data in (b"ftyp", str(tmp_path).encode()))
    (note,) = read_built_folder(tmp_path / "out").warnings
    assert note.startswith("4 rows of config 'cogvideox' refer to videos in a folder of yours, copy:")

    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    rows = load(tmp_path / "out", tmp_path, synthetic_root=root)
    assert rows["caption"][:] == [f"a dog runs {n} times" for n in range(5)]
    assert not (tmp_path / "home").exists()  # nothing was read for captions
    found = [row["synthetic_video"] for row in rows]
    assert [Path(cell["path"]).read_bytes() for cell in found[:4]] == list(VIDEOS.values())
    assert found[4] is None
    # What is saved of it holds neither: rows that were read, changed and filtered, too.
    kept = rows.filter(lambda row: row["synthetic_video"] is not None).map(lambda row: {**row})
    kept.to_parquet(tmp_path / "kept.parquet")
    kept.save_to_disk(tmp_path / "kept")
    for path in [tmp_path / "kept.parquet", *(tmp_path / "kept").rglob("*.arrow")]:
        assert b"ftyp" not in path.read_bytes()
        assert str(tmp_path / "home").encode() not in path.read_bytes()
    again = load_triplets(tmp_path / "kept", split="train", synthetic_root=root, cache_dir=tmp_path / "arrow")
    assert Path(again[0]["synthetic_video"]["path"]).read_bytes() == mp4(0)


def test_a_reference_that_leads_nowhere_or_to_another_video(tmp_path, triplets):
    root = write_layout(tmp_path / "copy", "loose", VIDEOS)
    build(triplets, root, tmp_path / "out")
    with pytest.raises(MissingVideoError, match=r"synthetic_root=DIR") as caught:
        load(tmp_path / "out", tmp_path)[0]["synthetic_video"]
    assert "\n" not in str(caught.value)
    other = write_layout(
        tmp_path / "other", "loose", dict(zip(VIDEOS, reversed(VIDEOS.values()), strict=True))
    )
    with pytest.raises(VideoError, match="not the one that the dataset refers to"):
        load(tmp_path / "out", tmp_path, synthetic_root=other)[0]["synthetic_video"]
    with pytest.raises(SynvitaError, match="does not exist"):
        load(tmp_path / "out", tmp_path, synthetic_root=tmp_path / "nowhere")


def test_training_reads_referred_videos(tmp_path, triplets):
    from synvita_data.training.data.rows import VideoColumn, read_rows

    root = write_layout(tmp_path / "copy", "loose", VIDEOS)
    build(triplets, root, tmp_path / "out")
    rows = load(tmp_path / "out", tmp_path, synthetic_root=root).select([2, 4, 0])
    assert [row.has_synthetic for row in read_rows(rows, optional=["synthetic_video"])] == [True, False, True]
    column = VideoColumn(rows, "synthetic_video")
    assert column[1] is None
    assert [Path(column[n]["path"]).read_bytes() for n in (0, 2)] == [mp4(2), mp4(0)]
    assert Path(column.path(0)).name == f"{NAMES[2]}.mp4"


def test_embedding_prints_the_licence_first_and_holds_the_bytes(tmp_path, triplets, capsys, monkeypatch):
    root = write_layout(tmp_path / "copy", "zip", VIDEOS)
    arguments = ["build", "--triplets", triplets, "--synthetic-root", root, "--out", tmp_path / "out"]
    arguments += ["--generator", "cogvideox", "--embed-synthetic"]
    monkeypatch.setattr(sys, "argv", ["synvita", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code in (None, 0), said.err
    assert "licence: none stated" in said.err
    assert "4 synthetic videos embedded" in said.out
    assert "1 of 5 rows have no synthetic video" in said.out
    assert [
        row["synthetic_video"] and row["synthetic_video"]["bytes"] for row in cells(tmp_path / "out").values()
    ] == [
        *VIDEOS.values(),
        None,
    ]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "held here" in card
    assert "**none stated**" in card
    assert load(tmp_path / "out", tmp_path)[1]["synthetic_video"]["bytes"] == mp4(1)
    (note,) = read_built_folder(tmp_path / "out").warnings
    assert "holds 4 videos of others; the licence found with them: none stated" in note


def test_a_training_csv_gives_weights_and_scores(tmp_path):
    root = write_layout(tmp_path / "copy", "loose", VIDEOS)
    given = [(0.25, 0.5), (0.5, -0.25), ("", ""), (0.9, 0.9)]
    rows = []
    for n, (alignment, diff) in enumerate(given):
        texts = (f"a dog runs {n} times", f"a cat runs {n} times")
        rows += training_rows(
            f"video{n}.mp4", NAMES[n], *texts, alignment=alignment, diff=diff, explanation="no cat"
        )
    path = write_training_csv(tmp_path / "train.csv", rows)
    result = build(path, root, tmp_path / "out")
    found = cells(tmp_path / "out")
    assert [found[f"video{n}"]["weight"] for n in range(4)] == [0.5, 0.0, 1.0, 0.9]
    scores = [found[f"video{n}"]["vqascores"] for n in range(4)]
    assert [[(s["neg_caption_score"], s["caption_score"]) for s in row] for row in scores] == [
        [(0.75, 0.25)],
        [(0.25, 0.5)],
        [],
        [],
    ]
    assert [found[f"video{n}"]["nle"] for n in range(4)] == ["no cat"] * 4
    record = result.record
    assert record["training_csv"]["empty_alignment_diff"] == 1
    assert record["scores"]["video_named_by"] == {"sha256": 0, "name": 2, "nothing": 0}
    assert "1 triplets have no alignment" in (tmp_path / "out" / "README.md").read_text().replace("\\_", "_")
    # Another weighting needs both scores; what is not known stays null.
    build(path, root, tmp_path / "product", weighting="product")
    weights = [cells(tmp_path / "product")[f"video{n}"]["weight"] for n in range(4)]
    assert weights == [0.75 * 0.75, 0.25 * 0.5, None, None]
    with pytest.raises(SynvitaError, match="another generator than the videos"):
        build(path, write_layout(tmp_path / "others", "loose", VIDEOS, "lavie"), tmp_path / "refused")


def test_ambiguous_videos_are_reported_with_counts_and_a_way_out(tmp_path, capsys):
    rows = [("video0", "msr-vtt", "a dog runs", f"a {animal} runs") for animal in ("cat", "cow")]
    path = write_triplets(tmp_path / "triplets.csv", rows)
    videos = {"msr-vtt_video0_001.mp4": mp4(1), "msr-vtt_video0_002.mp4": mp4(2)}
    root = write_layout(tmp_path / "copy", "tar", videos)
    record = build(path, root, tmp_path / "out").record
    assert record["authors_videos"]["ambiguous"] == 2
    assert record["coverage"]["synthetic_video"] == [0, 2]
    assert "--order annotations" in (tmp_path / "out" / "README.md").read_text()
    ordered = build(path, root, tmp_path / "ordered", order="annotations", embed_synthetic=True)
    assert ordered.record["options"]["order"] == "annotations"
    table = pq.read_table(tmp_path / "ordered" / "cogvideox").to_pylist()
    assert {row["neg_caption"]: row["synthetic_video"]["bytes"] for row in table} == {
        "a cat runs": mp4(1),
        "a cow runs": mp4(2),
    }


def test_a_video_that_does_not_decode_costs_its_row(tmp_path, triplets):
    root = write_layout(tmp_path / "copy", "tar.gz", VIDEOS | {f"{NAMES[1]}.mp4": mp4(1)[:300]})
    result = build(triplets, root, tmp_path / "out")
    assert sorted(cells(tmp_path / "out")) == ["video0", "video2", "video3", "video4"]
    (entry,) = result.quarantine
    assert (entry["stage"], entry["reason"]) == ("videos", "TruncatedVideoError")
    assert entry["file"] == f"cogvideox.tar.gz/train/{NAMES[1]}.mp4"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"synthetic": "folder:{root}", "generator": "lavie"}, "--generator and --order"),
        ({"synthetic": None, "order": "annotations"}, "--generator and --order"),
        ({"order": "alphabet"}, "order"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, triplets, options, words):
    root = write_layout(tmp_path / "copy", "loose", VIDEOS)
    options = {k: v.format(root=root) if isinstance(v, str) else v for k, v in options.items()}
    with pytest.raises(SynvitaError, match=words):
        build(triplets, root, tmp_path / "out", **options)


def test_names_that_are_no_utf8_cost_no_build(tmp_path, triplets):
    """Of synthetic videos they cannot be referred to; of real ones the row's name is escaped."""
    root = write_layout(tmp_path / "copy", "loose", VIDEOS)
    (root / "b\udcffd").mkdir()
    (root / "b\udcffd" / f"{NAMES[0]}.mp4").write_bytes(mp4(0))
    real = write_layout(tmp_path / "msr-vtt", "loose", {"video0.mp4": mp4(5)}, "b\udcffd")
    result = build(triplets, root, tmp_path / "out", real_root=real)
    assert result.record["coverage"]["synthetic_video"] == [4, 5]
    assert cells(tmp_path / "out")["video0"]["real_video"]["path"] == "b\\udcffd/video0.mp4"
    (line,) = (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line)["file"].endswith(f"b\udcffd/{NAMES[0]}.mp4")
    read_built_folder(tmp_path / "out")


def test_nothing_changed_writes_nothing(tmp_path, triplets):
    root = write_layout(tmp_path / "copy", "parquet", VIDEOS)
    assert not build(triplets, root, tmp_path / "out").was_up_to_date
    before = digests(tmp_path / "out")
    assert build(triplets, root, tmp_path / "out").was_up_to_date
    assert digests(tmp_path / "out") == before


@pytest.mark.slow
def test_two_builds_at_once_on_one_folder(tmp_path, triplets):
    """Both read one archive into one work folder."""
    root = write_layout(tmp_path / "copy", "tar.gz", VIDEOS)
    build(triplets, root, tmp_path / "alone", embed_synthetic=True)
    arguments = [
        "--triplets",
        triplets,
        "--synthetic-root",
        root,
        "--config",
        "cogvideox",
        "--embed-synthetic",
    ]
    line = [sys.executable, "-m", "synvita_data.cli", "build", *arguments, "--out", tmp_path / "out"]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    said = [each.communicate()[0].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    rows, alone = cells(tmp_path / "out"), cells(tmp_path / "alone")
    assert rows == alone
    assert [row["synthetic_video"] and row["synthetic_video"]["bytes"] for row in rows.values()] == [
        *VIDEOS.values(),
        None,
    ]


@pytest.mark.slow  # test_build_killed.py kills a build of the same code
@pytest.mark.parametrize("layout", ["tar.gz", "loose"])
def test_a_killed_build_finishes_with_the_same_bytes(tmp_path, triplets, layout):
    root = write_layout(tmp_path / "cogvideox", layout, VIDEOS)
    driver = Path(__file__).with_name("kill_driver.py")
    scores = tmp_path / "scores.csv"
    scores.write_text(
        "row,model,neg_caption_score,caption_score\n" + "".join(f"{n},m,0.75,0.25\n" for n in range(5))
    )
    done = subprocess.run(
        [sys.executable, driver, triplets, f"root:{root}", scores, tmp_path, "6", "3"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    expected = digests(tmp_path / "undisturbed" / "out")
    assert any(name.endswith(".parquet") for name in expected)
    for number in range(report["builds"]):
        assert digests(tmp_path / f"killed-{number}" / "out") == expected
