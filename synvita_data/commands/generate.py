"""`synvita generate`: make synthetic videos from contrast captions."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class EngineName(StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


class PromptTooLong(StrEnum):
    """What becomes of captions of which the generator would cut the end."""

    error = "error"
    warn = "warn"
    quarantine = "quarantine"


def generate(
    triplets: Annotated[
        Path, typer.Option(metavar="FILE", help="VideoCon's CSVs, or any CSV, JSONL or Parquet.")
    ],
    generator: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="diffusers:REPO_OR_DIR, lavie:DIR, videocrafter2:DIR or command:TEMPLATE.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where videos and manifest.jsonl appear.")],
    samples: Annotated[int, typer.Option(help="Videos a contrast caption.", min=1)] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting: frames=49, steps=25, …"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Recorded as the generator. Default: the model's own name.")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="This machine, or a Ray cluster.")] = EngineName.local,
    workers: Annotated[int, typer.Option(help="Processes, one a GPU; 1 is this process.", min=1)] = 1,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; without one, Ray starts here.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only this part: 0/8 to 7/8, for job arrays.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many that are not done yet.", min=1)] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do what is in quarantine again.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read and decode finished videos first; make bad ones again.")
    ] = False,
    prompt_too_long: Annotated[
        PromptTooLong,
        typer.Option(help="Captions that the generator would cut: make them and say so, leave out, or stop."),
    ] = PromptTooLong.warn,
    split: Annotated[str | None, typer.Option(help="Split of rows that do not say.")] = None,
    source: Annotated[str | None, typer.Option(help="Source of rows that do not say.")] = None,
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
            engine="ray" if engine is EngineName.ray else "local",
            workers=workers,
            address=address,
            shard=shard,
            limit=limit,
            retry_failed=retry_failed,
            verify="contents" if verify else "sizes",
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
        terminal.line(f"{len(unread):,} rows of {triplets} cannot be used, first: {unread[0]}")
    terminal.line(f"{out}/manifest.jsonl · synvita build --synthetic folder:{out}")
    set_aside = prompt_too_long is PromptTooLong.quarantine and any(count for _, count in prompts)
    raise typer.Exit(report.exit_status or int(set_aside))
