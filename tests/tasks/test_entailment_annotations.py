"""VideoCon's CSVs become pairs, and nothing is lost without a trace."""

import numpy as np
import pandas as pd
import pytest
from small_annotations import (
    HUMAN_HEADER,
    HUMAN_ROWS,
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    write_csv,
)

from synvita_data.annotations import read_annotations
from synvita_data.errors import SchemaError
from synvita_data.schema import make_pair_id
from synvita_data.tasks import get_task


def videocon(path, extra=(), **how):
    return write_csv(path / "videocon_llm_entailment.csv", [*VIDEOCON_ROWS, *extra], VIDEOCON_HEADER, **how)


def rows_of(annotations):
    return sorted(
        zip(
            annotations.video_id,
            annotations.caption,
            annotations.label.tolist(),
            annotations.misalignment,
            strict=True,
        )
    )


RUN, SWIM, TWO = "A man runs.", "A man swims.", "Two men run."
KEY = "vatex_eOsIGrDFuuw_000004_000014"
EXPECTED = sorted(
    [
        (KEY, RUN, 1, "action"), (KEY, SWIM, 0, "action"), (KEY, RUN, 1, "count"), (KEY, TWO, 0, "count"),
        ("msr-vtt_video12", 'a "dog", barking', 1, "object"), ("msr-vtt_video12", "a cat barking", 0, "object"),
        ("tempo_7", "she sits then stands", 1, "flip"), ("tempo_7", "she stands then sits", 0, "flip"),
    ]
)  # fmt: skip


@pytest.mark.parametrize("how", [{}, {"bom": True}, {"line_end": "\r\n"}, {"bom": True, "line_end": "\r\n"}])
def test_pairs_of_the_test_split(tmp_path, how):
    annotations = read_annotations("videocon-llm", videocon(tmp_path, **how))
    assert rows_of(annotations) == EXPECTED
    assert annotations.report.other_rows == 1
    assert annotations.report.mismatches == ("texts: found 7, expected 27,000 (rounded to 1,000)",)
    counts = annotations.counts()
    assert (counts["rows"], counts["texts"], counts["repeated_texts"]) == (8, 7, 1)
    ids = dict(zip(annotations.group, annotations.caption, strict=True))
    assert ids.keys() >= {make_pair_id("vatex", "eOsIGrDFuuw_000004_000014", RUN, TWO)}
    # Captions stand before contrast captions, and a pair's two rows follow one another.
    assert annotations.label.tolist() == [1, 0] * 4
    assert (annotations.group[::2] == annotations.group[1::2]).all()


def test_other_columns_orders_and_spellings_give_the_same_revision(tmp_path):
    plain = read_annotations("videocon-llm", videocon(tmp_path))
    shuffled = tmp_path / "other"
    shuffled.mkdir()
    frame = pd.DataFrame(VIDEOCON_ROWS, columns=list(VIDEOCON_HEADER))
    # The SynViTA release flattens paths and drops suffixes.
    frame["videopath"] = frame["videopath"].str.removesuffix(".mp4").str.replace("/", "_")
    frame["split"] = frame["split"].str.upper()
    frame = frame.sample(frac=1, random_state=3)[
        ["misalignment", "caption", "split", "videopath", "neg_caption", "source"]
    ]
    frame.to_csv(shuffled / "videocon_llm_entailment.csv", index=False)
    other = read_annotations("videocon-llm", shuffled)
    assert other.revision == plain.revision
    assert rows_of(other) == rows_of(plain)


def test_any_change_of_content_changes_the_revision(tmp_path):
    revisions = set()
    for position, row in enumerate([None, VIDEOCON_ROWS[0], VIDEOCON_ROWS[0]]):
        folder = tmp_path / str(position)
        folder.mkdir()
        extra = [] if row is None else [(*row[:3], f"Another contrast {position}.", *row[4:])]
        revisions.add(read_annotations("videocon-llm", videocon(folder, extra)).revision)
    assert len(revisions) == 3


def test_the_official_script_keeps_the_same_texts(tmp_path):
    """VideoCon's `prepare_data_for_train.py` makes (video, text, label) rows and drops repeated ones."""
    video = VIDEOCON_ROWS[0][0]
    extra = [
        VIDEOCON_ROWS[0],  # a pair that repeats another in all columns
        (video, "vatex", RUN, SWIM, "", "test", "relation"),  # and one with another misalignment
        (
            video,
            "vatex",
            SWIM,
            "A man flies.",
            "",
            "test",
            "action",
        ),  # its caption contradicts a contrast caption
    ]
    annotations = read_annotations("videocon-llm", videocon(tmp_path, extra))
    frame = pd.DataFrame([*VIDEOCON_ROWS, *extra], columns=list(VIDEOCON_HEADER))
    frame = frame[frame["split"] == "test"]
    texts = pd.concat(
        [
            frame[["videopath", "caption"]].assign(label=1),
            frame[["videopath", "neg_caption"]].rename(columns={"neg_caption": "caption"}).assign(label=0),
        ]
    ).drop_duplicates()
    kept = annotations.first_of_text
    assert sorted(zip(texts["caption"], texts["label"], strict=True)) == sorted(
        zip(annotations.caption[kept], annotations.label[kept].tolist(), strict=True)
    )
    assert (annotations.report.duplicates, annotations.report.contradictions) == (2, 1)
    assert annotations.counts()["contradictory_texts"] == 1
    assert set(annotations.caption[annotations.contradictory]) == {SWIM}
    assert set(annotations.label[annotations.contradictory].tolist()) == {0, 1}


