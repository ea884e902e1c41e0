"""Triplets from files as people have them: VideoCon's three CSVs and others, whole and broken."""

import csv
import io
import json
import tracemalloc
from datetime import timedelta
from decimal import Decimal

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.builders.triplets import ReadReport, TripletReader
from synvita_data.errors import CaptionError, SchemaError, UnsafePathError
from synvita_data.schema import MISALIGNMENTS, arrow_schema

ENTAILMENT = ["videopath", "source", "caption", "neg_caption", "youtube_key", "split", "misalignment"]
VATEX = ["k600_val_eOsIGrDFuuw_000004_000014", "vatex", "A man runs.", "A man walks.", "", "train", "action"]
MSR_VTT = [
    "msr-vtt_TrainValVideo_video3094",
    "msr-vtt",
    "lego figures dance",
    "lego figures sing",
    "1tCWjXq8ZD8",
    "train",
    "action",
]


def as_csv(*rows, delimiter=",", end="\n"):
    handle = io.StringIO()
    csv.writer(handle, delimiter=delimiter, lineterminator=end).writerows(rows)
    return handle.getvalue()


def write(tmp_path, text, name="triplets.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path, **options):
    reader = TripletReader(path, **options)
    return list(reader), reader.report


def only(tmp_path, *rows, **options):
    """The single triplet of a file with these rows."""
    triplets, report = read(write(tmp_path, as_csv(*rows)), **options)
    assert report.quarantined == []
    (triplet,) = triplets
    return triplet


def reason(tmp_path, header, row):
    """The error of a file's single row."""
    triplets, report = read(write(tmp_path, as_csv(header, row)))
    assert triplets == []
    (error,) = report.quarantined
    return error


def test_videocon_entailment(tmp_path):
    path = write(tmp_path, as_csv(ENTAILMENT, VATEX, MSR_VTT))
    (vatex, msr_vtt), report = read(path)
    assert (vatex.source, vatex.video_id, vatex.videopath) == ("vatex", "eOsIGrDFuuw_000004_000014", VATEX[0])
    assert (vatex.start, vatex.end, vatex.youtube_key) == (4.0, 14.0, "eOsIGrDFuuw")
    assert (vatex.caption, vatex.neg_caption) == ("A man runs.", "A man walks.")
    assert (vatex.split, vatex.misalignment, vatex.nle, vatex.hard) == ("train", "action", None, None)
    assert (vatex.file, vatex.row) == (str(path), 0)
    assert (msr_vtt.video_id, msr_vtt.youtube_key, msr_vtt.start) == ("video3094", "1tCWjXq8ZD8", None)
    assert (msr_vtt.row, msr_vtt.video_key) == (1, "msr-vtt_video3094")
    assert report == ReadReport(rows=2, triplets=2)


def test_videocon_feedback(tmp_path):
    row = [*VATEX[:5], "val", "flip", "The man runs, he does not walk."]
    triplet = only(tmp_path, [*ENTAILMENT, "nle"], row)
    assert triplet.nle == "The man runs, he does not walk."
    assert (triplet.split, triplet.misalignment) == ("validation", "flip")


def test_videocon_human(tmp_path):
    url = "https://activitynet-annotations-video-text.s3.us-west-1.amazonaws.com/anno_videos/1303.mp4"
    header = ["video_url", "caption", "neg_caption", "nle", "hard"]
    triplet = only(tmp_path, header, [url, " A slow replay", "A fast replay", "It is slow.", "True"])
    assert (triplet.source, triplet.video_id, triplet.video_url) == ("activitynet", "1303", url)
    assert (triplet.split, triplet.hard, triplet.misalignment, triplet.videopath) == (
        "test",
        True,
        None,
        None,
    )
    assert triplet.caption == "A slow replay"


def test_the_published_paths_and_the_flattened_ones_name_the_same_pairs(tmp_path):
    published = ["k600/val/eOsIGrDFuuw_000004_000014.mp4", *VATEX[1:]]
    a = only(tmp_path, ENTAILMENT, VATEX)
    b = only(tmp_path, ENTAILMENT, published)
    assert a.pair_id == b.pair_id
    assert b.videopath == published[0]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_dialects(tmp_path, end, bom, delimiter):
    rows = [[" Caption ", "NEG-CAPTION", "Video Path"], ["a, b; c\td", " x ", "v1"], [], ["e", "f", "v2"]]
    path = write(tmp_path, bom + as_csv(*rows, delimiter=delimiter, end=end))
    triplets, report = read(path)
    assert [(t.caption, t.neg_caption, t.videopath, t.row) for t in triplets] == [
        ("a, b; c\td", "x", "v1", 0),
        ("e", "f", "v2", 1),
    ]
    assert (report.rows, report.quarantined) == (2, [])


def test_case_order_and_empty_cells(tmp_path):
    header = [
        "",
        "Misalignment",
        "HARD",
        "Source",
        "Neg_Caption",
        "CAPTION",
        "Split",
        "VideoPath",
        "Youtube Key",
    ]
    row = ["17", " Event-Order Flip", "FALSE", " MSRVTT ", "b", "a", "Validation", "video7.mp4", "nan"]
    triplet = only(tmp_path, header, row)
    assert (triplet.misalignment, triplet.hard, triplet.source) == ("flip", False, "msr-vtt")
    assert (triplet.split, triplet.video_id, triplet.youtube_key) == ("validation", "video7", None)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quoted_line_breaks_become_one_space_whoever_saved_the_file(tmp_path, end):
    text = f'caption,neg_caption,videopath\na man{end}{end} runs  fast,b,v\n"a man {end} runs  fast",b,v\n'
    text = text.replace(f"a man{end}{end} runs  fast,b", f'"a man{end}{end} runs  fast",b', 1)
    triplets, report = read(write(tmp_path, text))
    assert [t.caption for t in triplets] == ["a man runs  fast"]  # the second row is now a duplicate
    assert report.duplicates == [(1, 0)]


def test_several_contrast_captions_of_one_video_are_several_pairs(tmp_path):
    rows = [[*VATEX[:3], f"contrast {n}", *VATEX[4:]] for n in range(4)]
    triplets, report = read(write(tmp_path, as_csv(ENTAILMENT, *rows)))
    assert len({t.pair_id for t in triplets}) == 4
    assert len({t.video_key for t in triplets}) == 1
    assert report.duplicates == []


def test_exact_duplicates_are_dropped_and_counted(tmp_path):
    spaced = [f" {cell} " for cell in VATEX]
    path = write(tmp_path, as_csv(ENTAILMENT, VATEX, MSR_VTT, VATEX, spaced, MSR_VTT))
    triplets, report = read(path)
    assert [t.row for t in triplets] == [0, 1]
    assert report.duplicates == [(2, 0), (3, 0), (4, 1)]
    assert (report.rows, report.triplets, report.quarantined) == (5, 2, [])
    assert str(report) == "5 rows: 2 triplets, 3 exact duplicates dropped, 0 quarantined"


def test_the_same_pair_with_another_value_is_quarantined_with_both_rows(tmp_path):
    leak = [*VATEX[:5], "test", "action"]
    triplets, report = read(write(tmp_path, as_csv(ENTAILMENT, VATEX, MSR_VTT, leak, VATEX)))
    assert [t.row for t in triplets] == [0, 1]
    (error,) = report.quarantined
    assert isinstance(error, SchemaError)
    assert error.row == 2
    assert "rows 0 and 2" in str(error)
    assert triplets[0].pair_id in str(error)
    assert report.duplicates == [(3, 0)]


def test_bad_rows_are_quarantined_and_reading_goes_on(tmp_path):
    rows = [VATEX, [*VATEX[:2], "", *VATEX[3:]], VATEX[:3], MSR_VTT]
    seen = []
    path = write(tmp_path, as_csv(ENTAILMENT, *rows))
    triplets, report = read(path, on_bad=seen.append)
    assert [t.row for t in triplets] == [0, 3]
    assert report.quarantined == seen
    assert [(e.to_record()["reason"], e.row, e.file) for e in seen] == [
        ("CaptionError", 1, str(path)),
        ("SchemaError", 2, str(path)),
    ]
    assert "3 cells" in str(seen[1])
    assert "7 cells" in str(seen[1])


@pytest.mark.parametrize(
    ("column", "cell", "error", "word"),
    [
        ("caption", " ", CaptionError, "empty"),
        ("neg_caption", "NaN", CaptionError, "empty"),
        ("neg_caption", "A man runs. ", CaptionError, "itself"),
        ("caption", "x" * 2001, CaptionError, "2001"),
        ("caption", "a\0b", CaptionError, "control"),
        ("videopath", "../../etc/passwd", UnsafePathError, "climbs"),
        ("videopath", "k600/../../x.mp4", UnsafePathError, "climbs"),
        ("videopath", "..\\..\\x.mp4", UnsafePathError, "climbs"),
        ("videopath", "/etc/passwd", UnsafePathError, "absolute"),
        ("videopath", "C:\\videos\\x.mp4", UnsafePathError, "absolute"),
        ("videopath", "video\0.mp4", UnsafePathError, "NUL"),
        ("videopath", "", SchemaError, "no video"),
        ("videopath", "k600_val_eOsIGrDFuuw_000014_000004", SchemaError, "before it starts"),
        ("source", "", SchemaError, "source is empty"),
        ("source", "../x", SchemaError, "source"),
        ("split", "", SchemaError, "split is empty"),
        ("split", "trian", SchemaError, "trian"),
        ("misalignment", "colour", SchemaError, "colour"),
        ("youtube_key", "a\x07b", SchemaError, "control"),
    ],
)
def test_reasons(tmp_path, column, cell, error, word):
    row = [cell if name == column else value for name, value in zip(ENTAILMENT, VATEX, strict=True)]
    found = reason(tmp_path, ENTAILMENT, row)
    assert type(found) is error
    assert found.row == 0
    assert word in str(found)


@pytest.mark.parametrize(
    ("column", "cell", "word"),
    [
        ("hard", "maybe", "maybe"),
        ("start", "-1", "start"),
        ("start", "soon", "start"),
        ("end", "inf", "end"),
        ("end", "2", "before it starts"),
        ("video_url", "file:///etc/passwd", "web address"),
        ("video_url", "https://[x", "web address"),
        ("nle", "x" * 2001, "nle is too long"),
        ("video_id", "../../etc/passwd", "climbs"),
    ],
)
def test_reasons_in_generic_columns(tmp_path, column, cell, word):
    row = {"caption": "a", "neg_caption": "b", "video_id": "v", "start": "3", "end": "4", "hard": ""}
    row |= {"video_url": "", "nle": "", column: cell}
    assert word in str(reason(tmp_path, list(row), list(row.values())))


@pytest.mark.parametrize(
    ("columns", "video_id", "videopath"),
    [
        ({"video": "clips/a.mp4"}, "clips%2Fa", "clips/a.mp4"),
        ({"video": "a.mp4"}, "a", "a.mp4"),
        ({"videopath": "clips/a.b.webm"}, "clips%2Fa.b", "clips/a.b.webm"),
        ({"id": "a17"}, "a17", None),
        ({"id": "17", "video": "clips/a.mp4"}, "clips%2Fa", "clips/a.mp4"),  # then `id` numbers the rows
        ({"video_id": "a17", "video": "clips/b.mp4"}, "a17", "clips/b.mp4"),
        ({"url": "https://example.org/v/x.mp4?token=1"}, "%2F%2Fexample.org%2Fv%2Fx", None),
        ({"url": "https://www.youtube.com/watch?v=abcdefghijk&t=3"}, "abcdefghijk", None),
        ({"video": "https://youtu.be/abcdefghijk"}, "abcdefghijk", None),
    ],
)
def test_a_generic_file_names_its_video_in_many_ways(tmp_path, columns, video_id, videopath):
    triplet = only(tmp_path, ["caption", "contrast_caption", *columns], ["a", "b", *columns.values()])
    assert (triplet.video_id, triplet.videopath) == (video_id, videopath)
    assert (triplet.source, triplet.split) == ("custom", "train")


def test_captions_alone_are_enough(tmp_path):
    rows = [["caption", "neg_caption"], ["a", "b"], ["a", "c"], ["d", "e"]]
    triplets, report = read(write(tmp_path, as_csv(*rows)))
    assert report.triplets == 3
    first, second, third = (t.video_id for t in triplets)
    assert first == second != third  # equal captions are of one, unknown, video
    again, _ = read(write(tmp_path, as_csv(rows[0], rows[3], rows[1]), name="other.csv"))
    assert [t.video_id for t in again] == [third, first]  # independent of the row


def test_defaults_for_rows_that_do_not_say(tmp_path):
    header, row = ["caption", "neg_caption", "video", "split"], ["a", "b", "v", ""]
    path = write(tmp_path, as_csv(header, row))
    assert isinstance(read(path)[1].quarantined[0], SchemaError)
    (triplet,), _ = read(path, split="test", source="My Videos")
    assert (triplet.split, triplet.source) == ("test", "my-videos")
    said = only(tmp_path, header, [*row[:3], "train"], split="test")
    assert said.split == "train"
    with pytest.raises(SchemaError, match="validation"):
        TripletReader(path, split="val")


def test_times_from_columns(tmp_path):
    triplet = only(tmp_path, ["caption", "neg_caption", "video", "start", "end"], ["a", "b", "v", "1.5", "2"])
    assert (triplet.start, triplet.end) == (1.5, 2.0)


RECORDS = [
    {"caption": "a man\nruns", "neg_caption": "b", "video": "v.mp4", "hard": True, "start": 1, "end": 2.5},
    {"caption": "ü", "neg_caption": "ß", "video": "w.mp4", "nle": None, "start": float("nan")},
    {"caption": "c", "neg_caption": "d", "video": "x.mp4", "nle": "why"},
]


def check_records(triplets):
    assert [t.caption for t in triplets] == ["a man runs", "ü", "c"]
    assert [t.hard for t in triplets] == [True, None, None]
    assert [(t.start, t.end) for t in triplets] == [(1.0, 2.5), (None, None), (None, None)]
    assert [t.nle for t in triplets] == [None, None, "why"]
    assert [t.row for t in triplets] == [0, 1, 2]


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "json"])
def test_json_lines(tmp_path, suffix):
    text = "\ufeff" + "\r\n\r\n".join(json.dumps(record) for record in RECORDS)
    triplets, report = read(write(tmp_path, text, f"triplets.{suffix}"))
    check_records(triplets)
    assert report.rows == 3


