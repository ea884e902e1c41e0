"""How much of a caption a generator's text encoders read, found before anything is generated.

Every text encoder has a bound (CLIP 77 tokens; T5 what the pipeline's `max_sequence_length` says: 226 for CogVideoX,
512 for Wan), and pipelines silently cut what is longer: then the end of the contrast caption, where it often
differs from the caption, is not in the video. So captions are measured with the pipeline's own tokenizers, each with
the bound that the pipeline gives it. Only tokenizers are loaded for that, no weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from synvita_data.captions.masking import read_length
from synvita_data.errors import CaptionError, SourceError, SynvitaError, choose, first_line

from .base import Request

OnTooLong = Literal["error", "warn", "quarantine"]
# The released models cut such captions too, and the video may still be good; but report, manifest and the dataset's card
# say so.
DEFAULT: OnTooLong = "warn"
# A tokenizer without a bound of its own says 1e30.
NO_LIMIT = 1_000_000
SHOWN = 60


@dataclass(frozen=True, slots=True)
class PromptEncoder:
    """A tokenizer of a pipeline, as the pipeline uses it.

    Attributes:
        name: of the component.
        tokenizer: of transformers.
        limit: tokens that it keeps, special ones included; None without a bound.
        before: what the pipeline writes in front of every caption.
        after: what it writes behind it.
    """

    name: str
    tokenizer: Any
    limit: int | None
    before: str = ""
    after: str = ""

    def measure(self, caption: str) -> tuple[int, int | None]:
        """(tokens of the prompt, characters of the caption that are read); None for the second if all are."""
        tokens, kept = read_length(self.tokenizer, f"{self.before}{caption}{self.after}", self.limit)
        if kept is None or kept - len(self.before) >= len(caption.rstrip()):
            return tokens, None  # what is cut may be only what the pipeline wrote behind the caption
        return tokens, max(0, kept - len(self.before))


class PromptTooLongError(CaptionError):
    """A caption of which a text encoder reads the beginning only."""

    def __init__(self, request: Request, prompt: Mapping[str, Any]) -> None:
        encoder, position = min(prompt["cut_at"].items(), key=lambda entry: entry[1])
        rest = request.caption[position:].strip()
        rest = rest if len(rest) <= SHOWN else rest[: SHOWN - 1] + "…"
        super().__init__(
            "the generator reads only the beginning of a caption",
            file=request.file,
            row=request.row,
            found=f"{prompt['tokens'][encoder]} tokens ({encoder}), cut at character {position}, before {rest!r}",
            expected=f"at most {prompt['limits'][encoder]} tokens",
            fix="Shorten the caption, or choose with --prompt-too-long: warn (it is cut), quarantine or error",
        )
        self.request = request

    def to_record(self) -> dict[str, Any]:
        """With the video's id and sample, by which a build finds it."""
        return {**super().to_record(), "id": self.request.pair_id, "sample": self.request.sample}


class PromptLengths:
    """What a generator reads of captions; tokenizers are opened when the first unknown caption is asked for.

    Args:
        open_encoders: gives the encoders, None where nobody knows them (a program's).
        known: caption -> record, of an earlier run with the same settings.

    Attributes:
        unknown: why captions are not measured, None if they are.
    """

    def __init__(
        self, open_encoders: Callable[[], Sequence[PromptEncoder] | None], known: dict[str, dict[str, Any]]
    ) -> None:
        self.unknown: str | None = None
        self._open_encoders = open_encoders
        self._known = known

    def of(self, caption: str) -> dict[str, Any] | None:
        """JSON-ready: `tokens` and `limits` by encoder; `cut_at`, by encoder, if it is cut; None if not measured.

        `cut_at` counts characters of the caption, `cut` is what the first encoder to stop does not read.
        """
        if caption not in self._known:
            if self._encoders is None:
                return None
            measured = {encoder.name: encoder.measure(caption) for encoder in self._encoders}
            record: dict[str, Any] = {
                "tokens": {name: tokens for name, (tokens, _) in measured.items()},
                "limits": {encoder.name: encoder.limit for encoder in self._encoders},
            }
            if cuts := {name: kept for name, (_, kept) in measured.items() if kept is not None}:
                record |= {"cut_at": cuts, "cut": caption[min(cuts.values()) :]}
            self._known[caption] = record
        return self._known[caption]

    @cached_property
    def _encoders(self) -> Sequence[PromptEncoder] | None:
        try:
            encoders = self._open_encoders()
        except (SynvitaError, OSError, ValueError, ImportError) as error:
            # The videos can be made all the same, or the worker will say better what is wrong.
            self.unknown = f"the tokenizers cannot be opened ({first_line(error, 200)})"
            return None
        if encoders is None:
            self.unknown = "the generator's text encoders are not known"
        return encoders


# (pipeline, component) -> bound that is written into the class's code, where no argument and no tokenizer says it.
FIXED_LIMITS: dict[tuple[str, str], int] = {
    ("LattePipeline", "tokenizer"): 120,
    ("HunyuanVideo15Pipeline", "tokenizer"): 1000,
    # Only what stands in quotation marks, to be drawn as letters.
    ("HunyuanVideo15Pipeline", "tokenizer_2"): NO_LIMIT,
}

# Pipelines that put a caption into their LLM's chat template and count the whole: (system message, whether the answer
# is begun).
_COSMOS_SYSTEM = "You are a helpful assistant who will provide prompts to an image generator."
CHATS: dict[str, tuple[str | None, bool]] = {
    "EasyAnimatePipeline": (None, True),
    "EasyAnimateControlPipeline": (None, True),
    "EasyAnimateInpaintPipeline": (None, True),
    "Cosmos2_5_PredictBasePipeline": (_COSMOS_SYSTEM, False),
    "Cosmos2_5_TransferPipeline": (_COSMOS_SYSTEM, False),
}
_MARK = "\u2063caption\u2063"  # invisible separators around it: no template has it