def test_auc_of_the_metric_equals_scikit_learn_on_the_deduplicated_texts(tmp_path):
    from sklearn.metrics import roc_auc_score

    from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc

    annotations = read_annotations("videocon-llm", videocon(tmp_path))
    scores = np.random.default_rng(0).random(annotations.pair.max() + 1)[annotations.pair]
    result = entailment_auc(
        scores,
        annotations.label,
        annotations.video_id,
        texts=annotations.text_id,
        pairs=annotations.group,
        groups={"misalignment": annotations.misalignment, "hard": annotations.hard},
        resamples=0,
    )
    kept = annotations.first_of_text
    assert result["auc"]["value"] == pytest.approx(100 * roc_auc_score(annotations.label[kept], scores[kept]))
    assert result["auc"]["n"] == annotations.counts()["texts"]
    assert set(result["groups"]["misalignment"]) == {"action", "count", "object", "flip"}


def test_human_and_human_hard(tmp_path):
    write_csv(tmp_path / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    everything = read_annotations("videocon-human", tmp_path)
    hard = read_annotations("videocon-human-hard", tmp_path)
    assert everything.counts()["texts"] == 6
    assert set(everything.video_id) == {"activitynet_v_abc-DEF_123", "activitynet_v_xyz"}
    assert sorted(set(hard.caption)) == [
        "A girl dances.",
        "A girl sings.",
        "He drops a bar.",
        "He lifts a bar.",
    ]
    assert hard.report.other_rows == 1
    assert set(hard.hard) == {True}
    assert everything.revision != hard.revision


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("a.mp4", "vatex", "", "contrast", "", "test", "action"), "a caption is empty"),
        (("a.mp4", "vatex", "caption", "  ", "", "test", "action"), "a caption is empty"),
        (("", "vatex", "caption", "contrast", "", "test", "action"), "names no video"),
        (("a.mp4", "", "caption", "contrast", "", "test", "action"), "source is empty"),
        (
            ("k/AAAAAAAAAAA_000009_000004.mp4", "vatex", "caption", "contrast", "", "test", "action"),
            "ends before",
        ),
    ],
)
def test_rows_that_cannot_be_used_are_left_out_and_reported(tmp_path, row, words):
    annotations = read_annotations("videocon-llm", videocon(tmp_path, [row]))
    assert rows_of(annotations) == EXPECTED
    (error,) = annotations.report.left_out
    assert words in error.problem
    assert error.row == 5
    assert error.file.endswith("videocon_llm_entailment.csv")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("a.mp4", "vatex", "c", "n", "", "testing!", "action"), "row 5: unknown split.*testing!"),
        (("a.mp4", "vatex", "c", "n", "", "test", "colour"), "row 5: unknown misalignment.*colour"),
        (("x/7.mp4", "tempo", "c", "n", "", "test", "flip"), "two paths name one video.*tempo_7"),
    ],
)
def test_faults_that_are_not_a_single_rows(tmp_path, row, words):
    with pytest.raises(SchemaError, match=words):
        read_annotations("videocon-llm", videocon(tmp_path, [row]))


def test_missing_columns_splits_and_files(tmp_path):
    path = write_csv(tmp_path / "a.csv", [("c", "n")], ("caption", "neg_caption"))
    with pytest.raises(SchemaError, match="no column that names the video"):
        read_annotations("videocon-llm", path)
    path = write_csv(tmp_path / "a.csv", [("v", "c", "n")], ("videopath", "caption", "neg_caption"))
    with pytest.raises(SchemaError, match="no column split"):
        read_annotations("videocon-llm", path)
    path = write_csv(tmp_path / "a.csv", [row for row in VIDEOCON_ROWS if row[5] == "train"], VIDEOCON_HEADER)
    with pytest.raises(SchemaError, match=r"no row belongs to task videocon-llm.*1 of another split"):
        read_annotations("videocon-llm", path)
    with pytest.raises(SchemaError, match=r"videocon_llm_entailment.csv, .*or videocon-llm/\*.parquet"):
        read_annotations("videocon-llm", tmp_path)
    with pytest.raises(SchemaError, match="annotation file does not exist"):
        read_annotations("videocon-llm", tmp_path / "absent.csv")


def test_real_videocon_rows_have_the_dataset_builders_pairs(real_data):
    from dataclasses import replace

    from synvita_data.builders.triplets import TripletReader

    path = real_data / "videocon-16k" / "triplets.csv"
    annotations = read_annotations(replace(get_task("videocon-llm"), split="train"), path)
    assert set(annotations.groups) == {triplet.pair_id for triplet in TripletReader(path)}
    assert annotations.counts()["rows"] == 2 * 16_854
    assert annotations.report.duplicates == 2
    frame = pd.read_csv(path)
    texts = pd.concat(
        [
            frame[["videopath", "caption"]].assign(label=1),
            frame[["videopath", "neg_caption"]].set_axis(["videopath", "caption"], axis=1).assign(label=0),
        ]
    )
    assert annotations.counts()["texts"] == len(texts.drop_duplicates())
