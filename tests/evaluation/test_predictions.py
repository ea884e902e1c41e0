"""Score files: every released form, and every way in which they go wrong."""

import csv
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_annotations import (
    HUMAN_HEADER,
    HUMAN_ROWS,
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    owl,
    ssv2_pairs,
    write_csv,
    write_options,
    write_questions,
    write_ssv2,
    write_statements,
)

from synvita_data.annotations import read_annotations
from synvita_data.errors import CaptionError, SchemaError, ScoreError, SynvitaError
from synvita_data.evaluation.predictions import item_scores_table, read_predictions
from synvita_data.tasks import get_task

PAIRS = ssv2_pairs()
SCORES = [round(0.05 * (number % 20), 2) for number in range(len(PAIRS))]


@pytest.fixture
def annotations(tmp_path):
    return read_annotations("ssv2-temporal", write_ssv2(tmp_path / "eval_ssv2_temporal.csv", PAIRS))


def score_rows(wrap=owl, folder="", more=(), scores=SCORES):
    return [
        (folder + video, wrap(caption), score, *more)
        for (video, caption, _), score in zip(PAIRS, scores, strict=True)
    ]


def by_text(annotations, predictions):
    keys = zip(annotations.videopath, annotations.caption, strict=True)
    return dict(zip(keys, predictions.scores.tolist(), strict=True))


EXPECTED = {(video, caption): score for (video, caption, _), score in zip(PAIRS, SCORES, strict=True)}
HEADER = ("videopath", "caption", "entailment")


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1)])
def test_further_columns_of_a_header_are_never_taken_for_scores(tmp_path, annotations, order):
    """The label stands where files without a header have their score."""
    names = ("videopath", "caption", "label", "score")
    rows = [(*row[:2], label, row[2]) for row, (*_, label) in zip(score_rows(), PAIRS, strict=True)]
    path = write_csv(
        tmp_path / "s.csv", [[row[at] for at in order] for row in rows], [names[at] for at in order]
    )
    for unknown in (False, True):
        found = read_predictions(path, annotations, allow_unknown=unknown)
        assert by_text(annotations, found) == EXPECTED
        assert (found.counts.unknown, found.counts.header) == (0, True)
    # A header of other names is no row that may be passed over: nothing says which column is which.
    path = write_csv(tmp_path / "other.csv", rows, ("file", "sentence", "gt", "pred"))
    with pytest.raises(SynvitaError, match=r"row 0: a score is not a number\. Found: 'gt'"):
        read_predictions(path, annotations, allow_unknown=True)
    path = write_csv(tmp_path / "none.csv", [row[:3] for row in rows], names[:3])
    with pytest.raises(
        SchemaError, match=r"header has no column entailment\. Found: videopath, caption, label"
    ):
        read_predictions(path, annotations, allow_unknown=True)


@pytest.mark.parametrize(
    ("header", "rows", "how"),
    [
        (None, score_rows(more=(0.5, 0.5)), {}),  # VideoCon's
        (None, score_rows(), {}),  # its example with three columns
        (None, score_rows(wrap=str), {}),  # SynViTA's batched path
        (HEADER, score_rows(wrap=str), {}),  # and its batch-1 path
        (HEADER, score_rows(wrap=str), {"bom": True, "line_end": "\r\n"}),
        ((*HEADER, "pos", "neg"), score_rows(more=(0.5, 0.5)), {"line_end": "\r\n"}),
        (None, score_rows(more=(0.5, 0.5)), {"bom": True, "line_end": "\r\n"}),
        (None, score_rows(folder="/local2/someone/data/ssv2/"), {}),
        (None, score_rows(folder="./data/"), {}),
        (None, score_rows()[::-1], {}),
    ],
)
def test_released_forms(tmp_path, annotations, header, rows, how):
    path = write_csv(tmp_path / "scores.csv", rows, header, **how)
    predictions = read_predictions(path, annotations, "ssv2-temporal")
    assert by_text(annotations, predictions) == EXPECTED
    assert predictions.kind == "probability"
    assert predictions.scored.all()
    assert predictions.complete
    counts = predictions.counts
    assert (counts.rows, counts.used, counts.unknown, counts.repeated) == (18, 18, 0, 0)
    assert (counts.scored, counts.texts, counts.distinct_scores) == (18, 18, len(set(SCORES)))
    assert counts.header is (header is not None)
    assert counts.prompts == (("mplug-owl",) if "Human" in rows[0][1] else ())
    assert counts.unended is False


