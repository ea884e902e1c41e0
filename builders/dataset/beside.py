"""What a build works out beside writing its shards: the text-only AUC, and the figure.

Both take seconds, most of them for importing scikit-learn and matplotlib. A large build gives its rows to a process of
its own, which has imported them by then, and goes on writing; a small one does the work itself when it is asked for.
So does one whose process did not come up: the results are the same.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
        self._answer: Future[tuple[bytes, bytes]] | None = None
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
            self._answer = self._pool.submit(self._process.communicate, _as_json(self._config, shards))

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
            rows = [_drawn(row) for shard in self._shards for row in shard.rows]
            return draw_figure(self._config, rows, folder)
        for suffix, content in found["figure"].items():
            (folder / f"{figure_name(self._config)}{suffix}").write_bytes(base64.b64decode(content))
        return bool(found["figure"])

    def _of_process(self) -> dict[str, Any] | None:
        """What the process found; None without one, or where it failed."""
        if self._answer is not None:
            assert self._process is not None
            output, _ = self._answer.result()
            self._answer = None
            self._found = json.loads(output) if self._process.returncode == 0 else None
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
            if self._answer is None:
                self._process.communicate()
        self._pool.shutdown()


def text_only_record(rows: "Iterable[Row]") -> dict[str, Any]:
    """How far the captions of rows are told from their contrast captions without the video.

    Args:
        rows: of a dataset.
    """
    return text_only_auc(CaptionPair(*_pair(row)) for row in rows).to_record()


def draw_figure(config: str, rows: Sequence[dict[str, Any]], folder: Path) -> bool:
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


def _as_json(config: str, shards: Sequence["Shard"]) -> bytes:
    rows = [row for shard in shards for row in shard.rows]
    asked = {"config": config, "pairs": [_pair(row) for row in rows], "rows": [_drawn(row) for row in rows]}
    return json.dumps(asked).encode()


def _answer() -> None:
    """The process: rows on standard input, what was found on standard output."""
    from tempfile import TemporaryDirectory

    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg  # noqa: F401
    import sklearn.feature_extraction.text
    import sklearn.linear_model  # noqa: F401

    text = sys.stdin.buffer.read()
    if not text:  # nothing to do after all
        return
    asked = json.loads(text)
    with TemporaryDirectory() as folder:
        draw_figure(asked["config"], asked["rows"], Path(folder))
        drawn = {
            path.suffix: base64.b64encode(path.read_bytes()).decode()
            for path in sorted(Path(folder).iterdir())
        }
    found = text_only_auc(CaptionPair(*pair) for pair in asked["pairs"]).to_record()
    sys.stdout.buffer.write(json.dumps({"figure": drawn, "text_only": found}).encode())


if __name__ == "__main__":
    _answer()
