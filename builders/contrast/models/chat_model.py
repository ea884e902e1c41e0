"""A chat model of transformers: its template, its weights, and what it writes to a batch of questions.

Greedy answers and drawn ones stand in one batch; what is drawn for a row comes from a generator of its own.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from synvita_data.errors import SynvitaError, TokenizerError, first_line
from synvita_data.models.resolve import Checkpoint, ModelFiles

if TYPE_CHECKING:
    import torch

# What is drawn is one of the likeliest tokens that make up this share of the probability.
TOP_P = 0.95


class Row(NamedTuple):
    """One answer to generate.

    Attributes:
        request: number of the request that it answers.
        ids: tokens of the prompt.
        seed: of what is drawn; None for the likeliest token at every step.
        temperature: of what is drawn.
    """

    request: int
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
            self.tokenizer = AutoTokenizer.from_pretrained(
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
        if checkpoint.adapter is not None:
            model = with_adapter(model, checkpoint)
        self._model = model.eval().requires_grad_(False)
        self._ends = self._end_tokens()
        # Nothing of the model's own taste: a penalty for what was said before would count the padding too.
        from transformers import GenerationConfig

        self._model.generation_config = GenerationConfig()
        self.device: torch.device = self._model.get_input_embeddings().weight.device
        self.context: int | None = getattr(
            self._model.config.get_text_config(), "max_position_embeddings", None
        )

    def _end_tokens(self) -> list[int]:
        tokenizer, own = self.chat.tokenizer, getattr(self._model, "generation_config", None)
        said = getattr(own, "eos_token_id", None)
        ends = {*(said if isinstance(said, list | tuple) else [said]), tokenizer.eos_token_id} - {None}
        if not ends:
            raise TokenizerError(
                "the model has no token that ends an answer", file=self.chat.tokenizer.name_or_path
            )
        return sorted(ends)

    def generate(self, rows: Sequence[Row], length: int, new_tokens: int) -> list[Written]:
        """What the model writes to each row.

        Args:
            rows: with at most `length` tokens each.
            length: tokens that each row is padded to, on the left.
            new_tokens: that are written at most.
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        tokenizer = self.chat.tokenizer
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._ends[0]
        ids = torch.full((len(rows), length), padding)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, length - len(row.ids) :] = torch.tensor(row.ids)
            mask[place, length - len(row.ids) :] = 1
        processors = LogitsProcessorList([Draw([(row.seed, row.temperature) for row in rows])])
        settings = GenerationConfig(
            do_sample=False,  # the likeliest token, after `Draw`
            num_beams=1,
            max_new_tokens=new_tokens,
            eos_token_id=self._ends,
            pad_token_id=padding,
        )
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                generation_config=settings,
                logits_processor=processors,
            )
        return list(self._texts(out[:, length:].tolist()))

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
