"""What a run of `synvita contrast` is asked for: writers by their SPEC, the shapes world's among them, and its options.

rules          deterministic, no model; rules:DIR also reads tables of the user's
llm:MODEL      a chat model of transformers, a Hub id or a folder
api:URL#MODEL  a model of an OpenAI-compatible server
shapes         the grammar of the shapes world
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from synvita_data.errors import CaptionError, SynvitaError, choose
from synvita_data.jobs import JobProgress, RunOptions, work_key
from synvita_data.schema import MISALIGNMENTS

from ..base import Answer, Contrast, ContrastRequest, ContrastWriter
from ..checks import changed_regions

WRITERS = ("rules[:DIR]", "llm:MODEL", "api:URL#MODEL", "shapes")
# Of these a request costs so little that many share a key of the store.
CHEAP = ("rules", "shapes")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSettings:
    """How a writer is opened. What is None is left to the writer; what it does not know is refused.

    Attributes:
        prompts: folder of prompts that replace the package's.
        revision: of the model.
        adapter: a LoRA adapter on the model.
        adapter_revision: of it.
        dtype: of the weights.
        device_map: how the weights lie on several devices.
        temperature: of sampling; 0 takes the likeliest.
        max_tokens: of an answer.
        batch_size: requests of a batch.
        concurrency: requests to a server at a time.
        timeout: seconds after which an answer of a server is given up.
        price_in, price_out: of a million tokens.
    """

    prompts: str | None = None
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    dtype: str | None = None
    device_map: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    batch_size: int | None = None
    concurrency: int | None = None
    timeout: float | None = None
    price_in: float | None = None
    price_out: float | None = None

    @classmethod
    def named(cls, writer: str, options: Mapping[str, Any]) -> Self:
        """The settings by their names on the command line.

        Args:
            writer: SPEC.
            options: values of `OPTIONS`, None for what is not given; others are passed over. `llm_dtype` is the
                filters' alone where the writer has no weights.
        """
        of_llm = writer.strip().partition(":")[0] == "llm"
        return cls(
            **{
                setting: options.get(option)
                for option, setting in OPTIONS.items()
                if of_llm or setting != "dtype"
            }
        )

    def given(self) -> dict[str, Any]:
        """Those that are set."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


# Option of the command line -> setting.
OPTIONS = {
    (
        f"llm_{name}"
        if name in ("revision", "adapter", "adapter_revision", "dtype", "device_map", "batch_size")
        else name
    ): name
    for name in WriterSettings.__slots__
}
# Scheme -> setting -> the argument of its writer.
_OF_MODELS = {name: name for name in ("prompts", "temperature")}
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "rules": {},
    "shapes": {},
    "llm": {
        **_OF_MODELS,
        **{
            name: name
            for name in ("revision", "adapter", "adapter_revision", "dtype", "device_map", "batch_size")
        },
        "max_tokens": "max_new_tokens",
    },
    "api": {
        **_OF_MODELS,
        **{name: name for name in ("max_tokens", "concurrency", "timeout", "price_in", "price_out")},
    },
}


def parse_writer(spec: str, settings: WriterSettings | None = None) -> tuple[str, str]:
    """Scheme and argument of a SPEC, with settings that it can use; nothing is opened.

    Raises:
        SynvitaError: an unknown writer, one without its model, or a setting that it does not have.
    """
    scheme, colon, argument = spec.strip().partition(":")
    needs = {"llm": "llm:MODEL", "api": "api:URL#MODEL"}
    if scheme not in _SETTINGS or (scheme == "shapes" and colon) or (scheme in needs and not argument):
        raise SynvitaError(
            "unknown writer of contrast captions",
            found=shown_spec(spec),
            expected=f"one of {', '.join(WRITERS)}",
        )
    if colon and not argument:
        raise SynvitaError("a writer without its argument", found=spec, expected=", ".join(WRITERS))
    if scheme == "api":
        url, mark, model = argument.rpartition("#")
        if not (mark and model and url.startswith(("http://", "https://"))):
            raise SynvitaError(
                "a server's writer names its address and a model",
                found=shown_spec(spec),
                expected="api:http://localhost:8000/v1#MODEL",
            )
    unknown = sorted(settings.given().keys() - _SETTINGS[scheme].keys()) if settings else []
    if unknown:
        known = ", ".join(f"--{name.replace('_', '-')}" for name in _SETTINGS[scheme]) or "no settings"
        raise SynvitaError(
            f"the writer {scheme!r} has no such setting",
            found=", ".join(f"--{name.replace('_', '-')}" for name in unknown),
            expected=known,
        )
    return scheme, argument


