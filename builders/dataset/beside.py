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
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from synvita_data.captions.text_only import CaptionPair, PairSample, text_only_auc
from synvita_data.dataset.inspection import difference_figure, figure_name, inspect_rows, save_figure
from synvita_data.schema import MISALIGNMENTS

if TYPE_CHECKING:
    from .joined import JoinedRows

# With fewer rows the process would take longer to come up than its work.
WORTH_A_PROCESS = 5000
SUFFIXES = (".png", ".svg")
# Of a row, what the figure is drawn from, and the text-only AUC is of.
_DRAWN = ("caption", "misalignment", "generation", "vqascores", "weight", "shared")
_PAIR = ("source", "video_id", "caption", "neg_caption", "misalignment")
_COLUMNS = tuple(dict.fromkeys((*_PAIR, *_DRAWN)))


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
        self._rows: JoinedRows | None = None
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

    def give(self, rows: "JoinedRows") -> None:
        """The rows."""
        given, self._rows = self._rows is not None, rows
        if self._process is not None and not given:
            self._answer = self._pool.submit(_ask, self._process, self._config, rows)

    def text_only(self) -> dict[str, Any]:
        """The config's `text_only` of `build.json`."""
        found = self._of_process()
        assert self._rows is not None
        return text_only_record(self._rows) if found is None else found["text_only"]

    def draw(self, folder: Path) -> bool:
        """Draw the figure into `folder`; whether there is anything to draw."""
        found = self._of_process()
        if found is None:
            assert self._rows is not None
            rows = (row for batch in self._rows.batches(_DRAWN) for row in batch.to_pylist())
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


def text_only_record(rows: "JoinedRows") -> dict[str, Any]:
    """How far the captions of rows are told from their contrast captions without the video.

    Args:
        rows: of a config.
    """
    pairs = (pair for batch in rows.batches(_PAIR) for pair in map(_pair, batch.to_pylist()))
    return text_only_auc(pairs).to_record()


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


def _pair(row: Mapping[str, Any]) -> CaptionPair:
    label = row["misalignment"]
    return CaptionPair(
        f"{row['source']}_{row['video_id']}",
        row["caption"],
        row["neg_caption"],
        None if label is None else MISALIGNMENTS[label],
    )


def _ask(process: "subprocess.Popen[bytes]", config: str, rows: "JoinedRows") -> dict[str, Any] | None:
    """Give a process the rows, batch by batch, so that they are not held a second time; what it found, None if it failed."""
    import pyarrow as pa

    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as pipe:
            pipe.write(json.dumps(config).encode() + b"\n")
            writer = None
            for batch in rows.batches(_COLUMNS):
                writer = writer or pa.ipc.new_stream(pipe, batch.schema)
                writer.write_batch(batch)
            if writer is not None:
                writer.close()
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
    import pyarrow as pa
    import sklearn.feature_extraction.text
    import sklearn.linear_model  # noqa: F401

    lines = sys.stdin.buffer
    if not (first := lines.readline()):  # nothing to do after all
        return
    pairs = PairSample()

    def rows() -> Iterator[dict[str, Any]]:
        for batch in pa.ipc.open_stream(lines):
            for row in batch.to_pylist():
                pairs.add(_pair(row))
                yield row

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
