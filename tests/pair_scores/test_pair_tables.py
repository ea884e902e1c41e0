"""Tables of pairs: read from every format, written with their own columns as they were, refused by row."""

import csv
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_scorer import FileScorer, expected_score
from hypothesis import given, settings
from hypothesis import strategies as st

from synvita_data.errors import SchemaError, SynvitaError, UnsafePathError
from synvita_data.pair_scores.output import check_out, run_facts, write_pairs
from synvita_data.pair_scores.pairs import PairScores, score_pairs
from synvita_data.pair_scores.tables import read_pairs, read_texts

ROWS = [
    {"id": 7, "video": "a.mp4", "text": 'says "hi", then\nleaves', "start": None, "end": None, "more": 1.5},
    {"id": 8, "video": "sub/b.mp4", "text": "=1+1 is 2", "start": 0.5, "end": 2.0, "more": -0.25},
    {"id": 9, "video": "a.mp4", "text": "naïve café", "start": None, "end": 1.0, "more": 3.0},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "sub/b.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def write(path, rows):
    if path.suffix == ".csv":
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def scored(table, folder, out):
    found = score_pairs(FileScorer(), table.pairs, folder / "work")
    write_pairs(folder / out, table, found, run_facts(table, FileScorer()))
    return folder / out


def back(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("out", ["out.csv", "out.jsonl", "out.parquet"])
def test_every_format_into_every_format(folder, suffix, out):
    table = read_pairs(write(folder / f"pairs{suffix}", ROWS))
    assert [(pair.name, pair.text, pair.start, pair.end) for pair in table.pairs] == [
        (row["video"], row["text"], row["start"], row["end"]) for row in ROWS
    ]
    rows = back(scored(table, folder, out))
    assert list(rows[0]) == [*ROWS[0], "score", "kind", "model", "error"]
    expected = [expected_score(row["video"].encode(), row["text"]) for row in ROWS]
    assert [float(row["score"]) for row in rows] == expected
    for row, own in zip(rows, ROWS, strict=True):
        for name, value in own.items():
            if suffix == ".csv" or out.endswith(".csv"):
                assert str("" if row[name] is None else row[name]) == str("" if value is None else value)
            else:
                assert row[name] == value
                assert type(row[name]) is type(value)


def test_types_of_parquet_are_kept(folder):
    schema = pa.schema(
        [("video", pa.large_string()), ("text", pa.string()), ("n", pa.int8()), ("l", pa.list_(pa.int64()))]
    )
    rows = pa.Table.from_pylist([{"video": "a.mp4", "text": "t", "n": 3, "l": [1, 2]}], schema=schema)
    pq.write_table(rows, folder / "pairs.parquet")
    found = pq.read_table(scored(read_pairs(folder / "pairs.parquet"), folder, "out.parquet"))
    assert found.schema.field("n").type == pa.int8()
    assert found.schema.field("l").type == pa.list_(pa.int64())
    assert found.schema.field("score").type == pa.float64()


def test_rows_of_json_may_have_other_names_and_types(folder):
    lines = [
        {"video": "a.mp4", "text": "x", "n": 1},
        {"extra": None, "text": "y", "video": "a.mp4", "n": "two"},
        {"video": "sub/b.mp4", "text": 3},
    ]
    table = read_pairs(write(folder / "pairs.jsonl", lines))
    assert [pair.text for pair in table.pairs] == ["x", "y", "3"]
    assert [
        {k: row[k] for k in own}
        for row, own in zip(back(scored(table, folder, "o.jsonl")), lines, strict=True)
    ] == lines
    assert [row["n"] for row in back(scored(table, folder, "o.parquet"))] == ["1", "two", None]


@settings(max_examples=20)
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")).map("a caption, {} to its end".format),
        min_size=1,
        max_size=4,
    ),
    scores=st.lists(st.floats(allow_infinity=False), min_size=4, max_size=4),
)
def test_scores_and_cells_come_back_exactly(tmp_path_factory, texts, scores):
    folder = tmp_path_factory.mktemp("exact")
    rows = [{"video": f"v{i}.mp4", "text": text} for i, text in enumerate(texts)]
    table = read_pairs(write(folder / "pairs.jsonl", rows))
    found = PairScores(np.array(scores[: len(texts)]), "log_odds", "m")
    for name in ("o.jsonl", "o.parquet", "o.csv"):
        write_pairs(folder / name, table, found, run_facts(table, FileScorer()))
        read = back(folder / name)
        if name != "o.csv":
            assert [row["text"] for row in read] == texts
        for row, value in zip(read, found.scores.tolist(), strict=True):
            given_back = None if row["score"] in (None, "") else float(row["score"])
            assert given_back == (None if np.isnan(value) else value)