def test_the_real_scores(real_data):
    folder = real_data / "ssv2-temporal"
    annotations = read_annotations("ssv2-temporal", folder)
    predictions = read_predictions(
        folder / "eval_ssv2_temporal_scores.csv", annotations, get_task("ssv2-temporal")
    )
    with (folder / "eval_ssv2_temporal_scores.csv").open(newline="") as handle:
        rows = list(csv.reader(handle))
    expected = {
        (row[0], row[1].split('description: "')[1].removesuffix('"?\nAI: ')): float(row[2]) for row in rows
    }
    assert by_text(annotations, predictions) == expected
    assert predictions.counts.distinct_scores == 24
    assert predictions.counts.unended is True

    from synvita_data.evaluate_metrics.retrieval_map.ranking import retrieval_map

    columns = (predictions.scores, annotations.label, annotations.group, annotations.videopath)
    assert retrieval_map(*columns, resamples=0)["map"]["value"] == pytest.approx(15.565456, abs=1e-6)
    assert retrieval_map(*columns, ties="official", resamples=0)["map"]["value"] == pytest.approx(
        15.500598, abs=1e-6
    )


def faulty(tmp_path, annotations, change, **options):
    rows = [list(row) for row in score_rows()]
    rows = change(rows) or rows
    return read_predictions(write_csv(tmp_path / "scores.csv", rows), annotations, **options)


def set_score(row, value):
    def change(rows):
        rows[row][2] = value

    return change


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("nan", r"row 7: a score is not a finite number. Found: nan \(1 such rows\)"),
        ("inf", "row 7: a score is not a finite number"),
        ("-inf", "row 7: a score is not a finite number"),
        ("", "row 7: a score is not a number. Found: ''"),
        ("None", "row 7: a score is not a number. Found: 'None'"),
        ("1.0001", r"row 7: a score is not a probability. Found: 1.0001 .*Say what the scores are"),
        ("-0.2", "row 7: a score is not a probability"),
    ],
)
def test_scores_that_are_none(tmp_path, annotations, value, words):
    with pytest.raises(SynvitaError, match=words) as caught:
        faulty(tmp_path, annotations, set_score(7, value))
    assert caught.value.file == str(tmp_path / "scores.csv")


def test_kinds(tmp_path, annotations):
    rows = score_rows(scores=[score * 40 - 20 for score in SCORES])
    path = write_csv(tmp_path / "scores.csv", rows)
    for kind in ("log_odds", "similarity"):
        predictions = read_predictions(path, annotations, kind=kind)
        assert predictions.kind == kind
        assert predictions.scores.min() < -10
    with pytest.raises(ScoreError, match=r"row 0: a score is not a probability. Found: -20.0"):
        read_predictions(path, annotations, kind="probability")
    with pytest.raises(ScoreError, match="unknown kind of score"):
        read_predictions(path, annotations, kind="logits")


def test_repeated_scores_are_counted_and_contradictions_refused(tmp_path, annotations):
    predictions = faulty(tmp_path, annotations, lambda rows: [*rows, rows[3], rows[3], rows[5]])
    assert by_text(annotations, predictions) == EXPECTED
    assert predictions.counts.repeated == 3
    words = r"row 18: one text of a video has two different scores. Found: 0.15 in row 3, 0.16 in row 18, for videos/11.avi"
    with pytest.raises(ScoreError, match=words):
        faulty(tmp_path, annotations, lambda rows: [*rows, [*rows[3][:2], 0.16]])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            ("videos/99.avi", "Closing [something]?", 0.5),
            "row 18: a row is of no video of the task.*videos/99.avi.*'videos/10.avi'",
        ),
        (
            ("videos/10.avi", "Closing something?", 0.5),
            "row 18: a row's caption is not one of the task's.*Closing something",
        ),
        (("videos/10.avi", "closing [something]?", 0.5), "row 18: a row's caption is not one of the task's"),
    ],
)
def test_unknown_rows(tmp_path, annotations, row, words):
    with pytest.raises(ScoreError, match=words):
        faulty(tmp_path, annotations, lambda rows: [*rows, row])
    predictions = faulty(tmp_path, annotations, lambda rows: [*rows, row], allow_unknown=True)
    assert by_text(annotations, predictions) == EXPECTED
    assert predictions.counts.unknown == 1


