"""Score tables written by hand, by pandas-free means, and the real one."""

import csv
import math
import random
import statistics
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synvita_data.errors import SchemaError, ScoreError, SynvitaError
from synvita_data.schema import Triplet
from synvita_data.tables.scores import ScoreRow, VideoIdentity, read_scores, score_schema, write_scores
from synvita_data.weights import ModelScore, weigh

HEADER = "row,videopath,model,neg_caption_score,caption_score"
LINES = ["0,v0,clip,0.75,0.5", "0,v0,llava,0.25,0.125", "1,v1,clip,0.5,0.5", "1,v1,llava,1,0"]


def write(
    folder: Path, *lines: str, name: str = "scores.csv", newline: str = "\n", bom: bool = False
) -> Path:
    path = folder / name
    path.write_bytes(b"\xef\xbb\xbf" * bom + (newline.join(lines) + newline).encode())
    return path


def parquet(folder: Path, rows: list[dict], metadata: dict | None = None) -> Path:
    path = folder / "scores.parquet"
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(metadata), path)
    return path


def row(number: int = 0, model: str = "clip", s: float = 0.5, r: float = 0.25, **more) -> dict:
    return {"id": f"p{number}", "model": model, "neg_caption_score": s, "caption_score": r, **more}


def test_long_csv(tmp_path):
    table = read_scores(write(tmp_path, HEADER, *LINES))
    assert (table.rows, len(table), table.duplicates) == (4, 2, 0)
    assert table.models == ("clip", "llava")
    assert table.for_row("any", None, 0) == (ModelScore("clip", 0.75, 0.5), ModelScore("llava", 0.25, 0.125))
    assert table.for_row("any", "pair", 1) == (ModelScore("clip", 0.5, 0.5), ModelScore("llava", 1.0, 0.0))
    assert table.for_row("any", "pair", 2) == ()
    assert table.for_row("any") == ()
    assert table.problems() == []


@pytest.mark.parametrize("bom", [False, True])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_untidy_csv(tmp_path, bom, newline):
    """BOM, CRLF, spaces and capitals in names, spaces in cells, other order, extra columns, blank lines."""
    lines = [
        ' Caption_Score ,MODEL, note ,neg_caption_score, row,"caption"',
        f'0.5, clip ,"a, b{newline}c",0.75 ,0,"a man{newline}runs "',
        "",
        "0.125,llava,,2.5e-1, 0 ,",
    ]
    table = read_scores(write(tmp_path, *lines, newline=newline, bom=bom))
    expected = (ModelScore("clip", 0.75, 0.5), ModelScore("llava", 0.25, 0.125))
    assert table.for_row("x", None, 0, caption=f"a man{newline}runs") == expected
    with pytest.raises(ScoreError, match=r"row 0: the score of model clip is of another caption"):
        table.for_row("x", None, 0, caption="a man walks")


def test_order_of_rows_does_not_matter(tmp_path):
    orders = [LINES, LINES[::-1], [LINES[2], LINES[1], LINES[3], LINES[0]]]
    tables = [read_scores(write(tmp_path, HEADER, *order, name=f"{i}.csv")) for i, order in enumerate(orders)]
    assert len({tuple(table.for_row("x", None, i) for i in (0, 1)) for table in tables}) == 1


def test_lookup_goes_from_row_id_to_pair_id_to_row_number(tmp_path):
    lines = ["id,row,model,neg_caption_score,caption_score"]
    lines += ["pair-gen-001,,m,0.1,0", "pair,,m,0.2,0", ",5,m,0.3,0", "unknown,5,m,0.4,0"]
    table = read_scores(write(tmp_path, *lines))

    def found(*keys) -> list[float]:
        return [score.neg_caption_score for score in table.for_row(*keys)]

    assert found("pair-gen-002", "other", 6) == []
    assert table.unused() == ["pair-gen-001", "pair", 5, "unknown"]
    assert found("pair-gen-001", "pair", 5) == [0.1]
    assert table.unused() == ["pair", 5, "unknown"]
    assert found("pair-gen-002", "pair", 5) == [0.2]
    assert found("pair-gen-002", "other", 5) == [0.3]
    assert table.unused() == ["unknown"]


