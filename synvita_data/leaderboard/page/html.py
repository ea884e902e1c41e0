"""The page: one file that holds the leaderboard's data, a style sheet and a script, and asks nobody for anything.

Names and notes are of others. They stand in the page as JSON without `<`, which the script puts into text nodes alone,
and the policy lets nothing run but this one script and this one style sheet, by their digests.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from ... import __version__
from ...display import html_text, json_text
from ...evaluation.results import Result
from ..exports import csv_sheet, latex_sheet, markdown_sheet
from ..table import Cell, Leaderboard, Row
from ..text import cell_facts, is_bold, legend, metric_name, row_marks
from .pairs import TaskPairs, compare_rows

TITLE = "SynViTA leaderboard"
_SCRIPTS = ("state.js", "table.js", "forest.js", "views.js", "downloads.js", "start.js")


@dataclass(frozen=True, slots=True)
class Page:
    """A page and what it was made of.

    Attributes:
        text: HTML.
        rows, pairs: how many rows and pairs of results it holds.
    """

    text: str
    rows: int
    pairs: int


def make_page(
    board: Leaderboard,
    results: Iterable[Result] = (),
    *,
    pairs: bool = True,
    annotations: Path | None = None,
    title: str = TITLE,
    made: datetime | None = None,
) -> Page:
    """The leaderboard as HTML.

    Args:
        board: of `make_leaderboard`.
        results: what it was made of, for comparing them pair by pair.
        pairs: compare them.
        annotations: of tasks whose score tables do not tell which texts belong together.
        title: of the page.
        made: when; now by default.
    """
    compared = compare_rows(board, results, annotations=annotations) if pairs else []
    data = page_data(board, compared, title=title, made=made or datetime.now(UTC))
    return Page(render(data, title), len(board.rows), sum(len(each.pairs) for each in compared))


def page_data(
    board: Leaderboard, pairs: Iterable[TaskPairs], *, title: str, made: datetime
) -> dict[str, Any]:
    """What the script draws: JSON-ready. `record` is the leaderboard's JSON form, beside which stand words alone."""
    return {
        "title": title,
        "made": made.strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "record": board.to_record(),
        "metrics": [metric_name(column) for column in board.columns],
        "rows": [_row(row) for row in board.rows],
        "legend": legend(board),
        "sheets": {
            "csv": csv_sheet(board).to_record(),
            "md": markdown_sheet(board).to_record(),
            "tex": latex_sheet(board).to_record(),
        },
        "pairs": {each.task: _pairs(each) for each in pairs},
    }


def _row(row: Row) -> dict[str, Any]:
    kinds = sorted({cell.provenance.kind for cell in row.cells.values()})
    return {
        "marks": row_marks(row),
        "kinds": kinds,
        "cells": {task: _cell(cell) for task, cell in row.cells.items()},
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {**cell_facts(cell), "bold": is_bold(cell)}


def _pairs(found: TaskPairs) -> dict[str, Any]:
    """Pairs as lists, which are short: a, b, difference, low, high, p, p corrected, won, tied, lost."""
    rows = []
    for pair, p_holm in zip(found.pairs, found.p_holm, strict=True):
        main, won = pair.main, pair.won
        numbers = [main.difference, main.low, main.high, main.p, p_holm]
        short = [None if number is None else round(number, 6) for number in numbers]
        rows.append([pair.a, pair.b, *short, won.won, won.tied, won.lost])
    without = {str(place): why for place, why in found.without.items()}
    return {"item": found.pairs[0].item if found.pairs else "", "found": rows, "without": without}


def render(data: Any, title: str) -> str:
    """The page of some data."""
    style = _asset("page.css")
    script = "(() => {\n'use strict'\n" + "\n".join(map(_asset, _SCRIPTS)) + "\n})()\n"
    # `<` in a string of JSON may be written as an escape; nothing else could end the element.
    content = json_text(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    parts = {"policy": policy, "title": html_text(title), "style": style, "script": script, "data": content}
    # In one pass: what was put in is not looked at again.
    return re.sub(r"{{(\w+)}}", lambda match: parts[match[1]], _asset("page.html"))


def _digest(text: str) -> str:
    """As a Content-Security-Policy names an inline element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
