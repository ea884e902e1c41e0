"""The campaigns' own machinery: they find what is planted, the same input comes again, figures are summed."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import documents, fuzz, values
from campaigns.tally import Tally, append, summed

ROOT = Path(__file__).resolve().parents[2]
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


@given(TREES, st.integers(0, 1 << 30))
def test_a_mutated_tree_is_drawn_from_its_number_alone(tree, number):
    first, again = (values.mutate_tree(json.loads(json.dumps(tree)), random.Random(number)) for _ in range(2))
    assert repr(first) == repr(again)


@given(st.binary(max_size=60), st.integers(0, 1 << 30))
def test_mutated_bytes_are_drawn_from_their_number_alone(data, number):
    assert values.mutate_bytes(data, random.Random(number)) == values.mutate_bytes(
        data, random.Random(number)
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", b'{"a": [1, 2], "b": {"c": null}}'),
        ("x.jsonl", b'{"a": 1}\n{"a": 2}\n'),
        ("x.yaml", b"a: 1\nb: [x, y]\n"),
        ("x.csv", b"a,b\n1,2\n3,4\n"),
        ("x.txt", b"text"),
    ],
)
def test_documents_are_left_as_they_are_and_change_in_many_ways(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    document = documents.read(path)
    made = {documents.mutated(document, (step,)) for step in range(400)}
    assert made == {documents.mutated(documents.read(path), (step,)) for step in range(400)}
    assert document.data == content
    assert repr(document.content) == repr(documents.read(path).content)
    assert len(made) > 100


def test_a_name_stands_twice_and_a_depth_is_real(tmp_path):
    assert documents._json({"a": 1, values.Twin("a"): 2}) == b'{"a": 1, "a": 2}'
    deep = documents._json({"a": values.DEEP.format(kind="[", depth=3)})
    assert deep == b'{"a": [[[]]]}'
    assert documents._json(values.DEEP.format(kind="{", depth=2)) == b'{"a":{"a":1}}'


def test_parquet_changes_in_names_types_rows_and_cells(tmp_path):
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2, 3], "b": ["x", "y", None]}), tmp_path / "x.parquet")
    document = documents.read(tmp_path / "x.parquet")
    schemas = set()
    for step in range(0, 300, 2):
        data = documents.mutated(document, (step,))
        if data[:4] == b"PAR1":
            schemas.add(str(pq.ParquetFile(io.BytesIO(data)).schema_arrow))
    assert len(schemas) > 20


@pytest.mark.slow
def test_planted_faults_of_readers_are_found():
    done = run_module("campaigns.planted", "fuzz")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "none": [],
        "exception": ["exception"],
        "work": ["work"],
        "death": ["the"],  # the process ended with status -11
        "memory": ["memory"],
    }


def test_planted_faults_of_commands_are_found():
    done = run_module("campaigns.planted", "kills")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["none"][0] > 2
    assert found["none"][1] == 0
    assert all(found[fault][1] > 0 for fault in ("half", "left over", "lost"))


def test_inputs_are_drawn_again_and_differ():
    drawn = [fuzz.Input.draw("x", 7, number, 3) for number in range(300)]
    assert drawn == [fuzz.Input.draw("x", 7, number, 3) for number in range(300)]
    assert len(set(drawn)) > 290
    assert {each.file for each in drawn} == {0, 1, 2}


def test_figures_are_summed_over_runs(tmp_path):
    path = tmp_path / "figures.jsonl"
    append(
        path,
        [Tally("fuzz", "a", inputs=10, refused=4, failures=1), Tally("kills", "b", kills=3, runs=2)],
        seed=1,
    )
    append(path, [Tally("fuzz", "a", inputs=5, refused=1), Tally("others", "c", skipped="no disk")], seed=2)
    found = {(tally.campaign, tally.target): tally for tally in summed(path)}
    assert found["fuzz", "a"] == Tally("fuzz", "a", inputs=15, refused=5, failures=1)
    assert found["kills", "in all"].kills == 3
    assert ("others", "c") not in found


@pytest.mark.slow
@pytest.mark.parametrize("campaign", ["fuzz", "kills", "others"])
def test_a_short_campaign_finds_nothing(campaign, tmp_path):
    done = run_module(
        "campaigns", campaign, "--minutes", "1", "--most", "30", "--found", str(tmp_path / "found")
    )
    assert done.returncode == 0, done.stdout
