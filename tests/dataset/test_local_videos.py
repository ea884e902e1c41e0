"""Real videos are found when rows are read, and no way out of the process carries their bytes or their places.

Every way of saving is tried on datasets that went through every transform; what was written is searched byte by byte.
"""

import copy
import json
import os
import pickle
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset.test_dataset import HUMAN, MSR_VTT, VATEX, put, row, write_dataset

from synvita_data.dataset.load import load_triplets, real_coverage
from synvita_data.dataset.local_videos import LocalVideo, finder_of, real_parts, without_real_bytes
from synvita_data.errors import SchemaError
from synvita_data.schema import features

datasets = pytest.importorskip("datasets")

SECRET = "home-of-nobody"  # a folder on the way to the real videos
BYTES = b"REAL-VIDEO-OF-SOMEBODY"
CLIP = "k600/val/abcdefghijk_000004_000014.mp4"
FOLDER_CLIP = "abcdefghijk_000004_000014.mp4"
REFERENCE = "elsewhere/trap.webm"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def root(shared):
    """A folder of real videos, and in it what the published references name, as a trap."""
    root = put(shared / SECRET, CLIP, "video3094.mp4", REFERENCE)
    for file in root.rglob("*.*"):
        file.write_bytes(BYTES)
    return root


@pytest.fixture(scope="module")
def built(shared):
    rows = [
        row(VATEX, synthetic=b"v1"),
        row(MSR_VTT, synthetic=b"v2", real={"bytes": None, "path": REFERENCE}),
        row(HUMAN),
    ]
    return write_dataset(
        shared / "built",
        {"cogvideox": {"train": rows, "test": [row(HUMAN)]}, "lavie": {"train": rows[:2]}},
    )


@pytest.fixture(scope="module")
def load(built, shared, root):
    def load(*arguments, path=built, real_root=root, **options):
        return load_triplets(
            path, *arguments, real_root=real_root, cache_dir=shared / "cache", **{"split": "train", **options}
        )

    return load


def places(dataset):
    """Row id -> the file of its real video, by whole rows."""
    return {
        line["id"]: None if not line["real_available"] else str(line["real_video"]["path"])
        for line in dataset
    }


def expected(root, dataset):
    """What `places` should give, from the videos' ids alone."""
    files = {VATEX.video_id: str(root / CLIP), MSR_VTT.video_id: str(root / "video3094.mp4")}
    plain = dataset.with_format("arrow")[:]
    return {
        name: files.get(video)
        for name, video in zip(plain["id"].to_pylist(), plain["video_id"].to_pylist(), strict=True)
    }


def search(*where):
    """Every file under the places holds neither the real videos' bytes nor the folder they lie in."""
    files = [
        file for each in where for file in ([each] if each.is_file() else each.rglob("*")) if file.is_file()
    ]
    assert files
    for file in files:
        content = file.read_bytes()
        assert BYTES not in content, file
        assert SECRET.encode() not in content, file
        assert SECRET.encode("utf-16-le") not in content, file
        if file.suffix == ".parquet":  # compressed pages
            for column in pa.parquet.read_table(file).to_pylist():
                assert SECRET not in str(column)
                assert BYTES.decode() not in str(column)


def returns_rows(line):
    return line


def returns_copies(line):
    return {**line, "words": len(line["caption"].split())}


def returns_video(line):
    return {"copy": line["real_video"], "path": line["real_video"] and line["real_video"]["path"]}


def returns_batches(batch):
    return {name: list(batch[name]) for name in batch}


