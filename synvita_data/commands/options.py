"""Options that several commands share, each described once.

A command that runs a job takes `run: RunOptions` and is decorated with `run_options`: all options of `RunOptions`
appear in its place.
"""

import inspect
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

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


PromptTooLongOption = Annotated[
    PromptTooLong,
    typer.Option(
        help="What to do with captions that the generator would cut: warn makes them, quarantine leaves them out, "
        "error stops."
    ),
]
SamplesOption = Annotated[int, typer.Option(help="Make this many videos of each contrast caption.", min=1)]
SplitOption = Annotated[str | None, typer.Option(help="Split of rows that do not name theirs.")]
SourceOption = Annotated[str | None, typer.Option(help="Source of rows that do not name theirs.")]
TripletsOption = Annotated[
    Path, typer.Option(metavar="FILE", help="VideoCon's CSVs, or any CSV, JSONL or Parquet.")
]

# Name in `RunOptions` -> type and help, default. Their order is that of --help.
RUN_OPTIONS: dict[str, tuple[Any, Any]] = {
    "engine": (
        Annotated[EngineName, typer.Option(help="Run on this machine, or on a Ray cluster.")],
        EngineName.local,
    ),
    "workers": (
        Annotated[int, typer.Option(help="Start this many processes, one a GPU; 1 is this process.", min=1)],
        1,
    ),
    "devices": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--device", help="Device: cuda:0, cpu, …; repeat for workers in turn. Default: all GPUs."
            ),
        ],
        None,
    ),
    "address": (
        Annotated[str | None, typer.Option(help="Address of a Ray cluster; without one, Ray starts here.")],
        None,
    ),
    "shard": (
        Annotated[
            str | None, typer.Option(metavar="I/N", help="Do only this part: 0/8 to 7/8, for job arrays.")
        ],
        None,
    ),
    "limit": (
        Annotated[
            int | None,
            typer.Option(help="Do at most this many that are not done yet (of each model).", min=1),
        ],
        None,
    ),
    "retry_failed": (
        Annotated[bool, typer.Option("--retry-failed", help="Do again what is in quarantine.")],
        False,
    ),
    "verify": (
        Annotated[
            bool,
            typer.Option("--verify", help="Read and decode finished videos first; make bad ones again."),
        ],
        False,
    ),
}


def run_options(*, without: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter `run` by the options of the command line that it is made of.

    Args:
        without: names of `RUN_OPTIONS` that the command does not offer.
    """
    names = [name for name in RUN_OPTIONS if name not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapper(**given: Any) -> None:
            from ..jobs import RunOptions

            values = {name: given.pop(name) for name in names}
            values["engine"] = values["engine"].value
            values["verify"] = "contents" if values.get("verify") else "sizes"
            command(**given, run=RunOptions(**values))

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name != "run":
                parameters.append(parameter)
                continue
            for name in names:
                annotation, default = RUN_OPTIONS[name]
                kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
                parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotation))
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapper

    return decorate
