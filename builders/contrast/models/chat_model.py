"""A chat model of transformers: its template, its weights, and what it writes to a batch of questions.

Greedy answers and drawn ones stand in one batch; what is drawn for a row comes from a generator of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from synvita_data.errors import SynvitaError, TokenizerError, first_line
from synvita_data.models.resolve import Checkpoint, ModelFiles

from .beginnings import Beginnings, common_beginning

if TYPE_CHECKING:
    import torch

# What is drawn is one of the likeliest tokens that make up this share of the probability.
TOP_P = 0.95


class Row(NamedTuple):
    """One answer to generate.

    Attributes:
        request: number of the request that it answers.
        kind: of contrast caption that is asked for, by which prompts begin alike.
        ids: tokens of the prompt.
        seed: of what is drawn; None for the likeliest token at every step.
        temperature: of what is drawn.
    """

    request: int
    kind: str
    ids: list[int]
    seed: int | None
    temperature: float


class Written(NamedTuple):
    """What a model wrote. `ended`: it came to an end, and was not cut off."""

    text: str
    ended: bool
    tokens: int


class ChatTemplate:
    """A tokenizer with a chat template.

    Raises:
        TokenizerError: it has none, or one that does not show a question as it is.
    """

    def __init__(self, files: ModelFiles) -> None:
        from transformers import AutoTokenizer

        from synvita_data.models.loading import explained

        with explained(files.location):
            self.tokenizer: Any = AutoTokenizer.from_pretrained(
                files.location, revision=files.revision, local_files_only=True
            )
            if (
                self.tokenizer.chat_template is None
                and files.find_if_there("processor_config.json") is not None
            ):
                from synvita_data.models.processors import load_processor

                processor = load_processor(files.location, files.revision).processor
                self.tokenizer.chat_template = getattr(processor, "chat_template", None)
        if self.tokenizer.chat_template is None:
            raise TokenizerError(
                "a model to write contrast captions with has no chat template",
                file=files.location,
                expected="a model that was tuned for conversations (…-Instruct, …-Chat)",
            )
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._in_parts = False
        try:
            self.tokens("a dog")
        except TokenizerError:  # templates of models that see images want the parts of a message
            self._in_parts = True
            self.tokens("a dog")

    def tokens(self, question: str) -> list[int]:
        """Of the conversation up to where the answer begins."""
        from jinja2 import TemplateError

        content: Any = [{"type": "text", "text": question}] if self._in_parts else question
        try:
            text: str = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                tokenize=False,
                add_generation_prompt=True,
                # What templates of some models ask for: no thoughts, and no date of today in the prompt.
                enable_thinking=False,
                date_string="01 Jan 2025",
            )
        except (ValueError, TypeError, TemplateError) as error:
            raise TokenizerError("the model has no usable chat template", found=first_line(error)) from error
        if question not in text:
            raise TokenizerError(
                "the chat template does not show the question as it is", found=repr(text), expected=question
            )
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def model_class(files: ModelFiles, model_type: str) -> Any:
    """The class of transformers that generates text with a model of this type.

    Raises:
        SynvitaError: there is none.
    """
    import transformers
    from transformers.models.auto import modeling_auto as known

    for name, types in (
        ("AutoModelForCausalLM", known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        ("AutoModelForImageTextToText", known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
    ):
        if model_type in types:
            return getattr(transformers, name)
    raise SynvitaError(
        "the model does not write text",
        file=files.location,
        found=f"model_type {model_type!r}",
        expected="a chat model that transformers loads",
    )


class ChatModel:
    """A loaded model.

    Attributes:
        chat: its tokenizer and template.
        device: where token ids go.
        context: tokens that it can read and write; None where its settings do not say.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: str, device: str | None, device_map: str | None
    ) -> None:
        import torch

        from synvita_data.models.download import fetch_settings, fetch_weights
        from synvita_data.models.loading import check_complete, explained, with_adapter
        from synvita_data.models.runtime import pick_device, torch_dtype

        place, weights = None if device_map else pick_device(device), torch_dtype(dtype)
        files = fetch_settings(ModelFiles(checkpoint.base, checkpoint.revision))
        kind = model_class(files, checkpoint.model_type)
        self.chat = ChatTemplate(files)
        fetch_weights(files)
        with explained(files.location, unchanged=(MemoryError, torch.OutOfMemoryError)):
            model, loading = kind.from_pretrained(
                files.location,
                revision=files.revision,
                local_files_only=True,
                dtype=weights,
                device_map=device_map,
                output_loading_info=True,
            )
        check_complete(files.location, loading)
        if place is not None:
            model.to(place)
        self._ends = self._end_tokens(model)
        # Nothing of the model's own taste: a penalty for what was said before would count the padding too.
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig()
        if checkpoint.adapter is not None:
            model = with_adapter(model, checkpoint)
        self._model = model.eval().requires_grad_(False)
        self._begun: Beginnings | None = None
        self.device: torch.device = self._model.get_input_embeddings().weight.device
        self.context: int | None = getattr(
            self._model.config.get_text_config(), "max_position_embeddings", None
        )

    def _end_tokens(self, model: Any) -> list[int]:
        tokenizer, own = self.chat.tokenizer, getattr(model, "generation_config", None)
        said = getattr(own, "eos_token_id", None)
        ends = {*(said if isinstance(said, list | tuple) else [said]), tokenizer.eos_token_id} - {None}
        if not ends:
            raise TokenizerError(
                "the model has no token that ends an answer", file=self.chat.tokenizer.name_or_path
            )
        return sorted(ends)

    def begin(self, prompts: Mapping[str, Sequence[list[int]]]) -> None:
        """Read what the prompts of each kind begin with, once for all; where that changes an answer, nothing is done.

        Args:
            prompts: kind -> tokens of some of its prompts, about captions that begin differently.
        """
        import torch

        begun = Beginnings(
            {kind: common_beginning(own) for kind, own in prompts.items()}, self._model, self.device
        )
        if not begun.usable:
            return
        kind = next(iter(begun.tokens))
        row = Row(0, kind, prompts[kind][0], None, 0.0)
        self._begun = None
        plain = self._first_logits(row)
        self._begun = begun
        shared = self._first_logits(row)
        exact = plain.dtype == torch.float32
        if float((plain - shared).abs().max()) > (0.02 if exact else 0.2) * float(plain.float().std()):
            self._begun = None

    def rest(self, row: Row) -> int:
        """How many tokens of a row are still to be read."""
        return len(row.ids) - (0 if self._begun is None else self._begun.covered(row.kind, row.ids))

    def generate(self, rows: Sequence[Row], length: int, new_tokens: int) -> list[Written]:
        """What the model writes to each row.

        Args:
            rows: with at most `length` tokens each that are still to be read.
            length: tokens that each row is padded to, on the left; behind what was read before.
            new_tokens: that are written at most.
        """
        from transformers import LogitsProcessorList

        given = self._inputs(rows, length)
        processors = LogitsProcessorList([Draw([(row.seed, row.temperature) for row in rows])])
        out = self._run(given, new_tokens, logits_processor=processors)
        return list(self._texts(out[:, given["input_ids"].shape[1] :].tolist()))

    def _inputs(self, rows: Sequence[Row], length: int) -> dict[str, Any]:
        """Tokens and mask [B, beginning + length], and the cache of the beginnings where there is one."""
        import torch

        begun = self._begun
        front = 0 if begun is None else begun.length
        ids = torch.full((len(rows), front + length), self._padding)
        mask = torch.zeros_like(ids)
        kinds: list[str | None] = []
        for place, row in enumerate(rows):
            read = 0 if begun is None else begun.covered(row.kind, row.ids)
            kinds.append(row.kind if read else None)
            # Padding, beginning, padding, what is behind it.
            for end, part in ((front, row.ids[:read]), (front + length, row.ids[read:])):
                if part:
                    ids[place, end - len(part) : end] = torch.tensor(part)
                    mask[place, end - len(part) : end] = 1
        given = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
        return given if begun is None else {**given, "past_key_values": begun.cache(kinds)}

    def _run(self, given: dict[str, Any], new_tokens: int, **more: Any) -> Any:
        import torch
        from transformers import GenerationConfig

        settings = GenerationConfig(
            do_sample=False,  # the likeliest token, after `Draw`
            num_beams=1,
            max_new_tokens=new_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._padding,
        )
        with torch.inference_mode():
            return self._model.generate(**given, generation_config=settings, **more)

    def _first_logits(self, row: Row) -> "torch.Tensor":
        """[V] of the first token behind a prompt, as `generate` comes to it, with some padding."""
        given = self._inputs([row], self.rest(row) + 7)
        out = self._run(given, 1, output_logits=True, return_dict_in_generate=True)
        logits: torch.Tensor = out.logits[0][0]
        return logits

    @property
    def _padding(self) -> int:
        padding: int | None = self.chat.tokenizer.pad_token_id
        return self._ends[0] if padding is None else padding

    def _texts(self, rows: Sequence[Sequence[int]]) -> Iterator[Written]:
        for row in rows:
            end = next((place for place, token in enumerate(row) if token in self._ends), None)
            own = row if end is None else row[:end]
            text: str = self.chat.tokenizer.decode(own, skip_special_tokens=True)
            yield Written(text, end is not None, len(own) + (end is not None))


