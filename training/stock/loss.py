"""`SynViTALoss`: the objective for a stock `transformers.Trainer`."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from synvita_data.errors import SynvitaError

from ..objective import Counts, Objective, Terms, right_answers, token_losses, two_way_losses
from .labels import COUNTED, NONE, StockLabels


class SynViTALoss(TrainerCallback):
    """L = L_real + L_syn + λ L_scr (SynViTA, Eq. 7) over the number of triplets, in a Trainer nobody changed.

    The same number, to rounding, however a step's triplets are cut into batches, accumulated and spread over
    processes: the Trainer counts labels, and `StockCollator` writes equally many for each triplet.

    As a callback it checks the Trainer's arguments when the Trainer is made; the loss itself works without.

    Args:
        margin: γ of Eq. 6.
        scr_weight: λ of Eq. 7; the paper's is 1.0 for Video-LLaVA, 0.01 for mPLUG-Owl. With 0 the collator need not
            make masked texts.
        answer_loss: one of `objective.ANSWER_LOSSES`; the collator's own.
        normalisation: `paper`. `released` divides by three numbers that differ from row to row, and a stock Trainer
            counts only one: `SynViTATrainer` has it.

    Raises:
        SynvitaError: an unknown name, a number out of range, `released`.

    Example:
        >>> loss = SynViTALoss(scr_weight=1.0)  # doctest: +SKIP
        >>> Trainer(  # doctest: +SKIP
        ...     model,
        ...     TrainingArguments("out", remove_unused_columns=False),
        ...     train_dataset=triplets,
        ...     data_collator=StockCollator(model, processor),
        ...     compute_loss_func=loss,
        ...     callbacks=[loss],
        ... ).train()
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scr_weight: float = 1.0,
        answer_loss: str = "two-way",
        normalisation: str = "paper",
    ) -> None:
        if normalisation != "paper":
            raise SynvitaError(
                "a stock Trainer cannot count what this normalisation divides by",
                found=normalisation,
                expected="paper",
                fix="Use SynViTATrainer for `released`",
            )
        self.objective = Objective(margin, scr_weight, answer_loss=answer_loss)

    def __repr__(self) -> str:
        return f"<SynViTALoss: {self.objective}>"

    def __call__(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """What `Trainer(compute_loss_func=…)` calls.

        Args:
            outputs: of the stock model, with `logits` [R, S or kept, V].
            labels: of `StockCollator`.
            num_items_in_batch: the Trainer's count of labels in the accumulation window on all processes; None
                in the evaluation of some releases: then this batch is all there is.

        Returns:
            fp32, 0-d: this batch's share of the step's loss.

        Raises:
            SynvitaError: labels of another collator, or made for another loss; logits that do not fit them.
        """
        logits = _logits(outputs)  # of a model over several GPUs on the last of them, labels on the first
        collated = StockLabels.decode(None if labels is None else labels.to(logits.device))
        self._check_made_for_this(collated)
        terms = self._terms(logits, collated)
        triplets = len(collated.rows) if num_items_in_batch is None else _triplets(num_items_in_batch)
        loss, _ = self.objective.loss(terms, Counts(triplets=triplets))
        return loss

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raises `SynvitaError` where the Trainer's arguments would make the loss wrong."""
        found = None
        if args.remove_unused_columns:
            found, fix = (
                "remove_unused_columns=True",
                "Set it to False: the data's columns are not the model's inputs",
            )
        elif args.n_gpu > 1 or isinstance(kwargs.get("model"), nn.DataParallel):
            found = f"nn.DataParallel on {args.n_gpu} GPUs"
            fix = "Start one process a GPU with torchrun or accelerate launch, or show it one with CUDA_VISIBLE_DEVICES"
        elif args.world_size > 1 and not args.average_tokens_across_devices:
            found = "average_tokens_across_devices=False"
            fix = "Leave it True: each process would divide by its own number of triplets"
        elif args.use_liger_kernel:
            found, fix = "use_liger_kernel=True", "Its fused loss gives no logits: set it to False"
        elif args.label_smoothing_factor:
            found = f"label_smoothing_factor={args.label_smoothing_factor}"
            fix = "Set it to 0: there are no labels to smooth, and it would do nothing"
        elif getattr(args, "train_sampling_strategy", None) == "group_by_length":
            found = "train_sampling_strategy=group_by_length"
            fix = "Set it to random or sequential: triplets have no one length"
        if found is not None:
            raise SynvitaError("SynViTALoss cannot work with these training arguments", found=found, fix=fix)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raises `SynvitaError` where the training data was made without the L_scr that is to be trained."""
        data = getattr(kwargs.get("train_dataloader"), "dataset", None)
        if self.objective.consistency and not getattr(data, "arguments", {}).get("use_scr", True):
            raise SynvitaError(
                "the training data was made without L_scr",
                found="TripletData(…, use_scr=False)",
                expected=f"use_scr=True, because scr_weight is {self.objective.scr_weight}",
                fix="Make the TripletData with use_scr=True, or take SynViTALoss(scr_weight=0)",
            )

    def _check_made_for_this(self, collated: StockLabels) -> None:
        objective = self.objective
        if objective.consistency and not collated.consistency:
            wrong, expected = (
                "consistency=False",
                f"masked texts, because scr_weight is {objective.scr_weight}",
            )
        elif (objective.answer_tokens == 2) != (collated.end != NONE):
            wrong = f"answers {'not ' if collated.end == NONE else ''}appended"
            expected = f"answer_loss={objective.answer_loss!r}"
        else:
            return
        raise SynvitaError(
            "the batch was collated for another loss",
            found=wrong,
            expected=expected,
            fix="Give StockCollator the same answer_loss, and consistency=False only where scr_weight is 0",
        )

    def _terms(self, logits: Tensor, collated: StockLabels) -> Terms:
        """From logits [R, S or kept, V]; only the entries that are read are ever converted to fp32."""
        places = collated.places(logits.shape)
        there = collated.rows != NONE
        at = collated.rows[there], places[there]
        log_odds = logits.new_zeros(there.shape, dtype=torch.float32)
        log_odds[there] = logits[*at, collated.yes].float() - logits[*at, collated.no].float()
        if self.objective.answer_loss == "two-way":
            answers = two_way_losses(log_odds)
        else:
            answers = self._token_losses(logits, collated, places)
        return self.objective.terms(answers, log_odds, collated.supervision)

    def _token_losses(self, logits: Tensor, collated: StockLabels, places: Tensor) -> Tensor:
        """fp32 [N, 2, 2], 0 where there is no row."""
        there = collated.rows[..., :2] != NONE
        right = right_answers(logits.device).expand(there.shape)[there]
        # Kept positions are sorted, so the one behind the answer follows it among them too.
        following = torch.arange(self.objective.answer_tokens, device=logits.device)
        place = places[..., :2][there][:, None] + following
        end = None if collated.end == NONE else collated.end
        own = logits[collated.rows[..., :2][there][:, None], place]
        losses = logits.new_zeros(there.shape, dtype=torch.float32)
        losses[there] = token_losses(own, right, yes=collated.yes, no=collated.no, end=end)
        return losses


def _logits(outputs: Any) -> Tensor:
    logits = outputs.get("logits") if isinstance(outputs, dict) else outputs[0]
    if not isinstance(logits, Tensor):
        raise SynvitaError(
            "the model gave no logits",
            found=type(logits).__name__,
            fix="Train the stock model, without a fused loss (use_liger_kernel=False)",
        )
    return logits


def _triplets(num_items: Tensor | int) -> int:
    """The number of triplets in the window, from the Trainer's count of labels."""
    if isinstance(num_items, Tensor) and num_items.numel() > 1:
        raise SynvitaError(
            "nn.DataParallel splits batches that belong together",
            found=f"{num_items.numel()} GPUs in one process",
            fix="Start one process a GPU with torchrun or accelerate launch",
        )
    triplets, rest = divmod(round(float(num_items)), COUNTED)
    if rest or not triplets:
        raise SynvitaError(
            "the labels of this accumulation window were not all made by StockCollator",
            found=f"{float(num_items)} labels that are not -100",
            expected=f"a multiple of {COUNTED}",
        )
    return triplets