def shown_spec(spec: str) -> str:
    """A SPEC as it may be shown: an address without user, password and query."""
    scheme, colon, argument = spec.strip().partition(":")
    if scheme != "api":
        return spec
    from urllib.parse import urlsplit

    url, mark, model = argument.rpartition("#")
    try:
        parts = urlsplit(url)
        where = (
            f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "") + parts.path
        )
    except ValueError:
        where = "…"
    return f"{scheme}{colon}{where}{mark}{model}"


def open_writer(
    spec: str, settings: WriterSettings | None = None, *, device: str | None = None
) -> ContrastWriter:
    """The writer of a SPEC. No weights are read and no server is asked: see `ready`.

    Args:
        spec: of `WRITERS`.
        settings: how it is opened.
        device: of a model on this machine; None leaves the choice to it.

    Raises:
        SynvitaError: an unknown writer or setting; tables, prompts or a model that cannot be used.
    """
    settings = settings or WriterSettings()
    scheme, argument = parse_writer(spec, settings)
    arguments = {_SETTINGS[scheme][name]: value for name, value in settings.given().items()}
    if scheme == "shapes":
        return ShapesWriter()
    if scheme == "rules":
        from ..rules.writer import RulesWriter

        return RulesWriter(Path(argument).expanduser()) if argument else RulesWriter()
    if scheme == "llm":
        from ..llm import LlmWriter

        return LlmWriter(argument, device=device, **arguments)
    from ..api import ApiWriter

    url, _, model = argument.rpartition("#")
    return ApiWriter(url, model, **arguments)


def ready(writer: ContrastWriter) -> ContrastWriter:
    """The writer, after it has looked whether it can work at all: its model, server and key. One that cannot is closed.

    Raises:
        SynvitaError: what it lacks.
    """
    check = getattr(writer, "check", None)
    if check is not None:
        try:
            check()
        except BaseException:
            writer.close()
            raise
    return writer