@pytest.mark.parametrize("names", [("videopath", "caption"), ("path", "prompt"), ("Video_Path", "Text")])
def test_columns_of_other_names(folder, names):
    rows = [dict(zip(names, ("a.mp4", "x"), strict=True))]
    table = read_pairs(write(folder / "pairs.csv", rows))
    assert table.used == f"videos from {names[0]}, texts from {names[1]}"
    rows = [{"Clip Name": "a.mp4", "what": "x", "text": "not this"}]
    file = write(folder / "other.csv", rows)
    assert read_pairs(file, video_column="clip name", text_column="what").pairs[0].text == "x"


def test_videos_are_below_the_root(folder, tmp_path_factory):
    file = write(tmp_path_factory.mktemp("tables") / "pairs.csv", [{"video": "sub\\b.mp4", "text": "x"}])
    pair = read_pairs(file, root=folder).pairs[0]
    assert (pair.video, pair.name) == (folder / "sub" / "b.mp4", "sub/b.mp4")
    with pytest.raises(SchemaError, match="folder of videos does not exist"):
        read_pairs(file, root=folder / "nowhere")


# -- a folder, and texts for every video ------------------------------------------------------------------


def test_a_folder_with_texts_gives_all_combinations(folder):
    (folder / "notes.txt").write_text("no video")
    (folder / "out.mp4").symlink_to("/etc/hostname")
    table = read_pairs(folder, texts=["x", "y"])
    assert [(pair.name, pair.text) for pair in table.pairs] == [
        ("a.mp4", "x"),
        ("a.mp4", "y"),
        ("sub/b.mp4", "x"),
        ("sub/b.mp4", "y"),
    ]
    assert table.rows[3] == {"video": "sub/b.mp4", "text": "y"}
    assert "leads out of its folder" in str(table.refused[0])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_without_texts_takes_those_that_are_given(folder, suffix):
    file = write(folder / f"videos{suffix}", [{"n": 1, "video": "a.mp4"}, {"n": 2, "video": "sub/b.mp4"}])
    rows = back(scored(read_pairs(file, texts=["x", "y"]), folder, "out.parquet"))
    assert [(str(row["n"]), row["text"]) for row in rows] == [("1", "x"), ("1", "y"), ("2", "x"), ("2", "y")]
    assert rows[3]["score"] == expected_score(b"sub/b.mp4", "y")
    file = write(folder / f"both{suffix}", [{"video": "a.mp4", "text": "own"}])
    with pytest.raises(SchemaError, match="texts, and others are given"):
        read_pairs(file, texts=["x"])


def test_texts_of_files(tmp_path):
    lines = tmp_path / "texts.txt"
    lines.write_text("\ufeffa dog runs\n\n  a cat, asleep  \n")
    assert read_texts(lines) == ["a dog runs", "a cat, asleep"]
    lines.write_bytes(
        "one\u2028text\r\nanother\x85of two\x0clines\r".encode()
    )  # ends of lines to `splitlines`
    assert read_texts(lines) == ["one\u2028text", "another\x85of two\x0clines"]
    table = tmp_path / "texts.csv"
    table.write_text("id,prompt\n1,a dog runs\n2,\n")
    with pytest.raises(SchemaError, match=r"texts.csv, row 1: a text is empty"):
        read_texts(table)
    lines.write_text("\n")
    with pytest.raises(SchemaError, match="holds no text"):
        read_texts(lines)
    with pytest.raises(SchemaError, match=r"gone.txt: the texts cannot be read"):
        read_texts(tmp_path / "gone.txt")