def test_faults_in_rows_that_are_passed_over_do_not_matter(tmp_path, annotations):
    predictions = faulty(
        tmp_path,
        annotations,
        lambda rows: [*rows, ("videos/99.avi", "c", "x"), ("videos/98.avi", "c", "nan")],
        allow_unknown=True,
    )
    assert predictions.counts.unknown == 2


def test_missing_rows(tmp_path, annotations):
    def drop(rows):
        return rows[:4] + rows[6:]

    words = r"2 of 18 texts have no score. Found: the file ends after 16 rows; .*videos/11.avi"
    with pytest.raises(ScoreError, match=words):
        faulty(tmp_path, annotations, drop)
    predictions = faulty(tmp_path, annotations, drop, allow_missing=True)
    lost = {(video, caption) for video, caption, _ in PAIRS[4:6]}
    found = by_text(annotations, predictions)
    assert {key for key, score in found.items() if np.isnan(score)} == lost
    assert {key: score for key, score in found.items() if key not in lost} == {
        k: v for k, v in EXPECTED.items() if k not in lost
    }
    assert predictions.scored.sum() == 16
    assert not predictions.complete
    assert (predictions.counts.missing, predictions.counts.scored) == (2, 16)


def test_a_file_cut_at_any_byte_is_never_taken_for_whole(tmp_path, annotations):
    """Five columns, as VideoCon writes them: only the number that nobody reads can be cut unseen."""
    path = write_csv(tmp_path / "scores.csv", score_rows(more=(0.5, 0.123456)))
    whole = path.read_bytes()
    last_number = whole.rindex(b",") + 1
    for end in range(len(whole) - 420, len(whole)):
        path.write_bytes(whole[:end])
        if end < last_number:
            with pytest.raises(SynvitaError) as caught:
                read_predictions(path, annotations)
            assert caught.value.row is not None
            assert caught.value.file == str(path)
        else:
            predictions = read_predictions(path, annotations)
            assert by_text(annotations, predictions) == EXPECTED
            assert predictions.counts.unended is True


def test_a_cut_file_says_where(tmp_path, annotations):
    path = write_csv(tmp_path / "scores.csv", score_rows())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(
        SchemaError, match=r"row 17: the CSV cannot be split into rows.*never closed.*if the file was cut off"
    ):
        read_predictions(path, annotations, allow_missing=True)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("", SchemaError, "empty"),
        ("videopath,caption,entailment\n", ScoreError, "no rows"),
        ("videopath,caption\n", SchemaError, "no column videopath|has no column"),
        ("videopath,caption,score,entailment\nv,c,1,1\n", SchemaError, "more than one column entailment"),
        ("videos/10.avi,caption\n", SchemaError, "too few columns"),
        (
            "video_name,prompt_text,probability\nvideos/10.avi,Closing [something]?,0.5\n",
            ScoreError,
            "row 0: a row is of no video",
        ),
        (
            "videos/10.avi,c,0.5\nvideos/10.avi,c\n",
            SchemaError,
            "row 1: a row has another number of cells.*2 cells.*3 cells",
        ),
        ("nothing/1.avi,c,0.5\n", ScoreError, "no video of the task"),
    ],
)
def test_files_of_another_form(tmp_path, annotations, content, error, words):
    path = tmp_path / "scores.csv"
    path.write_text(content)
    with pytest.raises(error, match=words):
        read_predictions(path, annotations)


