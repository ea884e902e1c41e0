"""The process that a large build has beside it: captions and rows on standard input, text-only AUC and figure on standard output.

`builders.dataset.beside` starts it and asks. It lies outside that folder, so that it imports nothing of a build.
"""

import base64
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from synvita_data.captions.text_only import CaptionPair, PairSample, text_only_auc
from synvita_data.dataset.inspection import (
    caption_pair,
    difference_figure,
    figure_name,
    inspect_rows,
    save_figure,
)


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


def answer() -> None:
    """The process: the captions of all triplets and then the rows on standard input, what was found on standard output.

    The text-only AUC is that of the rows. It is worked out of the captions that came before them, while the build reads
    and joins scores, and again only if some of these have lost their rows.
    """
    from tempfile import TemporaryDirectory

    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg  # noqa: F401
    import pyarrow as pa
    import scipy.sparse  # noqa: F401

    lines = sys.stdin.buffer
    if not (first := lines.readline()):  # nothing to do after all
        return
    expected = PairSample()
    for line in iter(lines.readline, b"\n"):
        for pair in json.loads(line):
            expected.add(CaptionPair(*pair))
    found = text_only_auc(expected)

    pairs = PairSample()

    def rows() -> Iterator[dict[str, Any]]:
        for batch in pa.ipc.open_stream(lines):
            for row in batch.to_pylist():
                pairs.add(caption_pair(row))
                yield row

    with TemporaryDirectory() as folder:
        draw_figure(json.loads(first), rows(), Path(folder))
        drawn = {
            path.suffix: base64.b64encode(path.read_bytes()).decode()
            for path in sorted(Path(folder).iterdir())
        }
    if (pairs.total, pairs.drawn()) != (expected.total, expected.drawn()):
        found = text_only_auc(pairs)
    with os.fdopen(1, "wb") as pipe:  # the pipe to the build
        pipe.write(json.dumps({"figure": drawn, "text_only": found.to_record()}).encode())


if __name__ == "__main__":
    answer()