TRANSFORMS = {
    "as loaded": lambda rows: rows,
    "filter": lambda rows: rows.filter(lambda line: line["weight"] > 0),
    "filter by video": lambda rows: rows.filter(lambda line: line["real_available"]),
    "filter in batches": lambda rows: rows.filter(lambda b: b["real_available"], batched=True),
    "map": lambda rows: rows.map(lambda line: {"words": len(line["caption"])}),
    "map of rows": lambda rows: rows.map(returns_rows),
    "map of copies": lambda rows: rows.map(returns_copies),
    "map of videos": lambda rows: rows.map(returns_video),
    "map of batches": lambda rows: rows.map(returns_batches, batched=True),
    "map of batches in memory": lambda rows: rows.map(returns_batches, batched=True, keep_in_memory=True),
    "map in processes": lambda rows: rows.map(returns_copies, num_proc=2),
    "select": lambda rows: rows.select([2, 0, 1]),
    "shuffle": lambda rows: rows.shuffle(seed=1),
    "sort": lambda rows: rows.sort("caption"),
    "flatten indices": lambda rows: rows.shuffle(seed=1).flatten_indices(),
    "train of split": lambda rows: rows.train_test_split(test_size=1, seed=0)["train"],
    "concatenate": lambda rows: datasets.concatenate_datasets([rows, rows.select([1])]),
    "interleave": lambda rows: datasets.interleave_datasets([rows, rows.select([1])]),
    "shard": lambda rows: rows.shard(2, 0),
    "repeat": lambda rows: rows.repeat(2),
    "add column": lambda rows: rows.add_column("more", [1] * len(rows)),
    "rename column": lambda rows: rows.rename_column("hard", "difficult").rename_column("difficult", "hard"),
    "cast": lambda rows: rows.cast_column("weight", datasets.Value("float32")),
    "pickle": lambda rows: pickle.loads(pickle.dumps(rows)),  # noqa: S301 (its own)
    "deepcopy": copy.deepcopy,
    "chain": lambda rows: rows.filter(lambda line: True).map(returns_rows).shuffle(seed=3).select(range(2)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_keeps_finding_videos_and_puts_none_into_the_table(
    load, root, shared, tmp_path, name
):
    rows = TRANSFORMS[name](load())
    assert places(rows) == expected(root, rows)
    assert any(places(rows).values())
    # Whole rows, single cells, columns and batches agree.
    available = [line["real_available"] for line in rows]
    assert rows["real_available"][:] == list(rows["real_available"]) == available
    assert [line["start"] for line in rows] == rows["start"][:]
    assert [video and video["path"] for video in rows["real_video"]] == [
        video and video["path"] for video in rows[:]["real_video"]
    ]
    assert real_coverage(rows).found == sum(available) == sum(part.available for part in real_parts(rows))
    again = TRANSFORMS[name](load())  # now from the caches of `map`
    assert places(again) == places(rows)

    table = rows.with_format("arrow")[:]
    assert SECRET not in str(table.to_pydict())
    assert BYTES not in pa.concat_tables([table]).combine_chunks().to_pydict()["id"]
    rows.to_parquet(tmp_path / "out.parquet")
    rows.save_to_disk(tmp_path / "disk")
    search(tmp_path / "out.parquet", tmp_path / "disk", shared / "cache")


WAYS = {
    "save_to_disk": lambda rows, out: rows.save_to_disk(out),
    "save_to_disk in processes": lambda rows, out: rows.save_to_disk(out, num_proc=2),
    "save_to_disk of a dict": lambda rows, out: datasets.DatasetDict(train=rows).save_to_disk(out),
    "to_parquet": lambda rows, out: rows.to_parquet(out.with_suffix(".parquet")),
    "to_parquet in a folder": lambda rows, out: (
        out.mkdir(),
        rows.to_parquet(out / "train-00000-of-00001.parquet"),
    ),
    "to_json": lambda rows, out: rows.to_json(out.with_suffix(".json")),
    "to_json packed": lambda rows, out: rows.to_json(out.with_suffix(".jsonl.gz"), compression="gzip"),
}


@pytest.mark.parametrize("name", WAYS)
def test_what_was_saved_loads_again_with_its_videos(load, root, tmp_path, name, monkeypatch):
    """Also when the current folder is the root: `datasets` opens paths as they stand."""
    rows = load().filter(lambda line: line["video_id"] != HUMAN.video_id).map(returns_rows)
    monkeypatch.chdir(root)
    out = tmp_path / "saved"
    WAYS[name](rows, out)
    place = next(path for path in tmp_path.glob("saved*"))
    search(place)
    for file in place.rglob("state.json"):  # opens in a process that knows nothing of this package
        state = json.loads(file.read_text())
        assert (state["_format_type"], state["_format_kwargs"]) in ((None, {}), ("python", {}))

    monkeypatch.chdir(tmp_path)
    loaded = load(path=place)
    assert places(loaded) == expected(root, loaded) == places(rows)
    plain = load(path=place, real_root=None)
    published = load(real_root=None).select([0, 1])
    for saved, first in zip(plain, published, strict=True):
        for column in features():
            if column not in ("real_video", "real_available", "start", "end"):
                assert saved[column] == first[column], column
    assert set(load(path=place, split=None)) == {"train"}
    with pytest.raises(SchemaError, match="unknown split"):
        load(path=place, split="test")
    with pytest.raises(SchemaError, match="no configs"):
        load("cogvideox", path=place)


def test_the_times_of_a_clip_survive_a_function_that_returns_rows_as_they_are(load, tmp_path):
    """A row read says how its file is cut; what is saved says what was published."""
    load().map(returns_rows).save_to_disk(tmp_path / "saved")
    first = load(path=tmp_path / "saved", real_root=None)[0]
    assert (first["start"], first["end"], first["real_available"]) == (4.0, 14.0, False)


def test_json_without_videos_and_mp4_files_in_parquet(load, root, tmp_path):
    """Bytes of a real mp4 are no text, so `to_json` cannot write them; a table without the column loads all the same."""
    mp4 = b"\x00\x00\x00\x18ftypmp42\xff\xfe\x80"
    rows = load().map(lambda line: {"synthetic_video": {"bytes": mp4, "path": "x.mp4"}})
    with pytest.raises((OverflowError, UnicodeDecodeError)):
        rows.to_json(tmp_path / "bytes.json")
    rows.remove_columns(["synthetic_video", "real_video"]).to_json(tmp_path / "plain.json")
    loaded = load(path=tmp_path / "plain.json")
    assert places(loaded) == expected(root, loaded)
    assert loaded["synthetic_video"][:] == [None] * 3
    rows.to_parquet(tmp_path / "bytes.parquet")
    assert [video["bytes"] for video in load(path=tmp_path / "bytes.parquet")["synthetic_video"]] == [mp4] * 3
    load().remove_columns("shared").to_parquet(tmp_path / "less.parquet")
    with pytest.raises(SchemaError, match="shared"):
        load(path=tmp_path / "less.parquet")


def test_a_saved_subset_can_be_inspected(load, tmp_path):
    from synvita_data.dataset.built import open_dataset
    from synvita_data.dataset.inspection import inspect_dataset

    rows = load().filter(lambda line: line["real_available"])
    rows.to_parquet(tmp_path / "train.parquet")
    for place in (tmp_path / "train.parquet", tmp_path):
        inspection = inspect_dataset(open_dataset(str(place)))
        assert inspection.splits == {"train": 2}
    rows.save_to_disk(tmp_path / "disk")
    with pytest.raises(SchemaError, match="not Parquet"):
        open_dataset(str(tmp_path / "disk"))


def test_what_a_row_says_of_this_machine_is_not_believed_on_another(load, root, tmp_path):
    """A function that returns a copy of each row writes that its video was there, and how its file is cut."""
    load().map(returns_copies).to_parquet(tmp_path / "saved.parquet")
    elsewhere = load(path=tmp_path / "saved.parquet", real_root=None)
    assert elsewhere["real_available"][:] == [False, False, False]
    whole = put(tmp_path / "whole", "abcdefghijk.mp4")
    again = load(path=tmp_path / "saved.parquet", real_root=whole)
    assert again["real_available"][:] == [True, False, False]
    assert (again[0]["start"], again[0]["end"]) == (4.0, 14.0)  # of the clip's name


def test_full_paths_of_older_tables_are_not_passed_on(root, tmp_path):
    """Earlier versions put them into what they loaded, and people may have saved that."""
    kinds = [str(root / CLIP), "~/x.mp4", "C:\\videos\\x.mp4", "file:///x.mp4", "a/b.mp4", None]
    rows = [row(VATEX, synthetic=b"v", real={"bytes": None, "path": path}) for path in kinds]
    rows.append(row(VATEX, real={"bytes": BYTES, "path": str(root / CLIP)}))
    folder = write_dataset(tmp_path / "old", {"c": {"train": rows}}, row_group_size=3)
    loaded = load_triplets(folder, split="train", cache_dir=tmp_path / "cache")
    assert [video["path"] for video in loaded["real_video"]] == [
        None,
        None,
        None,
        None,
        "a/b.mp4",
        None,
        None,
    ]
    assert loaded[6]["real_video"]["bytes"] == BYTES
    assert loaded["real_available"][:] == [False] * 6 + [True]
    assert [video and video["bytes"] for video in loaded["synthetic_video"]] == [b"v"] * 6 + [None]
    loaded.select(range(6)).save_to_disk(tmp_path / "disk")
    search(tmp_path / "disk")


def test_tables_as_text_hold_nothing(load, root, tmp_path, monkeypatch):
    rows = load().map(returns_copies)
    monkeypatch.chdir(root)
    rows.to_csv(tmp_path / "rows.csv")
    plain = ["id", "source", "real_available", "weight"]  # SQLite has no structs
    with sqlite3.connect(tmp_path / "rows.db") as database:
        rows.select_columns(plain).to_sql("rows", database)
    rows.to_pandas().to_json(tmp_path / "pandas.json", default_handler=str)
    (tmp_path / "dict.json").write_text(json.dumps(rows.to_dict(), default=repr))
    (tmp_path / "list.json").write_text(json.dumps(rows.to_list(), default=repr))
    search(*(tmp_path / name for name in ("rows.csv", "rows.db", "pandas.json", "dict.json", "list.json")))
    with sqlite3.connect(tmp_path / "rows.db") as database:
        assert database.execute("select count(*) from rows").fetchone() == (3,)
    for file in ("rows.csv", "rows.db"):
        with pytest.raises(SchemaError, match="cannot be loaded from such a file"):
            load(path=tmp_path / file)


def test_a_dataset_made_of_rows_that_were_read_names_references(load, tmp_path):
    again = datasets.Dataset.from_list([dict(line) for line in load()])
    assert [video and video["path"] for video in again["real_video"]] == [None, REFERENCE, None]
    made = datasets.Dataset.from_generator(lambda: iter(load()), cache_dir=str(tmp_path / "made"))
    made.save_to_disk(tmp_path / "disk")
    search(tmp_path / "made", tmp_path / "disk")


def test_rows_that_went_through_python_load_again(load, root, tmp_path):
    """Columns of nothing but None, and the bytes of real videos, have lost their types there; classes are numbers."""
    lines = [dict(line) for line in load()]
    names = [name for name in lines[0] if all(line[name] is None for line in lines)]
    assert names
    path = tmp_path / "rows.parquet"
    datasets.Dataset.from_list(lines).to_parquet(path)
    assert pq.read_schema(path).field(names[0]).type == pa.null()
    again = load(path=path)
    published = load()
    for name, feature in features().items():
        assert again.features[name] == feature or "video" in name
        assert again.data.column(name).to_pylist() == published.data.column(name).to_pylist() or name in _READ
    assert [line["real_video"] for line in again] == [line["real_video"] for line in lines]
    assert [line["synthetic_video"] for line in again] == [line["synthetic_video"] for line in lines]

    table = pq.read_table(path)
    weight = table.column_names.index("weight")
    pq.write_table(table.set_column(weight, "weight", pa.array(["heavy"] * len(table))), path)
    with pytest.raises(SchemaError, match="other types than published"):
        load(path=path)


# As they are for a reader who has the real videos.
_READ = ("real_available", "real_video", "start", "end")


def test_other_formats_show_the_published_table(load):
    rows = load()
    for other in (rows.with_format("arrow"), rows.with_format("numpy"), rows.with_format(None)):
        assert finder_of(other) is None
    assert rows.with_format(None)[1]["real_video"] == {"bytes": None, "path": REFERENCE}
    seen = []
    shown = rows.with_transform(lambda batch: (seen.append(batch["real_video"]), batch)[1])
    assert shown[0]["start"] == 4.0
    assert SECRET not in str(seen)


def test_the_wrong_columns_are_said(load):
    with pytest.warns(UserWarning, match="without the columns video_id"):
        assert load().select_columns(["source", "real_video"])[0]["real_video"] is None
    with pytest.raises(SchemaError, match="columns that name them"):
        real_coverage(load().remove_columns("video_id"))


def test_datasets_of_several_roots_are_not_mixed_up(load, root, tmp_path):
    other = put(tmp_path / "other", FOLDER_CLIP)
    mixed = datasets.concatenate_datasets([load(), load(real_root=other)])
    assert finder_of(mixed) is None  # `datasets` drops formats that differ
    assert not any(mixed["real_available"])
    same = datasets.concatenate_datasets([load("lavie"), load("cogvideox")])
    assert places(same) == expected(root, same)


@pytest.mark.slow
def test_workers_of_a_loader_find_the_videos(load, root):
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(
        load(), batch_size=2, collate_fn=list, num_workers=1, multiprocessing_context="spawn"
    )
    lines = [line for batch in loader for line in batch]
    assert [line["real_video"] and str(line["real_video"]["path"]) for line in lines] == [
        str(root / CLIP),
        str(root / "video3094.mp4"),
        None,
    ]


def test_streams_of_it_hold_nothing_wrong(load, root, tmp_path):
    stream = load().to_iterable_dataset()
    assert {line["id"] for line in stream} == set(load()["id"])
    assert places(stream) == expected(root, load())


def test_a_local_video_is_a_path_and_text_and_never_written(tmp_path):
    file = tmp_path / "a.mp4"
    file.write_bytes(b"x")
    video = LocalVideo.of(file, "published/a.mp4")
    assert video == str(file)
    assert video == file
    assert {video: 1}[str(file)] == 1
    assert video.endswith("/a.mp4")
    assert video.replace(".mp4", ".txt") == str(file)[:-4] + ".txt"
    assert os.fspath(video) == str(file)
    with open(video, "rb") as handle:  # noqa: PTH123 (what a user does)
        assert handle.read() == b"x"
    back = pickle.loads(pickle.dumps(video))  # noqa: S301 (its own)
    assert (back, back.reference) == (video, "published/a.mp4")
    assert copy.deepcopy(video).reference == "published/a.mp4"
    assert video.parent == Path(tmp_path)
    with pytest.raises(AttributeError):
        video.nothing_of_text  # noqa: B018
    for cells in ([video], [None, video], ["x", video], [{"path": None}, {"path": video}], [[video]]):
        table = datasets.Dataset.from_dict({"cells": cells})
        assert SECRET not in str(table[:])
        assert str(file) not in str(table[:])


def test_embedded_videos_can_be_left_out(tmp_path):
    rows = [
        row(VATEX, synthetic=b"v1", real={"bytes": BYTES, "path": "r.mp4"}),
        row(MSR_VTT, synthetic=b"v2"),
    ]
    folder = write_dataset(tmp_path / "built", {"cogvideox": {"train": rows}})
    loaded = load_triplets(folder, split="train", cache_dir=tmp_path / "cache")
    assert loaded[0]["real_video"] == {"bytes": BYTES, "path": "r.mp4"}  # somebody said so by name
    bare = without_real_bytes(loaded)
    assert bare[0]["real_video"] == {"bytes": None, "path": "r.mp4"}
    assert bare["real_available"][:] == [False, False]
    assert bare["synthetic_video"][:] == loaded["synthetic_video"][:]
    bare.save_to_disk(tmp_path / "bare")
    search(tmp_path / "bare")
