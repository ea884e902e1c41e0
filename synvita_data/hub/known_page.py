"""`docs/checkpoints.md`, written from `known.py`: python -m synvita_data.hub.known_page > docs/checkpoints.md"""

import textwrap
from collections.abc import Iterable

from ..display import write
from .card import code, link, table
from .known import HUB, KNOWN, KnownRepository

_HEAD = """# Checkpoints and datasets that we name

Every repository of the Hub that these pages, the recipes or the code name. None of it was fetched: it was read from
stored copies of public pages, so a repository may have changed since. A blank field was not seen. Tests hold the
code to the recorded files (`tests/released/`).

- **Commit.** VQAScore's short names (`clip-flant5-xl`, …), the recipes and the tasks take it. A name that you type
  is taken at its default branch; `NAME@REVISION` names another. Where a commit was read in others' public code and
  not on a page of the repository, it has a \\*.
- **Licence.** As the repository's page shows it, which is not always what the makers say elsewhere.
- **Gated.** "no" where a file's text could be read without an accepted form.
- **Bytes.** What our commands fetch, by the recorded file list, to three digits a file.
- **Renamed.** An earlier name is understood wherever a model is named. If your cache has the repository under it,
  it is loaded from there, and no key of finished work changes.
"""
_FOOT = """## How it is kept

The entries are in `synvita_data/hub/known.py`, with the page that each was read from. A test searches docs,
recipes and code for names of repositories and fails for one that has no entry; another compares this page:

    python -m synvita_data.hub.known_page > docs/checkpoints.md
"""
_KINDS = {"model": "Models", "dataset": "Datasets"}


def page() -> str:
    """The whole page, Markdown."""
    parts = [_wrapped(_HEAD)]
    for kind, title in _KINDS.items():
        entries = [one for one in KNOWN if one.kind == kind]
        rows = [_row(one) for one in entries]
        columns = ("repository", "for", "commit", "licence", "gated", "bytes", "recorded")
        parts += [f"## {title}\n", f"{table(columns, rows).rstrip()}\n"]
    parts += ["## What to know of them\n", _items(KNOWN), _wrapped(_FOOT)]
    return "\n".join(parts)


def _row(one: KnownRepository) -> tuple[str, ...]:
    address = f"{HUB}/{'datasets/' if one.kind == 'dataset' else ''}{one.name}"
    elsewhere = "" if _on_a_page(one) else " \\*"
    commit = "" if one.commit is None else f"`{one.commit[:12]}`{elsewhere}"
    gated = {None: "", True: "yes", False: "no"}[one.gated]
    size = "" if one.download is None else f"{one.download / 1e9:.1f} GB"
    return link(one.name, address), one.use, commit, one.licence or "", gated, size, one.record


def _on_a_page(one: KnownRepository) -> bool:
    return not one.commit_source and one.source.startswith(HUB)


def _items(entries: Iterable[KnownRepository]) -> str:
    """A paragraph for each entry with more to say: the whole commit, or why there is none."""
    lines = []
    for one in entries:
        said = [f"Commit {code(one.commit)}." if one.commit else f"No commit: {one.no_commit}."]
        said += [f"Formerly {', '.join(map(code, one.former))}."] if one.former else []
        said += [f"Weights: {one.weights}."] if one.weights else []
        said += [one.note] if one.note else []
        said += [f"From {one.source} ({one.recorded})."]
        said += [f"The commit from {one.commit_source}."] if one.commit_source else []
        lines.append(_filled(f"- **{one.name}** {' '.join(said)}", "  "))
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> str:
    """Paragraphs and items at 100 columns; headings and code as they are."""
    blocks: list[str] = []
    for line in text.splitlines():
        goes_on = blocks and blocks[-1] and line and not line.startswith(("-", "#", "    "))
        if goes_on and not blocks[-1].startswith(("#", "    ")):
            blocks[-1] += f" {line.strip()}"
        else:
            blocks.append(line)
    filled = [
        block if block.startswith(("#", "    ")) else _filled(block, "  " if block.startswith("-") else "")
        for block in blocks
    ]
    return "\n".join(filled) + "\n"


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    write(page())