def test_scores_of_a_pair_with_several_synthetic_videos(tmp_path):
    path = parquet(tmp_path, [row(0), {**row(1), "id": "p1-gen-002"}])
    table = read_scores(path)
    three = [VideoIdentity(None, "gen", sample) for sample in (1, 2, 3)]
    assert table.for_row("p1-gen-002", "p1", video=three[1], among=three)
    assert table.for_row("p0-gen-001", "p0", video=three[0], among=three[:1])
    with pytest.raises(ScoreError, match="which of several synthetic videos"):
        table.for_row("p0-gen-001", "p0", video=three[0], among=three)
    twins = [VideoIdentity("a" * 64, "gen", sample) for sample in (1, 2)]
    assert table.for_row("p0-gen-001", "p0", video=twins[0], among=twins)  # the same bytes


A, B = "a" * 64, "b" * 64
LONG = "row,model,neg_caption_score,caption_score,sha256,generator,sample"


@pytest.mark.parametrize(
    ("cells", "video", "binding"),
    [
        (f"{A},lavie,1", VideoIdentity(A, "lavie", 1), "sha256"),
        (f"{A.upper()},,", VideoIdentity(A, "lavie", 1), "sha256"),
        (f"{A},lavie,1", VideoIdentity(None, "lavie", 1), "name"),
        (",lavie,01", VideoIdentity(A, "lavie", 1), "name"),
        (",lavie,", VideoIdentity(A, "lavie", 1), "nothing"),
        (",,1", VideoIdentity(A, "lavie", 1), "nothing"),
        (",,", VideoIdentity(A, "lavie", 1), "nothing"),
    ],
)
def test_scores_that_agree_with_the_video(tmp_path, cells, video, binding):
    table = read_scores(write(tmp_path, LONG, f"0,m,0.5,0.25,{cells}"))
    assert table.find("p-lavie-001", "p", 0, video=video) == ((ModelScore("m", 0.5, 0.25),), binding)


@pytest.mark.parametrize(
    ("cells", "found", "remade"),
    [
        (f"{B},,", f"sha256 {B}", True),
        (f"{B},lavie,1", f"sha256 {B}, generator lavie, sample 1", True),
        (",cogvideox,", "generator cogvideox", False),
        (",,2", "sample 2", False),
        (f"{A},lavie,2", f"sha256 {A}, generator lavie, sample 2", False),
    ],
)
@pytest.mark.parametrize("key", ["id", "row"])
def test_scores_that_contradict_the_video(tmp_path, cells, found, remade, key):
    own = "p-lavie-001" if key == "id" else "4"
    path = write(tmp_path, LONG.replace("row", key), f"{own},m,0.5,0.25,{cells}")
    video = VideoIdentity(A, "lavie", 1)
    with pytest.raises(ScoreError, match="row 0: the scores are of another video") as caught:
        read_scores(path).for_row("p-lavie-001", "p", 4, video=video)
    assert (caught.value.file, caught.value.found) == (str(path), found)
    assert caught.value.expected == f"sha256 {A}, generator lavie, sample 1"
    assert ("after the scoring" in caught.value.problem) == remade
    assert caught.value.fix


def test_a_table_of_several_generators_and_samples(tmp_path):
    """By row number, one table serves every config; a video that it has no scores of is not scored."""
    videos = [("lavie", 1), ("lavie", 2), ("cogvideox", 1)]
    lines = [
        f"{number},m,0.{number}{place},0,,{generator},{sample}"
        for number in range(3)
        for place, (generator, sample) in enumerate(videos)
        if (number, place) != (2, 1)
    ]
    table = read_scores(write(tmp_path, LONG, *lines))
    assert table.generators == {"lavie", "cogvideox"}
    assert len(table) == 3
    lavie = [VideoIdentity(f"{n}" * 64, "lavie", n) for n in (1, 2)]
    for number in range(3):
        for place in (0, 1):
            found = table.for_row(
                f"p{number}-lavie-00{place + 1}", None, number, video=lavie[place], among=lavie
            )
            expected = [] if (number, place) == (2, 1) else [float(f"0.{number}{place}")]
            assert [score.neg_caption_score for score in found] == expected
    assert table.of_other_videos() == 3
    assert table.unused() == []
    with pytest.raises(ScoreError, match="of several videos"):
        table.for_row("p0", None, 0)
    # What is wrong with one video's score is not the other's fault.
    bad = read_scores(write(tmp_path, LONG, "0,m,nan,0,,lavie,1", "0,m,0.5,0,,lavie,2"))
    with pytest.raises(ScoreError, match="is missing"):
        bad.for_row("p", None, 0, video=lavie[0], among=lavie)
    assert bad.for_row("p", None, 0, video=lavie[1], among=lavie) == (ModelScore("m", 0.5, 0.0),)


