"""The `synvita` program. Commands live in `commands/`, one file each, and import what they need
inside their functions, so that `synvita --help` needs neither datasets nor torch."""

import sys
from typing import Annotated

import typer

from . import __version__
from .commands.annotations import annotations
from .commands.build import build
from .commands.convert import convert
from .commands.demo import demo
from .commands.evaluate import evaluate
from .commands.generate import generate
from .commands.inspect import inspect
from .commands.leaderboard import leaderboard
from .commands.push import push
from .commands.train import train
from .commands.vqascore import vqascore
from .errors import SynvitaError

app = typer.Typer(
    name="synvita",
    help="Datasets and benchmarks for video-language alignment with synthetic videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"synvita-data {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _command in (
    build,
    generate,
    vqascore,
    inspect,
    push,
    demo,
    train,
    evaluate,
    leaderboard,
    annotations,
    convert,
):
    app.command()(_command)


def main() -> None:
    """Run the program: a `SynvitaError` is printed without a traceback and exits with status 2."""
    try:
        app()
    except SynvitaError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
    except BrokenPipeError:  # `synvita inspect … | head`
        sys.exit(141)
    except OSError as error:
        if error.filename is None:
            raise
        # A full disk, a folder that may not be written: the user's to mend, and nothing is half-written.
        typer.secho(f"error: {error.filename}: {error.strerror}.", fg=typer.colors.RED, err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
