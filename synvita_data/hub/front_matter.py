"""The YAML at the head of a dataset card: which config has which files, and which is the default."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from synvita_data.errors import SchemaError


def read_front_matter(text: str, *, file: str) -> tuple[dict[str, Any], str]:
    """The metadata of a card, and the text after it. `SchemaError` when there is none that can be read."""
    found = re.match(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL)
    try:
        metadata = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        raise SchemaError("the card's YAML cannot be read", file=file, found=str(error)) from error
    if found is None or not isinstance(metadata, dict):
        raise SchemaError(
            "the card has no YAML at its head",
            file=file,
            expected="lines between two '---' with `configs:` and `dataset_info:`",
            fix="Build the dataset with `synvita build`",
        )
    return metadata, text[found.end() :]


def data_files(metadata: Mapping[str, Any], *, file: str) -> dict[str, dict[str, list[str]]]:
    """Config -> split -> glob patterns, as the card's `configs:` lists them."""
    try:
        return {
            str(entry["config_name"]): {
                str(part["split"]): [part["path"]] if isinstance(part["path"], str) else list(part["path"])
                for part in entry["data_files"]
            }
            for entry in metadata["configs"]
        }
    except (KeyError, TypeError) as error:
        raise SchemaError(
            "the card's list of configs cannot be read",
            file=file,
            found=repr(error),
            expected="`configs: [{config_name, data_files: [{split, path}]}]`",
        ) from error


def declared_rows(metadata: Mapping[str, Any], *, file: str) -> dict[str, dict[str, int]]:
    """Config -> split -> number of rows, as the card's `dataset_info:` says.

    `load_dataset` refuses a split whose rows are not as many as that.
    """
    try:
        listed = metadata["dataset_info"]
        infos = [listed] if isinstance(listed, dict) else listed
        return {
            str(info["config_name"]): {
                str(split["name"]): int(split["num_examples"]) for split in info["splits"]
            }
            for info in infos
        }
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaError(
            "the card does not say how many rows each split has",
            file=file,
            found=repr(error),
            expected="`dataset_info: [{config_name, features, splits: [{name, num_examples}]}]`",
        ) from error


def default_of(metadata: Mapping[str, Any]) -> str | None:
    """The config that `load_dataset(name)` takes: the marked one, one named "default", or the only one."""
    entries = [entry for entry in metadata.get("configs") or () if isinstance(entry, dict)]
    for entry in entries:
        if entry.get("default") or entry.get("config_name") == "default" or len(entries) == 1:
            return entry.get("config_name")
    return None


def with_default(text: str, config: str, *, file: str) -> str:
    """The card with `config` marked as the default, and no other; unchanged where that is so already."""
    metadata, body = read_front_matter(text, file=file)
    marked = [entry.get("config_name") for entry in metadata["configs"] if entry.get("default")]
    if marked == [config]:
        return text
    entries = []
    for entry in metadata["configs"]:
        name, rest = entry["config_name"], {k: v for k, v in entry.items() if k != "default"}
        entries.append({"config_name": name, "default": True, **rest} if name == config else rest)
    head = yaml.safe_dump({**metadata, "configs": entries}, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head}---\n{body}"


def matches(pattern: str, path: str) -> bool:
    """Whether a data-files pattern covers a path; `*` stays inside one folder, `**/` crosses folders."""
    parts = re.split(r"(\*\*/|\*|\?)", pattern.removeprefix("./"))
    translate = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(translate.get(part, re.escape(part)) for part in parts), path) is not None
