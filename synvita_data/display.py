"""The one way to a terminal or a log: text of others arrives there as text and nothing else.

File names, manifests, replies of the Hub and messages of libraries may hold escape codes (which recolour a terminal,
rename its window, hide lines), characters that turn the direction of text round or have no width, line ends that fake
a line of ours, and brackets that rich takes for styles. Here they become visible: `\\x1b[31m` instead of red.

`Terminal.line` prints, `write` puts out whole texts, `get_logger` and `warn` are those of Python with the same care.
A test holds that nothing else in the package prints. Cards have `hub.card`, which stands on `plain`; pages `html_text`.
"""

import html
import io
import json
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

# Unicode's control and format characters (Cc, Cf without the visible Arabic and Kaithi number marks), surrogates, line
# and paragraph separators, fillers and joiners that show nothing, tags, variation selectors beyond those of emoji.
_ODD = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LINE_ENDS = re.compile(r"[^\S\n\r\x0b\x0c\x85\u2028\u2029]*[\n\r\x0b\x0c\x85\u2028\u2029]\s*")

_VERBS = {"are": "is", "were": "was", "have": "has", "belong": "belongs", "their": "its"}
Piece = str | tuple[str, object]


def plain(text: object) -> str:
    """Text as one line in which every character can be seen: `\\x1b` for an escape, one space for line ends."""
    return _visible(_LINE_ENDS.sub(" ", str(text)).replace("\t", " "))


def plain_lines(text: object) -> str:
    """`plain` for a text of several lines: its line ends and tabs stay."""
    return "\n".join(_visible(line, keep="\t") for line in str(text).replace("\r\n", "\n").split("\n"))


def _visible(text: str, keep: str = "") -> str:
    if text.isprintable() and text.isascii():
        return text

    def escape(match: re.Match[str]) -> str:
        char, code = match[0], ord(match[0])
        if char in keep:
            return char
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return _ODD.sub(escape, text)


def html_text(text: object) -> str:
    """`plain(text)` for a page: also inside the quotes of an attribute it is text and nothing else."""
    return html.escape(plain(text), quote=True)


def json_text(value: Any, **options: Any) -> str:
    """JSON in Unicode whose invisible characters are written as escapes: the same content, safe to look at.

    Args:
        options: of `json.dumps`.
    """

    def escape(match: re.Match[str]) -> str:
        return match[0] if match[0] == "\n" else json.dumps(match[0])[1:-1]

    return _ODD.sub(escape, json.dumps(value, ensure_ascii=False, **options))


def number(value: float | None, form: str) -> str:
    """A number by a format such as `+.4f`: `–` where there is none or it is NaN, and no minus before what rounds to 0."""
    if value is None or value != value:
        return "–"
    text = format(value, form)
    zero = text.startswith("-") and not text.strip("-0.,%")
    return format(abs(value), form) if zero else text


def counted(count: int, words: str) -> str:
    """`2,345 rows are bad`, but `1 row is bad`.

    Args:
        count: how many.
        words: for many: the noun first, or after an adjective or two, and its verb.
    """
    if count != 1:
        return f"{count:,} {words}"
    noun, *rest = re.split(r"(?<=s)\b", words, maxsplit=1)
    noun = f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")
    after = "".join(rest)
    for many, one in _VERBS.items():
        after = re.sub(rf"\b{many}\b", one, after, count=1)
    return f"1 {noun}{after}"


class Terminal:
    """Prints lines of text and styled pieces; no text is ever taken for a style.

    Args:
        err: standard error instead of standard output.
        stream: another stream.
    """

    def __init__(self, *, err: bool = False, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self.console = Console(stderr=err, file=stream, highlight=False, markup=False, emoji=False)

    @property
    def width(self) -> int:
        """Columns."""
        return self.console.width

    def line(self, *pieces: Piece, style: str = "") -> None:
        """Print one line.

        Args:
            pieces: text, or (style, text) such as `("bold", name)`; joined without spaces.
            style: of the whole line.
        """
        from rich.text import Text

        line = Text(style=style)
        for piece in pieces:
            of_piece, text = ("", piece) if isinstance(piece, str) else piece
            line.append(plain(text), style=of_piece or None)
        self.console.print(line, soft_wrap=True)

    def show(self, part: "RenderableType") -> None:
        """Print what rich renders, such as a table; its cells are made with `cell`."""
        self.console.print(part)


def cell(text: object, style: str = "") -> Any:
    """A cell, title or heading of a table: rich's Text of `plain(text)`."""
    from rich.text import Text

    return Text(plain(text), style=style)


def prepare_terminal() -> None:
    """See to it that a terminal shows all that is printed, whatever its settings."""
    # What its encoding does not have (`·` in ASCII) is written as an escape, and ends no command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("COLUMNS") == "0":  # rich and typer would print nothing
        del os.environ["COLUMNS"]


def say(line: object) -> None:
    """A line on standard output, without styles."""
    write(f"{plain(line)}\n")


def write(text: object, *, err: bool = False) -> None:
    """A text of several lines as it is, but for what could not be seen."""
    stream = sys.stderr if err else sys.stdout
    stream.write(plain_lines(text))
    stream.flush()


def print_error(text: object, style: str = "red") -> None:
    """A line on standard error."""
    Terminal(err=True).line((style, text))


class _Plain(logging.Filter):
    """Makes a record's message plain, whoever writes it where."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = plain_lines(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = plain_lines("".join(traceback.format_exception(*record.exc_info))).rstrip("\n")
        return True


def get_logger(name: str) -> logging.Logger:
    """`logging.getLogger(name)`, with messages that reach terminals and log files as plain text."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, _Plain) for each in logger.filters):
        logger.addFilter(_Plain())
    return logger


def warn(text: object, category: type[Warning] = UserWarning, *, stacklevel: int = 1) -> None:
    """`warnings.warn` with a plain message."""
    warnings.warn(plain(text), category, stacklevel=stacklevel + 1)


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, stream: TextIO | None = None
) -> None:
    """`sys.excepthook` for the program: Python's own traceback as plain text."""
    text = plain_lines("".join(traceback.format_exception(kind, error, trace)))
    (stream or sys.stderr).write(text)


Say = Callable[[str], None]
