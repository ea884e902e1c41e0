"""The whole computation of a batch as one `nn.Module`, so that DDP and FSDP see every parameter's use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel, EncodedVideo, Explanation, PreparedVideo

from .data import TEXTS, VIDEOS, TrainingTriplet
from .objective import RIGHT_ANSWERS, Objective, Supervision, right_answers, token_losses, two_way_losses

# Yes or No behind each text, for losses that read what follows it; a masked text says what its caption says.
_ANSWERS = tuple(own + own for own in RIGHT_ANSWERS)


@dataclass
class TripletScores:
    """What a model answers for N triplets; all on one device, fp32 unless stated otherwise.

    Attributes:
        log_odds: [N, 2, 4] in the order VIDEOS x TEXTS, 0 where there is no score.
        scored: bool [N, 2, 4], which of them the objective reads and were computed.
        answer_losses: [N, 2, 2] for the unmasked texts, 0 where there is no score.
        explanation_loss: [N], sum over the tokens of an explanation and its end token; 0 where there is none.
        supervision: what these triplets train.
    """

    log_odds: Tensor
    scored: Tensor
    answer_losses: Tensor
    explanation_loss: Tensor
    supervision: Supervision


class TripletModule(nn.Module):
    """An alignment model that takes triplets.

    A video that is not trained on is not encoded, and a text that no term reads is not scored: where L_scr is not
    taken (λ = 0, or no weight) the masked texts cost nothing.

    Args:
        alignment: the model, its adapters in place.
        objective: what is trained, so that nothing else is computed.
        way: `packed` or `plain`.
        frozen_dropout: whether dropout acts in frozen parts behind the vision tower (`SynViTAConfig.frozen_dropout`).

    Raises:
        TokenizerError: `token-and-end` with a tokenizer that has no end token.
    """

    # Of transformers 5.17, where the trainer would divide the loss of a window once more without it.
    accepts_loss_kwargs = True
    main_input_name = "triplets"

    def __init__(
        self,
        alignment: AlignmentModel,
        objective: Objective | None = None,
        *,
        way: str = "packed",
        frozen_dropout: bool = False,
    ) -> None:
        super().__init__()
        self.alignment = alignment
        self.objective = objective or Objective()
        self.way = way
        # Modules outside of the language model without a trained weight, which stay in evaluation mode: what they
        # make of a video does not change from epoch to epoch, nor with the way. In a tuple, so that they are not children of
        # this module.
        language = set(map(id, alignment.family.language_model.modules()))
        self._frozen_parts = tuple(
            module
            for name, module in alignment.family.model.named_modules()
            if id(module) not in language
            and not any(p.requires_grad for p in module.parameters())
            and not (frozen_dropout and alignment.family.is_after_tower(name))
        )
        if self.objective.answer_tokens == 2:
            _ = alignment.prompter.end_id

    @property
    def network(self) -> Any:
        """The PEFT model, or the stock model where there is none: what is saved."""
        return self.alignment.model

    @property
    def config(self) -> Any:
        """Of the stock model."""
        return self.alignment.family.model.config

    def explanation_tokens(self, triplet: TrainingTriplet) -> int:
        """How many tokens a triplet's explanation has, its end token included."""
        assert triplet.explanation is not None
        assert triplet.real is not None
        explanation = Explanation(triplet.texts[1].caption, triplet.explanation)
        return len(self.alignment.prompter.explanation(explanation, _prepared(triplet.real)).targets)

    def forward(
        self,
        triplets: Sequence[TrainingTriplet] | None = None,
        videos: Sequence[tuple[PreparedVideo | EncodedVideo, Sequence[Text]]] | None = None,
    ) -> TripletScores | tuple[Tensor, ...]:
        """Score a batch of triplets, or, for evaluation, of videos with any texts.

        Both come through here because wrappers (FSDP, autocast) act on a call of the module.

        Returns:
            `TripletScores`; of videos the log-odds of each one's texts, fp32.

        Raises:
            SynvitaError: a triplet without any video, a text beyond the model's context.
        """
        if triplets is None:
            assert videos is not None
            output = self.alignment([v for v, _ in videos], [own for _, own in videos], strategy=self.way)
            return tuple(output.by_video())
        # Only what the objective reads is asked of the model.
        answer_loss = self.objective.answer_loss
        scored = self.objective.needed(Supervision.of(triplets))
        asked = _Asked.of(triplets, scored, self.objective.explains)
        output = self.alignment(
            [video for video, _ in asked.videos],
            [texts for _, texts in asked.videos],
            strategy=self.way,
            vocabulary=0 if answer_loss == "two-way" else self.objective.answer_tokens,
            answers=asked.answers if answer_loss == "token-and-end" else None,
            explanations=asked.explanations,
        )
        # Scores come back text after text; each goes to its place in [N, 2, 4].
        device = output.log_odds.device
        count = len(triplets)
        slots = torch.tensor(asked.slots, dtype=torch.long, device=device)
        # What was asked only so that something is computed gets no place (a score and its gradient of 0).
        kept = scored.flatten().to(device)[slots]
        log_odds = _placed(torch.where(kept, output.log_odds, 0.0), slots, count * 8).view(count, 2, 4)
        if answer_loss == "two-way":
            answer_losses = torch.where(scored[..., :2].to(device), two_way_losses(log_odds), 0.0)
        else:
            answer_losses = self._token_losses(output.vocabulary_logits, slots, kept, count)
        owners = torch.tensor(asked.owners, device=device)
        explanation_loss = _placed(output.explanation_loss.to(device), owners, count)
        return TripletScores(
            log_odds, scored.to(device), answer_losses, explanation_loss, Supervision.of(triplets, device)
        )

    def _token_losses(self, logits: Tensor | None, slots: Tensor, kept: Tensor, count: int) -> Tensor:
        """[N, 2, 2] from the vocabulary's logits [texts, k, V]."""
        assert logits is not None
        yes, no = self.alignment.prompter.answer_ids
        unmasked = slots % 4 < 2
        pairs = slots[unmasked] // 4 * 2 + slots[unmasked] % 4
        losses = token_losses(
            logits[unmasked],
            right_answers(slots.device).flatten()[pairs % 4],
            yes=yes,
            no=no,
            end=self.alignment.prompter.end_id if self.objective.answer_tokens == 2 else None,
        )
        losses = torch.where(kept[unmasked], losses, 0.0)
        return _placed(losses, pairs, count * 4).view(count, 2, 2)

    def train(self, mode: bool = True) -> "TripletModule":
        """Training mode for what is trained; a frozen part (vision tower, projector, abstractor) stays in evaluation
        mode, and its dropout off, unless `frozen_dropout` was asked for."""
        super().train(mode)
        if mode:
            for part in self._frozen_parts:
                part.eval()
        return self

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **more: Any
    ) -> None:
        """As the trainer of transformers 5.17 calls it; by default without re-entry, which DDP can follow."""
        self._recompute("gradient", gradient_checkpointing_kwargs, more)

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **more: Any
    ) -> None:
        """As later releases call it."""
        self._recompute("activation", activation_checkpointing_kwargs, more)

    def _recompute(self, kind: str, given: dict[str, Any] | None, more: dict[str, Any]) -> None:
        options = {"use_reentrant": False, **(given or {})}
        stock = self.alignment.family.model
        enable = getattr(stock, f"{kind}_checkpointing_enable")
        enable(**{f"{kind}_checkpointing_kwargs": options}, **more)
        if options["use_reentrant"]:  # which finds no gradient to compute behind frozen embeddings
            stock.enable_input_require_grads()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A batch as the alignment model takes it.

    Attributes:
        videos: each with the texts it is scored with, at least one.
        answers: for each video, the right answer to each of its texts.
        explanations: for each video, what it is asked to explain, None for nothing.
        owners: for each video, the number of its triplet.
        slots: for each text its place in [N, 2, 4], counted through.
    """

    videos: list[tuple[PreparedVideo | EncodedVideo, list[Text]]]
    answers: list[list[bool]]
    explanations: list[Explanation | None]
    owners: list[int]
    slots: list[int]

    @classmethod
    def of(cls, triplets: Sequence[TrainingTriplet], scored: Tensor, explains: bool) -> "_Asked":
        asked = cls([], [], [], [], [])
        for number, (triplet, needs) in enumerate(zip(triplets, scored.tolist(), strict=True)):
            if triplet.real is None and triplet.synthetic is None:
                raise SynvitaError("a triplet has neither of its videos", row=triplet.row_id)
            for which, needed in enumerate(needs):
                video = getattr(triplet, VIDEOS[which])
                explanation = None
                if explains and which == 0 and video is not None and triplet.explanation is not None:
                    explanation = Explanation(triplet.texts[1].caption, triplet.explanation)
                texts = [k for k in range(len(TEXTS)) if needed[k]]
                if texts or explanation:
                    asked._add(number, which, video, triplet, texts or [0], explanation)
        if not asked.videos:  # nothing here is trained, but other processes wait for this one's gradients
            first = triplets[0]
            which = 0 if first.real is not None else 1
            asked._add(0, which, getattr(first, VIDEOS[which]), first, [0], None)
        return asked

    def _add(
        self,
        number: int,
        which: int,
        video: PreparedVideo | EncodedVideo,
        triplet: TrainingTriplet,
        texts: list[int],
        explanation: Explanation | None,
    ) -> None:
        self.videos.append((video, [triplet.texts[k] for k in texts]))
        self.answers.append([_ANSWERS[which][k] for k in texts])
        self.explanations.append(explanation)
        self.owners.append(number)
        self.slots.extend((number * 2 + which) * 4 + k for k in texts)


def _prepared(video: PreparedVideo | EncodedVideo) -> PreparedVideo:
    return video.prepared if isinstance(video, EncodedVideo) else video


def _placed(values: Tensor, places: Tensor, size: int) -> Tensor:
    """Values at their places among `size`, zeros elsewhere; two at one place are added."""
    return values.new_zeros(size).index_add(0, places, values)
