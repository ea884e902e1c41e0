"""The authors' training CSVs as triplets."""

import pytest
from released_videos import prompt, training_rows, write_training_csv

from synvita_data.builders.training_csv import TrainingCsvReader, is_training_csv, open_triplets, scores_of
from synvita_data.builders.triplets import TripletReader
from synvita_data.errors import SchemaError

CLIP = ("k600_val_abcdefghijk_000068_000078.mp4", "vatex_abcdefghijk_000068_000078_001")
VIDEO = ("msr-vtt/TrainValVideo/video7.mp4", "msr-vtt_video7_001")
TEXTS = ('a man says "hi", twice', "a man says bye, twice")
NAME = "train_llm_mix_entail_feedback_cogvideox.csv"


def read(path):
    reader = open_triplets(path)
    triplets = list(reader)
    assert isinstance(reader, TrainingCsvReader)
    return triplets, reader.report


def write(tmp_path, *rows, name=NAME, **more):
    return write_training_csv(tmp_path / name, [row for several in rows for row in several], **more)


def reasons(report):
    return [error.problem for error in report.quarantined]


def test_four_rows_and_an_explanation_make_a_triplet(tmp_path):
    rows = [
        training_rows(*CLIP, *TEXTS, explanation="He greets,\nand does not leave"),
        training_rows(*VIDEO, "a dog runs", "a cat runs", alignment=0.5, diff=-0.125),
    ]
    flat = [row for several in rows for row in several]
    for order in (flat, flat[::-1]):
        triplets, report = read(write_training_csv(tmp_path / NAME, order))
        found = {triplet.syn_video: triplet for triplet in triplets}
        clip, video = found[CLIP[1]], found[VIDEO[1]]
        assert (clip.source, clip.video_id) == ("vatex", "abcdefghijk_000068_000078")
        assert (clip.caption, clip.neg_caption) == TEXTS
        assert (clip.start, clip.end, clip.nle) == (68.0, 78.0, "He greets, and does not leave")
        assert (clip.alignment, clip.alignment_diff, scores_of(clip)) == (0.25, 0.5, (0.75, 0.25))
        assert (video.source, video.video_id, video.videopath) == ("msr-vtt", "video7", VIDEO[0])
        assert (video.alignment_diff, scores_of(video), video.nle) == (-0.125, (0.375, 0.5), None)
        assert (report.rows, report.triplets, report.generator) == (9, 2, "cogvideox")
        assert (report.explanations, report.unused_explanations, report.unpaired) == (1, 0, 0)
        assert report.quarantined == []


@pytest.mark.parametrize(
    ("alignment", "diff", "counts"),
    [("", "", (1, 1, 0)), ("nan", 0.5, (1, 0, 0)), (0.5, "NaN", (0, 1, 0)), (0.9, 0.9, (0, 0, 1))],
)
def test_empty_scores_count_as_in_the_release_and_are_counted(tmp_path, alignment, diff, counts):
    (triplet,), report = read(write(tmp_path, training_rows(*CLIP, *TEXTS, alignment=alignment, diff=diff)))
    assert triplet.alignment_diff == (1.0 if diff in ("", "NaN") else diff)
    assert scores_of(triplet) is None
    found = (report.empty_alignment, report.empty_alignment_diff, report.alignment_does_not_fit)
    assert found == counts


def test_what_makes_no_triplet_is_counted_or_quarantined(tmp_path):
    whole = training_rows(*VIDEO, "a dog runs", "a cat runs", explanation="no cat")
    unpaired = whole[0] | {"syn_video": ""}
    lonely = training_rows(CLIP[0], "vatex_abcdefghijk_000068_000078_009", *TEXTS, explanation="of nothing")
    _, report = read(write(tmp_path, whole, [unpaired], lonely[:2], lonely[4:]))
    assert (report.triplets, report.unpaired, report.unused_explanations) == (1, 1, 1)
    assert reasons(report) == ["a synthetic video has no synthetic rows"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.pop(2), "a row is missing"),
        (lambda rows: rows.pop(3), "a row is missing"),
        (lambda rows: [rows.pop(0), rows.pop(0)], "no real rows"),
        (lambda rows: rows[2].update(alignment_diff=0.25), "do not share alignment_diff"),
        (lambda rows: rows[0].update(caption=prompt("a third text", "Yes")), "other captions"),
        (lambda rows: rows[0].update(videopath="msr-vtt_video9.mp4"), "two real videos"),
        (
            lambda rows: rows.append(rows[3] | {"caption": prompt("another", "No")}),
            "2 synthetic rows of label 0",
        ),
        (lambda rows: rows[2].update(caption=prompt(TEXTS[1], "No")), "not that of the label"),
        (lambda rows: rows[2].update(label=2), "neither 1 nor 0"),
        (lambda rows: rows[2].update(domain="fake"), "neither real nor synthetic"),
        (lambda rows: rows[2].update(alignment_diff=1.5), "out of range"),
        (lambda rows: rows[2].update(alignment_diff="0,5"), "decimal comma"),
        (lambda rows: rows[2].update(caption=rows[2]["caption"][:-4]), "no answer"),
        (lambda rows: rows[2].update(caption=rows[2]["caption"][:200]), "does not go on"),
        (lambda rows: [row.update(videopath="../../x.mp4") for row in rows[:2]], "climbs"),
    ],
)
def test_rows_that_contradict_each_other_cost_their_triplet_alone(tmp_path, change, words):
    rows = training_rows(*CLIP, *TEXTS)
    change(rows)
    triplets, report = read(write(tmp_path, rows, training_rows(*VIDEO, "a dog runs", "a cat runs")))
    assert [triplet.video_id for triplet in triplets] == ["video7"]
    assert any(words in problem for problem in reasons(report)), reasons(report)
    assert all(error.file and error.row is not None for error in report.quarantined)


def test_equal_rows_are_one(tmp_path):
    rows = training_rows(*CLIP, *TEXTS)
    triplets, report = read(write(tmp_path, rows, rows))
    assert (len(triplets), report.quarantined) == (1, [])


@pytest.mark.parametrize(
    ("name", "folder", "generator"),
    [(NAME, "videos", "cogvideox"), ("train.csv", "LaVie/x", "lavie"), ("train.csv", "x", None)]
    + [("train_lavie.csv", "videocrafter2", "videocrafter2")],
)
def test_the_generator_of_a_csv(tmp_path, name, folder, generator):
    path = write(tmp_path, training_rows(*CLIP, *TEXTS, folder=folder), name=name)
    assert read(path)[1].generator == generator


def test_a_csv_of_several_generators(tmp_path):
    path = write(
        tmp_path,
        training_rows(*CLIP, *TEXTS),
        training_rows(*VIDEO, "a dog runs", "a cat runs", folder="lavie"),
    )
    with pytest.raises(SchemaError, match="several generators"):
        read(path)


def test_bare_captions_are_read_too(tmp_path):
    rows = training_rows(*CLIP, *TEXTS)
    for row in rows:
        row["caption"] = TEXTS[row["label"] == (0 if row["domain"] == "real" else 1)]
    (triplet,), _ = read(write(tmp_path, rows))
    assert (triplet.caption, triplet.neg_caption) == TEXTS


def test_other_files_are_no_training_csvs(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("videopath,caption,neg_caption,source\na,b,c,d\n")
    assert not is_training_csv(path)
    assert type(open_triplets(path)) is TripletReader
    assert not is_training_csv(tmp_path / "nothing.csv")
    assert not is_training_csv(tmp_path)
