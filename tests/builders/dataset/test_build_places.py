"""Nothing that `synvita build` publishes says where the real videos lie, whatever is wrong with them."""

import json

import pytest
from small_annotations import write_csv

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.hub.places import without_places

SECRET = "home-of-nobody"
CLIP = "abcdefghijk_000004_000014"


@pytest.mark.parametrize("embed", [False, True])
def test_refused_broken_and_doubted_real_videos(inputs, tmp_path, embed):
    root = tmp_path / SECRET / "videos"
    good = next(inputs.videos.glob("*.mp4")).read_bytes()  # half a second
    for name, content in {
        "a/video1.mp4": good,
        "b/video1.mp4": good[:-1],  # which one?
        "video2.mp4": b"",
        "video3.mp4": good[: len(good) // 2],
        "video4.mp4": good,
        f"vatex/{CLIP}.mp4": good,  # not ten seconds
        "vatex/bbbbbbbbbbb.mp4": good,  # ends before the clip begins
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    triplets = tmp_path / "triplets.csv"
    videos = [(f"video{number}", "msr-vtt") for number in range(1, 5)]
    videos += [(f"k600/val/{CLIP}.mp4", "vatex"), ("k600/val/bbbbbbbbbbb_000004_000014.mp4", "vatex")]
    write_csv(
        triplets,
        [[video, source, f"a dog {i}", f"a cat {i}"] for i, (video, source) in enumerate(videos)],
        ["videopath", "source", "caption", "neg_caption"],
    )
    out = tmp_path / "out"
    result = build_dataset(
        BuildOptions(triplets=triplets, out=out, config="c", real_root=root, embed_real=embed)
    )
    record = result.record
    assert record["real_videos_refused"] == 3  # two files for one, an empty one, one that is too short
    assert record["real_videos_doubted"] == 1
    assert {entry["file"] for entry in record["real_videos_doubted_first"]} == {f"vatex/{CLIP}.mp4"}
    assert record["coverage"]["real_video_found"] == ([2, 5] if embed else [3, 6])
    lines = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == (["video3.mp4"] if embed else [])
    published = [path for path in out.rglob("*") if path.is_file() and ".work" not in path.parts]
    assert {path.name for path in published} >= {"README.md", "build.json", "quarantine.jsonl"}
    for path in published:
        assert SECRET.encode() not in path.read_bytes(), path


def test_paths_become_relative_to_their_root(tmp_path):
    link = tmp_path / "link"
    real = tmp_path / "real"
    real.mkdir()
    link.symlink_to(real)
    record = {
        "file": f"{real}/a/b.mp4",
        "found": [f"No such file: '{link}/c d.mp4'", 3, None],
        "root": str(real),
        "other": f"{real}-2/e.mp4",
    }
    assert without_places(record, link) == {
        "file": "a/b.mp4",
        "found": ["No such file: 'c d.mp4'", 3, None],
        "root": "REAL_ROOT",
        "other": "real-2/e.mp4",
    }
