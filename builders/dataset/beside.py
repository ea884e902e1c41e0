"""What a build works out beside writing its shards: the text-only AUC, and the figure.

Both take seconds, most of them for importing scikit-learn and matplotlib. A large build gives its rows to a process of
its own, which has imported them by then, and goes on writing; a small one does the work itself when it is asked for.
So does one whose process did not come up: the results are the same.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from synvita_data.captions.text_only import CaptionPair, text_only_auc
from synvita_data.dataset.inspection import difference_figure, figure_name, inspect_rows, save_figure

if TYPE_CHECKING:
    from .rows import Row
    from .shards import Shard

# With fewer rows the process would take longer to come up than its work.
WORTH_A_PROCESS = 5000
# With more it would hold all of them a second time.
MOST_BESIDE = 100_000
SUFFIXES = (".png", ".svg")
# Of a row, what the figure is drawn from.
_DRAWN = ("caption", "misalignment", "generation", "vqascores", "weight", "shared")


class Beside:
    """The text-only AUC and the figure of one config. A context manager: leaving ends the process.

    Args:
        config: its name.
    """

    def __init__(self, config: str) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._answer: Future[dict[str, Any] | None] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self._shards: Sequence[Shard] = ()
        self._found: dict[str, Any] | None = None

    def start(self) -> None:
        """Have a process import what the work needs; `give` tells it of what."""
        if self._process is not None:
            return
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:  # no memory, or no more processes: the build does it itself
            self._process = None

    def give(self, shards: Sequence["Shard"]) -> None:
        """The rows, in their order."""
        given, self._shards = bool(self._shards), shards
        if self._process is not None and not given:
            self._answer = self._pool.submit(_ask, self._process, self._config, shards)

    def text_only(self) -> dict[str, Any]:
        """The config's `text_only` of `build.json`."""
        found = self._of_process()
        return (
            text_only_record(row for shard in self._shards for row in shard.rows)
            if found is None
            else found["text_only"]
        )

    def draw(self, folder: Path) -> bool:
        """Draw the figure into `folder`; whether there is anything to draw."""
        found = self._of_process()
        if found is None:
            rows = (_drawn(row) for shard in self._shards for row in shard.rows)
            return draw_figure(self._config, rows, folder)
        for suffix, content in found["figure"].items():
            (folder / f"{figure_name(self._config)}{suffix}").write_bytes(base64.b64decode(content))
        return bool(found["figure"])

    def _of_process(self) -> dict[str, Any] | None:
        """What the process found; None without one, or where it failed."""
        if self._answer is not None:
            self._found, self._answer = self._answer.result(), None
        return self._found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
        self._pool.shutdown()
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()


def text_only_record(rows: "Iterable[Row]") -> dict[str, Any]:
    """How far the captions of rows are told from their contrast captions without the video.

    Args:
        rows: of a dataset.
    """
    return text_only_auc(CaptionPair(*_pair(row)) for row in rows).to_record()


def draw_figure(config: str, rows: Iterable[dict[str, Any]], folder: Path) -> bool:
    """Draw the figure of a config into `folder`; whether there is anything to draw.

    Args:
        config: its name.
        rows: of each the columns that the figure is drawn from.
        folder: where to.
    """
    figure = difference_figure(inspect_rows(config, rows))
    if figure is not None:
        save_figure(figure, folder / figure_name(config))
    return figure is not None


def _pair(row: "Row") -> tuple[str, str, str, str | None]:
    triplet = row.triplet
    return f"{triplet.source}_{triplet.video_id}", triplet.caption, triplet.neg_caption, triplet.misalignment


def _drawn(row: "Row") -> dict[str, Any]:
    columns = row.columns()
    return {name: columns[name] for name in _DRAWN}


def _ask(process: "subprocess.Popen[bytes]", config: str, shards: Sequence["Shard"]) -> dict[str, Any] | None:
    """Give a process the rows, one a line, so that they are not held a second time; what it found, None if it failed."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as pipe:
            pipe.write(json.dumps(config).encode() + b"\n")
            for row in (row for shard in shards for row in shard.rows):
                pipe.write(json.dumps([_pair(row), _drawn(row)]).encode() + b"\n")
    except OSError:  # it has died
        process.wait()
        return None
    answer = process.stdout.read()
    found: dict[str, Any] | None = json.loads(answer) if process.wait() == 0 else None
    return found


def _answer() -> None:
    """The process: rows on standard input, what was found on standard output."""
    from tempfile import TemporaryDirectory

    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg  # noqa: F401
    import sklearn.feature_extraction.text
    import sklearn.linear_model  # noqa: F401

    lines = sys.stdin.buffer
    if not (first := lines.readline()):  # nothing to do after all
        return
    pairs: list[CaptionPair] = []

    def rows() -> Iterator[dict[str, Any]]:
        for line in lines:
            pair, drawn = json.loads(line)
            pairs.append(CaptionPair(*pair))
            yield drawn

    with TemporaryDirectory() as folder:
        draw_figure(json.loads(first), rows(), Path(folder))
        drawn = {
            path.suffix: base64.b64encode(path.read_bytes()).decode()
            for path in sorted(Path(folder).iterdir())
        }
    found = text_only_auc(pairs).to_record()
    with os.fdopen(1, "wb") as answer:  # the pipe to the build
        answer.write(json.dumps({"figure": drawn, "text_only": found}).encode())


if __name__ == "__main__":
    _answer()
