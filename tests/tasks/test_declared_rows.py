"""Rows by declared columns: the same from every format, by common names, by templates, from nested JSON; and bad input."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from declared import cells, declare, read, write_csv, write_json, write_jsonl, write_parquet

from synvita_data.annotations import read_annotations
from synvita_data.annotations.packed import write_packed
from synvita_data.errors import SynvitaError
from synvita_data.tasks import task_of_file

PAIRS = [
    {"clip": "a/one.mp4", "good": "a dog runs", "bad": "a cat runs", "kind": "who"},
    {"clip": "a/one.mp4", "good": "a dog runs", "bad": "a dog sleeps", "kind": "what"},
    {"clip": "b/two.mp4", "good": "none", "bad": "rain falls", "kind": ""},
]
COLUMNS = "form: entailment\ncolumns: {video: clip, caption: good, contrast: bad}\nbreakdown: [kind]"
GOOD = [*PAIRS[:2], {**PAIRS[2], "good": "the sun shines"}]


def test_every_format_gives_the_same(tmp_path):
    task = declare(tmp_path, COLUMNS)
    jsonl = [{**row, "kind": row["kind"] or None} for row in GOOD]
    found = [
        read_annotations(task, path)
        for path in (
            write_csv(tmp_path / "rows.csv", GOOD),
            write_jsonl(tmp_path / "rows.jsonl", jsonl),
            write_json(tmp_path / "rows.json", jsonl),
            write_parquet(tmp_path / "rows.parquet", jsonl),
        )
    ]
    assert len({each.revision for each in found}) == 1
    assert cells(found[0])[:2] == [
        ("mine_a%2Fone", "a dog runs", found[0].group[0], 0, 1),
        ("mine_a%2Fone", found[0].caption[1], found[0].group[0], 0, 0),
    ]
    assert found[0].counts()["groups"] == 3
    assert sorted(found[0].breakdown["kind"].tolist(), key=str) == [None, None, "what", "what", "who", "who"]
    assert found[0].form == "entailment"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_the_file_does_not_matter(tmp_path, order):
    expected = read(tmp_path, COLUMNS, GOOD).revision
    assert read(tmp_path, COLUMNS, [GOOD[at] for at in order]).revision == expected


def test_what_is_scored_or_counted_changes_the_revision(tmp_path):
    revision = read(tmp_path, COLUMNS, GOOD).revision
    for column, value in (("clip", "c.mp4"), ("good", "a bird"), ("bad", "a fish"), ("kind", "where")):
        assert read(tmp_path, COLUMNS, [{**GOOD[0], column: value}, *GOOD[1:]]).revision != revision


def test_common_names_without_a_declaration(tmp_path):
    path = write_csv(
        tmp_path / "my pairs.csv",
        [{"video_path": "one.mp4", "text": "a dog", "Negative Caption": "a cat", "other": "x"}],
    )
    found = read_annotations(task_of_file(path, "entailment"), path)
    assert [row[1] for row in cells(found)] == ["a dog", "a cat"]
    assert (found.task, found.report.checked) == ("my-pairs", {"unchecked": True})


def test_single_texts_with_labels(tmp_path):
    rows = [
        {"v": "one.mp4", "t": "a dog", "y": 1},
        {"v": "one.mp4", "t": "a cat", "y": 0},
        {"v": "one.mp4", "t": "a cat", "y": "0"},
        {"v": "two.mp4", "t": "a tree", "y": "true"},
    ]
    found = read(tmp_path, "form: entailment\ncolumns: {video: v, caption: t, label: y}", rows)
    assert [(row[0], row[1], row[4]) for row in cells(found)] == [
        ("mine_one", "a dog", 1),
        ("mine_one", "a cat", 0),
        ("mine_two", "a tree", 1),
    ]
    assert found.report.duplicates == 1


def test_templates_and_the_number_of_the_row(tmp_path):
    rows = [{"id": "7", "c": "x", "n": "y"}, {"id": "9", "c": "x", "n": "y"}]
    text = "form: entailment\ncolumns: {video: 'clips/{id}_{row}.mp4', caption: c, contrast: n}"
    assert [video.videopath for video in read(tmp_path, text, rows).videos] == [
        "clips/7_0.mp4",
        "clips/9_1.mp4",
    ]


def test_nested_json(tmp_path):
    task = declare(
        tmp_path,
        "form: yes_no\nlevels: [video, aspect]\nbreakdown: [aspect]\n"
        "columns: {video: video, question: question, answer: answer}",
    )
    content = {"v1": {"speed": [{"question": "Fast?", "answer": "yes"}]}, "v2": {"order": []}}
    found = read_annotations(task, write_json(tmp_path / "rows.json", content))
    assert (found.videopath.tolist(), found.declared["aspect"].tolist()) == (["v1"], ["speed"])
    for wrong, where in (
        ({"v1": []}, "row v1: a part of the file is not an object"),
        ({"v1": {"speed": ["Fast?"]}}, "row v1/speed/0: a row is not an object"),
        ({"v1": {"speed": [{"question": "Fast?"}]}}, "has no column for answer"),
        (
            {
                "v1": {
                    "speed": [
                        {"question": "Fast?", "answer": "yes"},
                        {"question": "Slow?", "answer": "maybe"},
                    ]
                }
            },
            "row v1/speed/1: the answer is not yes or no",
        ),
    ):
        with pytest.raises(SynvitaError, match=where):
            read_annotations(task, write_json(tmp_path / "wrong.json", wrong))
    (tmp_path / "twice.json").write_text('{"v1": {}, "v1": {}}')
    with pytest.raises(SynvitaError, match="stands twice"):
        read_annotations(task, tmp_path / "twice.json")


def test_files_that_are_read_together(tmp_path):
    text = COLUMNS + "\nfiles: [x.csv, y.csv]\nall_files: true"
    write_csv(tmp_path / "x.csv", GOOD[:2])
    task = declare(tmp_path, text)
    with pytest.raises(SynvitaError, match=r"lacks a file of task mine.*1 of 2.*y\.csv"):
        read_annotations(task, tmp_path)
    write_csv(tmp_path / "y.csv", GOOD[2:])
    both = read_annotations(task, tmp_path)
    assert both.revision == read(tmp_path, COLUMNS, GOOD).revision
    assert (both.report.rows, len(both.report.files)) == (3, 2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"good": ""}, "row 1: a caption is empty"),
        ({"clip": ""}, "row 1: the row names no video"),
        ({"clip": "../up.mp4"}, "row 1: a path or id names no video"),
        ({"good": "a dog sleeps"}, "row 1: caption and contrast caption are the same"),
        ({"bad": "#REF!"}, "row 1: a caption is the error value"),
        ({"good": "none"}, "row 1: a caption is empty"),
    ],
)
def test_bad_rows_are_named_or_counted(tmp_path, change, says):
    rows = [GOOD[0], {**GOOD[1], **change}, GOOD[2]]
    with pytest.raises(SynvitaError, match=rf"rows\.csv, {says}"):
        read(tmp_path, COLUMNS, rows)
    found = read(tmp_path, COLUMNS, rows, skip_bad=True)
    assert found.counts()["groups"] == 2
    (error,) = found.report.left_out
    assert error.row == 1
    assert found.report.mismatches == ("1 rows cannot be used and were left out",)
    assert found.report.to_record()["left_out"][0]["file"] == "rows.csv"


def test_missing_columns(tmp_path):
    with pytest.raises(SynvitaError, match=r"rows\.csv: the table has no column for bad.*Name the columns"):
        read(tmp_path, COLUMNS, [{"clip": "a.mp4", "good": "x", "kind": "y"}])
    with pytest.raises(SynvitaError, match="no column for kind"):
        read(tmp_path, COLUMNS, [{"clip": "a.mp4", "good": "x", "bad": "y"}])
    path = write_csv(tmp_path / "pairs.csv", [{"video": "a.mp4", "caption": "x"}])
    with pytest.raises(SynvitaError, match="no column for contrast or label"):
        read_annotations(task_of_file(path, "entailment"), path)


def test_a_video_in_two_splits(tmp_path):
    text = COLUMNS.replace("contrast: bad", "contrast: bad, split: s") + "\nsplit: test"
    rows = [{**row, "s": split} for row, split in zip(GOOD, ("test", "test", "train"), strict=True)]
    found = read(tmp_path, text, rows)
    assert (found.counts()["groups"], found.report.other_rows) == (2, 1)
    rows[1]["s"] = "train"
    with pytest.raises(SynvitaError, match=r"row 1: a video stands in two splits.*train, and test in row 0"):
        read(tmp_path, text, rows)
    found = read(tmp_path, text, rows, skip_bad=True)
    assert (found.counts()["groups"], len(found.report.left_out)) == (1, 1)
    with pytest.raises(SynvitaError, match="no column for the split"):
        read(tmp_path, COLUMNS + "\nsplit: test", GOOD)


def test_parts_of_videos(tmp_path):
    text = COLUMNS.replace("contrast: bad", "contrast: bad, start: from, end: to")
    rows = [{**row, "from": "1", "to": "00:00:04.5"} for row in GOOD]
    assert [(v.start, v.end) for v in read(tmp_path, text, rows).videos] == [(1.0, 4.5), (1.0, 4.5)]
    with pytest.raises(
        SynvitaError, match=r"row 1: a part of a video ends before it begins.*start 5.0, end 4.5"
    ):
        read(tmp_path, text, [rows[0], {**rows[1], "from": "5"}, rows[2]])


LONG = [
    {"clip": "long.mp4", "good": "a dog runs", "bad": "a cat runs", "kind": "", "from": start, "to": end}
    for start, end in (("0", "2.5"), ("2.5", "4"), ("4", ""), ("", ""), ("0", "2.5"))
]


def test_each_part_of_a_long_video_is_a_video(tmp_path):
    text = COLUMNS.replace("contrast: bad", "contrast: bad, start: from, end: to")
    found = read(tmp_path, text, LONG)
    # One pair a part, also where their captions are the same; what stands twice is one.
    assert [video.video_id for video in found.videos] == [
        "mine_long",
        "mine_long_0-2.5",
        "mine_long_2.5-4",
        "mine_long_4-",
    ]
    assert (found.counts()["groups"], found.report.duplicates) == (4, 1)
    items = list(found.items(lambda video: b"video"))
    assert [(item.start, item.end) for item in items] == [(None, None), (0.0, 2.5), (2.5, 4.0), (4.0, None)]
    assert {video.name for video in found.videos} == {"long"}  # the one file

    write_packed(found, tmp_path / "packed.parquet")
    task = declare(tmp_path, text)
    assert read_annotations(task, tmp_path / "packed.parquet").revision == found.revision


def test_times_that_the_name_tells_make_no_part(tmp_path):
    text = COLUMNS.replace("contrast: bad", "contrast: bad, start: from, end: to") + "\nsource: vatex"
    clip = "Eh5Wl5DuBGw_000005_000015.mp4"
    rows = [{**LONG[0], "clip": clip, "from": start, "to": end} for start, end in (("5", "15"), ("", ""))]
    assert [video.video_id for video in read(tmp_path, text, rows).videos] == [f"vatex_{clip[:-4]}"]
    assert read(tmp_path, text, [{**rows[0], "to": "12"}]).videos[0].video_id == f"vatex_{clip[:-4]}_5-12"


def test_questions_of_parts_have_ids_of_their_own(tmp_path):
    text = "form: yes_no\ncolumns: {video: clip, question: q, answer: a, start: from, end: to}"
    rows = [{**row, "q": "Does it run?", "a": "yes"} for row in LONG[:3]]
    assert [group.rpartition("_x")[0] for group in read(tmp_path, text, rows).groups] == [
        "long_0-2.5",
        "long_2.5-4",
        "long_4-",
    ]


def test_parts_of_one_video_are_not_in_two_splits(tmp_path):
    text = COLUMNS.replace("contrast: bad", "contrast: bad, start: from, end: to, split: part")
    rows = [{**row, "part": part} for row, part in zip(LONG, ("train", "test"), strict=False)]
    with pytest.raises(SynvitaError, match="row 1: a video stands in two splits"):
        read(tmp_path, text, rows)


def test_a_source_in_the_rows(tmp_path):
    text = COLUMNS.replace("contrast: bad", "contrast: bad, source: from")
    rows = [{**GOOD[0], "from": "MSRVTT", "clip": "video12.mp4"}]
    assert read(tmp_path, text, rows).videos[0].video_id == "msr-vtt_video12"


def test_repeated_pairs_are_counted(tmp_path):
    found = read(tmp_path, COLUMNS, [*GOOD, GOOD[0], {**GOOD[1], "kind": "else"}])
    report = found.report
    assert (found.counts()["groups"], report.duplicates, report.contradictions) == (3, 2, 1)


def test_the_file_that_was_checked(tmp_path):
    import hashlib

    path = write_csv(tmp_path / "rows.csv", GOOD)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = f"{COLUMNS}\nchecked_against: {{file: rows.csv, sha256: {digest}}}\nexpected: {{groups: 3}}"
    found = read(tmp_path, text, GOOD)
    assert found.report.mismatches == ()
    assert found.report.checked == {
        "unchecked": False,
        "checked_against": [{"file": "rows.csv", "sha256": digest, "found": digest, "same": True}],
    }
    other = read(tmp_path, text, GOOD[:2])
    assert other.report.checked["checked_against"][0]["same"] is False
    assert [line.split(":")[0].split(" ")[0] for line in other.report.mismatches] == ["groups", "rows.csv"]


def test_packed_annotations_come_back(tmp_path):
    from synvita_data.annotations.packed import write_packed

    task = declare(tmp_path, COLUMNS)
    found = read_annotations(task, write_csv(tmp_path / "rows.csv", GOOD))
    path = tmp_path / "mine" / "test-00000-of-00001.parquet"
    write_packed(found, path)
    again = read_annotations(task, tmp_path)
    assert again.report.files == (str(path),)
    assert (again.revision, again.form) == (found.revision, found.form)
    assert np.array_equal(again.declared["kind"], found.declared["kind"])
    with pytest.raises(SynvitaError, match="another task"):
        read_annotations(replace(task, name="other"), path)


def test_labels_may_be_true_and_false_in_every_format(tmp_path):
    task = declare(tmp_path, "form: entailment")
    rows = [{"video": "a.mp4", "caption": f"a dog {k}", "label": bool(k % 2)} for k in range(4)]
    found = [
        read_annotations(task, write(tmp_path / f"rows{suffix}", rows))
        for suffix, write in (
            (".csv", write_csv),
            (".jsonl", write_jsonl),
            (".json", write_json),
            (".parquet", write_parquet),
        )
    ]
    for each in found:
        assert dict(zip(each.caption, each.label.tolist(), strict=True)) == {
            row["caption"]: int(row["label"]) for row in rows
        }


@pytest.mark.parametrize(
    ("content", "words"),
    [("[]".encode("utf-16"), "UTF-16"), (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull")],
)
def test_json_of_another_kind_is_named(tmp_path, content, words):
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(SynvitaError, match=words):
        read_annotations(declare(tmp_path, "form: entailment"), path)