def test_texts_and_times_of_parquet_may_be_bytes_and_decimals(folder):
    table = pa.table(
        {"video": ["a.mp4"], "text": pa.array([b"a dog"]), "start": [Decimal("0.5")], "end": [Decimal("2")]}
    )
    pq.write_table(table, folder / "t.parquet")
    (pair,) = read_pairs(folder / "t.parquet").pairs
    assert (pair.text, pair.start, pair.end) == ("a dog", 0.5, 2.0)


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (
            "clip,text\na.mp4,x\n",
            SchemaError,
            r"no column for video\. Found: columns \['clip', 'text'\].*--video-column",
        ),
        ("video,words\na.mp4,x\n", SchemaError, r"no column for text\. Found: columns \['video', 'words'\]"),
        ("video,text\na.mp4,x\na.mp4,  \n", SchemaError, "row 1: a text is empty"),
        ("video,text\na.mp4,x\na.mp4,#NAME?\n", SchemaError, "row 1: a text is the error value"),
        ("video,text\n,x\n", SchemaError, "row 0: a row names no video"),
        ("video,text\n../a.mp4,x\n", UnsafePathError, r"row 0: a path climbs out.*--root"),
        ("video,text\n/etc/passwd,x\n", UnsafePathError, "row 0: a path is absolute"),
        ("video,text\nhttps://example.org/a.mp4,x\n", SchemaError, "row 0: a video is named by a URL"),
        ("video,text,start\na.mp4,x,soon\n", SchemaError, "row 0: start is not a time"),
        (
            "video,text,start,end\na.mp4,x,2,1\n",
            SchemaError,
            "row 0: a part of a video ends before it begins",
        ),
        ("video,text,score\na.mp4,x,1\n", SchemaError, "has columns already that scores are written to"),
        ("video,text,a,a\na.mp4,x,1,2\n", SchemaError, "two columns have one name"),
        ("video,text\n", SchemaError, "the table has no rows"),
        ("", SchemaError, "the file is empty"),
        (
            "video,text\na.mp4,x,y\na.mp4,\n",
            SchemaError,
            r"row 0: a row has another number.*1 more row is bad too",
        ),
        ("video,text\na.mp4,x\nvideo,text\n", SchemaError, "row 1: the header stands here again"),
    ],
)
def test_bad_tables(folder, content, error, words):
    (folder / "pairs.csv").write_text(content)
    with pytest.raises(error, match=rf"(?s)pairs.csv.*{words}"):
        read_pairs(folder / "pairs.csv")


def test_a_path_that_leaves_through_a_link(folder):
    (folder / "link.mp4").symlink_to("/etc/hostname")
    file = write(folder / "pairs.csv", [{"video": "link.mp4", "text": "x"}])
    with pytest.raises(UnsafePathError, match="row 0: a path leaves its root through a symlink"):
        read_pairs(file)


def test_videos_inside_a_parquet_file_are_refused_with_what_to_do(folder):
    file = write(folder / "pairs.parquet", [{"video": {"bytes": b"x", "path": "a.mp4"}, "text": "x"}])
    with pytest.raises(SchemaError, match=r"row 0: a video is not named by a path.*synvita_data\.score"):
        read_pairs(file)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "has no texts.*--text TEXT"),
        ({"texts": ["x"], "root": "elsewhere"}, "has no columns and is its own root"),
        ({"texts": ["x"], "text_column": "t"}, "has no columns and is its own root"),
    ],
)
def test_bad_options_of_a_folder(folder, options, words):
    with pytest.raises(SchemaError, match=words):
        read_pairs(folder, **options)


def test_a_folder_without_videos_and_other_places(tmp_path):
    with pytest.raises(SchemaError, match="no video in the folder"):
        read_pairs(tmp_path, texts=["x"])
    with pytest.raises(SchemaError, match="does not exist"):
        read_pairs(tmp_path / "gone.csv")
    with pytest.raises(SchemaError, match="does not exist"):
        read_pairs(tmp_path / "gone.parquet")
    (tmp_path / "pairs.xlsx").write_bytes(b"x")
    with pytest.raises(SchemaError, match="not a format"):
        read_pairs(tmp_path / "pairs.xlsx")
    with pytest.raises(SynvitaError, match="not written in this format"):
        check_out(tmp_path / "out.xlsx")
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(SynvitaError, match="written to a folder"):
        check_out(tmp_path / "out.csv")