def pipeline_encoders(
    components: Mapping[str, Any], pipeline: str, settings: Mapping[str, Any]
) -> list[PromptEncoder]:
    """The encoders of a pipeline of diffusers, whatever its class.

    A CLIP reads as much as its tokenizer says (77), every other one the pipeline's `max_sequence_length`, as set by
    the user or else by the class (in its call, or in its `encode_prompt`); where the class has none, what the tokenizer
    says.

    Args:
        components: name -> tokenizer, or a processor that holds one.
        pipeline: class name.
        settings: of the recipe; `call` may replace the class's defaults.
    """
    call, defaults = dict(settings.get("call") or {}), _defaults(pipeline, "__call__")
    length = call.get("max_sequence_length", defaults.get("max_sequence_length"))
    if "max_sequence_length" not in defaults:
        length = _defaults(pipeline, "encode_prompt").get("max_sequence_length", length)
    template = call.get("prompt_template", defaults.get("prompt_template"))
    encoders = []
    for name, component in sorted(components.items()):
        tokenizer = getattr(component, "tokenizer", component)
        own = int(min(getattr(tokenizer, "model_max_length", NO_LIMIT) or NO_LIMIT, NO_LIMIT))
        bounded = isinstance(length, int) and "CLIP" not in type(tokenizer).__name__
        limit = FIXED_LIMITS.get((pipeline, name), int(length or 0) if bounded else own)
        before = after = ""
        # HunyuanVideo writes its LLM's instructions around the caption, and takes as many tokens more.
        if (
            name == "tokenizer"
            and isinstance(template, Mapping)
            and "{}" in str(template.get("template", ""))
        ):
            before, _, after = str(template["template"]).partition("{}")
            limit += int(template.get("crop_start") or 0)
        elif name == "tokenizer" and pipeline in CHATS:
            before, after = _around_caption(component, *CHATS[pipeline])
        encoders.append(PromptEncoder(name, tokenizer, None if limit >= NO_LIMIT else limit, before, after))
    return encoders


def load_tokenizers(folder: Path, index: Mapping[str, Any]) -> dict[str, Any]:
    """Component name -> tokenizer (or processor) of a pipeline's folder; needs no weights.

    Args:
        folder: of the pipeline.
        index: `model_index.json`, component -> [library, class].

    Raises:
        SourceError: transformers does not know a class.
        OSError, ValueError: files are missing or broken.
    """
    import transformers

    found = {}
    for name, entry in index.items():
        if not name.startswith(("tokenizer", "processor")) or not isinstance(entry, (list, tuple)):
            continue
        library, kind = (*entry, None, None)[:2]
        if library is None or kind is None:  # an optional component that is not there
            continue
        loader = getattr(transformers, str(kind), None)
        if library != "transformers" or loader is None:
            raise SourceError(
                "a tokenizer is not one of transformers", file=folder / name, found=f"{library}.{kind}"
            )
        component = loader.from_pretrained(folder / name)
        if callable(getattr(component, "tokenizer", component)):
            found[name] = component
    return found


def _around_caption(tokenizer: Any, system: str | None, answers: bool) -> tuple[str, str]:
    """What a chat template writes before and after a caption."""
    turns = [] if system is None else [{"role": "system", "content": [{"type": "text", "text": system}]}]
    turns.append({"role": "user", "content": [{"type": "text", "text": _MARK}]})
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answers)
    before, _, after = text.partition(_MARK)
    return before, after


def _defaults(pipeline: str, method: str) -> dict[str, Any]:
    """Default values of a method of a pipeline; {} for a class that this diffusers does not have."""
    import inspect

    import diffusers

    function = getattr(getattr(diffusers, pipeline, None), method, None)
    if function is None:
        return {}
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}


def select_requests(
    requests: Sequence[Request],
    lengths: PromptLengths,
    mode: OnTooLong,
    on_prompts: Callable[[str, int], None] | None,
) -> tuple[tuple[Request, ...], list[PromptTooLongError]]:
    """The requests to be made, and the errors of those that are left out because a caption is too long.

    Args:
        requests: all that are wanted.
        lengths: measures their captions.
        mode: `--prompt-too-long`.
        on_prompts: called with a line about captions that are too long and their number, or with why captions
            are not measured and 0.

    Raises:
        CaptionError: there is one, and `mode` is `error`.
    """
    choose(mode, get_args(OnTooLong), "choice for captions that are too long", error=SourceError)
    too_long = [
        PromptTooLongError(request, found)
        for request in requests
        if (found := lengths.of(request.caption)) and "cut_at" in found
    ]
    line = ""
    if too_long:
        first = too_long[0]
        verb = {"warn": "were cut", "quarantine": "are in quarantine", "error": "would be cut"}[mode]
        count = (
            f"{len(too_long):,} of {len(requests):,} captions are longer than the generator reads and {verb}"
        )
        place = "" if first.row is None else f" in row {first.row}"
        line = f"prompts: {count}, first{place}: {first.found}, {first.expected}"
        if mode == "error":
            known = {key: getattr(first, key) for key in ("file", "row", "found", "expected", "fix")}
            raise CaptionError(line, **known)
    elif lengths.unknown is not None:
        line = f"prompts: not measured, {lengths.unknown}"
    if on_prompts is not None and line:
        on_prompts(line, len(too_long))
    if mode == "warn":
        return tuple(requests), []
    left_out = {error.request.name for error in too_long}
    return tuple(request for request in requests if request.name not in left_out), too_long