def test_json_lines_quarantine_what_is_broken(tmp_path):
    good = {"caption": "a", "neg_caption": "b", "video": "v"}
    lines = [
        json.dumps(good),
        "{",
        "[1, 2]",
        json.dumps({"caption": "a"}),
        json.dumps(good | {"caption": ["a"]}),
        json.dumps(good | {"caption": "half \ud800"}),
        json.dumps(good | {"video": "../x"}),
        json.dumps(good | {"caption": "z"}),
    ]
    triplets, report = read(write(tmp_path, "\n".join(lines), "triplets.jsonl"))
    assert [t.row for t in triplets] == [0, 7]
    assert [(error.row, type(error)) for error in report.quarantined] == [
        (1, SchemaError),
        (2, SchemaError),
        (3, SchemaError),
        (4, CaptionError),
        (5, SchemaError),
        (6, UnsafePathError),
    ]


def test_parquet(tmp_path):
    path = tmp_path / "triplets.parquet"
    pq.write_table(
        pa.Table.from_pylist([{"hard": None, "end": None, "nle": None} | r for r in RECORDS]), path
    )
    check_records(read(path)[0])


def test_parquet_of_a_published_dataset_without_reading_its_videos(tmp_path):
    """Two generators' rows of one pair are one triplet; ClassLabel numbers are names again."""
    path = tmp_path / "train.parquet"
    row = dict.fromkeys(arrow_schema().names) | {
        "id": "p-cogvideox-001",
        "source": "vatex",
        "video_id": "eOsIGrDFuuw_000004_000014",
        "videopath": VATEX[0],
        "start": 4.0,
        "end": 14.0,
        "youtube_key": "eOsIGrDFuuw",
        "caption": VATEX[2],
        "neg_caption": VATEX[3],
        "misalignment": MISALIGNMENTS.index("action"),
        "synthetic_video": {"bytes": b"x" * (8 << 20), "path": "x.mp4"},
    }
    table = pa.Table.from_pylist([row, row | {"id": "p-lavie-001"}], schema=arrow_schema())
    pq.write_table(table, path)
    del table
    before = pa.total_allocated_bytes()
    pa.default_memory_pool().release_unused()
    (triplet,), report = read(path)
    assert pa.total_allocated_bytes() - before < 2 << 20
    assert triplet.pair_id == only(tmp_path, ENTAILMENT, VATEX).pair_id
    assert triplet.misalignment == "action"
    assert report.duplicates == [(1, 0)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "", ["empty"]),
        ("t.csv", "\r\n\r\n", ["empty"]),
        ("t.csv", "caption,neg_caption\n", ["no rows"]),
        ("t.csv", "videopath,text,label\nv,a,1\n", ["neg_caption", "videopath", "label", "contrast"]),
        ("t.csv", "caption,Caption,neg_caption\na,b,c\n", ["two columns", "Caption"]),
        ("t.csv", "caption,neg_caption\na,b\n".encode("utf-16"), ["UTF-8"]),
        ("t.csv", b"caption,neg_caption\ncaf\xe9,b\n", ["UTF-8", "xe9"]),
        ("t.csv", 'caption,neg_caption\na,b\nc,"d\ne,f\n', ["row 1", "never closed"]),
        ("t.csv", 'caption,neg_caption\na,"b\n' + "x,y\n" * 50_000, ["row 0", "never closed"]),
        ("t.jsonl", "", ["empty"]),
        ("t.jsonl", '[{"caption": "a"}]', ["JSON array"]),
        ("t.jsonl", '{"text": "a"}\n', ["neg_caption", "text"]),
        ("t.parquet", "PAR1", ["Parquet"]),
        ("t.xlsx", "", [".xlsx", ".csv"]),
    ],
)
def test_faults_of_the_whole_file(tmp_path, name, content, words):
    path = write(tmp_path, content, name)
    with pytest.raises(SchemaError) as caught:
        list(TripletReader(path))
    assert all(word in str(caught.value) for word in [str(path), *words])


