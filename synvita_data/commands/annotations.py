"""`synvita annotations`: pack benchmark annotations into a dataset folder of ids and captions."""

from pathlib import Path
from typing import Annotated

import typer

from ..display import counted


def annotations(
    task: Annotated[
        list[str],
        typer.Option(
            "--task", metavar="NAME", help="Benchmark, or the YAML file of your own; repeat for several."
        ),
    ],
    files: Annotated[
        Path,
        typer.Option("--annotations", metavar="PATH", help="Published file, or a folder with all of them."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Dataset folder: Parquet, card, eval.yaml.")],
    allow_home_folders: Annotated[
        bool, typer.Option("--allow-home-folders", help="Pass over what looks like somebody's home folder.")
    ] = False,
) -> None:
    """Make a Hub dataset of benchmark annotations: ids, captions and labels, never videos."""
    from synvita_data.builders.publish.annotations import build_annotations

    from ..display import Terminal

    terminal = Terminal()
    for name, record in build_annotations(
        dict.fromkeys(task, files), out, allow_home_folders=allow_home_folders
    ).items():
        counts = record["counts"]
        terminal.line(
            ("bold", name), f" · {counted(counts['pairs'], 'texts')} of {counts['videos']:,} videos"
        )
        for mismatch in record["read"]["mismatches"]:
            terminal.line("  ", ("yellow", "not as published:"), f" {mismatch}")
    terminal.line(f"{out} · evaluate with --annotations {out}", style="dim")
