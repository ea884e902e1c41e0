"""Cards (README.md of repositories on the Hub): their text, and the YAML at their head, written and read.

What a manifest, a score table, a result file or the Hub's `build.json` says is text of others. It goes into the dataset
card, the annotations' card, the model card and the leaderboard through `markdown` and `code`, which show it as it is and
let it do nothing else. The YAML is written and read by huggingface_hub's `CardData` and `RepoCard`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..display import plain
from ..errors import SchemaError, of_type, parsing
from ..files import yaml_errors

if TYPE_CHECKING:
    from huggingface_hub import CardData, RepoCard

    Metadata = CardData | Mapping[str, Any]

# What Markdown may take for markup anywhere in a line, and the colons and dots by which GitHub makes links of text.
_MARKUP = re.compile(r"([\\`*_\[\]{}|#~!$])")
_AUTOLINK = re.compile(r"\b(https?|ftp|mailto|xmpp)(:)|\b(www)(\.)", re.IGNORECASE)
# Inside code it would be harmless; but not every reader of a card knows what code is.
_LIKE_MARKUP = re.compile(r"[<>&`\\]|\]\(|!\[|\$\$")
# At the start of a line: lists, rulers, headings by underlining.
_BLOCK = re.compile(r"^(?:([-+=])(?=[-+=\s]|$)|(\d{1,9})([.)])(?=\s|$))")

SYNVITA = """@inproceedings{zanella2025synvita,
  title     = {Can Text-to-Video Generation help Video-Language Alignment?},
  author    = {Zanella, Luca and Mancini, Massimiliano and Menapace, Willi and Tulyakov, Sergey and Wang, Yiming and Ricci, Elisa},
  booktitle = {CVPR},
  year      = {2025}
}"""


def markdown(text: object) -> str:
    """Text that Markdown and HTML show as it is, on one line, without links and images."""
    line = " ".join(plain(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _MARKUP.sub(r"\\\1", line)
    line = _AUTOLINK.sub(lambda m: f"{m[1] or m[3]}\\{m[2] or m[4]}", line).replace("@", "&#64;")
    return _BLOCK.sub(lambda m: f"{m[2] or ''}\\{m[1] or m[3]}", line)


def code(text: object) -> str:
    """A code span that holds the text, also inside a table; text that looks like markup is escaped instead."""
    line = " ".join(plain(text).split())
    return f"`{line}`" if line and not _LIKE_MARKUP.search(line) else markdown(line)


def code_line(text: object) -> str:
    """One line of a fenced block, which no text can close."""
    return plain(text).replace("```", "'''").replace("~~~", "---")


def link(title: str, url: str) -> str:
    """A link with a title of ours; the title alone where there is no address."""
    return f"[{title}]({url})" if url else title


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are Markdown already: made with `markdown` or `code` where text of others is in them."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(map(table_cell, cells))} |"

    head = list(header)
    return "\n".join(line(cells) for cells in (head, ["---"] * len(head), *rows))


def table_cell(cell: str) -> str:
    """A cell of `table`: a bar ends a cell even inside code; one that is escaped already stays so."""
    return re.sub(r"(?<!\\)\|", r"\\|", cell).replace("\n", " ")


def citation(*entries: str) -> str:
    """The section that gives the BibTeX of papers, each once."""
    return "\n".join(["## Citation", "", "```bibtex", *dict.fromkeys(entries), "```"])


def make_card(metadata: Mapping[str, Any], sections: Iterable[str]) -> str:
    """A whole card.

    Args:
        metadata: what the Hub reads at its head.
        sections: its text, with a blank line between them.
    """
    return f"{front_matter(metadata)}\n" + "\n\n".join(sections) + "\n"


def front_matter(metadata: Mapping[str, Any]) -> str:
    """The YAML at the head of a card, between its two lines of dashes."""
    from huggingface_hub import CardData

    return _head(CardData(**_plain_values(metadata)))


def _head(metadata: "CardData") -> str:
    from huggingface_hub.utils import yaml_dump

    # Not `to_yaml`, which strips white space that belongs to the last value.
    return f"---\n{yaml_dump(metadata.to_dict(), sort_keys=False)}---\n"


def _plain_values(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {_plain_values(key): _plain_values(each) for key, each in value.items()}
    return [_plain_values(each) for each in value] if isinstance(value, (list, tuple)) else value


def config_entry(name: str, files: Mapping[str, str | list[str]], *, default: bool) -> dict[str, Any]:
    """One entry of a dataset card's `configs`.

    Args:
        name: of the config.
        files: split -> glob pattern of its Parquet files, or several.
        default: `load_dataset(repository)` takes this config.
    """
    parts = [{"split": split, "path": path} for split, path in files.items()]
    return {"config_name": name, **({"default": True} if default else {}), "data_files": parts}


def read_card(text: str, *, file: str) -> "RepoCard":
    """A card with its metadata (`.data`) and the text after it (`.text`).

    Raises:
        SchemaError: there is no YAML at its head, or none that can be read.
    """
    from huggingface_hub.repocard import REGEX_YAML_BLOCK, RepoCard

    found = None
    try:
        # Without a block of YAML, RepoCard warns and goes on with none.
        with yaml_errors():  # also a name that is RepoCard's own
            if REGEX_YAML_BLOCK.search(text) and len((read := RepoCard(text)).data):
                return read
    except ValueError as error:
        found = str(error)
    raise SchemaError(
        "the card has no YAML at its head that can be read",
        file=file,
        found=found,
        expected="lines between two '---' with `configs:` and `dataset_info:`",
        fix="Build the dataset with `synvita build`",
    )


def data_files(metadata: "Metadata", *, file: str) -> dict[str, dict[str, list[str]]]:
    """Config -> split -> glob patterns, as the card's `configs:` lists them."""
    form = "`configs: [{config_name, data_files: [{split, path}]}]`"
    with parsing("the card's list of configs cannot be read", file=file, expected=form):
        return {
            of_type(entry["config_name"], str): {
                of_type(part["split"], str): [
                    of_type(path, str)
                    for path in (part["path"] if isinstance(part["path"], list) else [part["path"]])
                ]
                for part in entry["data_files"]
            }
            for entry in metadata["configs"]
        }


