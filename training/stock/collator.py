"""Triplets as an ordinary batch for a stock model and a stock Trainer: one row a pair, nothing packed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from synvita_data.captions.prompts import check_placeholder_space, get_prompt
from synvita_data.errors import SynvitaError, choose
from synvita_data.models import EncodedVideo, PreparedVideo, get_family
from synvita_data.models.prompting import Prompter, PromptTokens
from synvita_data.models.videos import VideoPreparer
from synvita_data.video.preprocessing import check_preprocess
from synvita_data.video.sampling import FramePolicy

from ..data import TEXTS, TrainingTriplet
from ..objective import ANSWER_LOSSES, RIGHT_ANSWERS, Supervision
from .labels import NONE, StockLabels


class StockCollator:
    """Collates `TrainingTriplet`s for a stock model of transformers; the other half of `SynViTALoss`.

    Each pair of a video and a text that the objective reads is one row, at most eight a triplet: its video's
    pixels, its whole prompt padded on the right, and zeros in the mask at padding and at what a text hides. Positions
    are given, so that hidden tokens keep theirs. Pixels are repeated for every row, and the vision tower runs as
    often: `SynViTATrainer` packs a video's texts and runs it once.

    Args:
        model: the stock model, or a PEFT model of one.
        processor: its processor.
        prompt: name in `synvita_data.captions.prompts.PROMPTS`; None for the family's.
        placeholder_space: `processor` or `original`, see `synvita_data.captions.prompts`.
        preprocess: `processor` or `languagebind`, see `synvita_data.video.preprocessing`.
        answer_loss: one of `objective.ANSWER_LOSSES`; with `token-and-end` Yes or No stands behind each unmasked prompt.
        consistency: whether masked texts are wanted; without L_scr (λ = 0) they are not.
        logits_to_keep: ask the model for logits only where an answer is read, not at every token: at a vocabulary
            of 32,000 and 2,100 tokens a row the others are 270 MB a row in fp32. False for a model whose
            forward does not know the argument.

    Raises:
        SynvitaError: unknown family, prompt or answer loss; an `nn.DataParallel`.

    Example, for one triplet of two videos (rows are real then synthetic, texts as in TEXTS):
        >>> batch = StockCollator(model, processor)([triplet])  # doctest: +SKIP
        >>> {name: list(value.shape) for name, value in batch.items() if name != "use_cache"}  # doctest: +SKIP
        {'labels': [1, 35], 'input_ids': [8, 75], 'attention_mask': [8, 75], 'position_ids': [8, 75],
         'pixel_values_videos': [8, 8, 3, 224, 224], 'logits_to_keep': [2]}
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        prompt: str | None = None,
        placeholder_space: str = "processor",
        preprocess: str = "processor",
        answer_loss: str = "two-way",
        consistency: bool = True,
        logits_to_keep: bool = True,
    ) -> None:
        if isinstance(model, nn.DataParallel):
            raise SynvitaError(
                "a batch of pairs cannot be split over GPUs by nn.DataParallel",
                found="nn.DataParallel",
                fix="Start one process a GPU with torchrun or accelerate launch",
            )
        stock = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.family = get_family(stock.config.model_type)(stock, processor)
        self.family.placeholder_space = check_placeholder_space(
            placeholder_space, self.family.placeholder_spaces
        )
        self.family.preprocess = check_preprocess(preprocess, self.family.preprocesses)
        self.prompter = Prompter(self.family, get_prompt(prompt or self.family.default_prompt))
        self.appended = ANSWER_LOSSES[choose(answer_loss, ANSWER_LOSSES, "answer_loss")] == 2
        self.consistency = consistency
        self.logits_to_keep = logits_to_keep

    def preparer(self, frames: FramePolicy | None = None) -> VideoPreparer:
        """What `TripletData` takes to decode and prepare videos for this model; None for the family's own frames."""
        return VideoPreparer(self.family, self.prompter.prompt, frames=frames)

    def __repr__(self) -> str:
        return f"<StockCollator for {type(self.family.model).__name__}>"

    def __call__(self, triplets: Sequence[TrainingTriplet]) -> dict[str, Any]:
        """The batch: what the model's forward takes, and `labels` for `SynViTALoss`.

        Returns:
            labels: int64 [N, COLUMNS], see `labels`; first, so that evaluation weighs by triplets.
            input_ids, attention_mask: int64 [R, S].
            position_ids: int64 [R, S], or [k, R, S].
            the family's own pixel inputs, rows one behind the other, in the model's dtype.
            use_cache: False.
            logits_to_keep: int64 [K], positions; absent where all are wanted.

        Raises:
            SynvitaError: items that are not triplets, a video without pixels or of another shape, an explanation.
        """
        _check(triplets)
        supervision = Supervision.of(triplets)
        wanted = _wanted(supervision, self.consistency)
        videos: list[PreparedVideo] = []
        prompts: list[PromptTokens] = []
        rows = torch.full((len(triplets), 2, len(TEXTS)), NONE)
        for n, v, t in wanted.nonzero().tolist():
            triplet = triplets[n]
            video = self._pixels(triplet.synthetic if v else triplet.real, triplet)
            answer = RIGHT_ANSWERS[v][t] if self.appended and t < 2 else None
            rows[n, v, t] = len(prompts)
            videos.append(video)
            prompts.append(self.prompter.tokens(triplet.texts[t], answer, video))
        ids, mask, positions = self._tokens(prompts, videos)
        kept = sorted({read for prompt in prompts for read in prompt.reads})
        reads = torch.tensor([prompt.reads[0] for prompt in prompts])
        slots = torch.searchsorted(torch.tensor(kept), reads) if self.logits_to_keep else reads
        labels = StockLabels(
            supervision,
            rows,
            positions=torch.where(wanted, reads[rows], NONE),
            slots=torch.where(wanted, slots[rows], NONE),
            batch=len(prompts),
            length=ids.shape[1],
            kept=len(kept) if self.logits_to_keep else ids.shape[1],
            consistency=self.consistency,
            yes=self.prompter.answer_ids[0],
            no=self.prompter.answer_ids[1],
            end=self.prompter.end_id if self.appended else NONE,
        )
        return {
            "labels": labels.encode(),
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": positions,
            **self._pixel_inputs(videos, triplets),
            "use_cache": False,
            **({"logits_to_keep": torch.tensor(kept)} if self.logits_to_keep else {}),
        }

    def _tokens(
        self, prompts: Sequence[PromptTokens], videos: Sequence[PreparedVideo]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Ids and mask [R, S] and positions [..., R, S], padded on the right with 0, which nothing sees."""
        length = max(len(prompt.ids) for prompt in prompts)
        ids, masks, positions = [], [], []
        for prompt, video in zip(prompts, videos, strict=True):
            own, room = torch.from_numpy(prompt.ids), (0, length - len(prompt.ids))
            ids.append(pad(own, room))
            masks.append(pad(torch.from_numpy(~prompt.hidden).long(), room))
            positions.append(pad(self.family.positions(own, video), room))
        return torch.stack(ids), torch.stack(masks), torch.stack(positions, dim=-2)

    def _pixels(self, video: PreparedVideo | EncodedVideo | None, triplet: TrainingTriplet) -> PreparedVideo:
        prepared = video.prepared if isinstance(video, EncodedVideo) else video
        assert prepared is not None, "Supervision.needed asks only for videos that are there"
        if set(prepared.inputs) <= set(self.family.cache_inputs):
            raise SynvitaError(
                "a stock model needs the pixels of a video, not its features",
                row=triplet.row_id,
                found=f"inputs {sorted(prepared.inputs)}",
                fix="Train without a feature cache, or with SynViTATrainer, which uses one",
            )
        return prepared

    def _pixel_inputs(
        self, videos: Sequence[PreparedVideo], triplets: Sequence[TrainingTriplet]
    ) -> dict[str, Tensor]:
        dtype = self.family.model.dtype
        inputs = {}
        for name in videos[0].inputs:
            parts = [video.inputs[name] for video in videos]
            if len({part.shape[1:] for part in parts}) > 1:
                raise SynvitaError(
                    "the videos of a batch do not stack",
                    row=", ".join(triplet.row_id for triplet in triplets),
                    found=f"{name} of shapes {sorted({tuple(part.shape) for part in parts})}",
                    expected="equally many frames of one size",
                    fix="Decode a fixed number of frames, or train one triplet a batch",
                )
            value = torch.cat(parts)
            inputs[name] = value.to(dtype) if value.is_floating_point() else value
        return inputs


def _wanted(supervision: Supervision, consistency: bool) -> Tensor:
    """The pairs that get a row, bool [N, 2, 4]: those needed; or, where a batch needs none, one whose score is
    multiplied by 0, because every process must run a forward and a backward pass."""
    wanted = supervision.needed(consistency=consistency)
    if not wanted.any() and supervision.present.any():
        n, v = supervision.present.nonzero()[0].tolist()
        wanted[n, v, 0] = True
    if not wanted.any():
        raise SynvitaError(
            "no triplet of this batch has a video",
            expected="TrainingTriplets with a real video, a synthetic one, or both",
        )
    return wanted


def _check(triplets: Sequence[Any]) -> None:
    for triplet in triplets:
        if not isinstance(triplet, TrainingTriplet):
            raise SynvitaError(
                "the items of the data set are not triplets with their videos",
                found=f"{type(triplet).__name__}"
                + (f" with {sorted(triplet) or 'no columns'}" if isinstance(triplet, dict) else ""),
                expected="TrainingTriplet",
                fix="Wrap the rows in TripletData, and train with remove_unused_columns=False",
            )
        if triplet.explanation is not None:
            raise SynvitaError(
                "a stock Trainer does not train explanations",
                row=triplet.row_id,
                found=triplet.explanation,
                fix="Leave them out with TripletData(…, nle_share=0), or use SynViTATrainer",
            )