def test_a_video_that_was_scored_again_takes_its_own_scores(tmp_path):
    lines = [f"0,m,0.1,0,{A},,", f"0,m,0.9,0,{B},,", "0,other,0.5,0,,,"]
    table = read_scores(write(tmp_path, LONG, *lines))
    for sha256, score in ((A, 0.1), (B, 0.9)):
        found, binding = table.find("p", None, 0, video=VideoIdentity(sha256, "lavie", 1))
        assert [(s.model, s.neg_caption_score) for s in found] == [("m", score), ("other", 0.5)]
        assert binding == "nothing"  # the other model's do not say


@pytest.mark.parametrize("cells", ["abc,,", f"{A}0,,", ",,0", ",,-1", ",,first"])
def test_what_names_no_video_is_an_error_of_the_file(tmp_path, cells):
    with pytest.raises(SchemaError, match="row 1"):
        read_scores(write(tmp_path, LONG, "0,m,0.5,0.5,,,", f"1,m,0.5,0.5,{cells}"))


@pytest.mark.parametrize("cells", ["nan,nan,nan", "NA,NULL,#N/A", "None,NaT,<NA>"])
def test_words_for_an_empty_cell_name_no_video(tmp_path, cells):
    table = read_scores(write(tmp_path, LONG, f"0,m,0.5,0.5,{cells}", f"1,m,0.5,0.5,{A},lavie,1"))
    assert table.generators == {"lavie"}
    found = table.find("p", source_row=0, video=VideoIdentity(B, "other", 3))
    assert found.scores
    assert found.binding == "nothing"


def test_columns_with_gaps_as_pandas_writes_them(tmp_path):
    rows = [
        row(0, sha256=A, generator="lavie", sample=2.0),
        row(1, sha256=None, generator=None, sample=math.nan),
    ]
    table = read_scores(parquet(tmp_path, rows))
    assert table.for_row("p0", video=VideoIdentity(A, "lavie", 2))
    assert table.for_row("p1", video=VideoIdentity(A, "lavie", 2))
    with pytest.raises(ScoreError, match="another video"):
        table.for_row("p0", video=VideoIdentity(A, "lavie", 1))


@pytest.mark.parametrize(
    ("own", "column"),
    [
        ({"videopath": "v1"}, "videopath"),
        ({"caption": "a dog"}, "caption"),
        ({"neg_caption": "a cat"}, "neg_caption"),
    ],
)
def test_scores_of_something_else(tmp_path, own, column):
    said = {"videopath": "v0", "caption": " a cat", "neg_caption": "a dog"}
    table = read_scores(parquet(tmp_path, [row(4, **said)]))
    truth = {"videopath": "v0 ", "caption": "a cat", "neg_caption": "a dog"}
    assert table.for_row("p4", **truth)
    assert table.for_row("p4")
    with pytest.raises(ScoreError, match=f"row 0: .* another {column}") as caught:
        table.for_row("p4", **{**truth, **own})
    assert caught.value.file == str(tmp_path / "scores.parquet")


