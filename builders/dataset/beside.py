"""What a build works out beside writing its shards: the text-only AUC, and the figure.

Both take seconds, some of them for importing scipy and matplotlib. A large build gives its captions and then its rows to a
process of its own (`beside_process`), and goes on joining and writing; a small one does the work itself when it is asked for. So
does one whose process did not come up: the results are the same.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from synvita_data.captions.text_only import CaptionPair, text_only_auc
from synvita_data.dataset.inspection import PAIR_COLUMNS, caption_pair, figure_name
from synvita_data.schema import Triplet

from .. import beside_process
from ..beside_process import draw_figure

if TYPE_CHECKING:
    from .joined import JoinedRows

# With fewer rows the process would take longer to come up than its work.
WORTH_A_PROCESS = 5000
# A file of triplets that has about so many rows.
BYTES_WORTH_A_PROCESS = 1_000_000
SUFFIXES = (".png", ".svg")
# Of a row, what the figure is drawn from.
_DRAWN = ("caption", "misalignment", "generation", "vqascores", "weight", "shared")
# Triplets whose captions are given at once.
_AT_ONCE = 1000
_COLUMNS = tuple(dict.fromkeys((*PAIR_COLUMNS, *_DRAWN)))


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
        self._is_told = False
        self._found: dict[str, Any] | None = None

    def start(self) -> None:
        """Have a process import what the work needs; `expect` and `give` tell it of what."""
        if self._process is not None:
            return
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", beside_process.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:  # no memory, or no more processes: the build does it itself
            self._process = None

    def expect(self, triplets: Iterable[Triplet]) -> None:
        """The triplets that most rows will be of: the process begins with their captions.

        Args:
            triplets: read in a thread.
        """
        if self._process is not None:
            self._is_told = True
            self._pool.submit(_tell, self._process, self._config, triplets)

    def give(self, rows: "JoinedRows") -> None:
        """The rows."""
        given, self._rows = self._rows is not None, rows
        if self._process is None or given:
            return
        if not self._is_told:
            self.expect(())
        self._answer = self._pool.submit(_ask, self._process, rows)

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
    pairs = (pair for batch in rows.batches(PAIR_COLUMNS) for pair in map(caption_pair, batch.to_pylist()))
    return text_only_auc(pairs).to_record()


def _tell(process: "subprocess.Popen[bytes]", config: str, triplets: Iterable[Triplet]) -> None:
    """Give a process the name of the config, and lines of captions up to an empty one; that it has died is noticed later."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.write(json.dumps(config).encode() + b"\n")
        left = iter(triplets)
        while some := list(islice(left, _AT_ONCE)):
            process.stdin.write(json.dumps(list(map(_pair, some))).encode() + b"\n")
        process.stdin.write(b"\n")
        process.stdin.flush()


def _pair(triplet: Triplet) -> CaptionPair:
    """What `caption_pair` makes of a row of a triplet."""
    video = f"{triplet.source}_{triplet.video_id}"
    return CaptionPair(video, triplet.caption, triplet.neg_caption, triplet.misalignment)


def _ask(process: "subprocess.Popen[bytes]", rows: "JoinedRows") -> dict[str, Any] | None:
    """Give a process the rows, batch by batch, so that they are not held a second time; what it found, None if it failed."""
    import pyarrow as pa

    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as pipe:
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
