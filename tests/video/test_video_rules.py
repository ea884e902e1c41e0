"""Keys of stored work: those of commit 79b0f4d wherever the mended rules cannot change the frames, new ones elsewhere.

What the keys of that commit were is written out here, as JSON and a digest.
"""

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from av.stream import Disposition
from numbered_clips import write_clip
from test_video_streams import Stream, write

from synvita_data.builders.sources.checks import check_videos
from synvita_data.builders.vqascore.job import VqaRow, VqaScoreJob, VqaSettings
from synvita_data.builders.vqascore.models import VqaModel
from synvita_data.captions import Text
from synvita_data.evaluation.scoring import item_key
from synvita_data.jobs import Store
from synvita_data.scoring import ScoringItem
from synvita_data.video import FramePolicy
from synvita_data.video.rules import rule_versions

COUNTED = [FramePolicy(), FramePolicy(rule="linspace"), FramePolicy(rule="all"), FramePolicy(indices=(0, 2))]


def digest(**inputs: object) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rules")
    default = Disposition.default
    return {
        "steady": write_clip(folder / "steady.mp4", 12),
        "uneven": write_clip(folder / "uneven.mp4", 4, ticks=[0, 100, 2000, 2100]),
        "steady.avi": write_clip(folder / "steady.avi", 12, codec="mpeg4", bframes=0),
        "uneven.avi": write_clip(
            folder / "uneven.avi",
            4,
            codec="mpeg4",
            bframes=0,
            ticks=[0, 1, 20, 21],
            time_base=Fraction(1, 10),
        ),
        "cover": write(
            folder / "cover.mp4", Stream(1, 1, codec="mjpeg", disposition=Disposition.attached_pic), Stream(2)
        ),
        "first of two": write(folder / "one.mp4", Stream(1, disposition=default), Stream(2)),
        "second of two": write(folder / "two.mp4", Stream(1), Stream(2, disposition=default)),
    }


class Scorer:
    """What the runner asks of a scorer before it scores."""

    def __init__(self, frames: FramePolicy | None, reads_times: str | None = None) -> None:
        self.frames, self.reads_times = frames, reads_times


def as_item(path: Path, start: float | None = None, end: float | None = None) -> ScoringItem:
    return ScoringItem("i", "v", path, (Text("a dog runs"),), ("t",), start, end)


def old_item_key(item: ScoringItem) -> str:
    status = item.video.stat()
    file = [item.video.name, status.st_size, status.st_mtime_ns]
    return digest(item="i", video=file, start=item.start, end=item.end, texts=[["t", []]])


@pytest.mark.parametrize("name", ["steady", "uneven", "uneven.avi", "cover", "first of two"])
@pytest.mark.parametrize("policy", COUNTED)
def test_whole_videos_by_count_keep_their_keys(videos, name: str, policy: FramePolicy) -> None:
    item = as_item(videos[name])
    assert rule_versions(item.video, policy) == {}
    assert item_key(item, Scorer(policy)) == old_item_key(item)
    assert item_key(replace(item, start=1.0), Scorer(None)) == old_item_key(replace(item, start=1.0))


@pytest.mark.parametrize(
    ("name", "policy", "start", "end", "reads_times", "expected"),
    [
        ("steady", FramePolicy(), 1.0, None, None, {"window": 2}),
        ("steady", FramePolicy(), None, 1.0, None, {"window": 2}),
        ("steady", FramePolicy(fps=2), None, None, None, {"window": 2}),
        ("second of two", FramePolicy(), None, None, None, {"stream": 2}),
        ("second of two", FramePolicy(fps=1), 0.0, 9.0, None, {"stream": 2, "window": 2}),
        ("uneven", FramePolicy(), None, None, "indices", {"times": 2}),
        ("uneven", FramePolicy(), None, None, "timestamps", {}),  # they were right before
        ("uneven.avi", FramePolicy(), None, None, None, {}),
        ("uneven.avi", FramePolicy(), None, None, "timestamps", {"times": 2}),
        ("uneven.avi", FramePolicy(), None, None, "indices", {"times": 2}),
        ("uneven", FramePolicy(fps=2), None, None, "indices", {"window": 2}),
        ("steady", FramePolicy(), None, None, "indices", {}),
        ("steady.avi", FramePolicy(), None, None, "timestamps", {}),
    ],
)
def test_versions_stand_where_rules_matter(videos, name, policy, start, end, reads_times, expected) -> None:
    item = as_item(videos[name], start, end)
    rules = {"rules": expected} if expected else {}
    assert rule_versions(item.video, policy, start, end, reads_times=reads_times) == rules
    assert (item_key(item, Scorer(policy, reads_times)) != old_item_key(item)) == bool(rules)


