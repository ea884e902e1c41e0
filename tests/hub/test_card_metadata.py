"""The YAML of a card: patterns, defaults and what `datasets` makes of them."""

import pytest
import yaml
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard

from synvita_data.errors import SchemaError
from synvita_data.hub.card import data_files, declared_rows, default_of, matches, read_card, with_default


def card(configs, **more):
    return (
        f"---\n{yaml.safe_dump({'license': 'other', 'configs': configs, **more})}---\n\n# Title\n\n---\nend\n"
    )


def entry(name, **more):
    return {"config_name": name, **more, "data_files": [{"split": "train", "path": f"{name}/train-*"}]}


CASES = {
    "one": [entry("a")],
    "none marked": [entry("a"), entry("b")],
    "marked": [entry("a"), entry("b", default=True)],
    "named default": [entry("a"), entry("default")],
}


@pytest.mark.parametrize("configs", CASES.values(), ids=CASES)
def test_the_default_is_the_one_that_datasets_takes(configs):
    text = card(configs)
    theirs = MetadataConfigs.from_dataset_card_data(DatasetCard(text).data)
    assert default_of(read_card(text, file="x").data) == theirs.get_default_config_name()


@pytest.mark.parametrize("configs", CASES.values(), ids=CASES)
def test_with_default_marks_one_and_keeps_the_rest(configs):
    text = card(configs, tags=["é"])
    changed = with_default(text, "a", file="x")
    theirs = MetadataConfigs.from_dataset_card_data(DatasetCard(changed).data)
    assert [name for name, config in theirs.items() if config.get("default")] == ["a"]
    before, after = yaml.safe_load(text.split("---\n")[1]), yaml.safe_load(changed.split("---\n")[1])
    for parts in (before, after):
        for config in parts["configs"]:
            config.pop("default", None)
    assert before == after
    assert changed.endswith("---\n\n# Title\n\n---\nend\n")
    assert with_default(changed, "a", file="x") == changed


def test_with_default_keeps_white_space_at_the_end_of_the_last_value():
    text = card([entry("a")]).replace("license: other\n", "license: other\nname: \xa0\n")
    changed = with_default(text, "a", file="x")
    assert read_card(changed, file="x").data["name"] == read_card(text, file="x").data["name"] == "\xa0"


def test_lists_of_patterns_and_rows():
    metadata = {
        "configs": [
            {"config_name": "a", "data_files": [{"split": "train", "path": ["x/*", "y/*"]}]},
        ],
        "dataset_info": {"config_name": "a", "splits": [{"name": "train", "num_examples": 3}]},
    }
    assert data_files(metadata, file="x") == {"a": {"train": ["x/*", "y/*"]}}
    assert declared_rows(metadata, file="x") == {"a": {"train": 3}}


@pytest.mark.parametrize(
    "text",
    [
        "# no head\n",
        "---\n- a\n---\n",
        "---\na: [\n---\n",
        "---\nconfigs: []\n",
        "",
        "text\n---\na: 1\n---\n",
        "---\n1: a\n---\n",
        "---\nself: a\nignore_metadata_errors: true\n---\n",
    ],
)
def test_cards_without_a_head_are_refused(text):
    with pytest.raises(SchemaError, match="README"):
        read_card(text, file="README.md")


def test_windows_line_ends_are_read():
    read = read_card("---\r\na: 1\r\n---\r\nbody", file="x")
    assert (read.data.to_dict(), read.text) == ({"a": 1}, "body")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a/train-*.parquet", "a/train-00000-of-00001.parquet", True),
        ("a/train-*", "a/deep/train-0", False),
        ("a/train-*", "b/train-0", False),
        ("*/train-*", "a/train-0", True),
        ("**/train-*", "a/b/train-0", True),
        ("**/train-*", "train-0", True),
        ("a/train-?", "a/train-12", False),
        ("a.c/x", "abc/x", False),
        ("./a/x", "a/x", True),
    ],
)
def test_patterns(pattern, path, expected):
    assert matches(pattern, path) is expected