@dataclass(frozen=True, kw_only=True)
class ContrastOptions:
    """What is to be written.

    Attributes:
        captions: a file of videos with captions, a folder or Hub dataset; see `CaptionReader`.
        out: the triplets, .csv.
        writer: SPEC, see `registry`.
        settings: how the writer is opened.
        misalignments: kinds that are asked for; none for all that the writer knows.
        per_caption: at most this many rows a caption, of different kinds in an order that the seed gives; None for a row of
            each kind.
        candidates: contrast captions of a request to choose from, from 1.
        seed: of every random choice.
        nli: model that drops contrast captions which the caption entails.
        frame_vqa: model of single frames that drops rows which it can tell.
        filter_dtype: of the weights of these two.
        real_root: folder of real videos, for `frame_vqa`.
        require_video: rows whose video is not there are dropped by `frame_vqa`.
        split, source, config: of the captions, see `CaptionReader`.
        work: folder of the store; None for `<out without suffix>.work`.
        run: how the jobs are run.
        on_progress: see `run_job`.

    Raises:
        SynvitaError: options that cannot be used; nothing has been read yet.
    """

    captions: str | Path
    out: Path
    writer: str
    settings: WriterSettings = field(default_factory=WriterSettings)
    misalignments: Sequence[str] = ()
    per_caption: int | None = None
    candidates: int = 1
    seed: int = 0
    nli: str | None = None
    frame_vqa: str | None = None
    filter_dtype: str | None = None
    real_root: Path | None = None
    require_video: bool = False
    split: str | None = None
    source: str | None = None
    config: str | None = None
    work: Path | None = None
    run: RunOptions = field(default_factory=RunOptions)
    on_progress: Callable[[JobProgress], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        parse_writer(self.writer, self.settings)
        for name in self.misalignments:
            choose(name, MISALIGNMENTS, "misalignment")
        if self.candidates < 1 or self.seed < 0 or (self.per_caption is not None and self.per_caption < 1):
            raise SynvitaError(
                "numbers of captions start at 1, seeds at 0",
                found=f"candidates {self.candidates}, per_caption {self.per_caption}, seed {self.seed}",
            )
        if self.out.suffix.lower() != ".csv":
            raise SynvitaError("triplets are written as CSV", file=self.out, expected="a name in .csv")
        if (self.frame_vqa is None) != (self.real_root is None):
            raise SynvitaError(
                "a model of frames and the folder of real videos go together",
                fix="Give both --frame-vqa MODEL and --real-root DIR, or neither",
            )
        if self.require_video and self.frame_vqa is None:
            raise SynvitaError("--require-video is for --frame-vqa", fix="Leave it out, or name a model")

    @property
    def store(self) -> Path:
        """Folder of the store."""
        return self.out.with_suffix(".work") if self.work is None else self.work

    def beside(self, name: str) -> Path:
        """A file beside the triplets: `triplets.report.json`."""
        return self.out.with_name(f"{self.out.stem}.{name}")


# -- the shapes world -------------------------------------------------------------------------------------


@dataclass
class ShapesWriter:
    """Contrast captions of captions of the shapes world, by its grammar: the contrast of a scene is another scene."""

    name: str = "shapes"
    misalignments: tuple[str, ...] = MISALIGNMENTS
    batch_size: int = 1024
    _record: dict[str, Any] = field(default_factory=dict, repr=False)

    def record(self) -> Mapping[str, Any]:
        """Writer and revision: a digest of the world's words."""
        if not self._record:
            from ...shapes import scenes

            words = {
                name: getattr(scenes, name)
                for name in ("SHAPES", "COLOURS", "SIZES", "COUNTS", "ACTIONS", "RELATIONS")
            }
            self._record = {"writer": self.name, "revision": work_key(version=1, **words)[:16]}
        return self._record

    def write(self, requests: Sequence[ContrastRequest]) -> list[Answer]:
        """One answer a request, in order; a caption that is not of the grammar is refused."""
        return [_shapes_answer(request) for request in requests]

    def close(self) -> None:
        """Nothing is open."""


def _shapes_answer(request: ContrastRequest) -> Answer:
    from ...shapes.grammar import caption, explanation, parse
    from ...shapes.scenes import contrast

    try:
        shown = parse(request.caption)
    except CaptionError as error:
        return Answer(refused=error.problem)
    rng = random.Random(request.seed)
    found: dict[str, Contrast] = {}
    # Different draws may give the same scene; some kinds have one contrast only.
    for _ in range(8 * request.candidates):
        try:
            claimed = contrast(shown, request.misalignment, rng)
        except (
            CaptionError,
            IndexError,
        ) as error:  # nothing of the kind to change, or nothing left to change it to
            return Answer(
                refused=error.problem if isinstance(error, CaptionError) else "no other value is left"
            )
        text = caption(claimed)
        if text not in found:
            source, target = _phrases(request.caption, text, request.misalignment)
            nle = explanation(shown, claimed, request.misalignment)
            found[text] = Contrast(text, source, target, nle)
        if len(found) == request.candidates:
            break
    return Answer(tuple(found.values()))


def _phrases(caption: str, contrast: str, misalignment: str) -> tuple[str | None, str | None]:
    """What was changed and what stands in its place; none for a flip."""
    if misalignment == "flip":
        return None, None
    words, other = (text.removesuffix(".").split() for text in (caption, contrast))
    regions = changed_regions([word.lower() for word in words], [word.lower() for word in other])
    if len(regions) != 1:
        return None, None
    here, there = regions[0]
    return " ".join(words[here]) or None, " ".join(other[there]) or None
