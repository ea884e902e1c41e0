"""What a build works out beside writing its shards: the text-only AUC, and the figure.

Both take seconds, some of them for importing scipy and matplotlib. A large build gives its captions to a process of its own
(`beside_process`), which begins with them while the build joins and writes; a small one does the work itself when it is asked
for. So does one whose process did not come up: the results are the same.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

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
# Pairs that are written at once.
_IN_A_LINE = 1000


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
        self._expected: int | None = None
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

    def expect(self, triplets: Sequence[Triplet]) -> None:
        """The triplets that rows will be of: the process begins with their captions.

        Args:
            triplets: no two of one pair; read in a thread.
        """
        if self._process is not None:
            self._expected = len(triplets)
            self._pool.submit(_begin, self._process, self._config, triplets)

    def give(self, rows: "JoinedRows") -> None:
        """The rows."""
        given, self._rows = self._rows is not None, rows
        if self._process is None or given:
            return
        if self._expected is None:
            self.expect(())
        same = rows.totals.pairs == self._expected
        self._answer = self._pool.submit(_ask, self._process, rows, same)

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
            return draw_figure(self._config, self._rows.totals.drawn(), folder)
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
    return text_only_auc(_pairs_of_rows(rows)).to_record()


def _pairs_of_rows(rows: "JoinedRows") -> Iterator[CaptionPair]:
    for batch in rows.batches(PAIR_COLUMNS):
        yield from map(caption_pair, batch.to_pylist())


def _pairs_of_triplets(triplets: Iterable[Triplet]) -> Iterator[CaptionPair]:
    for triplet in triplets:
        yield CaptionPair(triplet.video_key, triplet.caption, triplet.neg_caption, triplet.misalignment)


def _begin(process: "subprocess.Popen[bytes]", config: str, triplets: Iterable[Triplet]) -> None:
    """Give a process the name of the config and the captions that its rows will have; that it has died is noticed later."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.write(json.dumps(config).encode() + b"\n")
        _write_pairs(process.stdin, _pairs_of_triplets(triplets))
        process.stdin.flush()


def _ask(process: "subprocess.Popen[bytes]", rows: "JoinedRows", same_pairs: bool) -> dict[str, Any] | None:
    """Give a process the rest, and what it found; None if it failed.

    Args:
        process: that has been told the captions of triplets.
        rows: of the config.
        same_pairs: each of these triplets has rows.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as pipe:
            _write_pairs(pipe, () if same_pairs else _pairs_of_rows(rows))
            pipe.write(str(len(rows)).encode() + b"\n")
            for values in rows.totals.drawn():
                pipe.write(values.tobytes())
    except OSError:  # it has died
        process.wait()
        return None
    answer = process.stdout.read()
    found: dict[str, Any] | None = json.loads(answer) if process.wait() == 0 else None
    return found


def _write_pairs(pipe: IO[bytes], pairs: Iterable[CaptionPair]) -> None:
    """Pairs in lines, some in each so that they are not held a second time, and an empty line."""
    left = iter(pairs)
    while some := list(islice(left, _IN_A_LINE)):
        pipe.write(json.dumps(some).encode() + b"\n")
    pipe.write(b"\n")
