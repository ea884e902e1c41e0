"""Contrast captions by a chat model of transformers on this machine: `llm:MODEL`.

Requests are answered in batches with left padding. What a request is answered does not depend on what stands beside it:
every batch has the same number of rows (a part of one is filled up), rows are padded to lengths that follow from their
own, and what is sampled is drawn from a generator of the request's own. What the prompts of a kind begin with is read once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from synvita_data.display import get_logger
from synvita_data.errors import SynvitaError, first_line
from synvita_data.models.resolve import Checkpoint, ModelFiles, find_checkpoint
from synvita_data.schema import MISALIGNMENTS

from .answers import answer_of
from .base import Answer, ContrastRequest
from .models import check_numbers, how_drawn
from .models.chat_model import TOP_P, ChatModel, ChatTemplate, Row, Written, model_class
from .prompts import load_prompts

# Raise it when equal requests would get other answers.
WRITER_VERSION = 1
# What is behind the beginning of prompts is padded to a multiple of this many tokens.
LENGTHS = 64
# Captions that begin differently: what prompts about them begin with, all begin with.
_ANY = ("a dog runs", "Two men", "3 cats", '"yes"', "être", "(x", "一个")
_log = get_logger(__name__)


class LlmWriter:
    """A chat model of transformers. Nothing of it is loaded before `check` (settings, tokenizer) or `write` (weights).

    Args:
        model: a folder, a Hub id or an adapter of PEFT that names its base; behind a Hub id may stand `@REVISION`.
        revision: commit, tag or branch of `model` on the Hub.
        adapter: of PEFT, for `model`.
        adapter_revision: of it.
        prompts: folder with a user's prompts, see `prompts.load_prompts`; None for ours.
        dtype: of the weights; None for bfloat16 on a GPU and float32 on a CPU.
        device: None for this process's GPU, or the CPU.
        device_map: of transformers (`auto`, `balanced`): spread one model over several devices; `device` is not used then.
        temperature: 0 for the likeliest token at every step. Of several candidates the first is made so; the others are
            drawn with a temperature of 0.8 then.
        max_new_tokens: after which an answer is cut off.
        batch_size: rows that are generated together. Another one may change an answer's last bits, and with them a word.

    Raises:
        SynvitaError: no such model, numbers that cannot be.
    """

    misalignments = MISALIGNMENTS

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        adapter: str | None = None,
        adapter_revision: str | None = None,
        prompts: str | Path | None = None,
        dtype: str | None = None,
        device: str | None = None,
        device_map: str | None = None,
        temperature: float = 0.0,
        max_new_tokens: int = 512,
        batch_size: int = 16,
    ) -> None:
        from ..vqascore.job import default_dtype

        check_numbers(temperature=temperature, max_new_tokens=max_new_tokens, batch_size=batch_size)
        self._prompts = load_prompts(prompts)
        self._checkpoint = find_checkpoint(
            model, revision=revision, adapter=adapter, adapter_revision=adapter_revision, of_text=True
        )
        self.name = f"llm:{_label(self._checkpoint)}"
        self._dtype = dtype or default_dtype([device] if device else None)
        self._device, self._device_map = device, device_map
        self._temperature, self._max_new_tokens = temperature, max_new_tokens
        self._rows = batch_size
        self.batch_size = 4 * batch_size  # so that rows of like lengths fill batches
        self._limit = batch_size  # rows that fit in memory
        self._used: dict[str, int] = defaultdict(int)
        self._open: ChatModel | None = None

    def record(self) -> Mapping[str, Any]:
        """What decides the answers; reads a folder's weights for their digest, once."""
        return {**self._record}

    @cached_property
    def _record(self) -> dict[str, Any]:
        made = self._checkpoint
        revision = ModelFiles(made.base, made.revision).exact_revision()
        return {
            "writer": self.name,
            "version": WRITER_VERSION,
            "revision": revision + (f"+{made.adapter_revision}" if made.adapter else ""),
            "prompts": self._prompts.digest,
            "dtype": self._dtype,
            "temperature": self._temperature,
            "top_p": TOP_P,
            "max_new_tokens": self._max_new_tokens,
            "batch_size": self._rows,
        }

    def check(self) -> None:
        """Raise what would stop a run before its first answer; downloads and reads settings and tokenizer only.

        Raises:
            SynvitaError: the model is no language model, its files cannot be had, or it has no chat template.
        """
        from synvita_data.models.download import fetch_settings

        files = fetch_settings(ModelFiles(self._checkpoint.base, self._checkpoint.revision))
        model_class(files, self._checkpoint.model_type)
        ChatTemplate(files)

    def write(self, requests: Sequence[ContrastRequest]) -> list[Answer]:
        """One answer a request, in order.

        Raises:
            SynvitaError: the model cannot be loaded; one row does not fit in memory.
        """
        if not requests:
            return []
        opened = self._loaded()
        rows: list[Row] = []
        refused: dict[int, str] = {}
        for number, request in enumerate(requests):
            try:
                ids = self._prompt(request, opened)
            except SynvitaError as error:
                refused[number] = str(error)
                continue
            rows += [
                Row(number, request.misalignment, ids, *how_drawn(request, candidate, self._temperature))
                for candidate in range(max(request.candidates, 1))
            ]
        written: dict[int, list[Written]] = defaultdict(list)
        for row, each in zip(rows, self._generate(rows, opened), strict=True):
            written[row.request].append(each)
        answers = [
            Answer(refused=refused[number])
            if number in refused
            else answer_of([(each.text, each.ended) for each in written[number]], request)
            for number, request in enumerate(requests)
        ]
        self._used["requests"] += len(requests)
        self._used["refused"] += sum(answer.refused is not None for answer in answers)
        return answers

    def usage(self) -> dict[str, Any]:
        """Requests, how many of them were refused, and tokens so far, JSON-ready."""
        return {
            name: self._used[name] for name in ("requests", "refused", "prompt_tokens", "completion_tokens")
        }

    def close(self) -> None:
        """Let go of the model."""
        if self._open is None:
            return
        device, self._open = self._open.device, None
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _loaded(self) -> "ChatModel":
        if self._open is None:
            opened = ChatModel(self._checkpoint, self._dtype, self._device, self._device_map)
            opened.begin(
                {
                    kind: [opened.chat.tokens(self._prompts.ask(caption, kind)) for caption in _ANY]
                    for kind in self.misalignments
                }
            )
            self._open = opened
        return self._open

    def _prompt(self, request: ContrastRequest, opened: "ChatModel") -> list[int]:
        """Tokens of the prompt.

        Raises:
            CaptionError: a caption with a token that means something to the model, or too long for it.
        """
        from ..vqascore.base import check_caption, check_length

        check_caption(request.caption, opened.chat.tokenizer)
        ids = opened.chat.tokens(self._prompts.ask(request.caption, request.misalignment))
        if opened.context is not None:
            check_length(len(ids), opened.context - self._max_new_tokens, request.caption)
        return ids

    def _generate(self, rows: Sequence[Row], opened: "ChatModel") -> list[Written]:
        """What the model writes to each row, in order."""
        from synvita_data.models.runtime import one_cpu_thread

        by_length: dict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            by_length[-(-opened.rest(row) // LENGTHS) * LENGTHS].append(place)
        found: dict[int, Written] = {}
        with one_cpu_thread(str(opened.device)):
            for length, places in sorted(by_length.items()):
                for start in range(0, len(places), self._rows):
                    own = places[start : start + self._rows]
                    batch = [rows[place] for place in own]
                    found |= dict(zip(own, self._that_fits(batch, length, opened), strict=True))
        self._used["prompt_tokens"] += sum(len(row.ids) for row in rows)
        self._used["completion_tokens"] += sum(each.tokens for each in found.values())
        return [found[place] for place in range(len(rows))]

    def _that_fits(self, batch: Sequence[Row], length: int, opened: "ChatModel") -> list[Written]:
        """What is written to a batch, in parts of as many rows as fit in memory."""
        import torch

        done: list[Written] = []
        while len(done) < len(batch):
            part = list(batch[len(done) : len(done) + self._limit])
            filled = part + part[:1] * (self._limit - len(part))
            try:
                done += opened.generate(filled, length, self._max_new_tokens)[: len(part)]
                continue
            except torch.OutOfMemoryError as error:
                if self._limit == 1:
                    raise SynvitaError(
                        "one caption does not fit in the memory of the device",
                        file=self.name,
                        found=first_line(error),
                        fix="Take a smaller --dtype, a --device-map over several devices, or a smaller model",
                    ) from error
                self._limit = -(-self._limit // 2)
                _log.warning(
                    "%s: %d captions do not fit in memory: trying %d", self.name, len(filled), self._limit
                )
            if opened.device.type == "cuda":
                torch.cuda.empty_cache()
        return done


def _label(checkpoint: Checkpoint) -> str:
    """What a model is called in records: a Hub id, or the last name of a folder."""

    def short(location: str) -> str:
        folder = Path(location)
        return folder.resolve().name if folder.is_dir() else location

    adapter = f"+{short(checkpoint.adapter_name)}" if checkpoint.adapter_name else ""
    return short(checkpoint.base) + adapter
