"""`SynViTAConfig`: everything about a fine-tune but the model and the data, on top of `TrainingArguments`.

Changed defaults of `TrainingArguments`: `remove_unused_columns=False` (our batches are not columns), `num_train_epochs=1`
and `lr_scheduler_type="cosine"` (the paper's), `logging_steps=10`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from transformers import TrainingArguments

from synvita_data.captions.prompts import PLACEHOLDER_SPACES, PROMPTS
from synvita_data.errors import SynvitaError, choose
from synvita_data.models import STRATEGIES, Family
from synvita_data.models.alignment import ATTENTION
from synvita_data.schema import MISALIGNMENTS
from synvita_data.video.preprocessing import PREPROCESSES
from synvita_data.weights import WEIGHTINGS

from .data.only import check_only
from .data.selection import GRANULARITIES, MASKED_TEXT, check_misalignments, check_share
from .objective import ANSWER_LOSSES, NORMALISATIONS, Objective
from .recipe import option

TUNED = ("lora", "language-model", "all")
TRAINING_WAYS = tuple(way for way in STRATEGIES if way != "cached")  # a cache has no gradients to give


@dataclass
class SynViTAConfig(TrainingArguments):
    """Arguments of `SynViTATrainer`; the paper's values are in the help of each field.

    Raises:
        SynvitaError: a value out of range, an unknown name, or arguments that the trainer cannot honour.

    Example:
        >>> config = SynViTAConfig(output_dir="out", scr_weight=0.01)  # doctest: +SKIP
    """

    # Objective
    margin: float = option(0.2, "γ of Eq. 6. Paper: 0.2.")
    scr_weight: float = option(
        1.0,
        "λ of L_scr in Eq. 7; 0 leaves it out. Paper: 1.0 (Video-LLaVA), 0.01 (mPLUG-Owl); its released "
        "code: 1.0.",
    )
    weighting: str | None = option(
        None,
        "ω of the synthetic video, computed from the dataset's VQAScores; by default its column `weight`. "
        "Paper: product (Video-LLaVA), difference (mPLUG-Owl, Eq. 4); its released code: difference.",
        WEIGHTINGS,
    )
    normalisation: str = option(
        "paper",
        "What each term is divided by: `paper`, the triplets of an optimizer step; `released`, supervised tokens and "
        "half-triplets, as the paper's released code does (λ then weighs about 4 times as much). Paper: sums.",
        NORMALISATIONS,
    )
    answer_loss: str = option(
        "two-way",
        "Loss of Yes and No: two-way (between the two, the f of Eq. 2), token (among the whole vocabulary), "
        "token-and-end (and the token that ends the answer). Paper: two-way; its released code: token-and-end.",
        ANSWER_LOSSES,
    )
    granularity: str | None = option(
        None,
        "Longest common subsequence of two captions by word, token, or as the released code does; by default the "
        "dataset's column `shared` (word). Paper: token.",
        GRANULARITIES,
    )
    masked_text: str = option(
        "hide",
        "How a masked text shows only what both captions share: hide the rest from attention, or remove it. Paper: hide.",
        MASKED_TEXT,
    )
    nle_share: float = option(
        1.0, "Share of the rows with an explanation on which it is trained too. Paper, as VideoCon: 1.0."
    )
    nle_weight: float = option(
        1.0, "Weight of the explanations' loss; 0 leaves them out. Paper, as VideoCon: 1.0."
    )
    use_synthetic: bool = option(
        True, "Train on synthetic videos; without them this is VideoCon. Paper: true."
    )
    misalignments: list[str] | None = option(  # noqa: RUF009
        None,
        f"Kinds of contrast to train on, a list of {', '.join(MISALIGNMENTS)}; rows of other kinds are left "
        "out. Default: all rows. Paper: all; one alone in Table 2.",
    )
    only: dict[str, Any] | str | None = option(  # noqa: RUF009
        None,
        "Which rows to train on: a mapping of columns (source, video_id, pair_id, generator, misalignment, hard) to one "
        "or a list of values, and of weight to {min: …, max: …}; a row must fit all. Default: all rows. Paper: all.",
    )
    max_unreadable: float = option(
        0.05, "Share of the videos that may turn out unreadable before training stops. Paper: none."
    )

    # Model
    prompt: str | None = option(
        None,
        "Wording of the question; by default the model family's. Paper: the released code's `video-llava-train` and "
        "`mplug-owl`.",
        PROMPTS,
    )
    placeholder_space: str = option(
        "processor",
        "What stands around <video> in the prompt: tokenised as transformers' processor does, or part by part as the "
        "original code of Video-LLaVA (`▁` before the line break). Paper: original.",
        PLACEHOLDER_SPACES,
    )
    preprocess: str = option(
        "processor",
        "How frames become pixels: as transformers' processor does, or as LanguageBind's video transform (Video-LLaVA: "
        "bilinear without antialias), without its random mirroring. Paper: languagebind (Video-LLaVA).",
        PREPROCESSES,
    )
    frames: int | None = option(
        None, "Frames a video; by default the model family's. Paper: 8 (Video-LLaVA), 32 (mPLUG-Owl)."
    )
    attention: str = option(
        "split",
        "Attention of the language model; split is the fastest, to the same results. Paper: flash or sdpa.",
        ATTENTION,
    )
    way: str = option(
        "packed",
        "packed: one sequence a video with its texts as branches; plain: one sequence a pair, 3.8 times the work for "
        "the same numbers where no dropout acts (packed texts share one draw for their prefix). Paper: plain.",
        TRAINING_WAYS,
    )
    tune: str = option(
        "lora",
        "What is trained: adapters of the language model, the language model and its head, or all. Paper: lora.",
        TUNED,
    )
    lora_r: int = option(32, "Rank of the adapters. Paper: 32.")
    lora_alpha: int = option(32, "Scale of the adapters, times r. Paper: 32.")
    lora_dropout: float = option(0.05, "Dropout before the adapters. Paper: 0.05.")
    lora_targets: str | None = option(
        None,
        "Regular expression of the adapted modules' names; by default the model family's: q, k, v, o, gate, "
        "up and down projections of the language model. Paper: those of attention; its released code: all seven.",
    )
    frozen_dropout: bool = option(
        False,
        "Keep the dropout of frozen parts behind the vision tower in training (mPLUG-Owl's abstractor: 0.1), "
        "as the released code does; otherwise a frozen part is in evaluation mode. Paper: not said.",
    )
    feature_cache: str | None = option(
        None,
        "Folder to keep the frozen vision tower's features in, so that later epochs neither decode nor "
        "encode. Paper: none.",
    )

    # Of TrainingArguments, with other defaults
    remove_unused_columns: bool = option(False, "Must stay false: a batch holds triplets, not columns.")
    num_train_epochs: float = option(1.0, "Passes over the data. Paper: 1.")
    lr_scheduler_type: str = option("cosine", "Schedule. Paper: cosine (Video-LLaVA).")
    learning_rate: float = option(5e-5, "Peak learning rate. Paper: 5e-5 (Video-LLaVA), 1e-4 (mPLUG-Owl).")
    logging_steps: float = option(10, "Optimizer steps between two lines of logs.")

    def __post_init__(self) -> None:
        self._check()
        self._check_report_to()
        # `TrainingArguments` puts "loss" where none is given; `choose_measure` knows which measures there will be.
        self.metric_is_given = self.metric_for_best_model is not None
        self.better_is_given = self.greater_is_better is not None
        for old in ("gradient_checkpointing", "gradient_checkpointing_kwargs"):
            new = old.replace("gradient", "activation")  # its name from transformers 5.23 on
            if getattr(self, new, False) is None:
                setattr(self, new, getattr(self, old))
                setattr(self, old, None)
        super().__post_init__()
        if self.fp16 and self.device.type == "cpu":
            raise SynvitaError(
                "a CPU does not train in fp16: it would be ignored",
                found="fp16=True on a CPU",
                fix="Set bf16=True, or leave fp16 out",
            )
        if self.fsdp and self.world_size == 1:
            raise SynvitaError(
                "fsdp shards a model over processes, but there is only one",
                found="fsdp in a run of one process",
                expected="several processes",
                fix="Start with `accelerate launch --num_processes N` or torchrun, or leave fsdp out",
            )

    def objective(self) -> Objective:
        """What is trained, for trainer and evaluation alike."""
        return Objective(
            margin=self.margin,
            scr_weight=self.scr_weight,
            nle_weight=self.nle_weight if self.nle_share else 0.0,
            answer_loss=self.answer_loss,
            normalisation=self.normalisation,
        )

    @property
    def consistency(self) -> bool:
        """Whether L_scr is taken, and masked texts are scored for it."""
        return self.scr_weight > 0

    @property
    def explains(self) -> bool:
        """Whether explanations are trained on."""
        return self.nle_weight > 0 and self.nle_share > 0

    def model_arguments(self) -> dict[str, Any]:
        """Arguments of `AlignmentModel` beside model and processor."""
        return {
            "prompt": self.prompt,
            "attention": self.attention,
            "placeholder_space": self.placeholder_space,
            "preprocess": self.preprocess,
        }

    def data_arguments(self, family: Family) -> dict[str, Any]:
        """Arguments of `TripletData` that say what of a dataset is trained: `TripletData(rows, model, **these)`."""
        frames = None
        if self.frames is not None:
            frames = family.default_frames().changed(count=self.frames)
        return {
            "weighting": self.weighting,
            "granularity": self.granularity,
            "masked_text": self.masked_text,
            "use_synthetic": self.use_synthetic,
            "use_scr": self.consistency,
            "nle_share": self.nle_share if self.explains else 0.0,
            "seed": self.seed if self.data_seed is None else self.data_seed,
            "misalignments": check_misalignments(self.misalignments),
            "only": check_only(self.only),
            "frames": frames,
            "max_unreadable": self.max_unreadable,
        }

    def _check(self) -> None:
        """Values out of range; also numbers of `TrainingArguments`, which takes them all and fails, or trains nothing,
        much later, and settings of it that would be ignored silently, or break what the trainer promises."""
        for own in fields(self):
            choices, value = own.metadata.get("choices"), getattr(self, own.name)
            if choices and not (value is None and own.default is None):
                choose(value, choices, own.name)
        self.objective()
        check_share("nle_share", self.nle_share)
        check_share("max_unreadable", self.max_unreadable)
        check_misalignments(self.misalignments)
        check_only(self.only)
        for name, (right, expected) in _RANGES.items():
            if not right(getattr(self, name)):
                raise SynvitaError(
                    f"{name} is out of range", found=repr(getattr(self, name)), expected=expected
                )
        if not (_whole(self.max_steps, 1) or (_number(self.num_train_epochs) and self.num_train_epochs > 0)):
            raise SynvitaError(
                "num_train_epochs is out of range",
                found=repr(self.num_train_epochs),
                expected="a number above 0, or max_steps above 0 instead",
            )
        for name, (right, expected) in _REQUIRED.items():
            if not right(getattr(self, name)):
                raise SynvitaError(
                    f"{name} cannot be used here", found=repr(getattr(self, name)), expected=expected
                )
        if self.feature_cache and self.tune == "all":
            raise SynvitaError(
                "features of a vision tower that is trained cannot be kept",
                found="tune='all' with feature_cache",
                fix="Leave feature_cache out, or train less",
            )

    def _check_report_to(self) -> None:
        """Loggers that are not installed; the Trainer would say so only after the model was loaded."""
        named = [self.report_to] if isinstance(self.report_to, str) else list(self.report_to or ())
        if not set(named) - {"none", "all"}:
            return
        from transformers.integrations.integration_utils import (
            INTEGRATION_TO_CALLBACK,
            get_available_reporting_integrations,
        )

        installed = get_available_reporting_integrations()
        for name in named:
            # It does not look for flyte, whose callback says itself what is missing.
            if name in ("none", "all", "flyte", *installed):
                continue
            choose(name, INTEGRATION_TO_CALLBACK, "report_to", fix="Set report_to=none")
            raise SynvitaError(
                "report_to names a logger that is not installed",
                found=repr(name),
                expected=f"none, or what is installed: {', '.join(installed) or 'no other is installed'}",
                fix=f"Install {name}, or set report_to=none",
            )


def _whole(value: Any, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and 0.0 <= value < math.inf


_Check = tuple[Callable[[Any], bool], str]  # of a value, and what it should be
_FROM_1: _Check = (lambda value: _whole(value, 1), "a whole number from 1")
_FROM_0: _Check = (_number, "a number from 0")
_SEED = f"a whole number from 0 to {2**32 - 1}"  # what NumPy's generator takes
_RANGES: dict[str, _Check] = {
    "nle_weight": _FROM_0,  # also where `objective` leaves it out
    "lora_r": _FROM_1,
    "lora_alpha": _FROM_1,
    "lora_dropout": (lambda value: _number(value) and value <= 0.99, "a number from 0 to 0.99"),
    "frames": (lambda value: value is None or _whole(value, 1), "a whole number from 1"),
    "per_device_train_batch_size": _FROM_1,
    "per_device_eval_batch_size": _FROM_1,
    "gradient_accumulation_steps": _FROM_1,
    "seed": (lambda value: _whole(value, 0) and value < 2**32, _SEED),
    "data_seed": (lambda value: value is None or (_whole(value, 0) and value < 2**32), _SEED),
    # Of 0 transformers makes whole epochs.
    "max_steps": (
        lambda value: value == -1 or _whole(value, 1),
        "a whole number from 1, or -1 for num_train_epochs",
    ),
    "learning_rate": _FROM_0,
    "weight_decay": _FROM_0,
}
# Settings of `TrainingArguments` that have one value here, and why.
_REQUIRED: dict[str, _Check] = {
    "remove_unused_columns": (lambda value: not value, "False: a batch holds triplets, not columns"),
    "label_smoothing_factor": (lambda value: value == 0, "0: there are no labels to smooth"),
    "neftune_noise_alpha": (lambda value: value is None, "None: noise would move the scores"),
    "use_liger_kernel": (lambda value: not value, "False: packed branches need their own attention"),
    "auto_find_batch_size": (lambda value: not value, "False: it would change the triplets of a step"),
    "train_sampling_strategy": (
        lambda value: value in ("random", "sequential"),
        "random or sequential",
    ),
    "push_to_hub": (
        lambda value: not value,
        "False: push_model, or push_to of a recipe, sends a card along",
    ),
    "parallelism_config": (lambda value: value is None, "None: only data parallelism is exact"),
}
