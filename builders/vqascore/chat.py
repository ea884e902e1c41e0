"""Any image-text-to-text model of transformers with a chat template (Qwen-VL and newer), one frame at a time.

Nothing of the model is known but its stock forward. An image goes through the vision tower once for all its captions,
because what `get_image_features` gave is kept while the captions of that image are asked about.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from synvita_data.errors import SynvitaError, TokenizerError, first_line
from synvita_data.video.frames import Frames

from .base import CHAT, Prepared, VqaScorer, check_caption, check_length, load_stock, token_log_probs
from .models import VqaModel

_BY_TOKEN = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")  # int [1, tokens]


class ChatScorer(VqaScorer):
    """P(Yes) after the question in the model's own chat template.

    Args:
        model: of `AutoModelForImageTextToText`, in evaluation mode, on its device.
        processor: its own.

    Raises:
        TokenizerError: no usable chat template, or "Yes" cannot be appended to it.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model)
        self._processor, self._tokenizer = processor, processor.tokenizer
        self._answer = self._answer_tokens()
        self._limits_logits = "logits_to_keep" in signature(model.forward).parameters

    def prepare(self, frames: Frames, captions: Sequence[str]) -> Prepared:
        """Each frame's inputs of the vision tower, and each caption's tokens around an image, the answer behind them."""
        from PIL import Image

        pictures = [Image.fromarray(pixels) for pixels in frames.pixels]
        with self._tokenizing:
            first = [self._inputs(captions[0], picture) for picture in pictures]
            rest = [self._inputs(caption, pictures[0]) for caption in captions[1:]]
        if any(not torch.equal(first[0]["input_ids"], each["input_ids"]) for each in first):
            raise SynvitaError("frames of one size take different numbers of tokens", found=frames.source)
        looks = [{key: each[key] for key in each if key not in _BY_TOKEN} for each in first]
        words = [
            {key: self._with_answer(key, each[key]) for key in each if key in _BY_TOKEN}
            for each in (first[0], *rest)
        ]
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        for each, caption in zip(words, captions, strict=True):
            check_length(each["input_ids"].shape[1] + 1, context or 1 << 60, caption)  # and the end token
        return Prepared(looks, tuple(words))

    @torch.inference_mode()
    def log_probs(self, batch: Sequence[Prepared]) -> list[Tensor]:
        return [self._of_one(video) for video in batch]  # frames of two videos may differ in size

    def _of_one(self, video: Prepared) -> Tensor:
        def moved(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            return {
                key: value.to(self.device, self._dtype if value.is_floating_point() else None)
                for key, value in inputs.items()
            }

        count, by_caption = len(self._answer), []
        keep = {"logits_to_keep": count} if self._limits_logits else {}
        vision = moved({key: torch.cat([look[key] for look in video.images]) for key in video.images[0]})
        with self._images_kept():
            for words in video.questions:
                tokens = moved({key: value.expand(video.looks, -1) for key, value in words.items()})
                logits = self.model(**vision, **tokens, **keep, use_cache=False).logits
                by_caption.append(token_log_probs(logits[:, -count:], self._answer))
        return torch.stack(by_caption, dim=1)

    def _with_answer(self, key: str, value: Tensor) -> Tensor:
        """The answer but its last token, which only needs to be predicted, put behind the question."""
        given = self._answer[:-1]
        if key == "input_ids":
            return torch.cat([value, torch.tensor([given])], dim=1)
        fill = 1 if key == "attention_mask" else 0  # token types: 0 is text
        return torch.cat([value, value.new_full((1, len(given)), fill)], dim=1)

    @contextmanager
    def _images_kept(self) -> Iterator[None]:
        """Inside, `get_image_features` works once for the same pixels."""
        backbone = self.model.model if hasattr(self.model, "model") else self.model
        stock = getattr(backbone, "get_image_features", None)
        if stock is None:  # then each caption pays for the image
            yield
            return
        kept: list[tuple[Tensor, Any]] = []

        def once(pixel_values: Tensor, *args: Any, **kwargs: Any) -> Any:
            if not kept or kept[0][0] is not pixel_values:
                kept[:] = [(pixel_values, stock(pixel_values, *args, **kwargs))]
            return kept[0][1]

        backbone.get_image_features = once
        try:
            yield
        finally:
            del backbone.get_image_features  # the class's own is seen again

    def _inputs(self, caption: str, picture: Any) -> dict[str, Tensor]:
        check_caption(caption, self._tokenizer)
        inputs = dict(
            self._processor(text=[self._render(CHAT.wrap(caption))], images=[picture], return_tensors="pt")
        )
        if "cross_attention_mask" in inputs:
            raise SynvitaError(
                "models whose text attends to images through a mask of its own are not supported",
                found=type(self.model).__name__,
            )
        return inputs

    def _render(self, question: str, answer: str | None = None) -> str:
        """The conversation about one image: up to where the answer begins, or with the answer."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if answer is not None:
            messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        from jinja2 import TemplateError

        try:
            text: str = self._processor.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=answer is None
            )
        except (ValueError, TemplateError) as error:
            raise TokenizerError(
                "the processor has no usable chat template", found=first_line(error)
            ) from error
        if text.count(question) != 1:
            raise TokenizerError(
                "the chat template does not show the question as it is", found=repr(text), expected=question
            )
        return text

    def _answer_tokens(self) -> list[int]:
        """Yes, as it is written after the template's end, and the token that ends an answer there."""
        question = CHAT.wrap("a dog")
        prompt, answered = self._render(question), self._render(question, CHAT.answer)
        before = self._tokenizer(prompt)["input_ids"]
        # A role's name is followed by a space ("ASSISTANT: Yes"), a line break or a special token by none.
        spaced = [f" {CHAT.answer}", CHAT.answer]
        for answer in spaced if prompt[-1] == ":" or prompt[-1].isalnum() else spaced[::-1]:
            whole = self._tokenizer(prompt + answer)["input_ids"]
            tokens = whole[len(before) :]
            if whole[: len(before)] == before and self._tokenizer.decode(tokens).strip() == CHAT.answer:
                after = answered.rpartition(CHAT.answer)[2].strip()
                closing = self._tokenizer(after, add_special_tokens=False)["input_ids"] if after else []
                special = [token for token in closing[:1] if token in self._tokenizer.all_special_ids]
                return [*tokens, *(special or [self._tokenizer.eos_token_id])]
        raise TokenizerError(
            "the answer cannot be appended to the chat template",
            found=repr(prompt[-40:]),
            expected="a prompt whose tokens stay as they are when Yes follows",
        )


def load(model: VqaModel, *, dtype: str, device: str, **_: Any) -> ChatScorer:
    """The scorer of a checkpoint; see `models.open_scorer`."""
    return ChatScorer(*load_stock(model, "AutoModelForImageTextToText", dtype, device))
