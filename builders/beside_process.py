"""The process that a large build has beside it: captions and differences of scores on standard input, text-only AUC and
figure on standard output.

`builders.dataset.beside` starts it and asks. It lies outside that folder, so that it imports nothing of a build.
"""

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from synvita_data.captions.text_only import CaptionPair, PairSample, text_only_auc
from synvita_data.dataset.inspection import (
    DrawnRows,
    difference_figure,
    figure_name,
    inspect_drawn,
    save_figure,
)


def draw_figure(config: str, rows: DrawnRows, folder: Path) -> bool:
    """Draw the figure of a config into `folder`; whether there is anything to draw.

    Args:
        config: its name.
        rows: what it is drawn from.
        folder: where to.
    """
    figure = difference_figure(inspect_drawn(config, rows))
    if figure is not None:
        save_figure(figure, folder / figure_name(config))
    return figure is not None


def answer() -> None:
    """The process: what it is told on standard input, what it found on standard output.

    The text-only AUC is that of the rows. It is worked out of the captions of all triplets, while the build reads and joins
    scores; again only if some triplets have no row, when the pairs that have one follow.
    """
    from tempfile import TemporaryDirectory

    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
    import scipy.sparse  # noqa: F401

    pipe = sys.stdin.buffer
    if not (config := pipe.readline()):  # nothing to do after all
        return
    found = text_only_auc(_pairs(pipe))
    others = PairSample()
    for pair in _pairs(pipe):
        others.add(pair)
    if others.total:
        found = text_only_auc(others)
    count = int(pipe.readline())
    rows = DrawnRows(*(_numbers(pipe, kind, count) for kind in (np.int8, np.uint8, np.float64)))
    with TemporaryDirectory() as folder:
        draw_figure(json.loads(config), rows, Path(folder))
        drawn = {
            path.suffix: base64.b64encode(path.read_bytes()).decode()
            for path in sorted(Path(folder).iterdir())
        }
    with os.fdopen(1, "wb") as output:  # the pipe to the build
        output.write(json.dumps({"figure": drawn, "text_only": found.to_record()}).encode())


def _pairs(pipe: BinaryIO) -> Iterator[CaptionPair]:
    """The pairs of lines up to an empty one."""
    for line in iter(pipe.readline, b"\n"):
        for pair in json.loads(line):
            yield CaptionPair(*pair)


def _numbers(pipe: BinaryIO, kind: type[np.generic], count: int) -> np.ndarray:
    return np.frombuffer(pipe.read(count * np.dtype(kind).itemsize), kind)


if __name__ == "__main__":
    answer()
