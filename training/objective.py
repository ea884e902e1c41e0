"""The SynViTA objective (CVPR 2025, Eqs. 2-7) as pure functions of log-odds.

A batch of N triplets has two videos (VIDEOS) and four texts (TEXTS), so log-odds are [N, 2, 4]. Terms are **sums**
over a batch and `Counts` are what they are divided by: both can be added over the batches of an accumulation
window and over processes, so a loss does not depend on how a window was cut into batches.

    objective = Objective(margin=0.2, scr_weight=1.0)
    supervision = Supervision.of(triplets)
    terms = objective.terms(two_way_losses(log_odds), log_odds, supervision)
    loss, logged = objective.loss(terms, counts_of_the_whole_window)

A further term is a function like `consistency_term`, a field of `Terms`, a line in `Objective.terms` and in
`Objective.loss`, and a field of `SynViTAConfig` for its weight: trainer, evaluation, logs and the stock loss follow.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from synvita_data.errors import SynvitaError, choose

from .data import TEXTS, VIDEOS, TrainingTriplet

# Answer loss -> supervised tokens of an answer.
ANSWER_LOSSES = {"two-way": 1, "token": 1, "token-and-end": 2}
NORMALISATIONS = ("paper", "released")
# The answer of each video (VIDEOS) to each unmasked text (the first two of TEXTS): Yes is true.
RIGHT_ANSWERS = ((True, False), (False, True))


def right_answers(device: torch.device | str | None = None) -> Tensor:
    """bool [2, 2], RIGHT_ANSWERS as a tensor."""
    return torch.tensor(RIGHT_ANSWERS, device=device)


@dataclass(frozen=True, slots=True, eq=False)
class Supervision:
    """What N triplets have and what is trained on; all on one device.

    Attributes:
        present: bool [N, 2], which videos there are to score.
        weight: fp32 [N], ω of the synthetic video.
        takes_real: bool [N], whether the row takes L_real.
        has_synthetic: bool [N], whether the row has a synthetic video, be its weight 0 and it not encoded.
    """

    present: Tensor
    weight: Tensor
    takes_real: Tensor
    has_synthetic: Tensor

    @classmethod
    def of(
        cls, triplets: Sequence[TrainingTriplet], device: torch.device | str | None = None
    ) -> "Supervision":
        """What these triplets train."""
        present = [[t.real is not None, t.synthetic is not None] for t in triplets]
        return cls(
            torch.tensor(present, dtype=torch.bool, device=device).reshape(-1, 2),
            torch.tensor([t.weight for t in triplets], dtype=torch.float32, device=device),
            torch.tensor([t.takes_real for t in triplets], dtype=torch.bool, device=device),
            torch.tensor(
                [t.synthetic is not None or t.zero_weight for t in triplets], dtype=torch.bool, device=device
            ),
        )

    def needed(self, *, consistency: bool = True) -> Tensor:
        """Which of the eight scores the objective reads: bool [N, 2, 4].

        Args:
            consistency: whether L_scr is taken; without it no masked text is needed, nor a real video whose
                L_real another row takes.
        """
        synthetic = self.present[:, 1] & (self.weight > 0)
        regularised = synthetic if consistency else torch.zeros_like(synthetic)
        real = self.present[:, 0]
        own = torch.stack([real & (self.takes_real | regularised), synthetic], dim=1)
        masked = torch.stack([real & regularised, regularised], dim=1)
        return torch.stack([own, own, masked, masked], dim=2)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """The parts of a loss, 0-d: sums over a batch from `Objective.terms`, normalised from `Objective.loss`.

    Attributes:
        real: L_real, Eq. 2.
        synthetic: weighted L_syn, Eqs. 3 and 5.
        consistency: L_scr, Eq. 6, without λ.
        explanation: cross-entropy of the tokens of explanations.
    """

    real: Tensor
    synthetic: Tensor
    consistency: Tensor
    explanation: Tensor

    def named(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Counts:
    """What terms are divided by; known before a forward pass, and added over batches and processes.

    Attributes:
        triplets: N, rows of the dataset.
        answer_tokens: two texts for each real video that takes L_real and for each synthetic video, times
            the tokens of an answer. A synthetic video of weight 0 counts, encoded or not, as it does in the
            released code (its loss is multiplied by 0 after the division).
        half_triplets: videos that L_scr is about: of each row with a synthetic video (of any weight, as in the
            released code) that one, and the real one where it is there.
        explanation_tokens: of answers to the NLE question, end tokens included.
    """

    triplets: int = 0
    answer_tokens: int = 0
    half_triplets: int = 0
    explanation_tokens: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts.from_tensor(self.tensor() + other.tensor())

    def tensor(self, device: torch.device | str | None = None) -> Tensor:
        """int64 [4], to be summed over processes."""
        return torch.tensor([getattr(self, field.name) for field in fields(self)], device=device)

    @classmethod
    def from_tensor(cls, values: Tensor) -> "Counts":
        return cls(*(int(value) for value in values.tolist()))


@dataclass(frozen=True, slots=True)
class Objective:
    """L = L_real + L_syn + λ L_scr + nle_weight · L_nle: Eq. 7, with the NLE task beside it.

    Attributes:
        margin: γ of Eq. 6.
        scr_weight: λ of L_scr; with 0 it is not taken, and no masked text is scored.
        nle_weight: of the explanations' loss; with 0 they are not trained on.
        answer_loss: one of ANSWER_LOSSES.
        normalisation: `paper`: the three terms over the number of triplets, explanations over their tokens.
            `released`: answers and explanations over all supervised tokens together, L_scr over half-triplets.

    Raises:
        SynvitaError: an unknown name, or a number out of range.
    """

    margin: float = 0.2
    scr_weight: float = 1.0
    nle_weight: float = 1.0
    answer_loss: str = "two-way"
    normalisation: str = "paper"

    def __post_init__(self) -> None:
        choose(self.answer_loss, ANSWER_LOSSES, "answer_loss")
        choose(self.normalisation, NORMALISATIONS, "normalisation")
        # f is in [0, 1], so a larger margin would never be met.
        for name, highest in (("margin", 1.0), ("scr_weight", math.inf), ("nle_weight", math.inf)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0.0 <= value <= highest or math.isinf(value):
                raise SynvitaError(
                    f"{name} is out of range",
                    found=repr(value),
                    expected="a number from 0" + ("" if math.isinf(highest) else f" to {highest:g}"),
                )

    @property
    def consistency(self) -> bool:
        """Whether L_scr is taken, and masked texts are scored for it."""
        return self.scr_weight > 0

    @property
    def explains(self) -> bool:
        """Whether explanations are trained on."""
        return self.nle_weight > 0

    @property
    def answer_tokens(self) -> int:
        """How many tokens of an answer are supervised."""
        return ANSWER_LOSSES[self.answer_loss]

    def needed(self, supervision: Supervision) -> Tensor:
        """Which of the eight scores are read: bool [N, 2, 4]."""
        return supervision.needed(consistency=self.consistency)

    def counts(
        self,
        triplets: Iterable[TrainingTriplet],
        explanation_tokens: Callable[[TrainingTriplet], int] | None = None,
    ) -> Counts:
        """Counts of a batch, without a forward pass.

        Args:
            triplets: the batch.
            explanation_tokens: how many tokens, end token included, the explanation of a triplet has; asked only of
                triplets with one and a real video. None where explanations are not trained on.
        """
        rows = answered = halves = explained = 0
        for triplet in triplets:
            synthetic = triplet.synthetic is not None or triplet.zero_weight
            rows += 1
            answered += 2 * self.answer_tokens * (triplet.takes_real + synthetic)
            halves += synthetic * (1 + (triplet.real is not None))
            if explanation_tokens and triplet.explanation is not None and triplet.real is not None:
                explained += explanation_tokens(triplet)
        return Counts(rows, answered, halves, explained)

    def terms(
        self,
        answer_losses: Tensor,
        log_odds: Tensor,
        supervision: Supervision,
        explanation_loss: Tensor | None = None,
    ) -> Terms:
        """All terms of a batch, as sums.

        Args:
            answer_losses: [N, 2, 2] of `two_way_losses` or `token_losses`.
            log_odds: [N, 2, 4], 0 where there is no score.
            supervision: what the N triplets train.
            explanation_loss: cross-entropies of explanations, summed here; None for none.
        """
        none = answer_losses.new_zeros(())
        return Terms(
            real=real_term(answer_losses, supervision),
            synthetic=synthetic_term(answer_losses, supervision),
            consistency=consistency_term(log_odds, supervision, margin=self.margin)
            if self.consistency
            else none,
            explanation=none if explanation_loss is None else _at_least_fp32(explanation_loss).sum(),
        )

    def loss(self, terms: Terms, counts: Counts) -> tuple[Tensor, Terms]:
        """The loss of a batch's sums.

        Args:
            terms: sums over this batch.
            counts: over **everything an optimiser step sees**: all batches of the window and all processes.
                The loss of a step is then the sum of what this returns for its batches.

        Returns:
            The loss, 0-d, and the normalised terms (not yet times λ and nle_weight) for logs.
        """
        if self.normalisation == "paper":
            answers = consistency = counts.triplets
            explanations = counts.explanation_tokens
        else:
            answers = explanations = counts.answer_tokens + counts.explanation_tokens
            consistency = counts.half_triplets
        parts = Terms(
            real=terms.real / max(answers, 1),
            synthetic=terms.synthetic / max(answers, 1),
            consistency=terms.consistency / max(consistency, 1),
            explanation=terms.explanation / max(explanations, 1),
        )
        answered = parts.real + parts.synthetic
        return answered + self.scr_weight * parts.consistency + self.nle_weight * parts.explanation, parts


def two_way_losses(log_odds: Tensor) -> Tensor:
    """−log of f or 1 − f, whichever is right: Eqs. 2 and 3 before sums and weights.

    Args:
        log_odds: [N, 2, 2 or 4], any float dtype; m of (video, text). Masked texts have no right answer.

    Returns:
        [N, 2, 2], fp32 (fp64 of fp64): softplus of ∓m, finite with its gradient for any finite m.
    """
    own = _at_least_fp32(log_odds[..., :2])
    return -logsigmoid(torch.where(right_answers(own.device), own, -own))


def token_losses(
    vocabulary_logits: Tensor, answers: Tensor, *, yes: int, no: int, end: int | None = None
) -> Tensor:
    """Cross-entropy over the whole vocabulary of the answer's token, and of the end token behind it.

    Args:
        vocabulary_logits: [..., k, V], any float dtype: where the answer is predicted (k ≥ 1) and, behind
            the answer, where the end token is (k ≥ 2).
        answers: bool [...], true where Yes is right. yes, no: token ids of the answers.
        end: id of the token behind an answer, for the loss `token-and-end`; None for `token`.

    Returns:
        fp32 (fp64 of fp64) [...], for triplets [N, 2, 2]: the sum over the answer's one or two tokens.
    """
    targets = [torch.where(answers, yes, no)]
    if end is not None:
        targets.append(torch.full_like(targets[0], end))
    logits = _at_least_fp32(vocabulary_logits[..., : len(targets), :])
    target = torch.stack(targets, dim=-1).to(logits.device)
    losses = cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none")
    return losses.view(target.shape).sum(-1)


def real_term(answer_losses: Tensor, supervision: Supervision) -> Tensor:
    """Σ L_real (Eq. 2) over the rows that take it: −log f(V^r, t^r) − log(1 − f(V^r, t^s)).

    Args:
        answer_losses: [N, 2, 2], videos by unmasked texts.
    """
    taken = supervision.takes_real & supervision.present[:, 0]
    return torch.where(taken, answer_losses[:, 0].sum(-1), 0.0).sum()


def synthetic_term(answer_losses: Tensor, supervision: Supervision) -> Tensor:
    """Σ L_syn (Eqs. 3 and 5): −ω[log f(V^s, t^s) + log(1 − f(V^s, t^r))]; ω = 1 everywhere is Eq. 3.

    Args:
        answer_losses: [N, 2, 2], videos by unmasked texts.
    """
    weight = supervision.weight.to(answer_losses.dtype)
    return torch.where(supervision.present[:, 1], weight * answer_losses[:, 1].sum(-1), 0.0).sum()


def consistency_term(log_odds: Tensor, supervision: Supervision, *, margin: float = 0.2) -> Tensor:
    """Σ L_scr (Eq. 6), semantic consistency regularisation, with a text's own masked form as in the released code:

        Σ_z ω[max(0, γ + f(V^z, t^z masked) − f(V^z, t^z)) + max(0, γ + f(V^z, t^z̄) − f(V^z, t^z̄ masked))]

    The part of a video that is absent is left out. (The released code groups the four hinges of a triplet by text
    and this by video; their sum is the same.)

    Args:
        log_odds: [N, 2, 4] in the order VIDEOS x TEXTS. margin: γ.
    """
    f = _at_least_fp32(log_odds).sigmoid()
    right = right_answers(f.device)
    own, masked = f[..., :2], f[..., 2:]
    hinges = (margin + torch.where(right, masked - own, own - masked)).relu().sum(-1)
    regularised = supervision.present & (supervision.present[:, 1] & (supervision.weight > 0))[:, None]
    weight = supervision.weight.to(f.dtype)[:, None]
    return torch.where(regularised, weight * hinges, 0.0).sum()


def pair_sums(log_odds: Tensor, scored: Tensor) -> Tensor:
    """Sums and numbers of f of one batch, for logs: fp32 (fp64 of fp64) [2, 2, 4], on the scores' device.

    Those of many batches and processes are added on the CPU in fp64, which not every device has (`TrainingLogs`).

    Args:
        log_odds: [N, 2, 4].
        scored: bool [N, 2, 4], which of them were computed (`Supervision.needed`).

    Returns:
        [0]: Σ f of each pair of a video and a text. [1]: how many.
    """
    f = _at_least_fp32(log_odds.detach()).sigmoid()
    return torch.stack([torch.where(scored, f, 0.0).sum(0), scored.sum(0).to(f.dtype)])


def mean_scores(sums: Tensor) -> dict[str, float]:
    """Mean f by name, such as `f/real/caption_masked`, from `pair_sums`; pairs that were never scored are left out."""
    total, number = sums.tolist()
    return {
        f"f/{video}/{text}": total[v][t] / number[v][t]
        for v, video in enumerate(VIDEOS)
        for t, text in enumerate(TEXTS)
        if number[v][t]
    }


def _at_least_fp32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
