"""ATP-Hard: five statements a question, grouped by the id of the question."""

import json
from collections import defaultdict

import pytest
from small_annotations import QUESTIONS, owl, write_csv, write_options, write_questions, write_statements

from synvita_data.annotations import read_annotations
from synvita_data.errors import CaptionError, SchemaError


def questions_of(annotations):
    found = defaultdict(list)
    for group, option, caption, label, kind in zip(
        annotations.group,
        annotations.option.tolist(),
        annotations.caption,
        annotations.label.tolist(),
        annotations.type,
        strict=True,
    ):
        found[group].append((option, caption, label, kind))
    return dict(found)


EXPECTED = {
    f"{video}_{qid}": [(place, text, int(place == answer), kind) for place, text in enumerate(statements)]
    for video, _, answer, qid, kind, statements in QUESTIONS
}


def test_statements_with_the_list_of_questions(tmp_path):
    write_statements(tmp_path / "nextqa-atphard-statements.csv")
    listed = write_questions(tmp_path / "nextqa-atphard.csv")
    annotations = read_annotations("atp-hard", tmp_path)
    assert questions_of(annotations) == EXPECTED
    assert str(listed) in annotations.report.files
    assert annotations.report.untyped == 0
    assert annotations.counts()["groups"] == 4
    # Two questions of one video with the same words stay two: grouping by them would make one of ten rows.
    assert {len(rows) for rows in questions_of(annotations).values()} == {5}


def test_both_forms_are_the_same_questions(tmp_path):
    write_questions(tmp_path / "nextqa-atphard.csv")
    statements = read_annotations(
        "atp-hard", write_statements(tmp_path / "nextqa-atphard-statements.csv", bom=True)
    )
    options = read_annotations("atp-hard", write_options(tmp_path / "eval-nextqa-atphard.csv"))
    assert options.revision == statements.revision
    assert {video.videopath for video in options.videos} == {f"1106/{q[0]}.mp4" for q in QUESTIONS}
    assert {video.videopath for video in statements.videos} == {None}


def test_without_the_list_questions_stay_apart_and_have_no_type(tmp_path):
    statements = read_annotations("atp-hard", write_statements(tmp_path / "nextqa-atphard-statements.csv"))
    options = read_annotations("atp-hard", write_options(tmp_path / "eval-nextqa-atphard.csv"))
    assert options.revision == statements.revision
    assert statements.report.untyped == 4
    assert set(statements.type) == {None}
    assert sorted(len(rows) for rows in questions_of(statements).values()) == [5] * 4


def test_alike_questions_are_told_apart_by_answer_or_by_order(tmp_path):
    """Same video, words *and* answer: the k-th of the file is the k-th of the list."""
    first = ("111", "what", 1, 5, "TN", ("a", "b", "c", "d", "e"))
    second = ("111", "what", 1, 2, "CW", ("f", "g", "h", "i", "j"))
    write_statements(tmp_path / "nextqa-atphard-statements.csv", [first, second])
    write_questions(tmp_path / "nextqa-atphard.csv", [first, second])
    found = questions_of(read_annotations("atp-hard", tmp_path))
    assert found["111_5"][0] == (0, "a", 0, "TN")
    assert found["111_2"][1] == (1, "g", 1, "CW")
    write_questions(tmp_path / "nextqa-atphard.csv", [first])
    with pytest.raises(SchemaError, match=r"it is not clear which listed question this is.*111_5"):
        read_annotations("atp-hard", tmp_path)


def test_a_question_that_repeats_in_everything_is_dropped(tmp_path):
    write_statements(tmp_path / "nextqa-atphard-statements.csv", [*QUESTIONS, QUESTIONS[0]])
    write_questions(tmp_path / "nextqa-atphard.csv")
    annotations = read_annotations("atp-hard", tmp_path)
    assert questions_of(annotations) == EXPECTED
    assert annotations.report.duplicates == 1


def test_folders_of_the_videos_come_from_nextqas_map(tmp_path):
    write_statements(tmp_path / "nextqa-atphard-statements.csv")
    (tmp_path / "map_vid_vidorID.json").write_text(json.dumps({"111": "1010/111", "9": "0/9"}))
    annotations = read_annotations("atp-hard", tmp_path)
    assert {video.name: video.videopath for video in annotations.videos}["111"] == "1010/111.mp4"
    assert {video.name: video.videopath for video in annotations.videos}["222"] is None
    (tmp_path / "map_vid_vidorID.json").write_text("[1]")
    with pytest.raises(SchemaError, match="map of video folders"):
        read_annotations("atp-hard", tmp_path)


@pytest.mark.parametrize(
    ("question", "error", "words"),
    [
        (("1", "w", 5, 0, "CW", "abcde"), SchemaError, "row 4: the answer is not one of the five"),
        (("x1", "w", 0, 0, "CW", "abcde"), SchemaError, "row 4: vid_id is not an id of a NExT-QA video"),
        (("1", " ", 0, 0, "CW", "abcde"), SchemaError, "row 4: a question is empty"),
        (("1", "w", 0, 0, "CW", ("a", "b", "", "d", "e")), CaptionError, "row 4: a caption is empty"),
    ],
)
def test_bad_statements(tmp_path, question, error, words):
    path = write_statements(tmp_path / "nextqa-atphard-statements.csv", [*QUESTIONS, question])
    with pytest.raises(error, match=words):
        read_annotations("atp-hard", path)


def test_options_out_of_order(tmp_path):
    rows = [("1.mp4", "w", 0, option, owl("abcde"[option])) for option in (0, 1, 3, 2, 4)]
    path = write_csv(tmp_path / "a.csv", rows, ("videopath", "question", "answer", "option", "caption"))
    with pytest.raises(SchemaError, match="row 0: the five options of a question do not follow"):
        read_annotations("atp-hard", path)
    rows = [("1.mp4", "w", 0, option, owl("abcde"[option])) for option in range(4)]
    path = write_csv(tmp_path / "a.csv", rows, ("videopath", "question", "answer", "option", "caption"))
    with pytest.raises(SchemaError, match="options 0, 1, 2, 3 of"):
        read_annotations("atp-hard", path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({7: "XX"}, "row 1: unknown type"),
        ({6: "q"}, "row 1: qid is not one of 0, 1, 2"),
        ({0: "4010069381", 6: 6}, "two questions have one id"),
    ],
)
def test_bad_lists_of_questions(tmp_path, change, words):
    path = write_statements(tmp_path / "nextqa-atphard-statements.csv")
    listed = write_questions(tmp_path / "nextqa-atphard.csv")
    lines = [line.split(",") for line in listed.read_text().splitlines()]
    for position, value in change.items():
        lines[2][position] = str(value)
    listed.write_text("\n".join(",".join(line) for line in lines) + "\n")
    with pytest.raises(SchemaError, match=words):
        read_annotations("atp-hard", path)


def test_questions_that_a_video_asks_twice_are_named(tmp_path):
    """The two that the official script loses; not in result files, whose fields stay."""
    write_questions(tmp_path / "nextqa-atphard.csv")
    for write, name in (
        (write_statements, "nextqa-atphard-statements.csv"),
        (write_options, "eval-nextqa-atphard.csv"),
    ):
        annotations = read_annotations("atp-hard", write(tmp_path / name))
        assert sorted(annotations.report.asked_twice) == ["111_1", "111_4"]
        assert set(annotations.report.asked_twice) <= set(annotations.groups)
        assert "asked_twice" not in annotations.report.to_record()