def test_reading_with_triplets(tmp_path):
    def triplet(number: int, name: str, caption: str = "a") -> Triplet:
        return Triplet(
            source="s", video_id=name, caption=caption, neg_caption="b", videopath=name, row=number
        )

    path = write(tmp_path, HEADER, *LINES)
    table = read_scores(path, [triplet(0, "v0"), triplet(1, "v1"), triplet(2, "v2")])
    assert table.problems() == []
    assert table.unused() == [0, 1]
    # One row of another video is the problem of that row only.
    table = read_scores(path, [triplet(0, "v0"), triplet(1, "v0")])
    assert len(table.for_row("x", None, 0)) == 2
    with pytest.raises(ScoreError, match=r"row 2: .* another videopath"):
        table.for_row("x", None, 1)
    # With all of them wrong, the file is.
    with pytest.raises(ScoreError, match=r"row 0: .* another videopath"):
        read_scores(path, [triplet(0, "v1"), triplet(1, "v0"), triplet(2, "v2")])
    pair = triplet(7, "v7", "a cat")
    path = parquet(tmp_path, [row(1, caption=None), {**row(caption="a dog"), "id": pair.pair_id}])
    with pytest.raises(ScoreError, match=r"row 1: .* another caption"):
        read_scores(path, [pair])


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("nan", "is missing"),
        ("", "is missing"),
        ("1.5", r"is outside \[0, 1\]"),
        ("-0.1", r"is outside \[0, 1\]"),
        ("inf", r"is outside \[0, 1\]"),
        ("high", "is not a number"),
    ],
)
@pytest.mark.parametrize("column", ["neg_caption_score", "caption_score"])
def test_a_bad_score_is_the_problem_of_its_row_only(tmp_path, cell, problem, column):
    bad = "1,v1,llava," + (f"{cell},0.5" if column == "neg_caption_score" else f"0.5,{cell}")
    path = write(tmp_path, HEADER, *LINES[:3], bad)
    table = read_scores(path)
    assert len(table.for_row("x", None, 0)) == 2
    with pytest.raises(ScoreError, match=f"row 3: the {column} of model llava {problem}") as caught:
        table.for_row("x", None, 1)
    assert caught.value.file == str(path)
    assert [str(error) for error in table.problems()] == [str(caught.value)]
    assert table.unused() == []  # asked for, so it matched


def test_null_and_nan_in_parquet(tmp_path):
    table = read_scores(parquet(tmp_path, [row(0, s=None), row(1, r=math.nan), row(2)]))
    for key in ("p0", "p1"):
        with pytest.raises(ScoreError, match="is missing"):
            table.for_row(key)
    assert table.for_row("p2") == (ModelScore("clip", 0.5, 0.25),)


def test_missing_model(tmp_path):
    table = read_scores(write(tmp_path, HEADER, *LINES[:3]))
    assert len(table.for_row("x", None, 0)) == 2
    with pytest.raises(ScoreError, match=r"row 2: the score of llava is missing.*Expected: clip, llava"):
        table.for_row("x", None, 1)


def test_duplicates(tmp_path):
    same = read_scores(write(tmp_path, HEADER, *LINES, LINES[0], LINES[0]))
    assert (same.duplicates, same.rows) == (2, 6)
    assert same.for_row("x", None, 0) == (ModelScore("clip", 0.75, 0.5), ModelScore("llava", 0.25, 0.125))
    other = read_scores(write(tmp_path, HEADER, *LINES, "0,v0,clip,0.75,0.25"))
    with pytest.raises(ScoreError, match="row 4: two rows contradict each other about model clip"):
        other.for_row("x", None, 0)
    assert len(other.for_row("x", None, 1)) == 2
    revised = read_scores(parquet(tmp_path, [row(revision="a"), row(revision="b")]))
    with pytest.raises(ScoreError, match="two revisions or methods"):
        revised.for_row("p0")


def test_many_scores_of_one_key_are_read_in_one_pass(tmp_path, monkeypatch):
    """A table whose `row` is constant: each row is compared with what repeats it, not with all before it."""
    looked_at = 0
    own = ScoreRow.identity.fget

    def counted(entry):
        nonlocal looked_at
        looked_at += 1
        return own(entry)

    rows, models = 600, ("a", "b", "c")
    lines = [f"0,{models[n % 3]},{n // 3},0.5,0.25" for n in range(rows)]
    again = [f"{lines[-1]}", "0,a,7,0.5,0.5"]  # one that repeats, one that contradicts
    path = write(tmp_path, "row,model,frame,neg_caption_score,caption_score", *lines, *again)
    monkeypatch.setattr(ScoreRow, "identity", property(counted))
    table = read_scores(path)
    assert looked_at < 4 * rows
    assert (table.rows, table.duplicates) == (rows + 2, 1)
    (problem,) = table.problems()
    assert problem.row == rows + 1
    assert "contradict each other about model a" in problem.problem


@pytest.mark.parametrize("many", [0, 3, 1000])
def test_repeats_are_found_however_many_scores_a_key_has(tmp_path, monkeypatch, many):
    rng = random.Random(many)
    monkeypatch.setattr("synvita_data.tables.scores._MANY", many)
    lines = [
        f"{rng.randrange(2)},{rng.choice('ab')},{rng.randrange(9)},{rng.choice(['0.5', '0.25'])},0.25"
        for _ in range(120)
    ]
    table = read_scores(write(tmp_path, "row,model,frame,neg_caption_score,caption_score", *lines))
    first: dict[tuple, str] = {}
    repeated, contradicted = 0, set()
    for line in lines:
        *identity, score, _ = line.split(",")
        if first.setdefault(tuple(identity), score) != score:
            contradicted.add(int(identity[0]))
        elif first[tuple(identity)] is not score:
            repeated += 1
    assert table.duplicates == repeated
    assert len(table.problems()) == len(contradicted) == 2


