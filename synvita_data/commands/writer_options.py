"""Options of the commands that have contrast captions written: `contrast`, and `build` from captions alone.

Such a command takes `writing: WriterOptions` and is decorated with `writer_options`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Command, in_place_of

if TYPE_CHECKING:
    from synvita_data.builders.contrast.writing.registry import ContrastOptions

# Name in `WriterOptions` -> type and help, default. Their order is that of --help.
WRITER_OPTIONS: dict[str, tuple[Any, Any]] = {
    "misalignment": (
        Annotated[
            list[str] | None,
            typer.Option(
                help="Kind of contrast caption; repeat for several. Default: all that the writer knows."
            ),
        ],
        None,
    ),
    "per_caption": (
        Annotated[
            int | None,
            typer.Option(
                metavar="N", help="Contrast captions of a caption at most. Default: one of each kind.", min=1
            ),
        ],
        None,
    ),
    "candidates": (
        Annotated[
            int,
            typer.Option(
                metavar="K",
                help="Choose among K contrast captions the one that words alone tell least.",
                min=1,
            ),
        ],
        1,
    ),
    "seed": (Annotated[int, typer.Option(help="Seed of every random choice of the writer.", min=0)], 0),
    "nli": (
        Annotated[
            str | None,
            typer.Option(metavar="MODEL", help="Drop what the caption entails, by this NLI classifier."),
        ],
        None,
    ),
    "frame_vqa": (
        Annotated[
            str | None,
            typer.Option(
                metavar="MODEL",
                help="Keep only captions that this model cannot tell from single frames of --real-root.",
            ),
        ],
        None,
    ),
    "require_video": (
        Annotated[
            bool, typer.Option("--require-video", help="Let --frame-vqa drop rows whose video is not there.")
        ],
        False,
    ),
    "prompts": (
        Annotated[
            str | None, typer.Option(metavar="DIR", help="Prompts in place of the package's, a file a kind.")
        ],
        None,
    ),
    "llm_revision": (
        Annotated[str | None, typer.Option(help="Revision of the writer's model on the Hub.")],
        None,
    ),
    "llm_adapter": (Annotated[str | None, typer.Option(help="LoRA adapter on the writer's model.")], None),
    "llm_adapter_revision": (Annotated[str | None, typer.Option(help="Revision of the adapter.")], None),
    "llm_dtype": (
        Annotated[str | None, typer.Option(help="Dtype of the writer's and the filters' weights.")],
        None,
    ),
    "llm_device_map": (
        Annotated[str | None, typer.Option(help="Spread the writer's model over devices: auto, …")],
        None,
    ),
    "temperature": (
        Annotated[
            float | None, typer.Option(help="Temperature of sampling; 0 takes the likeliest words.", min=0.0)
        ],
        None,
    ),
    "max_tokens": (
        Annotated[int | None, typer.Option(help="Longest answer of a model, in tokens.", min=1)],
        None,
    ),
    "llm_batch_size": (
        Annotated[int | None, typer.Option(help="Number of requests a model here is given at once.", min=1)],
        None,
    ),
    "concurrency": (
        Annotated[int | None, typer.Option(help="Number of requests to a server at a time.", min=1)],
        None,
    ),
    "timeout": (
        Annotated[
            float | None, typer.Option(help="Seconds after which a server's answer is given up.", min=0.1)
        ],
        None,
    ),
    "price_in": (
        Annotated[
            float | None,
            typer.Option(help="Price of a million tokens sent to the server, for the report.", min=0.0),
        ],
        None,
    ),
    "price_out": (
        Annotated[float | None, typer.Option(help="Price of a million tokens of its answers.", min=0.0)],
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How contrast captions are written, as named on the command line.

    Attributes:
        values: by the names of `WRITER_OPTIONS`.
    """

    values: Mapping[str, Any]

    def options(self, *, writer: str, **where: Any) -> "ContrastOptions":
        """The options of a run.

        Args:
            writer: SPEC.
            where: captions, out, …: what is not of `WRITER_OPTIONS`.

        Raises:
            SynvitaError: as of `ContrastOptions`.
        """
        from synvita_data.builders.contrast.writing.registry import OPTIONS, ContrastOptions, WriterSettings

        given = dict(self.values)
        settings, dtype = WriterSettings.named(writer, given), given["llm_dtype"]
        for option in OPTIONS:
            del given[option]
        kinds = tuple(given.pop("misalignment") or ())
        return ContrastOptions(
            writer=writer, settings=settings, misalignments=kinds, filter_dtype=dtype, **given, **where
        )

    def given(self) -> list[str]:
        """The options that were named, as they are written."""
        return [
            f"--{name.replace('_', '-')}"
            for name, value in self.values.items()
            if value != WRITER_OPTIONS[name][1]
        ]


def writer_options(*, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Replace a command's parameter `writing` by the options of the command line that it is made of.

    Args:
        without: names of `WRITER_OPTIONS` that the command does not offer.
    """

    def make(values: dict[str, Any]) -> WriterOptions:
        return WriterOptions(
            {name: values.get(name, default) for name, (_, default) in WRITER_OPTIONS.items()}
        )

    return in_place_of("writing", WRITER_OPTIONS, make, without)