def test_a_missing_file(tmp_path):
    with pytest.raises(SchemaError, match="file does not exist"):
        list(TripletReader(tmp_path / "no.csv"))


def test_reading_again_starts_a_new_report(tmp_path):
    reader = TripletReader(write(tmp_path, as_csv(ENTAILMENT, VATEX, VATEX)))
    assert list(reader) == list(reader)
    assert reader.report == ReadReport(rows=2, triplets=1, duplicates=[(1, 0)])


def test_rows_are_streamed(tmp_path):
    """3,000 rows are 9 MB of text; what stays is what finds duplicates."""
    path = tmp_path / "many.csv"
    with path.open("w") as handle:
        handle.write("caption,neg_caption,video\n")
        for row in range(3_000):
            handle.write(f"{row:01500d},{row:01499d}x,v{row}\n")
    tracemalloc.start()
    count = sum(1 for _ in TripletReader(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 3_000
    assert peak < path.stat().st_size / 4


MISSING = {"#n/a", "#na", "<na>", "n/a", "na", "nan", "-nan", "nat", "none", "null", "(null)", "\\n"}
text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), min_size=1, max_size=30
).filter(lambda s: s == s.strip() and s.lower() not in MISSING)


@given(st.lists(st.tuples(text, text).filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=8))
def test_any_text_survives_all_three_formats(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("formats")
    header = ["caption", "neg_caption"]
    write(folder, as_csv(header, *pairs), "t.csv")
    write(folder, "\n".join(json.dumps(dict(zip(header, pair, strict=True))) for pair in pairs), "t.jsonl")
    columns = {name: [pair[i] for pair in pairs] for i, name in enumerate(header)}
    pq.write_table(pa.table(columns), folder / "t.parquet")
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        triplets, report = read(folder / name)
        assert [(t.caption, t.neg_caption) for t in triplets] == list(dict.fromkeys(pairs))
        assert report.quarantined == []


def test_the_real_rows(real_data):
    """16,856 rows of VideoCon, against the csv module: every row accounted for, no text changed."""
    path = real_data / "videocon-16k" / "triplets.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    triplets, report = read(path)
    assert (report.rows, report.triplets, report.quarantined) == (len(rows), 16_854, [])
    firsts = {}
    repeated = [
        (n, firsts[key])
        for n, row in enumerate(rows)
        if firsts.setdefault(key := tuple(row.values()), n) != n
    ]
    assert report.duplicates == repeated
    assert len(repeated) == 2
    for triplet in triplets:
        row = rows[triplet.row]
        assert (triplet.videopath, triplet.source) == (row["videopath"], row["source"])
        assert (triplet.caption, triplet.neg_caption) == (row["caption"].strip(), row["neg_caption"].strip())
        assert (triplet.split, triplet.misalignment) == (row["split"], row["misalignment"])
        assert row["videopath"].endswith(triplet.video_id)
        assert (triplet.start is not None) == (row["source"] == "vatex")
        assert triplet.youtube_key or triplet.source == "tempo"
    assert len({t.pair_id for t in triplets}) == 16_854


def test_files_of_one_name_in_different_folders_are_different_videos(tmp_path):
    rows = [[f"{n:04}/video.mp4", "Pushing [something]", "Pulling [something]"] for n in (1, 2, 3)]
    path = write(tmp_path, as_csv(["videopath", "caption", "neg_caption"], *rows))
    triplets, report = read(path)
    assert [t.video_id for t in triplets] == ["0001%2Fvideo", "0002%2Fvideo", "0003%2Fvideo"]
    assert len({t.pair_id for t in triplets}) == 3
    assert report.duplicates == []
    # No id depends on another row, nor on how a path is spelled.
    for t in triplets:
        alone = only(
            tmp_path, ["videopath", "caption", "neg_caption"], [f"./{t.videopath}", t.caption, t.neg_caption]
        )
        assert alone.pair_id == t.pair_id


def test_files_that_differ_by_their_suffix_are_not_merged(tmp_path):
    header = ["videopath", "caption", "neg_caption"]
    rows = [["a/v.mp4", "a", "b"], ["a/v.avi", "c", "d"], ["a\\v.mp4", "e", "f"], ["a/w.avi", "g", "h"]]
    triplets, report = read(write(tmp_path, as_csv(header, *rows)))
    assert [t.row for t in triplets] == [0, 2, 3]
    (error,) = report.quarantined
    assert all(word in str(error) for word in ("row 1", "a/v.avi", ".mp4 in row 0", "suffix"))


def test_published_ids_come_back_as_they_are(tmp_path):
    header = ["video_id", "videopath", "caption", "neg_caption"]
    rows = [["a%2Fb", "a/b.mp4", "a", "b"], ["v.mp4", "v.mp4.mp4", "c", "d"], ["b", "a/b.mp4", "e", "f"]]
    triplets, _ = read(write(tmp_path, as_csv(header, *rows)))
    assert [t.video_id for t in triplets] == ["a%2Fb", "v.mp4", "b"]
    bare, _ = read(write(tmp_path, as_csv(header[:1] + header[2:], rows[0][:1] + rows[0][2:])))
    assert bare[0].pair_id == triplets[0].pair_id


@pytest.mark.parametrize("cell", [".", "..", "a/..", "a/", "/", "...", "\u200b"])
@pytest.mark.parametrize("column", ["video_id", "videopath"])
def test_ids_that_are_none(tmp_path, column, cell):
    error = reason(tmp_path, [column, "caption", "neg_caption"], [cell, "a", "b"])
    assert error.row == 0


def test_ids_of_float_columns(tmp_path):
    """pandas makes floats of whole numbers beside a gap: in Parquet, JSON Lines and CSV alike."""
    columns = {"video_id": [1524, None, 7], "caption": ["a", "b", "c"], "neg_caption": ["d", "e", "f"]}
    table = pd.DataFrame(columns)
    table.to_parquet(tmp_path / "t.parquet")
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    for name in ("t.parquet", "t.jsonl", "t.csv", "t.tsv"):
        for source in ("tempo", "custom"):
            triplets, report = read(tmp_path / name, source=source)
            assert [t.video_id for t in triplets] == ["1524", "7"]
            assert [error.row for error in report.quarantined] == [1]


@pytest.mark.parametrize(
    ("kind", "value", "good"),
    [
        (pa.int64(), 4010069381, True),
        (pa.float64(), 4010069381.0, True),
        (pa.float64(), 1.5, False),
        (pa.float64(), 2.0**60, False),
        (pa.float32(), 16777217.0, False),
        (pa.float32(), 1524.0, True),
        (pa.string(), "0017", True),
        (pa.string(), "4.01E+09", False),
        (pa.bool_(), True, False),
    ],
)
def test_ids_of_any_column_type(tmp_path, kind, value, good):
    table = pa.table({"video_id": pa.array([value], kind), "caption": ["a"], "neg_caption": ["b"]})
    pq.write_table(table, tmp_path / "t.parquet")
    triplets, report = read(tmp_path / "t.parquet")
    expected = str(value if isinstance(value, str) else int(value))
    assert [t.video_id for t in triplets] == ([expected] if good else [])
    assert len(report.quarantined) == 1 - good


@pytest.mark.parametrize("column", ["video_id", "caption", "neg_caption", "nle", "start", "misalignment"])
def test_error_values_of_spreadsheets_are_quarantined(tmp_path, column):
    row = {
        "video_id": "v",
        "caption": "a",
        "neg_caption": "b",
        "nle": "c",
        "start": "1",
        "misalignment": "flip",
    }
    good = [*row.values()]
    for cell in ("#NAME?", "#REF!", "#VALUE!"):
        bad = [*(row | {column: cell}).values()]
        triplets, report = read(write(tmp_path, as_csv(row.keys(), bad, good)))
        assert [t.row for t in triplets] == [1]
        (error,) = report.quarantined
        assert error.row == 0
        assert cell in str(error)


def test_class_numbers_of_to_csv(tmp_path):
    """Written by `datasets` itself: a ClassLabel column becomes its numbers."""
    features = datasets.Features(
        {name: datasets.Value("string") for name in ("caption", "neg_caption", "video_id")}
        | {"misalignment": datasets.ClassLabel(names=list(MISALIGNMENTS))}
    )
    labels = [*MISALIGNMENTS, None]
    columns = {name: [f"{name} {n}" for n in range(8)] for name in ("caption", "neg_caption", "video_id")}
    for count in (7, 8):  # with an empty cell pandas writes floats
        table = {name: values[:count] for name, values in (columns | {"misalignment": labels}).items()}
        datasets.Dataset.from_dict(table, features=features).to_csv(tmp_path / "t.csv", num_proc=None)
        triplets, report = read(tmp_path / "t.csv")
        assert [t.misalignment for t in triplets] == labels[:count]
        assert report.quarantined == []
    assert "7" in str(reason(tmp_path, ["caption", "neg_caption", "misalignment"], ["a", "b", "7"]))


def test_a_stray_quote_is_quarantined_and_an_open_one_refused(tmp_path):
    text = 'videopath,caption,neg_caption\nv1.mp4,a man eats,a "man" sleeps\nv2.mp4,a dog runs,a dog sits\n'
    triplets, report = read(write(tmp_path, text))
    assert [(t.row, t.neg_caption) for t in triplets] == [(1, "a dog sits")]
    assert [error.row for error in report.quarantined] == [0]
    swallowing = (
        'videopath,caption,neg_caption\nv1.mp4,a man eats,"a man sleeps\nv2.mp4,a dog runs,a dog sits"\n'
    )
    with pytest.raises(SchemaError, match="row 0: a quoted cell seems to have swallowed"):
        read(write(tmp_path, swallowing))


def test_json_names_given_twice_are_quarantined(tmp_path):
    text = '{"caption": "a", "neg_caption": "b", "caption": "c"}\n{"caption": "d", "neg_caption": "e"}\n'
    triplets, report = read(write(tmp_path, text, "t.jsonl"))
    assert [t.row for t in triplets] == [1]
    assert "'caption' stands twice" in str(report.quarantined[0])


def test_times_of_day(tmp_path):
    header = ["caption", "neg_caption", "video", "start", "end"]
    triplet = only(tmp_path, header, ["a", "b", "v", "00:00:05", "00:01:00.5"])
    assert (triplet.start, triplet.end) == (5.0, 60.5)
    assert "1.5" in str(reason(tmp_path, header, ["a", "b", "v", "1,5", "3"]))


def test_a_missing_class_of_datasets(tmp_path):
    """`datasets` writes -1 where a class is not known; the sign is no hyphen of a name."""
    features = datasets.Features(
        {name: datasets.Value("string") for name in ("video_id", "caption", "neg_caption")}
        | {"misalignment": datasets.ClassLabel(names=list(MISALIGNMENTS))}
    )
    table = {
        "video_id": ["a", "b"],
        "caption": ["x", "x"],
        "neg_caption": ["y", "y"],
        "misalignment": [-1, 1],
    }
    data = datasets.Dataset.from_dict(table, features=features)
    data.to_csv(tmp_path / "t.csv", num_proc=None)
    data.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        assert [triplet.misalignment for triplet in TripletReader(tmp_path / name)] == [
            None,
            MISALIGNMENTS[1],
        ]
    (tmp_path / "t.csv").write_text("video_id,caption,neg_caption,hard\na,x,y,-1\nb,x,y,1\n")
    reader = TripletReader(tmp_path / "t.csv")
    assert [triplet.hard for triplet in reader] == [True]
    assert "unknown hard" in str(reader.report.quarantined[0])


def test_two_files_put_together(tmp_path):
    header, row = "Video-ID,caption,neg_caption,nle\n", "{0},a {0},b {0},\n"
    path = tmp_path / "t.csv"
    path.write_text(header + row.format(1) + "\ufeff" + header + row.format(2) + "c,caption,text,\n")
    reader = TripletReader(path)
    assert [triplet.video_id for triplet in reader] == ["1", "2", "c"]
    assert [error.row for error in reader.report.quarantined] == [1]
    assert "header" in str(reader.report.quarantined[0])


VIDEO = {"bytes": b"12345", "path": "clips/v1.mp4"}


@pytest.mark.parametrize(
    ("feature", "cell", "video_id"),
    [
        (datasets.Video(decode=False), VIDEO, "clips%2Fv1"),
        (datasets.List(datasets.Video(decode=False)), [VIDEO], "clips%2Fv1"),
        # Bytes without a path are named by what they are.
        (datasets.Video(decode=False), VIDEO | {"path": None}, "sha256-5994471abb01112a"),
        (datasets.Value("binary"), b"12345", "sha256-5994471abb01112a"),
    ],
)
@pytest.mark.parametrize("missing", [False, True])
def test_videos_as_datasets_stores_them_are_named(tmp_path, feature, cell, video_id, missing):
    text = datasets.Value("string")
    features = datasets.Features({"video": feature, "caption": text, "neg_caption": text})
    rows = {"video": [cell], "caption": ["a man eats"], "neg_caption": ["a man sleeps"]}
    if missing:
        rows = {"video": [None, cell], "caption": ["a dog", "a man"], "neg_caption": ["a cat", "a boy"]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "t.parquet")
    triplets, report = read(tmp_path / "t.parquet")
    assert [triplet.video_id for triplet in triplets] == [video_id]
    assert [error.problem for error in report.quarantined] == ["the row names no video"] * missing


def test_text_that_its_writer_calls_bytes_is_text(tmp_path):
    rows = {
        "video_id": [b"v1", b"v2", b"v3"],
        "videopath": [b"a/v1.mp4", b"a/v2.mp4", b"a/v3.mp4"],
        "caption": [None, "ein Hund läuft".encode(), b"\xff\xfe"],
        "neg_caption": [b"a cat", b"a cat", b"a cat"],
    }
    pq.write_table(
        pa.table({name: pa.array(cells, pa.binary()) for name, cells in rows.items()}), tmp_path / "t.parquet"
    )
    triplets, report = read(tmp_path / "t.parquet")
    assert [(t.video_id, t.videopath, t.caption) for t in triplets] == [("v2", "a/v2.mp4", "ein Hund läuft")]
    assert [error.row for error in report.quarantined] == [0, 2]
    assert "caption is not a plain value. Found: b'\\xff\\xfe'" in str(report.quarantined[1])


def test_decimals_and_durations_are_numbers(tmp_path):
    whole = [None, Decimal("12.00"), Decimal("1.50")]
    table = {
        "video_id": whole,
        "caption": ["a", "b", "c"],
        "neg_caption": ["d", "e", "f"],
        "start": [Decimal("0.5")] * 3,
        "end": [timedelta(seconds=65)] * 3,
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    triplets, report = read(tmp_path / "t.parquet")
    assert [(t.video_id, t.start, t.end) for t in triplets] == [("12", 0.5, 65.0)]
    assert [error.row for error in report.quarantined] == [0, 2]
    assert "fraction" in str(report.quarantined[1])


def test_of_videos_with_paths_the_bytes_stay_on_the_disk(tmp_path):
    videos = [{"bytes": bytes(1 << 20), "path": f"v{k}.mp4"} for k in range(8)]
    table = pa.table({"video": videos, "caption": ["a"] * 8, "neg_caption": ["b"] * 8})
    pq.write_table(table, tmp_path / "t.parquet", compression="none", use_dictionary=False)
    before = pa.total_allocated_bytes()
    reader = iter(TripletReader(tmp_path / "t.parquet"))
    first = next(reader)
    assert pa.total_allocated_bytes() - before < 1 << 20
    assert [first.video_id, *(triplet.video_id for triplet in reader)] == [f"v{k}" for k in range(8)]


def test_a_video_in_json_lines_is_named_by_its_path(tmp_path):
    row = {"video": {"bytes": None, "path": "v1.mp4"}, "caption": "a", "neg_caption": "b"}
    triplets, _ = read(write(tmp_path, json.dumps(row), "t.jsonl"))
    assert [triplet.videopath for triplet in triplets] == ["v1.mp4"]


def test_rows_of_empty_cells_at_the_end_are_no_rows(tmp_path):
    """As a spreadsheet leaves them; one in the middle is a row that is quarantined, so that numbers stay."""
    path = tmp_path / "triplets.csv"
    rows = [
        "videopath,caption,neg_caption",
        "a.mp4,a dog,a cat",
        ",,",
        "b.mp4,a man,a boy",
        ",,",
        " ,, ",
        ",,",
    ]
    path.write_text("\r\n".join(rows) + "\r\n")
    reader = TripletReader(path)
    assert [triplet.row for triplet in reader] == [0, 2]
    assert [error.row for error in reader.report.quarantined] == [1]
    assert reader.report.rows == 3
