"""What a dataset folder must be before it is published. No network."""

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_dataset import read_report, small_rows, write_report, write_shard, write_small_dataset

from synvita_data.builders.publish.folder import VIEWER_SCAN_BYTES, read_built_folder
from synvita_data.errors import SchemaError, SynvitaError, UnsafePathError
from synvita_data.files import sha256_file
from synvita_data.schema import arrow_schema

TRAIN = "lavie/train-00000-of-00002.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_small_dataset(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "dataset")


def test_a_whole_folder(folder):
    (folder / "LICENSE").write_text("licence")
    built = read_built_folder(folder)
    assert built.configs == ("cogvideox", "lavie")
    names = ["test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"]
    assert sorted(built.data) == [f"{config}/{name}.parquet" for config in built.configs for name in names]
    for path, file in built.data.items():
        assert file.sha256 == sha256_file(folder / path)
    figures = [f"figures/vqascore-difference-{config}.png" for config in built.configs]
    assert sorted(file.path for file in built.extras) == ["LICENSE", *figures]
    assert (built.warnings, built.left_out, built.embeds_real_videos) == ((), (), False)


def test_work_in_progress_and_notes_stay_at_home(folder):
    (folder / ".work" / "deep").mkdir(parents=True)
    (folder / ".work" / "deep" / "x.parquet").write_bytes(b"half")
    (folder / ".work" / "y").write_bytes(b"half")
    (folder / "lavie" / ".part-12ab-train-00000-of-00002.parquet").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    (folder / "figures" / "script.py").write_text("mine")
    built = read_built_folder(folder)
    published = {*built.data, *(file.path for file in built.extras)}
    assert not [path for path in published if "part" in path or "work" in path or "notes" in path]
    assert built.left_out == (
        ".work/ (2 files)",
        "figures/script.py",
        "lavie/.part-12ab-train-00000-of-00002.parquet",
        "notes.txt",
    )


def remove(name):
    return lambda folder: (folder / name).unlink()


def flip_byte(folder):
    path = folder / TRAIN
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)


def truncate(folder):
    path = folder / TRAIN
    path.write_bytes(path.read_bytes()[:-100])


def same_size_not_parquet(folder):
    path = folder / TRAIN
    path.write_bytes(bytes(path.stat().st_size))


def other_schema_version(folder):
    path = folder / TRAIN
    schema = arrow_schema().with_metadata({**arrow_schema().metadata, b"schema_version": b"9.0"})
    pq.write_table(pa.Table.from_pylist(small_rows("lavie", "train", 0, 3), schema=schema), path)
    record_file(folder, path)


def fewer_rows(folder):
    path = folder / TRAIN
    write_shard(path, small_rows("lavie", "train", 0, 2))
    record_file(folder, path)


def record_file(folder, path):
    """Make build.json agree with a file's bytes, but not with its rows."""
    report = read_report(folder)
    shard = report["configs"]["lavie"]["splits"]["train"]["shards"][0]
    shard["bytes"], shard["sha256"] = path.stat().st_size, sha256_file(path)
    write_report(folder, report)


def incomplete_set(folder):
    report = read_report(folder)
    part = report["configs"]["lavie"]["splits"]["train"]
    part["shards"].pop()
    part["rows"] = 3
    write_report(folder, report)


def wrong_total(folder):
    report = read_report(folder)
    report["configs"]["lavie"]["splits"]["train"]["rows"] = 6
    write_report(folder, report)


def left_over_shard(folder):
    shutil.copy(folder / TRAIN, folder / "lavie" / "train-00000-of-00003.parquet")


def card_of_fewer_configs(folder):
    other = write_small_dataset(folder.parent / "other", configs=("lavie",))
    shutil.copy(other / "README.md", folder / "README.md")


def edit_card(old, new):
    def edit(folder):
        text = (folder / "README.md").read_text()
        assert old in text
        (folder / "README.md").write_text(text.replace(old, new, 1))

    return edit


