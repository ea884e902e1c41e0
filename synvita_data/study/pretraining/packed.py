"""Several statements behind one clip in one pass: all see the clip and the question, none another statement.

The numbers are those of a sequence for each statement (the tests compare with the stock forward). It is its own code
beside `models.strategies.packed` because training needs the states of all words, not only where the answer is read, and
because all rows have one length here, so that one mask serves all.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from synvita_data.captions import Text
from synvita_data.models import AlignmentModel
from synvita_data.models.families.family import PreparedVideo
from synvita_data.models.strategies import PREFIX, branch_mask

from .detection import seen


class PackedIds(NamedTuple):
    """Statements of clips as tokens.

    Attributes:
        ids: int64 [B, K, S], padded on the right with 0.
        last: int64 [B, K], where each statement's last token is: the answer is read there.
    """

    ids: Tensor
    last: Tensor


class Packed:
    """A model with its prompt, ready to read clips with statements.

    Args:
        model: of `network.new_model`.
        processor: of the same.
        frames: of a clip.
    """

    def __init__(self, model: Any, processor: Any, frames: int) -> None:
        self.model = model
        # The package's own prompt, tokens and attention; it shares the weights.
        self._scorer = AlignmentModel(model, processor)
        size = processor.video_processor.crop_size["height"]
        per_frame = (size // processor.patch_size) ** 2 + processor.num_additional_image_tokens
        self._video = PreparedVideo(
            {"pixel_values_videos": torch.zeros(1, frames, 3, size, size)}, "<video>", (frames * per_frame,)
        )
        # What stands before every statement: the tokens that two statements share up to their capitals.
        one, two = (self._whole(text) for text in ("A red circle.", "Two red circles."))
        shared = next(place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
        self._prefix = torch.tensor(one[:shared])
        self._known: dict[str, list[int]] = {}
        self.yes, self.no = self._scorer.prompter.answer_ids

    def _whole(self, text: str) -> list[int]:
        ids: list[int] = self._scorer.prompter.tokens(Text(text), None, self._video).ids.tolist()
        return ids

    def tokens(self, text: str) -> list[int]:
        """Tokens of a statement and of what follows it, up to where the answer is read."""
        if text not in self._known:
            whole, shared = self._whole(text), len(self._prefix)
            assert whole[:shared] == self._prefix.tolist(), text
            self._known[text] = whole[shared:]
        return self._known[text]

    def pack(self, texts: Sequence[Sequence[str]]) -> PackedIds:
        """The statements of clips; every clip has equally many."""
        tokens = [[self.tokens(text) for text in own] for own in texts]
        longest = max(len(each) for own in tokens for each in own)
        ids = torch.tensor([[each + [0] * (longest - len(each)) for each in own] for own in tokens])
        return PackedIds(ids, torch.tensor([[len(each) - 1 for each in own] for own in tokens]))

    def features(self, pixels: Tensor) -> Tensor:
        """What the language model reads of clips: [B, T · (1 + patches), D] from fp32 [B, T, 3, S, S]."""
        states = self.model.model.multi_modal_projector(seen(self.model, pixels.flatten(0, 1)))
        tokens: Tensor = states.reshape(len(pixels), -1, states.shape[-1])
        return tokens

    def states(self, features: Tensor, ids: Tensor) -> Tensor:
        """Last hidden states of the statements' tokens.

        Args:
            features: of `features`, [B, V, D].
            ids: int64 [B, K, S].

        Returns:
            [B, K, S, D].
        """
        batch, number, length = ids.shape
        embed = self.model.get_input_embeddings()
        at_video = self._prefix == self._scorer.family.video_token_id
        before = embed(self._prefix.masked_fill(at_video, 0)).expand(batch, -1, -1)
        before = before.masked_scatter(at_video[None, :, None], features)
        branch = torch.cat(
            [torch.full((len(self._prefix),), PREFIX), torch.arange(number).repeat_interleave(length)]
        )
        prefix = len(self._prefix)
        positions = torch.cat([torch.arange(prefix), prefix + torch.arange(length).repeat(number)])
        output = self.model.model.language_model(
            inputs_embeds=torch.cat([before, embed(ids.flatten(1))], 1),
            attention_mask=branch_mask(branch, prefix).expand(batch, 1, -1, -1),
            position_ids=positions.expand(batch, -1),
            use_cache=False,
            prefix_length=prefix,
        )
        states: Tensor = output.last_hidden_state[:, prefix:]
        return states.reshape(batch, number, length, -1)

    def log_odds(self, states: Tensor, last: Tensor) -> Tensor:
        """logit(Yes) − logit(No) of each statement, [B, K]."""
        weights = self.model.lm_head.weight[self.yes] - self.model.lm_head.weight[self.no]
        at_answer = states.gather(2, last[..., None, None].expand(-1, -1, 1, states.shape[-1])).squeeze(2)
        odds: Tensor = at_answer @ weights
        return odds
