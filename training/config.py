"""`SynViTAConfig`: everything about a fine-tune but the model and the data, on top of `TrainingArguments`.

Changed defaults of `TrainingArguments`: `remove_unused_columns=False` (our batches are no columns), `num_train_epochs=1`
and `lr_scheduler_type="cosine"` (the paper's), `logging_steps=10`.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import TrainingArguments

from synvita_data.captions.placeholders import PLACEHOLDER_SPACES
from synvita_data.captions.prompts import PROMPTS
from synvita_data.errors import SynvitaError
from synvita_data.models import STRATEGIES, Family
from synvita_data.models.alignment import ATTENTION
from synvita_data.schema import MISALIGNMENTS
from synvita_data.weights import WEIGHTINGS

from .masks import MASKED_TEXT
from .objective import ANSWER_LOSSES, NORMALISATIONS
from .plan import DataOptions, checked_misalignments

# As in `lcs.GRANULARITIES`, which needs rapidfuzz to import.
GRANULARITIES = ("word", "token", "released")
TUNED = ("lora", "language-model", "all")
TRAINING_WAYS = tuple(way for way in STRATEGIES if way != "cached")  # a cache has no gradients to give


def _choice(default: str | None, choices: Any, text: str) -> Any:
    """A field that takes one of a few names; `HfArgumentParser` passes `choices` on to argparse."""
    return field(default=default, metadata={"help": text, "choices": tuple(choices)})


@dataclass
class SynViTAConfig(TrainingArguments):
    """Arguments of `SynViTATrainer`; the paper's values are in the help of each field.

    Raises:
        SynvitaError: a value out of range, an unknown name, or arguments that the trainer cannot honour.

    Example:
        >>> config = SynViTAConfig(output_dir="out", scr_weight=0.01)  # doctest: +SKIP
    """

    # Objective
    margin: float = field(default=0.2, metadata={"help": "γ of Eq. 6. Paper: 0.2."})
    scr_weight: float = field(
        default=1.0,
        metadata={
            "help": "λ of L_scr in Eq. 7; 0 leaves it out. Paper: 1.0 (Video-LLaVA), 0.01 (mPLUG-Owl); its released "
            "code: 1.0."
        },
    )
    weighting: str | None = _choice(
        None,
        WEIGHTINGS,
        "ω of the synthetic video, computed from the dataset's VQAScores; by default its column `weight`. "
        "Paper: product (Video-LLaVA), difference (mPLUG-Owl, Eq. 4); its released code: difference.",
    )
    normalisation: str = _choice(
        "paper",
        NORMALISATIONS,
        "What each term is divided by: `paper`, the triplets of an optimizer step; `released`, supervised tokens and "
        "half-triplets, as the paper's released code does (λ then weighs about 4 times as much). Paper: sums.",
    )
    answer_loss: str = _choice(
        "two-way",
        ANSWER_LOSSES,
        "Loss of Yes and No: two-way (between the two, the f of Eq. 2), token (among the whole vocabulary), "
        "token-and-end (and the token that ends the answer). Paper: two-way; its released code: token-and-end.",
    )
    granularity: str | None = _choice(
        None,
        GRANULARITIES,
        "Longest common subsequence of two captions by word, token, or as the released code does; by default the "
        "dataset's column `shared` (word). Paper: token.",
    )
    masked_text: str = _choice(
        "hide",
        MASKED_TEXT,
        "How a masked text shows only what both captions share: hide the rest from attention, or remove it. Paper: hide.",
    )
    nle_share: float = field(
        default=1.0,
        metadata={
            "help": "Share of the rows with an explanation on which it is trained too. Paper, as VideoCon: 1.0."
        },
    )
    nle_weight: float = field(
        default=1.0,
        metadata={"help": "Weight of the explanations' loss; 0 leaves them out. Paper, as VideoCon: 1.0."},
    )
    use_synthetic: bool = field(
        default=True,
        metadata={"help": "Train on synthetic videos; without them this is VideoCon. Paper: true."},
    )
    misalignments: list[str] | None = field(
        default=None,
        metadata={
            "help": f"Kinds of contrast to train on, a list of {', '.join(MISALIGNMENTS)}; rows of other kinds are left "
            "out. Default: all rows. Paper: all; one alone in Table 2."
        },
    )
    max_unreadable: float = field(
        default=0.05,
        metadata={
            "help": "Share of the videos that may turn out unreadable before training stops. Paper: none."
        },
    )

    # Model
    prompt: str | None = _choice(
        None,
        PROMPTS,
        "Wording of the question; by default the model family's. Paper: the released code's `video-llava-train` and "
        "`mplug-owl`.",
    )
    placeholder_space: str = _choice(
        "processor",
        PLACEHOLDER_SPACES,
        "What stands around <video> in the prompt: tokenised as transformers' processor does, or part by part as the "
        "original code of Video-LLaVA (`▁` before the line break). Paper: original.",
    )
    frames: int | None = field(
        default=None,
        metadata={
            "help": "Frames a video; by default the model family's. Paper: 8 (Video-LLaVA), 32 (mPLUG-Owl)."
        },
    )
    attention: str = _choice(
        "split",
        ATTENTION,
        "Attention of the language model; split is the fastest, to the same results. Paper: flash or sdpa.",
    )
    way: str = _choice(
        "packed",
        TRAINING_WAYS,
        "packed: one sequence a video with its texts as branches; plain: one sequence a pair, 3.8 times the work for "
        "the same numbers where no dropout acts (packed texts share one draw for their prefix). Paper: plain.",
    )
    tune: str = _choice(
        "lora",
        TUNED,
        "What is trained: adapters of the language model, the language model and its head, or all. Paper: lora.",
    )
    lora_r: int = field(default=32, metadata={"help": "Rank of the adapters. Paper: 32."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale of the adapters, times r. Paper: 32."})
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout before the adapters. Paper: 0.05."})
    lora_targets: str | None = field(
        default=None,
        metadata={
            "help": "Regular expression of the adapted modules' names; by default the model family's: q, k, v, o, gate, "
            "up and down projections of the language model. Paper: those of attention; its released code: all seven."
        },
    )
    frozen_dropout: bool = field(
        default=False,
        metadata={
            "help": "Keep the dropout of frozen parts behind the vision tower in training (mPLUG-Owl's abstractor: 0.1), "
            "as the released code does; otherwise a frozen part is in evaluation mode. Paper: not said."
        },
    )
    feature_cache: str | None = field(
        default=None,
        metadata={
            "help": "Folder to keep the frozen vision tower's features in, so that later epochs neither decode nor "
            "encode. Paper: none."
        },
    )

    # Of TrainingArguments, with other defaults
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Must stay false: a batch holds triplets, not columns."}
    )
    num_train_epochs: float = field(default=1.0, metadata={"help": "Passes over the data. Paper: 1."})
    lr_scheduler_type: str = field(
        default="cosine", metadata={"help": "Schedule. Paper: cosine (Video-LLaVA)."}
    )
    learning_rate: float = field(
        default=5e-5, metadata={"help": "Peak learning rate. Paper: 5e-5 (Video-LLaVA), 1e-4 (mPLUG-Owl)."}
    )
    logging_steps: float = field(default=10, metadata={"help": "Optimizer steps between two lines of logs."})

    def __post_init__(self) -> None:
        self._check_own()
        self._check_inherited()
        self._check_numbers()
        self._check_report_to()
        # `TrainingArguments` puts "loss" where nothing is said; `trainer_checks` knows better what there will be.
        self.metric_is_given = self.metric_for_best_model is not None
        self.better_is_given = self.greater_is_better is not None
        for old in ("gradient_checkpointing", "gradient_checkpointing_kwargs"):
            new = old.replace("gradient", "activation")  # its name from transformers 5.23 on
            if getattr(self, new, False) is None:
                setattr(self, new, getattr(self, old))
                setattr(self, old, None)
        super().__post_init__()
        if self.fsdp and self.world_size == 1:
            raise SynvitaError(
                "fsdp shards a model over processes, and there is one",
                found="fsdp in a run of one process",
                expected="several processes",
                fix="Start with `accelerate launch --num_processes N` or torchrun, or leave fsdp out",
            )

    @property
    def consistency(self) -> bool:
        """Whether L_scr is taken, and masked texts are scored for it."""
        return self.scr_weight > 0

    @property
    def explains(self) -> bool:
        """Whether explanations are trained on."""
        return self.nle_weight > 0 and self.nle_share > 0

    def data_options(self, family: Family) -> DataOptions:
        """What of a dataset these arguments train, for `TripletData`."""
        frames = None
        if self.frames is not None:
            own = family.default_frames()
            rule = own.rule if own.fps is None else "linspace"  # a count takes the place of a frame rate
            frames = replace(own, fps=None, rule=rule, count=self.frames)
        return DataOptions(
            weighting=self.weighting,
            granularity=self.granularity,
            masked_text=self.masked_text,
            use_synthetic=self.use_synthetic,
            use_scr=self.consistency,
            nle_share=self.nle_share if self.explains else 0.0,
            seed=self.seed if self.data_seed is None else self.data_seed,
            frames=frames,
            max_unreadable=self.max_unreadable,
            misalignments=checked_misalignments(self.misalignments),
        )

    def _check_own(self) -> None:
        for name, own in type(self).__dataclass_fields__.items():
            choices, value = own.metadata.get("choices"), getattr(self, name)
            if choices and not (value in choices or (value is None and own.default is None)):
                raise SynvitaError(
                    f"no such {name}", found=repr(value), expected=f"one of {', '.join(choices)}"
                )
        for name, low, high in (
            ("margin", 0.0, 1.0),  # f is in [0, 1]
            ("scr_weight", 0.0, math.inf),
            ("nle_share", 0.0, 1.0),
            ("nle_weight", 0.0, math.inf),
            ("max_unreadable", 0.0, 1.0),
            ("lora_dropout", 0.0, 0.99),
        ):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not low <= value <= high or math.isinf(value):
                raise SynvitaError(
                    f"{name} is out of range",
                    found=repr(value),
                    expected=f"a number from {low:g}" + ("" if math.isinf(high) else f" to {high:g}"),
                )
        checked_misalignments(self.misalignments)
        for name in ("lora_r", "lora_alpha", "frames"):
            value = getattr(self, name)
            if not (value is None and name == "frames") and (not isinstance(value, int) or value < 1):
                raise SynvitaError(
                    f"{name} is out of range", found=repr(value), expected="a whole number from 1"
                )
        if self.feature_cache and self.tune == "all":
            raise SynvitaError(
                "features of a vision tower that is trained cannot be kept",
                found="tune='all' with feature_cache",
                fix="Leave feature_cache out, or train less",
            )

    def _check_numbers(self) -> None:
        """Numbers of `TrainingArguments`, which takes them all and fails, or trains nothing, much later."""

        def refuse(name: str, expected: str) -> None:
            raise SynvitaError(f"{name} is out of range", found=repr(getattr(self, name)), expected=expected)

        for name in (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
        ):
            if not _whole(getattr(self, name)) or getattr(self, name) < 1:
                refuse(name, "a whole number from 1")
        for name in ("seed", "data_seed"):
            value = getattr(self, name)
            if value is None and name == "data_seed":
                continue
            if not _whole(value) or not 0 <= value < 2**32:  # what NumPy's generator takes
                refuse(name, f"a whole number from 0 to {2**32 - 1}")
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0.0 <= value < math.inf:
                refuse(name, "a number from 0")
        epochs, steps = self.num_train_epochs, self.max_steps
        if not (_whole(steps) and steps > 0) and not (
            isinstance(epochs, int | float) and 0.0 < epochs < math.inf
        ):
            refuse("num_train_epochs", "a number above 0, or max_steps above 0 instead")

    def _check_report_to(self) -> None:
        """Loggers that are not installed; the Trainer would say so behind the loading of the model."""
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
            known = name in INTEGRATION_TO_CALLBACK
            others = ", ".join(installed) or "no other is installed"
            raise SynvitaError(
                "report_to names a logger that is not installed" if known else "no such report_to",
                found=repr(name),
                expected=f"none, or what is installed: {others}"
                if known
                else f"none, or one of {', '.join(INTEGRATION_TO_CALLBACK)}",
                fix=f"Install {name}, or set report_to=none" if known else "Set report_to=none",
            )

    def _check_inherited(self) -> None:
        """Settings of `TrainingArguments` that would be ignored in silence, or break what the trainer promises."""
        refused = {
            "remove_unused_columns": (
                bool(self.remove_unused_columns),
                "False: a batch holds triplets, not columns",
            ),
            "label_smoothing_factor": (self.label_smoothing_factor != 0, "0: there are no labels to smooth"),
            "neftune_noise_alpha": (
                self.neftune_noise_alpha is not None,
                "None: noise would move the scores",
            ),
            "use_liger_kernel": (
                bool(self.use_liger_kernel),
                "False: packed branches need their own attention",
            ),
            "auto_find_batch_size": (
                bool(self.auto_find_batch_size),
                "False: it would change the triplets of a step",
            ),
            "train_sampling_strategy": (
                self.train_sampling_strategy not in ("random", "sequential"),
                "random or sequential",
            ),
            "push_to_hub": (
                bool(self.push_to_hub),
                "False: push_model, or push_to of a recipe, sends a card along",
            ),
            "parallelism_config": (
                self.parallelism_config is not None,
                "None: only data parallelism is exact",
            ),
        }
        for name, (wrong, expected) in refused.items():
            if wrong:
                raise SynvitaError(
                    f"{name} cannot be used here", found=repr(getattr(self, name)), expected=expected
                )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