def test_other_faults(tmp_path, annotations):
    path = write_csv(tmp_path / "scores.csv", [("nothing/1.avi", "c", 0.5)])
    with pytest.raises(ScoreError, match="no row belongs to task ssv2-temporal"):
        read_predictions(path, annotations, allow_unknown=True, allow_missing=True)
    with pytest.raises(ScoreError, match="another task"):
        read_predictions(path, annotations, "atp-hard")
    with pytest.raises(SchemaError, match="not a format"):
        read_predictions(tmp_path / "scores.json", annotations)
    with pytest.raises(SchemaError, match="file does not exist"):
        read_predictions(tmp_path / "absent.csv", annotations)
    path = write_csv(tmp_path / "scores.csv", [*score_rows(), ("videos/10.avi", owl("c")[:-4], 0.5)])
    with pytest.raises(
        (ScoreError, CaptionError),
        match="row 18: a text begins as the prompt 'mplug-owl' and does not go on as it",
    ):
        read_predictions(path, annotations)


def test_two_paths_of_one_video_are_refused(tmp_path, annotations):
    rows = [*score_rows(folder="/a/"), *score_rows(folder="/b/")]
    with pytest.raises(
        ScoreError,
        match=r"row 18: two paths of a score file mean one video.*/a/videos/10.avi and /b/videos/10.avi",
    ):
        read_predictions(write_csv(tmp_path / "scores.csv", rows), annotations)