def declared_rows(metadata: "Metadata", *, file: str) -> dict[str, dict[str, int]]:
    """Config -> split -> number of rows, as the card's `dataset_info:` says.

    `load_dataset` refuses a split whose rows are not as many as that.
    """
    form = "`dataset_info: [{config_name, features, splits: [{name, num_examples}]}]`"
    with parsing("the card does not say how many rows each split has", file=file, expected=form):
        listed = metadata["dataset_info"]
        return {
            str(info["config_name"]): {
                str(split["name"]): int(split["num_examples"]) for split in info["splits"]
            }
            for info in ([listed] if isinstance(listed, dict) else listed)
        }


def default_of(metadata: "Metadata") -> str | None:
    """The config that `load_dataset(name)` takes: the marked one, one named "default", or the only one."""
    entries = [entry for entry in metadata.get("configs") or () if isinstance(entry, dict)]
    for entry in entries:
        if entry.get("default") or entry.get("config_name") == "default" or len(entries) == 1:
            return entry.get("config_name")
    return None


def with_default(text: str, config: str, *, file: str) -> str:
    """The card with `config` marked as the default, and no other; unchanged where that is so already."""
    card = read_card(text, file=file)
    entries = card.data["configs"]
    if [entry.get("config_name") for entry in entries if entry.get("default")] == [config]:
        return text
    for entry in entries:
        entry.pop("default", None)
        if entry["config_name"] == config:
            entry["default"] = True
    return _head(card.data) + card.text


def matches(pattern: str, path: str) -> bool:
    """Whether a data-files pattern covers a path; `*` stays inside one folder, `**/` crosses folders."""
    parts = re.split(r"(\*\*/|\*|\?)", pattern.removeprefix("./"))
    translate = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(translate.get(part, re.escape(part)) for part in parts), path) is not None
