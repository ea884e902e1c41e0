"""Items: one a video, every text once, and scores back in their rows."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from small_annotations import (
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    ssv2_pairs,
    write_csv,
    write_questions,
    write_ssv2,
    write_statements,
)

from synvita_data.annotations import read_annotations
from synvita_data.errors import SourceError
from synvita_data.real_videos.find import RealVideos


@pytest.fixture
def tasks(tmp_path):
    write_csv(tmp_path / "videocon_llm_entailment.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)
    write_ssv2(tmp_path / "eval_ssv2_temporal.csv", ssv2_pairs())
    write_statements(tmp_path / "nextqa-atphard-statements.csv")
    write_questions(tmp_path / "nextqa-atphard.csv")
    return [read_annotations(name, tmp_path) for name in ("videocon-llm", "ssv2-temporal", "atp-hard")]


def test_every_pair_is_in_exactly_one_item(tasks):
    for annotations in tasks:
        items = list(annotations.items(lambda video: Path(f"/videos/{video.name}.mp4")))
        found = [(item.video_id, text.caption) for item in items for text in item.texts]
        assert len(found) == len(set(found))
        assert set(found) == set(zip(annotations.video_id, annotations.caption, strict=True))
        assert [item.video_id for item in items] == sorted(set(annotations.video_id))
        assert len({item.item_id for item in items}) == len(items)
        for item in items:
            assert item.item_id == f"{annotations.task}:{item.video_id}"
            assert item.text_ids == tuple(
                hashlib.sha256(text.caption.encode()).hexdigest()[:16] for text in item.texts
            )
        assert items == list(annotations.items(lambda video: Path(f"/videos/{video.name}.mp4")))


def test_placed_scores_reach_every_row_of_their_text(tasks):
    for annotations in tasks:
        value = {(video, caption): float(number) for number, (video, caption) in enumerate(
            sorted(set(zip(annotations.video_id, annotations.caption, strict=True)))
        )}  # fmt: skip
        scores = np.full(len(annotations), np.nan)
        for item in annotations.items(lambda video: b"bytes"):
            annotations.place(scores, item, [value[item.video_id, text.caption] for text in item.texts])
        expected = [value[key] for key in zip(annotations.video_id, annotations.caption, strict=True)]
        assert scores.tolist() == expected


def test_missing_videos_are_told_or_are_an_error(tasks):
    annotations = tasks[1]
    missing = []
    items = list(
        annotations.items(lambda video: None if video.name == "12" else b"", on_missing=missing.append)
    )
    assert [video.video_id for video in missing] == ["ssv2_12"]
    assert len(items) == 5
    with pytest.raises(SourceError, match="ssv2_12"):
        list(annotations.items(lambda video: None if video.name == "12" else b""))


def test_real_videos_are_found_under_a_root(tasks, tmp_path):
    root = tmp_path / "real"
    for name in ("k600/val/eOsIGrDFuuw_000004_000014.mp4", "TrainValVideo/video12.mp4", "tempo/7.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"video")
    items = {item.video_id: item for item in tasks[0].items(RealVideos(root))}
    assert items["vatex_eOsIGrDFuuw_000004_000014"].video == root / "k600/val/eOsIGrDFuuw_000004_000014.mp4"
    # The clip is cut already: the times in its name are not to be cut out of it again.
    assert items["vatex_eOsIGrDFuuw_000004_000014"].start is None
    assert items["tempo_7"].video == root / "tempo/7.mp4"
    assert len(items) == 3
