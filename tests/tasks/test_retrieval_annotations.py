"""SSv2's pair files: bare and prompted captions, and the real SSv2-Temporal."""

import csv
from collections import Counter

import pytest
from small_annotations import TEMPLATES, owl, ssv2_pairs, write_csv, write_ssv2

from synvita_data.annotations import read_annotations
from synvita_data.errors import CaptionError, SchemaError
from synvita_data.real_videos.names import video_stem


def test_rows_groups_and_labels(tmp_path):
    pairs = ssv2_pairs()
    annotations = read_annotations("ssv2-temporal", write_ssv2(tmp_path / "eval_ssv2_temporal.csv", pairs))
    found = zip(annotations.videopath, annotations.caption, annotations.label.tolist(), strict=True)
    assert sorted(found) == sorted(pairs)
    assert sorted(annotations.captions) == sorted(TEMPLATES)
    assert annotations.group.tolist() == annotations.text_id.tolist()
    assert set(annotations.video_id) == {f"ssv2_{10 + video}" for video in range(6)}
    assert annotations.counts() | {"texts": 18, "positives": 6, "groups": 3} == annotations.counts()
    assert len(annotations.report.mismatches) == 4


def test_the_form_does_not_change_the_revision(tmp_path):
    pairs = ssv2_pairs()
    revisions = set()
    for number, how in enumerate(
        [
            {"prompted": True},
            {"prompted": False},
            {"prompted": True, "bom": True, "line_end": "\r\n"},
            {"prompted": False, "line_end": "\r\n"},
        ]
    ):
        path = write_ssv2(tmp_path / f"{number}.csv", pairs[::-1] if number % 2 else pairs, **how)
        revisions.add(read_annotations("ssv2-temporal", path).revision)
    assert len(revisions) == 1


def test_repeated_pairs_are_dropped_and_contradictions_refused(tmp_path):
    pairs = ssv2_pairs()
    path = write_ssv2(tmp_path / "a.csv", [*pairs, pairs[4]])
    annotations = read_annotations("ssv2-temporal", path)
    assert annotations.report.duplicates == 1
    assert len(annotations) == len(pairs)
    video, caption, match = pairs[4]
    path = write_ssv2(tmp_path / "a.csv", [*pairs, (video, caption, 1 - match)])
    with pytest.raises(
        SchemaError, match=r"row 18: a video and caption stand with match 0 and with match 1.*rows 4 and 18"
    ):
        read_annotations("ssv2-temporal", path)


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        (("videos/1.avi", "c", "2"), SchemaError, "match is not 0 or 1"),
        (("videos/1.avi", "c", ""), SchemaError, "match is not 0 or 1"),
        (("videos/1.avi", "", "1"), CaptionError, "a caption is empty"),
        (
            ("videos/1.avi", owl("c")[:-10], "1"),
            CaptionError,
            "begins as the prompt 'mplug-owl' and does not go on as it",
        ),
        (("", "c", "1"), SchemaError, "a video has no name"),
        (("other/11.avi", "c", "1"), SchemaError, "two paths name one video"),
    ],
)
def test_bad_rows_are_errors_because_a_grid_must_be_whole(tmp_path, row, error, words):
    rows = [(video, caption, match) for video, caption, match in ssv2_pairs()]
    path = write_csv(tmp_path / "a.csv", [*rows, row], ("videopath", "caption", "match"))
    with pytest.raises(error, match=words) as caught:
        read_annotations("ssv2-temporal", path)
    assert caught.value.file == str(path)
    assert "two paths" in words or caught.value.row == 18


def test_real_ssv2_temporal(real_data):
    path = real_data / "ssv2-temporal" / "eval_ssv2_temporal.csv"
    annotations = read_annotations("ssv2-temporal", path)
    assert annotations.report.mismatches == ()
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    marker = 'description: "'
    bare = [row["caption"][row["caption"].index(marker) + len(marker) : -len('"?\nAI: ')] for row in rows]
    assert len(annotations) == len(rows) == 3888
    assert sorted(Counter(annotations.group).values()) == [216] * 18
    assert sorted(Counter(annotations.group[annotations.label == 1]).values()) == [12] * 18
    expected = {
        (f"ssv2_{video_stem(row['videopath'])}", caption): int(row["match"])
        for row, caption in zip(rows, bare, strict=True)
    }
    found = zip(annotations.video_id, annotations.caption, strict=True)
    assert dict(zip(found, annotations.label.tolist(), strict=True)) == expected