def test_bytes_and_files_are_alike(videos) -> None:
    for path in videos.values():
        assert rule_versions(path.read_bytes(), FramePolicy()) == rule_versions(path, FramePolicy())


def test_keys_of_the_feature_cache(videos, tmp_path) -> None:
    from synvita_data.models.features import FeatureCache

    tower = {"model": "m", "family": "f", "dtype": "torch.float32", "joiner": None}
    tower["frames"] = FramePolicy(count=8).to_dict()
    cache = FeatureCache(tmp_path, tower)
    reader = FeatureCache(tmp_path, tower, reads_times="indices")
    try:
        for name, path in videos.items():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            for start in (None, 0.5):
                rules = {} if start is None else {"window": 2}
                if name == "second of two":
                    rules["stream"] = 2
                old = digest(video=content, start=start, end=None, tower=tower)
                new = digest(video=content, start=start, end=None, tower=tower, rules=rules)
                assert cache.key(as_item(path, start)) == (new if rules else old)
                if name.startswith("uneven") and start is None:
                    rules["times"] = 2
                    new = digest(video=content, start=start, end=None, tower=tower, rules=rules)
                assert reader.key(as_item(path, start)) == (new if rules else old)
    finally:
        cache.close()
        reader.close()


def test_keys_of_vqascores() -> None:
    row = VqaRow("id", "no file is read", "ab" * 32, "a dog", "a cat")
    frame = VqaModel("m", "folder", "rev", "clip-flant5", "t5")
    whole = VqaModel("m", "folder", "rev", "whole-video", "qwen3_vl")

    def key(row: VqaRow, model: VqaModel = frame, **frames: object) -> str:
        settings = VqaSettings(frames=FramePolicy(**frames)) if frames else VqaSettings()
        return VqaScoreJob(Path("store"), model, settings, (row,)).keys[0]

    def expected(model: VqaModel = frame, policy: FramePolicy | None = None, **more: object) -> str:
        return digest(
            version=1,
            kind=model.kind,
            revision="rev",
            frames=(policy or FramePolicy(count=4)).to_dict(),
            preprocessing="pad" if model is frame else "processor",
            dtype="float32",
            video="ab" * 32,
            captions=["a cat", "a dog"],
            **more,
        )

    assert key(row) == expected()
    uneven = row._replace(other_times=("indices",))
    assert key(uneven) == expected()  # frame by frame, times mean nothing
    assert key(row, whole) == expected(whole)
    assert key(uneven, whole, fps=2) == expected(whole, FramePolicy(fps=2), rules={"window": 2})
    assert key(uneven, replace(whole, model_type="qwen2_5_vl")) == expected(whole)
    assert key(uneven, whole) == expected(whole, rules={"times": 2})
    assert key(row._replace(other_stream=True)) == expected(rules={"stream": 2})
    assert key(row, fps=2) == expected(policy=FramePolicy(fps=2), rules={"window": 2})


def test_checks_of_videos_are_made_again_only_where_another_stream_counts(videos, tmp_path) -> None:
    """The store as commit 79b0f4d left it: a check of each file, which found a fault in what was the first stream."""
    store = Store(tmp_path)
    keys = {}
    for name, path in videos.items():
        status = path.stat()
        keys[name] = digest(
            file=str(path.resolve()), size=status.st_size, modified=status.st_mtime_ns, version=2
        )
        with store.claim(keys[name]) as claim:
            claim.commit({"error": {"reason": "CorruptVideoError", "problem": "the first stream is damaged"}})
    found = check_videos(videos.values(), store)
    for name, path in videos.items():
        if name == "second of two":
            assert found[path] == hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            assert found[path].problem == "the first stream is damaged"
    count = len(list(store.root.glob("??/*.json")))
    assert count == len(videos) + 1
    again = check_videos(videos.values(), store)
    assert {path: str(each) for path, each in again.items()} == {
        path: str(each) for path, each in found.items()
    }
    assert len(list(store.root.glob("??/*.json"))) == count
    fresh = check_videos(videos.values(), Store(tmp_path / "fresh"))
    assert fresh == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in videos.values()}
    assert len(list((tmp_path / "fresh").glob("??/*.json"))) == len(videos)
