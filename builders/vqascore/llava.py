"""LLaVA-1.5 (arXiv:2310.03744): what comes before the caption, the image in it, is read once for all captions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from synvita_data.captions.prompts import behind, tokenize_in_parts
from synvita_data.errors import CaptionError, TokenizerError

from .base import VICUNA, FrameScorer, check_length, load_stock, pad_right, token_log_probs
from .models import VqaModel


class LlavaScorer(FrameScorer):
    """A frame's keys and values are computed once and shared by its captions, which are read in one batch.

    Args:
        model: `LlavaForConditionalGeneration`, in evaluation mode, on its device.
        processor: its own.
        shape: of the preprocessing: `pad` (the reference) or `crop` (as the processor does).
        placeholder_space: `processor` or `original` (the reference), see `synvita_data.captions.prompts`.

    Raises:
        TokenizerError: "Yes" is not one token, or the tokenizer is not of LLaMA's kind.
    """

    def __init__(
        self, model: Any, processor: Any, shape: str, *, placeholder_space: str = "processor"
    ) -> None:
        images, vision = processor.image_processor, model.config.vision_config
        super().__init__(
            model, processor.tokenizer, shape, vision.image_size, images.image_mean, images.image_std
        )
        self._space = placeholder_space
        self._image_id = int(model.config.image_token_id)
        self._patches = (vision.image_size // vision.patch_size) ** 2 + (
            model.config.vision_feature_select_strategy != "default"
        )
        ids = self._tokens("a dog")
        after = behind(ids, self._image_id)
        self.behind_placeholder = {
            "space": self._space,
            "ids": after,
            "tokens": [str(token) for token in self._tokenizer.convert_ids_to_tokens(after)],
        }
        answer, end = ids[-2:]
        if self._tokenizer.decode([answer]).strip() != VICUNA.answer or end != self._tokenizer.eos_token_id:
            raise TokenizerError(
                "the answer is not one token before the end token",
                found=self._tokenizer.convert_ids_to_tokens([answer, end]),
                expected=f"{VICUNA.answer} and {self._tokenizer.eos_token}",
                fix="Use the tokenizer of LLaVA-1.5",
            )

    def question(self, caption: str) -> list[int]:
        """The whole conversation, its answer and the end token included; the image is one token."""
        ids = self._tokens(caption)
        if ids.count(self._image_id) != 1:
            raise CaptionError("a caption holds the image's token", found=repr(caption), expected="words")
        context = self.model.config.get_text_config().max_position_embeddings
        check_length(len(ids) + self._patches - 1, context, caption)
        return ids

    def _tokens(self, caption: str) -> list[int]:
        text = f"{VICUNA.wrap(caption)}{VICUNA.answer}{self._tokenizer.eos_token}"
        if self._space == "original":
            return tokenize_in_parts(self._tokenizer, text, VICUNA.image, self._image_id).ids
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids

    def ask(self, images: Tensor, pairs: Sequence[tuple[int, list[int]]]) -> Tensor:
        model, words, (_, question) = self.model.model, self.model.get_input_embeddings(), pairs[0]
        # What comes before the caption is read once an image, and repeated for its captions.
        place = question.index(self._image_id)
        before = words(torch.tensor(question[:place], device=self.device))
        features = model.get_image_features(pixel_values=images, return_dict=True).pooler_output
        prefix = torch.stack([torch.cat([before, image.to(before.dtype)]) for image in features])
        cache = model.language_model(
            inputs_embeds=prefix, past_key_values=DynamicCache(), use_cache=True
        ).past_key_values
        cache.batch_repeat_interleave(len(pairs) // len(images))
        # All but the end token is read: the states of the last two predict the answer and the end.
        rest = [torch.tensor(ids[place + 1 : -1]) for _, ids in pairs]
        start = prefix.shape[1]
        ids, mask = pad_right(rest, before=start)
        states = model.language_model(
            inputs_embeds=words(ids.to(self.device)),
            attention_mask=mask.to(self.device),
            position_ids=torch.arange(start, mask.shape[1], device=self.device)[None],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        ends = torch.tensor([[len(own) - 2, len(own) - 1] for own in rest])
        chosen = states[torch.arange(len(rest))[:, None], ends]
        return token_log_probs(self.model.lm_head(chosen), question[-2:])


def load(model: VqaModel, *, shape: str, dtype: str, device: str, placeholder_space: str) -> LlavaScorer:
    """The scorer of a checkpoint; see `models.open_scorer`."""
    loaded, processor = load_stock(model, "LlavaForConditionalGeneration", dtype, device)
    return LlavaScorer(loaded, processor, shape, placeholder_space=placeholder_space)
