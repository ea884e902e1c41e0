"""`synvita contrast`: write contrast captions, with a record of how each was made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import SourceOption, SplitOption, run_options
from .writer_options import writer_options

if TYPE_CHECKING:
    from ..jobs import RunOptions
    from .writer_options import WriterOptions


@run_options(without=("verify",))
@writer_options()
def contrast(
    captions: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Videos with captions: VideoCon's CSVs, any CSV, JSONL or Parquet, MSR-VTT's or VATEX's JSON, a "
            "dataset of Hugging Face (a folder or OWNER/NAME).",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Triplets to write, .csv.")],
    writer: Annotated[
        str,
        typer.Option(metavar="WRITER", help="Who writes: rules[:DIR], llm:MODEL, api:URL#MODEL or shapes."),
    ],
    config: Annotated[
        str | None, typer.Option(metavar="NAME", help="Config of a Hugging Face dataset that has several.")
    ] = None,
    real_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of your real videos, for --frame-vqa.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the work in progress. Default: beside FILE, in .work."),
    ] = None,
    split: SplitOption = None,
    source: SourceOption = None,
    *,
    writing: "WriterOptions",
    run: "RunOptions",
) -> None:
    """Write contrast captions of every caption, check and filter them, and write triplets that build reads.

    Run it again after a kill and it continues; run it in several places on one folder and they share the work.
    """
    from synvita_data.builders.contrast.writing.run import write_contrasts

    from ..display import Terminal
    from ..progress import Progress

    with Progress("writing contrast captions") as progress:
        options = writing.options(
            captions=captions,
            out=out,
            writer=writer,
            config=config,
            real_root=real_root,
            work=work,
            split=split,
            source=source,
            run=run,
            on_progress=progress.follow,
        )
        report = write_contrasts(options)
    terminal = Terminal()
    for line in report.lines():
        terminal.line(line)
    if report.complete:
        terminal.line(f"{options.beside('report.json')} · synvita build --triplets {out}")
    raise typer.Exit(report.exit_status)
