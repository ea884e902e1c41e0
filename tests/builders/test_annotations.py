"""Packed annotations: ids and captions, read back to the same annotations, with a card that tells all."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from small_annotations import (
    HUMAN_HEADER,
    HUMAN_ROWS,
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    ssv2_pairs,
    write_csv,
    write_questions,
    write_ssv2,
    write_statements,
)

from synvita_data.annotations import read_annotations
from synvita_data.builders.publish.annotations import build_annotations
from synvita_data.errors import SchemaError
from synvita_data.tasks import COLUMNS, TASKS


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    empty = (*VIDEOCON_ROWS[0][:3], "", "", "test", "action")
    write_csv(
        folder / "videocon_llm_entailment.csv", [*VIDEOCON_ROWS, VIDEOCON_ROWS[0], empty], VIDEOCON_HEADER
    )
    write_csv(folder / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    write_ssv2(folder / "eval_ssv2_temporal.csv", ssv2_pairs())
    write_ssv2(folder / "eval_ssv2_events.csv", ssv2_pairs(9, 3))
    write_statements(folder / "nextqa-atphard-statements.csv")
    write_questions(folder / "nextqa-atphard.csv")
    return folder


@pytest.fixture(scope="module")
def built(published, tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    return out, build_annotations(dict.fromkeys(COLUMNS, published), out)


@pytest.mark.parametrize("name", COLUMNS)
def test_round_trip(published, built, name):
    original, packed = read_annotations(name, published), read_annotations(name, built[0])
    assert packed.revision == original.revision == built[1][name]["revision"]
    assert packed.videos == original.videos
    assert packed.captions == original.captions
    assert packed.counts() == original.counts()
    for column in (
        "video",
        "text",
        "group",
        "label",
        "option",
        "misalignment",
        "hard",
        "type",
        "row",
        "videopath",
    ):
        assert np.array_equal(getattr(packed, column), getattr(original, column)), column
    one_file = built[0] / name / "test-00000-of-00001.parquet"
    assert read_annotations(name, one_file).revision == original.revision


def test_equal_annotations_give_equal_bytes(published, built, tmp_path):
    build_annotations(dict.fromkeys(reversed(COLUMNS), published), tmp_path)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == len(COLUMNS) + 3
    for file in files:
        assert (tmp_path / file).read_bytes() == (built[0] / file).read_bytes(), file


def test_load_dataset_reads_every_config(built, tmp_path):
    import datasets

    for name in COLUMNS:
        rows = datasets.load_dataset(str(built[0]), name, split="test", cache_dir=str(tmp_path))
        assert len(rows) == built[1][name]["counts"]["rows"]
        assert {"video_id", "text_id", "caption", "label", "group"} <= set(rows.column_names)
        for row in rows:
            assert row["text_id"] == hashlib.sha256(row["caption"].encode()).hexdigest()[:16]


def test_card_eval_yaml_and_record(built, published):
    out, record = built
    card = (out / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert [config["config_name"] for config in front["configs"]] == list(COLUMNS)
    assert [config.get("default", False) for config in front["configs"]] == [True] + [False] * 5
    for task in map(TASKS.get, COLUMNS):
        assert task.licence in card
        assert task.video_licence in card
    assert card.count("@inproceedings{bansal2024videocon") == 1
    assert "**Counts that differ from the published ones**" in card
    assert str(published) not in card

    evaluation = yaml.safe_load((out / "eval.yaml").read_text())
    assert set(evaluation) == {"name", "description", "evaluation_framework", "tasks"}
    assert evaluation["tasks"] == [{"id": name, "config": name, "split": "test"} for name in COLUMNS]

    assert json.loads((out / "annotations.json").read_text()) == record
    read = record["videocon-llm"]["read"]
    file = published / "videocon_llm_entailment.csv"
    assert read["sha256"] == {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
    assert (read["rows"], read["other_rows"], read["duplicates"], len(read["left_out"])) == (7, 1, 1, 1)
    assert read["left_out"][0]["row"] == 6
    assert str(published) not in json.dumps(record)


def test_nothing_but_ids_and_captions(built):
    for path in built[0].rglob("*.parquet"):
        schema = pq.read_schema(path)
        assert not any(pa.types.is_binary(field.type) or pa.types.is_struct(field.type) for field in schema)


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("caption", lambda v: ["changed", *v[1:]], "row 0: a text id is not that of its caption"),
        ("label", lambda v: [*v[:2], 3, *v[3:]], "row 2: a label is not 0 or 1"),
        ("label", lambda v: [1 - v[0], *v[1:]], "the rows are not those that were packed"),
        ("video_name", lambda v: ["x", *v[1:]], "row 0: a video id is not its source, name and times"),
        ("misalignment", lambda v: ["colour", *v[1:]], "row 0: unknown misalignment"),
        ("group", lambda v: [None, *v[1:]], "another type|group is empty"),
    ],
)
def test_changed_files_are_refused(published, tmp_path, column, values, words):
    build_annotations({"videocon-llm": published}, tmp_path)
    path = tmp_path / "videocon-llm" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    place = table.column_names.index(column)
    changed = pa.array(values(table.column(column).to_pylist()), table.schema.field(column).type)
    table = table.set_column(place, pa.field(column, changed.type), changed)
    pq.write_table(table, path)
    with pytest.raises(SchemaError, match=words):
        read_annotations("videocon-llm", path)


def test_another_task_or_none(built, published, tmp_path):
    path = built[0] / "ssv2-events" / "test-00000-of-00001.parquet"
    with pytest.raises(SchemaError, match="annotations of another task"):
        read_annotations("ssv2-temporal", path)
    with pytest.raises(SchemaError, match="no task to pack"):
        build_annotations({}, tmp_path)
    with pytest.raises(SchemaError, match="unknown task"):
        build_annotations({"ssv2": published}, tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(SchemaError, match="another schema version"):
        read_annotations("ssv2-temporal", tmp_path / "a.parquet")
