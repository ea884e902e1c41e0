"""`synvita build` without videos: peak memory against the number of rows.

    python benchmarks/build_rows.py [--small] [--rows 25000 50000 100000]

Each build is a process of its own, with scores of three models; rows are made here. A build that is flat in rows takes as
many bytes for a million as for ten thousand: the figure is how many bytes a row adds.
"""

import os
import tempfile
from pathlib import Path

from build import BUILD, annotations, spent_by
from measure import argument_parser, figure


def main() -> None:
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--rows", type=int, nargs="+", default=[25_000, 50_000, 100_000])
    arguments = parser.parse_args()
    counts = [200, 400] if arguments.small else sorted(arguments.rows)
    peaks = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        for rows in counts:
            folder = Path(name) / str(rows)
            folder.mkdir()
            triplets, scores = annotations(folder, rows)
            asked = ("--triplets", triplets, "--vqascores", scores, "--config", "bench")
            spent = spent_by(*BUILD, *asked, "--out", folder / "out", compiled=Path(name) / "compiled")
            figure(f"build of {rows:,} rows, peak memory", spent.peak, "MB", 1000, at_most=True)
            figure(f"build of {rows:,} rows, cpu", spent.cpu, "s")
            peaks.append(spent.peak)
    if len(counts) > 1:
        added = (peaks[-1] - peaks[0]) * 1e6 / (counts[-1] - counts[0])
        figure("bytes that a row adds", added, "bytes", 500, at_most=True)


if __name__ == "__main__":
    main()
