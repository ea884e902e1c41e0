"""How much of a caption a generator's text encoders read, found before anything is generated.

Every text encoder has a bound (CLIP 77 tokens; T5 what the pipeline's `max_sequence_length` says: 226 for CogVideoX,
512 for Wan), and pipelines cut what is longer without a word: then the end of the contrast caption, where it often
differs from the caption, is not in the video. So captions are measured with the pipeline's own tokenizers, each with
the bound that the pipeline gives it. Only tokenizers are loaded for that, no weights.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synvita_data.captions.masking import read_length
from synvita_data.errors import CaptionError, SourceError, SynvitaError

from .recipe import Request

OnTooLong = Literal["error", "warn", "quarantine"]
# What to do by default. The released models cut such captions too, and the video may still be good; but it is said,
# per video, in the report and in the dataset's card.
DEFAULT: OnTooLong = "warn"
# A tokenizer without a bound of its own says 1e30.
NO_LIMIT = 1_000_000
SHOWN = 60


@dataclass(frozen=True, slots=True)
class PromptEncoder:
    """A tokenizer of a pipeline, as the pipeline uses it.

    Attributes:
        name: of the component. tokenizer: of transformers. limit: tokens that it keeps, special ones included; None
            without a bound.
        before, after: what the pipeline writes around every caption.
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
        super().__init__(
            "the generator reads only the beginning of a caption",
            file=request.file,
            row=request.row,
            found=f"{prompt['tokens'][encoder]} tokens ({encoder}), cut at character {position}, before "
            f"{_shown(request.caption[position:])!r}",
            expected=f"at most {prompt['limits'][encoder]} tokens",
            fix="Shorten the caption, or choose with --prompt-too-long: warn (it is cut), quarantine or error",
        )
        self.request = request

    def to_record(self) -> dict[str, Any]:
        """With the video's id and sample, by which a build finds it."""
        return {**super().to_record(), "id": self.request.pair_id, "sample": self.request.sample}


@dataclass
class PromptLengths:
    """What a generator reads of captions; tokenizers are opened when the first unknown caption is asked for.

    Attributes:
        open_encoders: gives the encoders, None where nobody knows them (a program's).
        known: caption -> record, of an earlier run with the same settings.
        unknown: why captions are not measured, None if they are.
    """

    open_encoders: Callable[[], Sequence[PromptEncoder] | None]
    known: dict[str, dict[str, Any]]
    unknown: str | None = None
    _encoders: Sequence[PromptEncoder] | None = None
    _opened: bool = False

    def of(self, caption: str) -> dict[str, Any] | None:
        """JSON-ready: `tokens` and `limits` by encoder; `cut_at`, by encoder, if it is cut; None if not measured.

        `cut_at` counts characters of the caption, `cut` is what the first encoder to stop does not read.
        """
        if caption not in self.known:
            encoders = self._open()
            if encoders is None:
                return None
            self.known[caption] = _record(encoders, caption)
        return self.known[caption]

    def too_long(self, requests: Iterable[Request]) -> list[PromptTooLongError]:
        """An error for each request whose caption is cut."""
        measured = ((request, self.of(request.caption)) for request in requests)
        return [
            PromptTooLongError(request, found) for request, found in measured if found and "cut_at" in found
        ]

    def _open(self) -> Sequence[PromptEncoder] | None:
        if not self._opened:
            self._opened = True
            try:
                self._encoders = self.open_encoders()
                if self._encoders is None:
                    self.unknown = "the generator's text encoders are not known"
            except (SynvitaError, OSError, ValueError, ImportError) as error:
                # The videos can be made all the same, or the worker will say better what is wrong.
                self.unknown = f"the tokenizers cannot be opened ({str(error).splitlines()[0][:200]})"
        return self._encoders


def _record(encoders: Sequence[PromptEncoder], caption: str) -> dict[str, Any]:
    measured = {encoder.name: encoder.measure(caption) for encoder in encoders}
    record: dict[str, Any] = {
        "tokens": {name: tokens for name, (tokens, _) in measured.items()},
        "limits": {encoder.name: encoder.limit for encoder in encoders},
    }
    if cuts := {name: kept for name, (_, kept) in measured.items() if kept is not None}:
        record |= {"cut_at": cuts, "cut": caption[min(cuts.values()) :]}
    return record


def pipeline_encoders(
    components: Mapping[str, Any], pipeline: str, settings: Mapping[str, Any]
) -> list[PromptEncoder]:
    """The encoders of a pipeline of diffusers, whatever its class.

    A CLIP reads as much as its tokenizer says (77), every other one the pipeline's `max_sequence_length`, as set by
    the user or else by the class (in its call, or in its `encode_prompt`); where the class has none, what the tokenizer
    says.

    Args:
        components: name -> tokenizer, or a processor that holds one. pipeline: class name.
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
        fixed = FIXED_LIMITS.get((pipeline, name))
        limit = own
        if fixed is not None:
            limit = fixed
        elif isinstance(length, int) and "CLIP" not in type(tokenizer).__name__:
            limit = length
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


def load_tokenizers(folder: Path, index: Mapping[str, Any]) -> dict[str, Any]:
    """Component name -> tokenizer (or processor) of a pipeline's folder; needs no weights.

    Args:
        index: `model_index.json`, component -> [library, class].

    Raises:
        SourceError: a class that transformers does not know. OSError, ValueError: files that are missing or broken.
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


def told(errors: Sequence[PromptTooLongError], requests: int, mode: OnTooLong) -> str:
    """The line of a report about captions that are too long."""
    verb = {"warn": "were cut", "quarantine": "are in quarantine", "error": "would be cut"}[mode]
    first = errors[0]
    place = "" if first.row is None else f" in row {first.row}"
    return (
        f"prompts: {len(errors):,} of {requests:,} captions are longer than the generator reads and {verb}, first"
        f"{place}: {first.found}, {first.expected}"
    )


def _shown(text: str) -> str:
    text = text.strip()
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