def test_frames_are_averaged(tmp_path):
    values = [(0.1, 0.9), (0.2, 0.7), (0.4, 0.1), (0.7, 0.3)]
    rows = [
        row(0, "clip", s, r, frame=i, revision="r1", method="vqascore") for i, (s, r) in enumerate(values)
    ]
    rows += [row(0, "llava", 0.5, 0.25, frame=None, revision=None, method=None)]
    random.Random(0).shuffle(rows)
    clip, llava = read_scores(parquet(tmp_path, rows)).for_row("p0")
    assert (clip.model, clip.revision, clip.method) == ("clip", "r1", "vqascore")
    assert clip.neg_caption_score == pytest.approx(statistics.mean(s for s, _ in values), rel=1e-15)
    assert clip.caption_score == pytest.approx(statistics.mean(r for _, r in values), rel=1e-15)
    assert llava == ModelScore("llava", 0.5, 0.25)


def test_a_missing_frame_and_a_mean_beside_frames(tmp_path):
    rows = [row(n, frame=f) for n in range(3) for f in range(4) if (n, f) != (1, 2)]
    rows.append(row(2, frame=None))
    rows.append(row(3, frame=None))
    table = read_scores(parquet(tmp_path, rows))
    assert table.for_row("p0") == (ModelScore("clip", 0.5, 0.25),)
    with pytest.raises(ScoreError, match="for 3 frames, where other rows have 4"):
        table.for_row("p1")
    with pytest.raises(ScoreError, match="both of single frames and as their mean"):
        table.for_row("p2")
    with pytest.raises(ScoreError, match="where other rows have 4"):
        table.for_row("p3")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["row,model,caption_score", "0,m,0.5"], "no column for neg_caption_score"),
        (["model,neg_caption_score,caption_score"], "no column for id or row"),
        ([""], "the file is empty"),
        ([HEADER + ",model", "0,v,m,0.5,0.5,m"], "two columns could be 'model'"),
        ([HEADER, LINES[0], "1,v,m,0.5"], "row 1: a row has another number of cells"),
        ([HEADER, ",v,m,0.5,0.5"], "row 0: a score does not say whose"),
        ([HEADER, "0,v, ,0.5,0.5"], "row 0: a score does not say whose"),
        ([HEADER, "-1,v,m,0.5,0.5"], "row 0: a row number is not one"),
        ([HEADER, "1.5,v,m,0.5,0.5"], "row 0: a row number is not one"),
        ([HEADER, '0,v,"m,0.5,0.5'], "row 0: .*never closed"),
    ],
)
def test_files_that_are_no_score_tables(tmp_path, lines, message):
    path = write(tmp_path, *lines)
    with pytest.raises(SchemaError, match=message) as caught:
        read_scores(path)
    assert caught.value.file == str(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ScoreError, match="score table does not exist"):
        read_scores(tmp_path / "none.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes(HEADER.encode() + "\n0,é,m,1,1\n".encode("latin-1"))
    with pytest.raises(SchemaError, match="UTF-8"):
        read_scores(latin)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(SchemaError, match="not a readable Parquet file"):
        read_scores(broken)
    with pytest.raises(SchemaError, match="schema version"):
        read_scores(parquet(tmp_path, [row()], {"schema_version": "99.0"}))


SCORE_ROWS = [
    ScoreRow("p0", "clip", 0.1, 0.9, "r1", "vqascore", 0),
    ScoreRow("p0", "clip", 0.3, 0.5, "r1", "vqascore", 1),
    ScoreRow("p0", "llava", 0.0, 1.0),
]


def test_write_and_read_back(tmp_path):
    path = tmp_path / "deep" / "scores.parquet"
    assert write_scores(path, iter(SCORE_ROWS)) == 3
    stored = pq.read_table(path)
    assert stored.schema.metadata[b"schema_version"].decode() == "1.1"
    assert stored.schema.equals(score_schema())
    assert stored.column_names == [
        "id",
        "model",
        "revision",
        "method",
        "frame",
        "neg_caption_score",
        "caption_score",
        "sha256",
        "generator",
        "sample",
    ]
    assert stored.column("frame").to_pylist() == [0, 1, None]
    clip, llava = read_scores(path).for_row("p0")
    assert (clip.revision, clip.method) == ("r1", "vqascore")
    assert clip.neg_caption_score == pytest.approx(0.2)
    assert clip.caption_score == pytest.approx(0.7)
    assert llava == ModelScore("llava", 0.0, 1.0)
    again = tmp_path / "again.parquet"
    write_scores(again, SCORE_ROWS)
    assert again.read_bytes() == path.read_bytes()
    empty = tmp_path / "empty.parquet"
    assert write_scores(empty, []) == 0
    assert len(read_scores(empty)) == 0


def test_many_rows_pass_through_in_batches(tmp_path):
    path = tmp_path / "scores.parquet"
    count = 50_001
    rows = (ScoreRow(f"p{i}", "m", i / count, 0.0) for i in range(count))
    assert write_scores(path, rows) == count
    table = read_scores(path)
    assert len(table) == count
    assert table.for_row("p50000")[0].neg_caption_score == 50_000 / count


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (ScoreRow("p1", "m", math.nan, 0.5), "row 1: the neg_caption_score of model m for p1 is missing"),
        (ScoreRow("p1", "m", 0.5, 1.5), "row 1: the caption_score of model m for p1 is outside"),
        (ScoreRow("", "m", 0.5, 0.5), "row 1: a score does not say whose"),
        (ScoreRow("p1", "", 0.5, 0.5), "row 1: a score does not say whose"),
        (ScoreRow("p1", "m", 0.5, 0.5, frame=-1), "row 1: a score does not say whose"),
        (ScoreRow("p1", "m", 0.5, 0.5, sha256="A" * 64), "row 1: a score does not say which video"),
        (ScoreRow("p1", "m", 0.5, 0.5, sample=0), "row 1: a score does not say which video"),
        (SCORE_ROWS[0], "two scores for one id"),
    ],
)
def test_a_bad_row_leaves_the_old_file(tmp_path, bad, message):
    path = tmp_path / "scores.parquet"
    write_scores(path, SCORE_ROWS)
    before = path.read_bytes()
    with pytest.raises(ScoreError, match=message):
        write_scores(path, [SCORE_ROWS[0], bad])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_errors_are_ours(tmp_path):
    """So that the command line prints them without a traceback and a build can quarantine them."""
    with pytest.raises(SynvitaError) as caught:
        read_scores(write(tmp_path, HEADER, "0,v0,clip,2,0.5")).for_row("x", None, 0)
    record = caught.value.to_record()
    assert (record["reason"], record["row"], record["found"]) == ("ScoreError", 0, "2.0")


