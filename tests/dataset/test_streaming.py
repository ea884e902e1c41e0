"""`load_triplets(streaming=True)` gives the rows of `load_triplets`, one by one, and puts no place into its table."""

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_dataset import fake_mp4, small_rows, write_small_dataset

from synvita_data.dataset.load import load_triplets
from synvita_data.errors import SchemaError
from synvita_data.schema import arrow_schema


@pytest.fixture
def built(tmp_path):
    return write_small_dataset(tmp_path / "out", shards={"train": (3, 2), "test": (2,)})


@pytest.fixture
def root(tmp_path):
    """The real video of two of five rows."""
    folder = tmp_path / "real"
    folder.mkdir()
    for name in ("train1", "train4"):
        (folder / f"{name}.mp4").write_bytes(fake_mp4("real", name, 0))
    return folder


def plain(row):
    return {key: dict(value) if isinstance(value, dict) else value for key, value in dict(row).items()}


def test_the_rows_and_features_of_a_loaded_dataset(built, root, tmp_path):
    how = {"config": "lavie", "cache_dir": tmp_path / "cache"}
    for split, more in (("train", {}), ("train", {"real_root": root}), ("train+test", {})):
        loaded = load_triplets(built, split=split, **how, **more)
        stream = load_triplets(built, split=split, streaming=True, **how, **more)
        assert isinstance(stream, datasets.IterableDataset)
        assert stream.features == loaded.features
        rows = [plain(row) for row in stream]
        assert rows == [plain(row) for row in loaded]
        assert sum(row["real_available"] for row in rows) == (2 if more else 0)
        assert [plain(row) for row in stream.skip(1).take(2)] == rows[1:3]
    both = load_triplets(built, streaming=True, **how)
    assert isinstance(both, datasets.IterableDatasetDict)
    assert {name: len(list(part)) for name, part in both.items()} == {"train": 5, "test": 2}


def test_functions_see_the_videos_and_what_is_written_does_not(built, root, tmp_path):
    stream = load_triplets(built, "lavie", split="train", streaming=True, real_root=root)
    here = [row["video_id"] for row in stream if row["real_available"]]
    assert here == ["train1", "train4"]
    chosen = stream.filter(lambda row: row["real_available"])
    found = [str(row["real_video"]["path"]) for row in chosen]
    assert found == [str(root / f"{name}.mp4") for name in here]
    stream.to_parquet(tmp_path / "saved.parquet")
    table = pq.read_table(tmp_path / "saved.parquet")
    assert not any(table["real_available"].to_pylist())
    assert str(root) not in str(table["real_video"].to_pylist())


def test_a_table_of_another_machine_is_not_believed(tmp_path):
    rows = small_rows("lavie", "train", 0, 3)
    rows[0] |= {"real_available": True, "real_video": {"bytes": None, "path": "/home/other/train0.mp4"}}
    rows[1] |= {"real_available": True, "real_video": {"bytes": b"embedded", "path": "train1.mp4"}}
    rows[2] |= {"synthetic_video": None, "real_video": {"bytes": None, "path": "msr-vtt/train2.mp4"}}
    place = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()), place)
    loaded = load_triplets(place, split="train", cache_dir=tmp_path / "cache")
    stream = load_triplets(place, split="train", streaming=True)
    assert [plain(row) for row in stream] == [plain(row) for row in loaded]
    assert [row["real_available"] for row in stream] == [False, True, False]
    assert [row["real_video"]["path"] for row in stream] == [None, "train1.mp4", "msr-vtt/train2.mp4"]


def test_synthetic_videos_that_rows_refer_to(tmp_path):
    rows = small_rows("lavie", "train", 0, 2)
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, row in enumerate(rows):
        (folder / f"{number}.mp4").write_bytes(row["synthetic_video"]["bytes"])
        row["synthetic_video"] = {"bytes": None, "path": f"{number}.mp4"}
    place = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()), place)
    stream = load_triplets(place, split="train", streaming=True, synthetic_root=folder)
    loaded = load_triplets(place, split="train", synthetic_root=folder, cache_dir=tmp_path / "cache")
    assert stream.features == loaded.features
    paths = [row["synthetic_video"]["path"] for row in stream]
    assert [str(path) for path in paths] == [str(folder / f"{n}.mp4") for n in range(2)]
    published = next(row["synthetic_video"] for row in stream.with_format("arrow").iter(2)).to_pylist()
    assert published == [{"bytes": None, "path": f"{n}.mp4"} for n in range(2)]


def test_what_datasets_saved(built, tmp_path):
    loaded = load_triplets(built, "lavie", split="train", cache_dir=tmp_path / "cache")
    loaded.save_to_disk(tmp_path / "disk")
    loaded.remove_columns("synthetic_video").to_json(tmp_path / "rows.jsonl")
    for place in ("disk", "rows.jsonl"):
        again = load_triplets(tmp_path / place, split="train", cache_dir=tmp_path / "cache")
        stream = load_triplets(tmp_path / place, split="train", streaming=True)
        assert stream.features == again.features, place
        assert [plain(row) for row in stream] == [plain(row) for row in again], place


def test_what_a_stream_cannot_be(built, tmp_path):
    with pytest.raises(SchemaError, match=r"a stream has whole splits.*stream.take"):
        load_triplets(built, split="train[:2]", streaming=True)
    with pytest.raises(SchemaError, match="split"):
        load_triplets(built, split="none", streaming=True)
    pq.write_table(pa.table({"id": ["a"], "caption": ["b"]}), tmp_path / "other.parquet")
    with pytest.raises(SchemaError, match=r"lacks columns of a table of triplets.*pair_id"):
        load_triplets(tmp_path / "other.parquet", split="train", streaming=True)