@pytest.mark.parametrize("flat", [False, True])
def test_videocon_scores_reach_every_pair_of_a_text(tmp_path, flat):
    annotations = read_annotations(
        "videocon-llm", write_csv(tmp_path / "a.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)
    )
    scored = {}
    for row in VIDEOCON_ROWS:
        if row[5] == "test":
            for caption in row[2:4]:
                scored.setdefault((row[0], caption), len(scored) / 10)

    def spelled(path):
        return path.removesuffix(".mp4").replace("/", "_") if flat else f"/root/{path}"

    rows = [(spelled(path), caption, score) for (path, caption), score in scored.items()]
    predictions = read_predictions(write_csv(tmp_path / "scores.csv", rows), annotations)
    assert by_text(annotations, predictions) == scored
    assert predictions.counts.texts == len(scored) == 7
    assert len(predictions.scores) == 8


def test_human_scores_serve_both_tasks(tmp_path):
    write_csv(tmp_path / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    scored = {(row[0].rsplit("/")[-1], text): len(text) / 50 for row in HUMAN_ROWS for text in row[1:3]}
    path = write_csv(
        tmp_path / "scores.csv", [(f"clips/{v}", owl(c), s, 0, 0) for (v, c), s in scored.items()]
    )
    everything = read_annotations("videocon-human", tmp_path)
    predictions = read_predictions(path, everything)
    assert predictions.scores.tolist() == [len(caption) / 50 for caption in everything.caption]
    hard = read_annotations("videocon-human-hard", tmp_path)
    with pytest.raises(ScoreError, match="allow unknown rows"):
        read_predictions(path, hard)
    predictions = read_predictions(path, hard, allow_unknown=True)
    assert predictions.scores.tolist() == [len(caption) / 50 for caption in hard.caption]
    assert predictions.counts.unknown == 2


@pytest.mark.parametrize("write", [write_statements, write_options])
def test_atp_hard_scores_by_either_annotation_file(tmp_path, write):
    write_questions(tmp_path / "nextqa-atphard.csv")
    annotations = read_annotations("atp-hard", write(tmp_path / "annotations.csv"))
    texts = dict.fromkeys(
        zip((video.split("_")[0] for video in annotations.group), annotations.caption, strict=True)
    )
    rows = [(f"/local2/NExTVideo/1106/{v}.mp4", owl(c), len(c) / 50, 0, 0) for v, c in texts]
    predictions = read_predictions(write_csv(tmp_path / "scores.csv", rows), annotations)
    assert predictions.scores.tolist() == [len(caption) / 50 for caption in annotations.caption]
    # Two statements that agree in words are one text of the video, scored once.
    assert (len(rows), len(annotations)) == (19, 20)


# --- our own form -----------------------------------------------------------------------------------


@pytest.fixture
def parquet(tmp_path, annotations):
    scores = np.random.default_rng(1).normal(size=len(annotations)) * 12
    path = tmp_path / "scores.parquet"
    pq.write_table(item_scores_table(annotations, scores, "log_odds"), path)
    return path, scores


def changed(path, annotations, column=None, values=None, metadata=None, drop=None):
    table = pq.read_table(path)
    if drop:
        table = table.drop_columns([drop])
    if column:
        place = table.column_names.index(column)
        table = table.set_column(place, column, pa.array(values(table.column(column).to_pylist())))
    table = table.replace_schema_metadata(
        {**table.schema.metadata, **{key.encode(): value.encode() for key, value in (metadata or {}).items()}}
    )
    pq.write_table(table, path)
    return read_predictions(path, annotations)


def test_item_scores_come_back_to_the_bit(parquet, annotations):
    path, scores = parquet
    predictions = read_predictions(path, annotations, "ssv2-temporal")
    assert predictions.scores.tobytes() == scores.tobytes()
    assert predictions.kind == "log_odds"
    assert predictions.counts.form == "parquet"
    table = pq.read_table(path)
    assert table.column_names == ["task", "item_id", "video_id", "text_id", "caption", "label", "score"]
    assert table.column("label").to_pylist() == annotations.label.tolist()


def test_item_scores_leave_missing_ones_out(tmp_path, annotations):
    scores = np.full(len(annotations), np.nan)
    scores[2] = 0.25
    path = tmp_path / "scores.parquet"
    pq.write_table(item_scores_table(annotations, scores, "probability"), path)
    with pytest.raises(ScoreError, match="17 of 18 texts have no score"):
        read_predictions(path, annotations)
    predictions = read_predictions(path, annotations, allow_missing=True)
    assert np.array_equal(predictions.scores, scores, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"column": "score", "values": lambda v: [*v[:4], None, *v[5:]]},
            ScoreError,
            "row 4: a score is not a finite",
        ),
        ({"column": "score", "values": lambda v: [str(x) for x in v]}, SchemaError, "not numbers"),
        (
            {"column": "task", "values": lambda v: [*v[:3], "atp-hard", *v[4:]]},
            ScoreError,
            "row 3: a score is of another task",
        ),
        (
            {"column": "caption", "values": lambda v: [*v[:2], "other", *v[3:]]},
            ScoreError,
            "row 2: a score's caption",
        ),
        (
            {"column": "text_id", "values": lambda v: [*v[:2], "0" * 16, *v[3:]]},
            ScoreError,
            "row 2: a row's caption is not one",
        ),
        (
            {"column": "video_id", "values": lambda v: ["ssv2_999", *v[1:]]},
            ScoreError,
            "row 0: a row is of no video",
        ),
        ({"column": "video_id", "values": lambda v: [None, *v[1:]]}, SchemaError, "row 0: video_id is empty"),
        ({"drop": "text_id"}, SchemaError, "no column text_id"),
        ({"metadata": {"schema_version": "9.0"}}, SchemaError, "another schema version"),
        ({"metadata": {"kind": "probability"}}, ScoreError, "not a probability"),
    ],
)
def test_faulty_item_scores(parquet, annotations, change, error, words):
    with pytest.raises(error, match=words):
        changed(parquet[0], annotations, **change)


def test_a_cut_parquet_file(parquet, annotations):
    path, _ = parquet
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(SchemaError, match="not a readable Parquet file"):
        read_predictions(path, annotations)


def test_reading_scores_needs_nothing_heavy(tmp_path):
    write_ssv2(tmp_path / "eval_ssv2_temporal.csv", PAIRS)
    write_csv(tmp_path / "scores.csv", score_rows())
    code = (
        "import sys\n"
        "from synvita_data.annotations import read_annotations\n"
        "from synvita_data.evaluation.predictions import read_predictions\n"
        f"a = read_annotations('ssv2-temporal', {str(tmp_path)!r})\n"
        f"read_predictions({str(tmp_path / 'scores.csv')!r}, a)\n"
        "print([n for n in ('torch', 'transformers', 'evaluate', 'datasets', 'pandas', 'av') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
