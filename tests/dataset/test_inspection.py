"""What `inspect` says of a dataset, against numbers worked out here from the same rows."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from synvita_data.cli import app
from synvita_data.dataset import inspection
from synvita_data.dataset.built import open_dataset
from synvita_data.dataset.inspection import (
    UNKNOWN,
    difference_figure,
    figure_name,
    inspect_dataset,
    save_figure,
    text_only,
)
from synvita_data.errors import SchemaError
from synvita_data.schema import MISALIGNMENTS, arrow_schema

CARD = """---
configs:
- config_name: one
  data_files:
  - split: train
    path: one/train-*.parquet
  - split: test
    path: one/test-*.parquet
- config_name: two
  default: true
  data_files:
  - split: train
    path: [two/train-*.parquet]
---
# A card
"""


def row(kind, scores, weight, caption, spans, sha256=None):
    return {
        "id": "x",
        "pair_id": "x",
        "source": "s",
        "video_id": "v",
        "caption": caption,
        "neg_caption": "n",
        "misalignment": None if kind is None else MISALIGNMENTS.index(kind),
        "real_available": False,
        "generation": sha256 and {"sha256": sha256},
        "vqascores": [
            {"model": f"m{i}", "neg_caption_score": a, "caption_score": b} for i, (a, b) in enumerate(scores)
        ],
        "weight": weight,
        "shared": {"caption": spans, "neg_caption": [], "granularity": "word"},
    }


TRAIN = [
    row("flip", [(0.2, 0.5), (0.4, 0.5)], 0.0, "ab cd", [[0, 2]], "f" * 64),
    row("action", [(0.9, 0.1)], 0.8, "abcd", [], "f" * 64),
    row("action", [(0.5, 0.5)], 0.0, "a  b", [[0, 4]]),
]
TEST = [row(None, [], None, "abc def", [[0, 3], [4, 5]])]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    for name, rows in (("one/train", TRAIN), ("one/test", TEST), ("two/train", TEST)):
        path = root / f"{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()), path)
    (root / "README.md").write_text(CARD)
    return root


def test_each_misalignment_is_counted_and_averaged(folder):
    inspection = inspect_dataset(open_dataset(str(folder)), "one")
    found = {summary.name: summary for summary in inspection.summaries}
    assert list(found) == ["action", "flip", UNKNOWN, "all"]
    assert inspection.splits == {"train": 3, "test": 1}
    action = found["action"]
    assert (action.rows, action.videos, action.scored) == (2, 1, 2)
    assert action.difference == pytest.approx((0.8 + 0.0) / 2)
    assert action.weight == pytest.approx(0.4)
    assert action.zero_weight == pytest.approx(0.5)
    assert action.kept == pytest.approx((0 + 1) / 2)  # white space does not count
    assert found["flip"].difference == pytest.approx(0.3 - 0.5)
    assert found["flip"].kept == pytest.approx(2 / 4)
    unknown = found[UNKNOWN]
    assert (unknown.rows, unknown.scored, unknown.kept) == (1, 0, pytest.approx(4 / 6))
    assert np.isnan(unknown.difference)
    assert np.isnan(unknown.weight)
    assert found["all"].rows == 4
    assert found["all"].difference == pytest.approx((0.8 + 0.0 - 0.2) / 3)


def test_the_default_config_and_chosen_splits(folder):
    opened = open_dataset(str(folder))
    assert inspect_dataset(opened).config == "two"
    assert inspect_dataset(opened, "one", ["test"]).splits == {"test": 1}
    with pytest.raises(SchemaError, match=r"one of one, two"):
        inspect_dataset(opened, "three")
    with pytest.raises(SchemaError, match="unknown split"):
        inspect_dataset(opened, "one", ["dev"])


def test_what_is_no_dataset_is_refused(folder, tmp_path):
    with pytest.raises(SchemaError, match="not a dataset folder"):
        open_dataset(str(tmp_path))
    (tmp_path / "README.md").write_text("# only text\n")
    with pytest.raises(SchemaError, match="no YAML at its head"):
        open_dataset(str(tmp_path))
    with pytest.raises(SchemaError, match="no revisions"):
        open_dataset(str(folder), revision="v1")
    next((folder / "two").glob("*.parquet")).write_bytes(b"not parquet at all")
    with pytest.raises(SchemaError, match=r"two/train-.*not a readable Parquet"):
        inspect_dataset(open_dataset(str(folder)))
    next((folder / "two").glob("*.parquet")).unlink()
    with pytest.raises(SchemaError, match="not there"):
        inspect_dataset(open_dataset(str(folder)))


def test_the_figure_marks_means_and_negative_ones_in_red(folder, tmp_path):
    inspection = inspect_dataset(open_dataset(str(folder)), "one", ["train"])
    figure = difference_figure(inspection)
    labels = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert set(labels) == {"+0.4000", "−0.2000"}
    assert labels["−0.2000"] == "#c0392b"
    assert labels["+0.4000"] != "#c0392b"
    one = save_figure(figure, tmp_path / "a" / figure_name("one"))
    two = save_figure(difference_figure(inspection), tmp_path / "b" / figure_name("one"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert one[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in one[1].read_bytes()
    assert difference_figure(inspect_dataset(open_dataset(str(folder)), "two")) is None


def test_the_command_prints_a_table_for_each_config(folder, tmp_path):
    done = CliRunner().invoke(app, ["inspect", str(folder), "--figures", str(tmp_path / "figures")])
    assert done.exit_code == 0, done.output
    assert re.search(r"config one · train 3, test 1", done.output)
    assert re.search(r"config two \(default\)", done.output)
    assert re.search(r"flip +1 +1 +1 +-0\.2000 +0\.0000 +100\.0% +50\.0%", done.output)
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == [
        "vqascore-difference-one.png",
        "vqascore-difference-one.svg",
    ]


@pytest.mark.slow
def test_the_real_rows_give_the_known_means(real_data, tmp_path):
    from synvita_data.builders.dataset import BuildOptions, build_dataset

    real = real_data / "videocon-16k"
    result = build_dataset(
        BuildOptions(
            triplets=real / "triplets.csv",
            vqascores=real / "vqascores.csv",
            config="cogvideox",
            out=tmp_path / "out",
        )
    )
    assert result.record["triplets"] == {"read": 16_856, "duplicates": 2, "quarantined": 0}
    opened = open_dataset(str(tmp_path / "out"))
    # 70.9, action 65.3, flip 80.0 and 74.8% of pairs by another program (tests/captions/test_text_only.py).
    words = text_only(opened, "cogvideox")
    assert result.record["text_only"] == words.to_record()
    assert words.overall.auc == pytest.approx(70.9, abs=0.3)
    assert words.overall.pairs_right == pytest.approx(74.8, abs=0.6)
    assert words.misalignments["action"].auc == pytest.approx(65.3, abs=0.3)
    assert words.misalignments["flip"].auc == pytest.approx(80.0, abs=0.3)
    card = (tmp_path / "out" / "README.md").read_text()
    assert re.search(
        r"\*\*Text-only AUC:\*\* 70\.\d \(7\d\.\d% of 16,854 pairs right\); action 65\.\d ", card
    )
    summaries = {s.name: s for s in inspect_dataset(opened).summaries}
    # Published means of the 16,856 rows; two duplicates fewer move the fifth digit.
    for name, difference, weight, zero in (
        ("action", 0.1011, 0.1325, 0.350),
        ("flip", -0.0413, 0.0165, 0.721),
    ):
        assert summaries[name].difference == pytest.approx(difference, abs=1e-4)
        assert summaries[name].weight == pytest.approx(weight, abs=1e-4)
        assert summaries[name].zero_weight == pytest.approx(zero, abs=1e-3)


def test_few_rows_have_no_text_only_auc(folder, tmp_path):
    found = text_only(open_dataset(str(folder)), "one")
    assert found.overall.auc is None
    assert found.overall.pairs == 4
    assert {name: share.pairs for name, share in found.misalignments.items()} == {"action": 2, "flip": 1}
    done = CliRunner().invoke(app, ["inspect", str(folder), "--figures", str(tmp_path / "figures")])
    assert "too few rows for a text-only AUC" in " ".join(done.output.split())


def test_what_build_json_knows_is_not_worked_out_again(folder):
    record = text_only(open_dataset(str(folder)), "one").to_record()
    record |= {
        "auc": 61.25,
        "pairs_right": 62.5,
        "misalignments": {"flip": {**record["misalignments"]["flip"], "auc": 70.0, "pairs_right": 71.0}},
    }
    (folder / "build.json").write_text(json.dumps({"configs": {"one": {"text_only": record}}}))
    opened = open_dataset(str(folder))
    assert (
        text_only(opened, "one").text() == "61.2 (62.5% of 4 pairs right); flip 70.0 (71.0% of 1 pairs right)"
    )
    assert text_only(opened, "one", ["train", "test"]).overall.auc == 61.25
    # Of some splits it is another number, and so it is by other settings.
    assert text_only(opened, "one", ["train"]).overall.auc is None
    record["settings"]["C"] = 1.0
    (folder / "build.json").write_text(json.dumps({"configs": {"one": {"text_only": record}}}))
    assert text_only(opened, "one").overall.auc is None


def test_what_is_inspected_as_json(tmp_path, capsys):
    from in_process import run_program
    from small_dataset import write_small_dataset

    folder = write_small_dataset(tmp_path / "out")
    assert run_program("inspect", folder, "--config", "lavie", "--split", "train", "--json", "-") == 0
    shown = capsys.readouterr().out
    record = json.loads(shown)["configs"]
    assert list(record) == ["lavie"]
    of_train = record["lavie"]["misalignments"]["object"]
    assert of_train == record["lavie"]["all"]
    assert of_train["rows"] == of_train["scored"] == record["lavie"]["splits"]["train"] > 0
    assert (of_train["difference"], of_train["weight"], of_train["zero_weight"]) == (0.5, 0.5, 0.0)
    assert record["lavie"]["text_only"]["auc"] is None
    assert [name.rpartition(".")[2] for name in record["lavie"]["figures"]] == ["png", "svg"]
    # What is not known is null: no NaN is JSON.
    assert run_program("inspect", folder, "--json", tmp_path / "all.json") == 0
    assert set(json.loads((tmp_path / "all.json").read_text())["configs"]) >= {"lavie"}


def test_means_and_visible_characters_are_numpys_and_pythons():
    """To the last bit: a histogram's edge may lie between two neighbouring numbers."""
    rng = np.random.default_rng(5)
    for size in range(1, 12):
        for scores in rng.random((200, size)).tolist():
            assert inspection._mean_score(scores) == float(np.mean(scores))
    assert np.isnan(inspection._mean_score([]))
    for text in ("", " ", "a man\teats", "\u3000x\u2028y\x1c z\u00a0", "\u200bzero width"):
        assert inspection._visible(text) == sum(not character.isspace() for character in text)


def test_a_dataset_that_cannot_be_written_to_is_shown_without_a_figure(folder):
    (folder / "figures").write_text("in the way, as for a user who may not write here")
    done = CliRunner().invoke(app, ["inspect", str(folder)])
    assert done.exit_code == 0, done.output
    assert "Text-only AUC" in done.output
    assert f"No figure: {folder}/figures" in " ".join(done.output.split())
    assert "--figures" in done.output
    # Where the user says where, it is an error that names the file as the user knows it.
    asked = CliRunner().invoke(app, ["inspect", str(folder), "--figures", str(folder / "figures")])
    assert isinstance(asked.exception, OSError)
    assert ".part-" not in str(asked.exception)
