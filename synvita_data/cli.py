"""The `synvita` program. Commands live in `commands/`, one file each, and import what they need
inside their functions, so that `synvita --help` needs neither datasets nor torch."""

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from . import __version__
from .commands.annotations import annotations
from .commands.build import build
from .commands.compare import compare
from .commands.contrast import contrast
from .commands.convert import convert
from .commands.demo import demo
from .commands.doctor import CONTEXT_SETTINGS, doctor
from .commands.errors import errors
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.generate import generate
from .commands.inspect import inspect
from .commands.leaderboard import leaderboard
from .commands.push import push
from .commands.reproduce import reproduce
from .commands.score import score
from .commands.study import study
from .commands.submit import submit
from .commands.train import train
from .commands.verify import verify
from .commands.videos import videos
from .commands.vqascore import vqascore
from .crash import INTERRUPTED, ending, interrupted
from .display import plain, prepare_terminal, print_error, print_traceback, say

# Of click, or of the copy of it that newer versions of typer bring.
_USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """Parameters whose flags show no type in `--help`: `--dry-run <bool>` reads as if it took a value."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # As a path an empty text is the current folder: `--out "$OUT"` would write there where OUT is not set.
        paths = {
            name
            for each in self.params
            if str(each.metavar).startswith(("DIR", "FILE", "PATH"))
            for name in each.opts
        }
        for option, value in itertools.pairwise([*args, " "]):
            if (option in paths and value == "") or (option.endswith("=") and option[:-1] in paths):
                raise typer.BadParameter(
                    "The path is empty. For the current folder write a dot.",
                    ctx=ctx,
                    param_hint=option.removesuffix("="),
                )
        return super().parse_args(ctx, args)


class _Program(TyperGroup):
    """Shows its user's own arguments as text: `synvita inspect *` names files that others named."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _plain_usage_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _plain_usage_errors():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:  # typer would end without a word
                print_error(interrupted(ctx.invoked_subcommand), "yellow")
                sys.exit(INTERRUPTED)


@contextmanager
def _plain_usage_errors() -> Iterator[None]:
    try:
        yield
    except _USAGE_ERROR as error:
        error.message = plain(error.message)
        raise


app = typer.Typer(
    name="synvita",
    cls=_Program,
    help="Datasets and benchmarks for video-language alignment with synthetic videos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(show: bool) -> None:
    if show:
        say(f"synvita-data {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _command in (
    contrast,
    build,
    generate,
    vqascore,
    inspect,
    push,
    demo,
    train,
    evaluate,
    score,
    leaderboard,
    verify,
    submit,
    errors,
    compare,
    annotations,
    convert,
    export,
    reproduce,
    study,
):
    app.command(cls=_Command)(_command)
app.command(cls=_Command, context_settings=CONTEXT_SETTINGS)(doctor)
for _of_videos in videos.registered_commands:
    _of_videos.cls = _Command
app.add_typer(videos, cls=_Program)


def main() -> None:
    """Run the program: whatever is raised becomes one line and an exit status, as `crash.ending` says."""
    sys.excepthook = print_traceback  # of what is raised where nobody catches it, such as at exit
    prepare_terminal()
    try:
        app()
    except BrokenPipeError:  # `synvita inspect … | head`
        sys.exit(141)
    except Exception as error:
        line, status = ending(error, sys.argv[1:])
        print_error(line)
        sys.exit(status)


if __name__ == "__main__":
    main()
