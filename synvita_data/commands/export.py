"""`synvita export`: a dataset as preference data of other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..display import counted


class Tool(StrEnum):
    """Whose format is written."""

    ms_swift = "ms-swift"
    llama_factory = "llama-factory"
    trl = "trl"


class Include(StrEnum):
    """Which videos are asked about."""

    real = "real"
    synthetic = "synthetic"
    both = "both"


def export(
    dataset: Annotated[str, typer.Argument(metavar="DIR_OR_REPO", help="Dataset folder or Hub repository.")],
    to: Annotated[Tool, typer.Option("--to", help="Program whose format is written.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make; it must not exist.")],
    config: Annotated[
        str | None, typer.Option(help="Config of the dataset. Default: its default config.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Tag, branch or commit of a Hub repository.")] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="Split to export; repeat for several. Default: all.")
    ] = None,
    real_root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of real videos; their paths are written, the videos are not copied."
        ),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV of real videos whose names say nothing.")
    ] = None,
    synthetic_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of synthetic videos that rows refer to.")
    ] = None,
    include: Annotated[
        Include | None,
        typer.Option(help="Videos to ask about. Default: both with --real-root, else synthetic."),
    ] = None,
    min_weight: Annotated[
        float | None,
        typer.Option(
            help="Leave out synthetic videos of a lower or unknown weight; those of weight 0 always are."
        ),
    ] = None,
    prompt: Annotated[
        str, typer.Option(metavar="NAME", help="Prompt whose wording of the question is used.")
    ] = "question",
    frames: Annotated[int, typer.Option(help="For trl: frames of each video.", min=1)] = 8,
    token: Annotated[str | None, typer.Option(help="Hub token; default: the one you logged in with.")] = None,
) -> None:
    """Write rows as chosen and rejected answers about their videos, for training in another program.

    The folder is for this machine: it may name real videos by their paths (docs/export.md).
    """
    from ..dataset.preference_export import export_preferences
    from ..display import Terminal

    done = export_preferences(
        to.value,
        dataset,
        out,
        config=config,
        revision=revision,
        splits=split,
        real_root=real_root,
        mapping=mapping,
        synthetic_root=synthetic_root,
        include=None if include is None else include.value,
        min_weight=min_weight,
        prompt=prompt,
        frames=frames,
        token=token,
    )
    terminal = Terminal()
    counts = ", ".join(f"{name} {count:,}" for name, count in done.samples.items())
    terminal.line(("bold", counted(sum(done.samples.values()), "samples")), f" for {to.value}: {counts}")
    for reason, rows in done.left_out.items():
        terminal.line(f"Left out in {counted(rows, 'rows')}: {reason}.", style="yellow")
    videos = f"{counted(done.videos, 'synthetic videos')} written" if done.videos else "no video written"
    named = (
        f"; {counted(done.real, 'samples')} name real videos of this machine by their paths"
        if done.real
        else ""
    )
    terminal.line(f"Folder: {done.folder} ({videos}{named})")
    terminal.line("The export is local: do not publish it.", style="yellow")
    terminal.line(f"Use it: {done.use}", style="dim")