def test_known_figures_of_the_real_scores(real_data):
    """Means of the paper's own data, measured before: differences, weights, share of weight zero."""
    folder = real_data / "videocon-16k"
    table = read_scores(folder / "vqascores.csv")
    assert table.models == ("clip-flant5-xxl", "instructblip-flant5-xxl", "llava-v1.5-13b")
    assert (table.rows, len(table), table.duplicates, table.problems()) == (50_568, 16_856, 0, [])
    with (folder / "triplets.csv").open(encoding="utf-8-sig", newline="") as handle:
        triplets = list(csv.DictReader(handle))
    means: dict[str, list[tuple[float, float]]] = {"action": [], "flip": []}
    for number, triplet in enumerate(triplets):
        scores = table.for_row("", None, number, videopath=triplet["videopath"])
        means[triplet["misalignment"]].append(
            (
                sum(score.neg_caption_score for score in scores) / 3,
                sum(score.caption_score for score in scores) / 3,
            )
        )
    assert table.unused() == []
    expected = {"action": (0.1011, 0.1325, 0.350), "flip": (-0.0413, 0.0165, 0.721)}
    for misalignment, (difference, mean_weight, zero) in expected.items():
        neg, cap = zip(*means[misalignment], strict=True)
        weights = weigh(neg, cap)
        assert statistics.fmean(s - r for s, r in means[misalignment]) == pytest.approx(difference, abs=5e-5)
        assert weights.mean() == pytest.approx(mean_weight, abs=5e-5)
        assert (weights == 0).mean() == pytest.approx(zero, abs=5e-4)
