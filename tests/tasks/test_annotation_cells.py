"""Annotation files of all forms that went through spreadsheets and pandas, or name two videos alike."""

import pytest
from small_annotations import (
    HUMAN_HEADER,
    HUMAN_ROWS,
    QUESTIONS,
    TEMPLATES,
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    owl,
    ssv2_pairs,
    write_csv,
    write_options,
    write_questions,
    write_statements,
)

from synvita_data.annotations import read_annotations
from synvita_data.errors import CaptionError, SchemaError, SynvitaError
from synvita_data.schema import MISALIGNMENTS

ROW = ("msr-vtt/TrainValVideo/video12.mp4", "msr-vtt", "a dog", "a cat", "", "test", "object")


def videocon(tmp_path, *rows):
    return read_annotations(
        "videocon-llm", write_csv(tmp_path / "videocon_llm_entailment.csv", rows, VIDEOCON_HEADER)
    )


def test_class_numbers_are_the_names_they_stand_for(tmp_path):
    rows = [(*ROW[:2], f"a {n}", f"b {n}", "", "test", name) for n, name in enumerate(MISALIGNMENTS)]
    expected = videocon(tmp_path, *rows).revision
    for zero in ("", ".0"):
        numbered = [(*row[:6], f"{n}{zero}") for n, row in enumerate(rows)]
        assert videocon(tmp_path, *numbered).revision == expected
    with pytest.raises(SchemaError, match="row 0: unknown misalignment"):
        videocon(tmp_path, (*ROW[:6], "7"))


@pytest.mark.parametrize(
    ("place", "cell"),
    [
        (0, "#NAME?"),
        (1, "#REF!"),
        (2, "#NAME?"),
        (3, "#VALUE!"),
        (2, "nan"),
        (3, "NULL"),
        (0, "\ufeff"),
        (0, ".."),
        (0, "a\0b.mp4"),
        (2, "a\0b"),
        (0, "4.01E+09"),
    ],
)
def test_rows_without_data_are_left_out(tmp_path, place, cell):
    bad = [*ROW]
    bad[place] = cell
    annotations = videocon(tmp_path, ROW, bad)
    assert len(annotations) == 2
    (error,) = annotations.report.left_out
    assert error.row == 1


def test_human_addresses_without_data(tmp_path):
    bad = ("#NAME?", *HUMAN_ROWS[0][1:])
    path = write_csv(tmp_path / "videocon_human.csv", [*HUMAN_ROWS, bad], HUMAN_HEADER)
    annotations = read_annotations("videocon-human", path)
    assert [error.row for error in annotations.report.left_out] == [3]


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        (("videos/10.avi", "#NAME?", 1), CaptionError, "error value"),
        (("videos/10.avi", "nan", 1), CaptionError, "empty"),
        (("#REF!", TEMPLATES[0], 1), SchemaError, "error value"),
        (("NULL", TEMPLATES[0], 1), SchemaError, "no name"),
        (("videos/..", TEMPLATES[0], 1), SchemaError, "names no video"),
        (("1.5E+11", TEMPLATES[0], 1), SchemaError, "rounded"),
        (("videos/10.avi", TEMPLATES[0], "#N/A"), SchemaError, "match"),
    ],
)
def test_pairs_without_data_are_errors(tmp_path, row, error, words):
    path = write_csv(
        tmp_path / "eval_ssv2_temporal.csv", [row, *ssv2_pairs()[1:]], ("videopath", "caption", "match")
    )
    with pytest.raises(error, match=words) as caught:
        read_annotations("ssv2-temporal", path)
    assert caught.value.row == 0


def test_numbers_that_pandas_made_floats(tmp_path):
    """NExT-QA's ids and answers, SSv2's ids: `4010069381.0` is the video 4010069381."""
    (tmp_path / "a").mkdir()
    expected = read_annotations(
        "atp-hard", write_statements(tmp_path / "a" / "nextqa-atphard-statements.csv")
    )
    floats = [(f"{q[0]}.0", q[1], f"{q[2]}.0", *q[3:]) for q in QUESTIONS]
    assert (
        read_annotations("atp-hard", write_statements(tmp_path / "s.csv", floats)).revision
        == expected.revision
    )
    write_questions(tmp_path / "nextqa-atphard.csv", floats)
    listed = read_annotations("atp-hard", tmp_path / "s.csv")
    assert set(listed.group) == {f"{q[0]}_{q[3]}" for q in QUESTIONS}
    assert read_annotations("atp-hard", write_options(tmp_path / "o.csv")).video_id[0] == listed.video_id[0]
    pairs = [(video.removeprefix("videos/").removesuffix(".avi"), *rest) for video, *rest in ssv2_pairs()]
    header = ("videopath", "caption", "match")
    plain = read_annotations("ssv2-temporal", write_csv(tmp_path / "p.csv", pairs, header))
    as_floats = write_csv(tmp_path / "f.csv", [(f"{video}.0", *rest) for video, *rest in pairs], header)
    assert read_annotations("ssv2-temporal", as_floats).revision == plain.revision


def test_a_statement_may_be_a_word_for_nothing(tmp_path):
    question = (*QUESTIONS[0][:5], ("None", "NA", "nan", "one", "two"))
    annotations = read_annotations("atp-hard", write_statements(tmp_path / "s.csv", [question]))
    assert sorted(annotations.captions) == ["NA", "None", "nan", "one", "two"]


def test_files_of_one_name_in_different_folders_are_different_videos(tmp_path):
    rows = [(f"000{n}/video.mp4", "custom", "a dog", "a cat", "", "test", "object") for n in (1, 2)]
    annotations = videocon(tmp_path, *rows)
    assert [video.name for video in annotations.videos] == ["0001%2Fvideo", "0002%2Fvideo"]
    assert len(annotations.groups) == 2
    absolute = [(f"/data/{n}/x/{row[0][5:]}", *row[1:]) for n, row in enumerate(rows)]
    assert len(videocon(tmp_path, *absolute).videos) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("v.mp4", "custom"), ("v.avi", "custom")),
        (("a/v.mp4", "custom"), ("a/v.avi", "custom")),
        (("c_v.mp4", "a-b"), ("v.mp4", "a-b_c")),
    ],
)
def test_two_videos_of_one_id_are_refused(tmp_path, one, other):
    rows = [(*video, "a dog", "a cat", "", "test", "object") for video in (one, other)]
    with pytest.raises(SchemaError, match="two paths name one video"):
        videocon(tmp_path, *rows)


@pytest.mark.parametrize("task", ["videocon-llm", "videocon-human", "ssv2-temporal", "atp-hard"])
def test_a_stray_quote_is_an_error_with_its_row(tmp_path, task):
    rows, header = {
        "videocon-llm": (VIDEOCON_ROWS, VIDEOCON_HEADER),
        "videocon-human": (HUMAN_ROWS, HUMAN_HEADER),
        "ssv2-temporal": ([(v, owl(c), m) for v, c, m in ssv2_pairs()], ("videopath", "caption", "match")),
        "atp-hard": (
            [(q[0], q[1], q[2], *q[5]) for q in QUESTIONS],
            ("vid_id", "question", "answer", *[f"s{n}" for n in range(5)]),
        ),
    }[task]
    path = write_csv(tmp_path / "a.csv", rows, header)
    good = path.read_text()
    read_annotations(task, path)
    for place, words in ((good.index("\n") + 1, "row 0"), (good.rindex(",") + 1, f"row {len(rows) - 1}")):
        path.write_text(good[:place] + 'x"' + good[place:])
        with pytest.raises(SynvitaError, match=words):
            read_annotations(task, path)
