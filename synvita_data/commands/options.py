"""Options that several commands share, each described once.

A command that runs a job takes `run: RunOptions` and is decorated with `run_options`: all options of `RunOptions`
appear in its place. A command that loads a model to score with takes `loading: ScorerOptions` and is decorated with
`scorer_options`.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..scoring import Scorer


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
DeclarationsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--task", metavar="FILE.yaml", help="Declaration of a task of your own (repeat for several)."
    ),
]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - prints only that.")
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


# The same for `ScorerOptions`.
SCORER_OPTIONS: dict[str, tuple[Any, Any]] = {
    "revision": (Annotated[str | None, typer.Option(help="Revision of the model on the Hub.")], None),
    "frames": (
        Annotated[
            int | None, typer.Option(help="Number of frames of each video. Default: the model's own.", min=1)
        ],
        None,
    ),
    "fps": (
        Annotated[
            float | None,
            typer.Option(help="Frames a second of each video, in place of a number of frames.", metavar="F"),
        ],
        None,
    ),
    "max_frames": (
        Annotated[
            int | None,
            typer.Option(
                help="Most frames of a video that is looked at by --fps or by the model's own rate.", min=1
            ),
        ],
        None,
    ),
    "backend": (
        Annotated[str | None, typer.Option(help="Decoder: pyav (default), decord or torchcodec.")],
        None,
    ),
    "device": (
        Annotated[
            str | None, typer.Option(help="Device of the model: cuda:0, cpu, … Default: this process's GPU.")
        ],
        None,
    ),
    "dtype": (Annotated[str | None, typer.Option(help="Dtype of the weights. Default: float32.")], None),
    "workers": (Annotated[int, typer.Option(help="Number of threads that decode ahead.", min=1)], 2),
    "prompt": (
        Annotated[
            str | None,
            typer.Option(help="Name of the prompt's wording (docs/tasks.md). Default: the Video LLM's own."),
        ],
        None,
    ),
    "placeholder_space": (
        Annotated[
            str | None,
            typer.Option(
                help="What stands around <video> (docs/alignment.md): processor (default) or original (Video-LLaVA)."
            ),
        ],
        None,
    ),
    "mode": (
        Annotated[
            str,
            typer.Option(
                help="How a Video LLM is evaluated: clean, or released (all as SynViTA's released code does it, "
                "docs/evaluation.md)."
            ),
        ],
        "clean",
    ),
    "preprocess": (
        Annotated[
            str | None,
            typer.Option(help="How frames become pixels: processor (default) or languagebind (Video-LLaVA)."),
        ],
        None,
    ),
    "flips": (
        Annotated[
            str | None,
            typer.Option(
                help="Which rows see their video mirrored: none (default) or seed0 (the released code's random rows)."
            ),
        ],
        None,
    ),
    "readout": (
        Annotated[
            str | None,
            typer.Option(
                help="How the answer is read: float32 (default: log-odds) or released (a probability in --dtype)."
            ),
        ],
        None,
    ),
    "merge": (
        Annotated[
            str | None,
            typer.Option(
                help="What becomes of an adapter: none (default: beside its base, in float32), unmerged (the same in "
                "--dtype) or float16 (merged there, before the weights get --dtype)."
            ),
        ],
        None,
    ),
    "adapter": (
        Annotated[str | None, typer.Option(metavar="DIR_OR_REPO", help="PEFT adapter for MODEL.")],
        None,
    ),
    "adapter_revision": (
        Annotated[str | None, typer.Option(help="Revision of the adapter on the Hub.")],
        None,
    ),
    "device_map": (
        Annotated[str | None, typer.Option(help="Spread one Video LLM over devices: auto, balanced, …")],
        None,
    ),
    "attention": (
        Annotated[str | None, typer.Option(help="Attention implementation: split (default), sdpa or eager.")],
        None,
    ),
    "way": (
        Annotated[
            str | None,
            typer.Option(
                help="Strategy: plain, packed or cached; all give the same scores. Default: the fastest."
            ),
        ],
        None,
    ),
    "feature_cache": (
        Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Folder where the videos' features are kept for the next run."),
        ],
        None,
    ),
    "feature_cache_gib": (
        Annotated[float, typer.Option(help="Largest size of --feature-cache, in GiB.", min=0)],
        100,
    ),
}
# Of those, what any scorer takes; the others are for Video LLMs.
FOR_ALL_SCORERS = (
    "revision",
    "frames",
    "fps",
    "max_frames",
    "backend",
    "device",
    "dtype",
    "workers",
    "feature_cache_gib",
)


@dataclass(frozen=True, slots=True)
class ScorerOptions:
    """How a model is loaded to score with, as `SCORER_OPTIONS` describes each; None for the model's own.

    Raises:
        SynvitaError: both a number of frames and a rate.
    """

    revision: str | None = None
    frames: int | None = None
    fps: float | None = None
    max_frames: int | None = None
    backend: str | None = None
    device: str | None = None
    dtype: str | None = None
    workers: int = 2
    prompt: str | None = None
    placeholder_space: str | None = None
    mode: str = "clean"
    preprocess: str | None = None
    flips: str | None = None
    readout: str | None = None
    merge: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    device_map: str | None = None
    attention: str | None = None
    way: str | None = None
    feature_cache: Path | None = None
    feature_cache_gib: float = 100

    def __post_init__(self) -> None:
        from ..errors import SynvitaError

        if self.frames is not None and (self.fps is not None or self.max_frames is not None):
            raise SynvitaError(
                "--frames gives every video one number of frames, --fps and --max-frames go by its length",
                expected="--frames, or --fps with or without --max-frames",
            )

    def given(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of these options that are not as by default, as the command line calls them."""
        values = {name: getattr(self, name) for name in names}
        return {
            f"--{name.replace('_', '-')}": value
            for name, value in values.items()
            if value != SCORER_OPTIONS[name][1]
        }

    @property
    def policy(self) -> dict[str, Any]:
        """Fields of `FramePolicy` that are asked for."""
        asked = {
            "count": self.frames,
            "fps": self.fps,
            "max_frames": self.max_frames,
            "backend": self.backend,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `scoring.open.open_scorer`."""
        for_video_llms = {
            "prompt": self.prompt,
            "placeholder_space": self.placeholder_space,
            "mode": None if self.mode == "clean" else self.mode,
            "preprocess": self.preprocess,
            "flips": self.flips,
            "readout": self.readout,
            "merge": self.merge,
            "adapter": self.adapter,
            "adapter_revision": self.adapter_revision,
            "device_map": self.device_map,
            "attention": self.attention,
            "strategy": self.way,
            "cache": self.feature_cache,
            "cache_bytes": None if self.feature_cache is None else int(self.feature_cache_gib * (1 << 30)),
        }
        return {
            "revision": self.revision,
            "device": self.device,
            "dtype": self.dtype,
            "workers": self.workers,
            "frames": self.policy,
            "video_llm": {name: value for name, value in for_video_llms.items() if value is not None},
        }

    def open(
        self,
        model: str,
        *,
        seed: int = 0,
        control: str | None = None,
        frames: Mapping[str, Any] | None = None,
    ) -> "Scorer":
        """Load a model, and say how it is asked where that is worth a line.

        Args:
            model: as of `scoring.open.open_scorer`.
            seed: of `chance`, and of the control `shuffle`.
            control: what is taken away from every video.
            frames: fields of `FramePolicy` that a task asks for, where neither a number nor a rate is given.

        Raises:
            SynvitaError: as of `open_scorer`.
        """
        from ..captions.prompts import describe
        from ..display import Terminal
        from ..scoring.open import open_scorer

        arguments = self.arguments()
        if self.frames is None and self.fps is None:
            arguments["frames"] = {**(frames or {}), **self.policy}
        scorer, terminal = open_scorer(model, seed=seed, control=control, **arguments), Terminal()
        if set_by_mode := getattr(scorer, "set_by_mode", None):
            said = ", ".join(f"{option} {value}" for option, value in set_by_mode.items())
            terminal.line(f"mode {self.mode}: {said}", style="yellow")
        if (placeholder := getattr(scorer, "behind_placeholder", None)) is not None:
            terminal.line(describe(**placeholder), style="dim")
        return scorer


Command = Callable[..., None]


def run_options(*, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Replace a command's parameter `run` by the options of the command line that it is made of.

    Args:
        without: names of `RUN_OPTIONS` that the command does not offer.
    """

    def make(values: dict[str, Any]) -> Any:
        from ..jobs import RunOptions

        values["engine"] = values["engine"].value
        values["verify"] = "contents" if values.get("verify") else "sizes"
        return RunOptions(**values)

    return in_place_of("run", RUN_OPTIONS, make, without)


def scorer_options(*, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Replace a command's parameter `loading` by the options of the command line that it is made of.

    Args:
        without: names of `SCORER_OPTIONS` that the command does not offer.
    """
    return in_place_of("loading", SCORER_OPTIONS, lambda values: ScorerOptions(**values), without)


def in_place_of(
    parameter: str,
    options: Mapping[str, tuple[Any, Any]],
    make: Callable[[dict[str, Any]], Any],
    without: tuple[str, ...],
) -> Callable[[Command], Command]:
    """Replace one parameter of a command by options, of whose values it is made when the command is called."""
    names = [name for name in options if name not in without]

    def decorate(command: Command) -> Command:
        @wraps(command)
        def wrapper(**given: Any) -> None:
            values = {name: given.pop(name) for name in names}
            command(**given, **{parameter: make(values)})

        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(command).parameters.values():
            if own.name != parameter:
                parameters.append(own)
                continue
            for name in names:
                annotation, default = options[name]
                kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
                parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotation))
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapper

    return decorate


def check_json(place: str | None) -> None:
    """Refuse a place for JSON that cannot be written, before long work.

    Args:
        place: of `--json`.

    Raises:
        SynvitaError: a folder, or a file of a folder that is not there.
    """
    from ..errors import SynvitaError

    if place in (None, "-"):
        return
    path = Path(str(place))
    if path.is_dir() or not path.parent.is_dir():
        raise SynvitaError(
            "--json cannot be written",
            file=path,
            found="a folder" if path.is_dir() else "no such folder",
            expected="a file, or - for standard output",
        )


def put_json(place: str | None, record: Mapping[str, Any]) -> None:
    """Write a record where `--json` says, whole or not at all; numbers that are not known (NaN) become null.

    Args:
        place: of `--json`; None writes nothing.
        record: JSON-ready but for NaN.
    """
    if place is None:
        return
    from ..display import json_text, print_error, write
    from ..files import write_atomic

    text = json_text(_without_nan(record), indent=1, allow_nan=False) + "\n"
    if place == "-":
        write(text)
        return
    write_atomic(Path(place), text)
    print_error(f"written: {place}", "")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
