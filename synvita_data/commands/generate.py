"""`synvita generate`: make synthetic videos from contrast captions."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import counted
from .options import (
    PromptTooLong,
    PromptTooLongOption,
    SamplesOption,
    SourceOption,
    SplitOption,
    TripletsOption,
    run_options,
)

if TYPE_CHECKING:
    from ..jobs import RunOptions


@run_options(without=("devices",))
def generate(
    triplets: TripletsOption,
    generator: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="Generator: diffusers:REPO_OR_DIR, lavie:DIR, videocrafter2:DIR or command:TEMPLATE.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder where videos and manifest.jsonl are written.")
    ],
    samples: SamplesOption = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting: frames=49, steps=25, …"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name recorded as the generator. Default: the model's own name.")
    ] = None,
    prompt_too_long: PromptTooLongOption = PromptTooLong.warn,
    split: SplitOption = None,
    source: SourceOption = None,
    *,
    run: "RunOptions",
) -> None:
    """Make one mp4 per contrast caption, with a record of everything that made it.

    Run it again after a kill and it continues; run it in several places on one folder and they share the work.
    """
    from synvita_data.builders.generators import generate_videos

    from ..display import Terminal
    from ..errors import SynvitaError
    from ..progress import Progress

    unread: list[SynvitaError] = []
    prompts: list[tuple[str, int]] = []
    with Progress("generating") as progress:
        report = generate_videos(
            triplets,
            generator,
            out,
            samples=samples,
            overrides=settings or (),
            name=name,
            run=run,
            split=split,
            source=source,
            prompt_too_long=prompt_too_long.value,
            on_prompts=lambda *told: prompts.append(told),
            on_bad=unread.append,
            on_progress=progress.follow,
        )
    terminal = Terminal()
    for line in (*report.lines(), *(line for line, _ in prompts)):
        terminal.line(line)
    if unread:
        terminal.line(f"{counted(len(unread), 'rows')} of {triplets} cannot be used, first: {unread[0]}")
    if report.done:
        terminal.line(f"{out}/manifest.jsonl")
        following = (
            "synvita",
            "build",
            "--triplets",
            str(triplets),
            "--synthetic",
            f"folder:{out}",
            "--out",
            "DATASET",
        )
        terminal.line(f"Next: {shlex.join(following)}")
    set_aside = prompt_too_long is PromptTooLong.quarantine and any(count for _, count in prompts)
    raise typer.Exit(report.exit_status or int(set_aside or bool(unread)))