def not_json(folder):
    (folder / "build.json").write_text("{")


def old_report(folder):
    report = read_report(folder)
    report["schema_version"] = "0.9"
    write_report(folder, report, card=False)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove("README.md"), "README.md is missing"),
        (remove("build.json"), "build.json is missing"),
        (remove(TRAIN), "a shard is missing"),
        (flip_byte, "SHA-256"),
        (truncate, "bytes of a shard"),
        (same_size_not_parquet, "not a readable Parquet"),
        (other_schema_version, "schema version"),
        (fewer_rows, "rows of a shard"),
        (incomplete_set, "not one complete set"),
        (wrong_total, "rows of lavie/train"),
        (left_over_shard, "belongs to no config"),
        (card_of_fewer_configs, "splits of config 'cogvideox'"),
        (edit_card("num_examples: 5", "num_examples: 4"), "num_examples of cogvideox/train"),
        (edit_card("path: lavie/test-*.parquet", "path: lavie/*.parquet"), "files of lavie/test"),
        (edit_card("- lavie/test-*.parquet", "- absent/test-*.parquet"), "num_examples of all/test"),
        (edit_card("configs:", "konfigs:"), "list of configs"),
        (edit_card("dataset_info:", "dataset_infos:"), "how many rows"),
        (edit_card("---\n", ""), "no YAML"),
        (not_json, "report of the build cannot be read"),
        (old_report, "schema version"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_damaged_folder_is_refused(folder, damage, words):
    damage(folder)
    with pytest.raises(SchemaError) as caught:
        read_built_folder(folder)
    assert words in str(caught.value)
    assert str(folder) in str(caught.value)


def test_no_folder(tmp_path):
    with pytest.raises(SchemaError, match="the folder does not exist"):
        read_built_folder(tmp_path / "absent")


def test_links_and_names_that_leave_the_folder(folder, tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"secret")
    (folder / "figures" / "x.png").symlink_to(outside)
    with pytest.raises(UnsafePathError, match="symlink"):
        read_built_folder(folder)
    (folder / "figures" / "x.png").unlink()
    os.link(folder / TRAIN, tmp_path / "train-00000-of-00001.parquet")
    report = read_report(folder)
    report["configs"]["../lavie"] = report["configs"].pop("lavie")
    write_report(folder, report)
    with pytest.raises(SynvitaError):
        read_built_folder(folder)


def test_what_the_viewer_will_not_show(folder, monkeypatch):
    report = read_report(folder)
    report["configs"]["lavie"] |= {"rows_over_viewer_limit": 5, "largest_row_bytes": 2_900_000}
    write_report(folder, report)
    (folder / "figures" / "vqascore-difference-lavie.png").unlink()
    sizes = {}
    for path in folder.glob("*/*.parquet"):
        group = pq.read_metadata(path).row_group(0)
        sizes[path.relative_to(folder).as_posix()] = sum(
            group.column(index).total_compressed_size for index in range(group.num_columns)
        )
    assert VIEWER_SCAN_BYTES == 300 * 10**6  # the viewer's 286 MiB
    largest = max(sizes, key=sizes.get)
    monkeypatch.setattr("synvita_data.builders.publish.folder.VIEWER_SCAN_BYTES", sizes[largest] - 1)
    warnings = read_built_folder(folder).warnings
    over = [path for path, size in sizes.items() if size > sizes[largest] - 1]
    assert len([text for text in warnings if "row group 0" in text]) == len(over)
    assert any("config 'lavie': 5 rows are over" in text and "2.9 MB" in text for text in warnings), warnings
    assert any("vqascore-difference-lavie.png" in text for text in warnings)


def test_embedded_real_videos_are_noticed(folder):
    report = read_report(folder)
    report["configs"]["lavie"]["options"]["embed_real"] = True
    write_report(folder, report)
    assert read_built_folder(folder).embeds_real_videos
