"""InstructBLIP (arXiv:2305.06500) with a Flan-T5: the question goes to the Q-Former and to the language model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from synvita_data.errors import SynvitaError

from .base import (
    BLIP,
    FrameScorer,
    check_caption,
    check_length,
    load_stock,
    pad_right,
    refuse_float16,
    t5_log_probs,
)
from .models import VqaModel


class InstructBlipScorer(FrameScorer):
    """The vision tower sees each frame once; Q-Former and T5 each frame with each caption.

    Args:
        model: `InstructBlipForConditionalGeneration`, in evaluation mode, on its device.
        processor: its own.
        shape: of the preprocessing: `crop` (the reference) or `squash` (as the processor does).

    Raises:
        SynvitaError: its language model is not a T5.
    """

    def __init__(self, model: Any, processor: Any, shape: str) -> None:
        if model.config.use_decoder_only_language_model:
            raise SynvitaError(
                "an InstructBLIP without an encoder cannot be scored this way",
                found=model.config.text_config.model_type,
                expected="a Flan-T5",
                fix="Take instructblip-flan-t5-xxl or -xl, which VQAScore was made with",
            )
        images, size = processor.image_processor, model.config.vision_config.image_size
        super().__init__(model, processor.tokenizer, shape, size, images.image_mean, images.image_std)
        self._qformer_tokenizer = processor.qformer_tokenizer
        self._answer: list[int] = self._tokenizer(BLIP.answer)["input_ids"]

    def question(self, caption: str) -> tuple[list[int], list[int]]:
        """For the Q-Former and for T5."""
        check_caption(caption, self._qformer_tokenizer)
        text = BLIP.wrap(caption)
        for_qformer: list[int] = self._qformer_tokenizer(text)["input_ids"]
        check_length(len(for_qformer), self.model.config.qformer_config.max_position_embeddings, caption)
        return for_qformer, self._tokenizer(text)["input_ids"]

    def ask(self, images: Tensor, pairs: Sequence[tuple[int, tuple[list[int], list[int]]]]) -> Tensor:
        model = self.model
        seen = model.vision_model(pixel_values=images, return_dict=True).last_hidden_state
        queries = self._queries(seen[[number for number, _ in pairs]], [ids for _, (ids, _) in pairs])
        words = model.get_input_embeddings()
        inputs = [
            torch.cat([query, words(torch.tensor(text, device=self.device)).to(query.dtype)])
            for query, (_, (_, text)) in zip(queries, pairs, strict=True)
        ]
        return t5_log_probs(model.language_model, inputs, self._answer)

    def _queries(self, images: Tensor, questions: Sequence[list[int]]) -> Tensor:
        """What T5 gets of each pair [B, queries, D]: images [B, patches, C] as questions make the Q-Former see them."""
        model, device = self.model, images.device
        count = model.query_tokens.shape[1]
        padding = self._qformer_tokenizer.pad_token_id
        padded, mask = pad_right([torch.tensor(ids) for ids in questions], before=count, value=padding)
        states = model.qformer(
            input_ids=padded.to(device),
            attention_mask=mask.to(device),
            query_embeds=model.query_tokens.expand(len(images), -1, -1),
            encoder_hidden_states=images,
            encoder_attention_mask=torch.ones(images.shape[:2], dtype=torch.long, device=device),
            return_dict=True,
        ).last_hidden_state
        projected: Tensor = model.language_projection(states[:, :count])
        return projected


def load(model: VqaModel, *, shape: str, dtype: str, device: str, **_: Any) -> InstructBlipScorer:
    """The scorer of a checkpoint; see `models.open_scorer`."""
    refuse_float16(model, dtype)
    loaded, processor = load_stock(model, "InstructBlipForConditionalGeneration", dtype, device)
    return InstructBlipScorer(loaded, processor, shape)
