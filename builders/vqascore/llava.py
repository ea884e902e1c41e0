"""LLaVA-1.5 (arXiv:2310.03744): what comes before the caption, the image in it, is read once for all captions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from synvita_data.captions.placeholders import behind, tokenize_in_parts
from synvita_data.errors import CaptionError, TokenizerError

from .base import (
    VICUNA,
    FrameScorer,
    Prepared,
    by_video,
    check_caption,
    check_length,
    load_stock,
    token_log_probs,
)
from .models import VqaModel


class LlavaScorer(FrameScorer):
    """A frame's keys and values are computed once and shared by its captions, which are read in one batch.

    Args:
        model: `LlavaForConditionalGeneration`, in evaluation mode, on its device.
        processor: its own.
        shape: of the preprocessing: `pad` (the reference) or `crop` (as the processor does).
        placeholder_space: `processor` or `original` (the reference), see `synvita_data.captions.placeholders`.

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
        check_caption(caption, self._tokenizer)
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

    @torch.inference_mode()
    def log_probs(self, batch: Sequence[Prepared]) -> list[Tensor]:
        model, device = self.model, self.device
        images = torch.cat([video.images for video in batch]).to(device, model.dtype)
        features = model.model.get_image_features(pixel_values=images, return_dict=True).pooler_output
        words = model.get_input_embeddings()
        place = batch[0].questions[0].index(self._image_id)
        before = words(torch.tensor(batch[0].questions[0][:place], device=device))
        prefix = torch.stack([torch.cat([before, image.to(before.dtype)]) for image in features])
        cache = model.model.language_model(
            inputs_embeds=prefix, past_key_values=DynamicCache(), use_cache=True
        ).past_key_values
        captions = len(batch[0].questions)
        cache.batch_repeat_interleave(captions)
        # All but the end token is read: the states of the last two predict the answer and the end.
        rest = [ids[place + 1 : -1] for video in batch for _ in range(video.looks) for ids in video.questions]
        answer = batch[0].questions[0][-2:]
        states = self._read(rest, cache, prefix.shape[1])
        return by_video(token_log_probs(model.lm_head(states), answer), batch)

    def _read(self, suffixes: Sequence[list[int]], cache: DynamicCache, before: int) -> Tensor:
        """[B, 2, D]: last two hidden states of each suffix, read after its own `before` cached tokens."""
        longest = max(map(len, suffixes))
        ids = torch.zeros(len(suffixes), longest, dtype=torch.long)
        mask = torch.zeros(len(suffixes), before + longest, dtype=torch.long)
        for row, suffix in enumerate(suffixes):
            ids[row, : len(suffix)] = torch.tensor(suffix)
            mask[row, : before + len(suffix)] = 1
        states = self.model.model.language_model(
            inputs_embeds=self.model.get_input_embeddings()(ids.to(self.device)),
            attention_mask=mask.to(self.device),
            position_ids=torch.arange(before, before + longest, device=self.device)[None],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        ends = [[len(suffix) - 2, len(suffix) - 1] for suffix in suffixes]
        rows = torch.arange(len(suffixes))[:, None]
        chosen: Tensor = states[rows, torch.tensor(ends)]
        return chosen


def load(model: VqaModel, *, shape: str, dtype: str, device: str, placeholder_space: str) -> LlavaScorer:
    """The scorer of a checkpoint; see `models.open_scorer`."""
    loaded, processor = load_stock(model, "LlavaForConditionalGeneration", dtype, device)
    return LlavaScorer(loaded, processor, shape, placeholder_space=placeholder_space)
