"""Text of others inside a card: Markdown, HTML and YAML that show it as it is and do nothing else.

What a manifest, a score table, a result file or the Hub's `build.json` says goes into dataset cards, the annotations'
card, model cards and the leaderboard through these functions.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..display import plain

# What Markdown may take for markup anywhere in a line, and the colons and dots by which GitHub makes links of text.
_MARKUP = re.compile(r"([\\`*_\[\]{}|#~!$])")
_AUTOLINK = re.compile(r"\b(https?|ftp|mailto|xmpp)(:)|\b(www)(\.)", re.IGNORECASE)
# Inside code it would be harmless; but not every reader of a card knows what code is.
_LIKE_MARKUP = re.compile(r"[<>&`\\]|\]\(|!\[|\$\$")
# At the start of a line: lists, rulers, headings by underlining.
_BLOCK = re.compile(r"^(?:([-+=])(?=[-+=\s]|$)|(\d{1,9})([.)])(?=\s|$))")


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
    if not line or _LIKE_MARKUP.search(line):
        return markdown(line)
    return f"`{line}`"


def code_line(text: object) -> str:
    """One line of a fenced block, which no text can close."""
    return plain(text).replace("```", "'''").replace("~~~", "---")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are Markdown already: made with `markdown` or `code` where text of others is in them."""

    def line(cells: Iterable[str]) -> str:
        # A bar ends a cell even inside code; one that is escaped already stays so.
        return (
            "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell).replace("\n", " ") for cell in cells) + " |"
        )

    head = list(header)
    return "\n".join(line(cells) for cells in (head, ["---"] * len(head), *rows))


def front_matter(metadata: Mapping[str, Any]) -> str:
    """The YAML at the head of a card, between its two lines of dashes."""
    import yaml

    content = yaml.safe_dump(_plain_values(metadata), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{content}---\n"


def _plain_values(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {_plain_values(key): _plain_values(each) for key, each in value.items()}
    return [_plain_values(each) for each in value] if isinstance(value, (list, tuple)) else value