class Draw:
    """Draws tokens for each row of a batch from a generator of its own; a processor of logits, before the likeliest is taken.

    The likeliest token after Gumbel noise is one drawn from the softmax: `argmax(x / T + g)`, g = −log e, e ~ Exp(1).
    Tokens beyond the likeliest ones that make up TOP_P of the probability are never drawn.

    Args:
        rows: seed and temperature of each; a row without a seed is left as it is.
    """

    def __init__(self, rows: Sequence[tuple[int | None, float]]) -> None:
        import torch

        self._rows = [
            None if seed is None else (torch.Generator().manual_seed(seed), temperature)
            for seed, temperature in rows
        ]

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """fp32 [B, V] from the logits [B, V] of the next token."""
        import torch
        from transformers import TopPLogitsWarper

        scores = scores.float()
        drawn = [place for place, row in enumerate(self._rows) if row is not None]
        if not drawn:
            return scores
        scores = scores.clone()
        of: list[Any] = [self._rows[place] for place in drawn]
        temperatures = torch.tensor([temperature for _, temperature in of], device=scores.device)
        kept = TopPLogitsWarper(TOP_P)(input_ids[drawn], scores[drawn] / temperatures[:, None])
        size = scores.shape[1]
        # On the CPU, so that every device draws the same.
        noise = torch.stack([torch.empty(size).exponential_(generator=generator) for generator, _ in of])
        scores[drawn] = kept - noise.clamp_min(torch.finfo(torch.float32).tiny).log().to(scores.device)
        return scores
