"""Which row of a dataset trains what: options, weights, masks, L_real and NLE once a pair, all of it counted."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from synvita_data.captions.text import Text
from synvita_data.errors import SchemaError, SynvitaError
from synvita_data.schema import MISALIGNMENTS
from synvita_data.video import FramePolicy

from .masks import MASKED_TEXT, masked_text, shared_of_all
from .row_weights import weights_of
from .rows import read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """What of a dataset is trained, and how; docs/training-data.md says what the paper used.

    Attributes:
        weighting: None for the dataset's column `weight`; a name in `weights.WEIGHTINGS` to weigh anew.
        granularity: None for the dataset's column `shared`; `word`, `token` or `released` to find the masks anew,
            the last two with the model's tokenizer.
        masked_text: `hide` (attention does not see what is not shared) or `remove` (only shared words are text).
        use_synthetic: False for VideoCon's baseline; synthetic videos, weights and scores are not looked at.
        use_scr: False where L_scr is not trained: no masks are needed, the masked texts hide nothing.
        nle_share: share in [0, 1] of the pairs with an explanation that train it.
        seed: of that choice, which depends on nothing else but the pair's id.
        frames: which frames; None for the model family's own.
        max_unreadable: share of the videos that may turn out unreadable during training; more (and more than 8)
            is an error, for then something else is wrong than a few files.
        misalignments: kinds of contrast that are trained, of `schema.MISALIGNMENTS`; rows of other kinds, and of an
            unknown one, are left out and counted. None for all rows.

    Raises:
        SynvitaError: a share outside [0, 1], no such way to mask, no such misalignment.
    """

    weighting: str | None = None
    granularity: str | None = None
    masked_text: str = "hide"
    use_synthetic: bool = True
    use_scr: bool = True
    nle_share: float = 1.0
    seed: int = 0
    frames: FramePolicy | None = None
    max_unreadable: float = 0.05
    misalignments: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "misalignments", checked_misalignments(self.misalignments))
        for name in ("nle_share", "max_unreadable"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SynvitaError(f"{name} is no share", found=getattr(self, name), expected="0 to 1")
        if self.masked_text not in MASKED_TEXT:
            raise SynvitaError(
                "no such way to mask a text", found=self.masked_text, expected=" or ".join(MASKED_TEXT)
            )


@dataclass(frozen=True, slots=True)
class PlannedTriplet:
    """What one row trains; `TrainingTriplet` without its videos.

    Attributes:
        number: of the row in the dataset.
        real, synthetic: whether the video is trained on.
        start, end: seconds of the real video's file, None for all of it.
        zero_weight: there is a synthetic video, left out because its weight is 0.
    """

    number: int
    row_id: str
    pair_id: str
    texts: tuple[Text, Text, Text, Text]
    weight: float
    takes_real: bool
    explanation: str | None
    real: bool
    synthetic: bool
    start: float | None
    end: float | None
    zero_weight: bool = False


class TrainingRows:
    """The checked rows of a dataset with their weights and texts; `plan` says what they train.

    Args:
        rows: a `datasets.Dataset` with the published columns, or a sequence of such rows.
        tokenizer: the model's, for granularities that need one.
        name: of the dataset, for messages.

    Raises:
        SynvitaError: whatever is wrong with columns, weights, scores or spans; the message names the row.
    """

    def __init__(self, rows: Any, options: DataOptions, tokenizer: Any, name: str) -> None:
        self.options = options
        masks = options.use_scr and options.use_synthetic
        optional = []
        if options.nle_share:
            optional.append("nle")
        if options.use_synthetic:
            optional.append("synthetic_video")
            if options.weighting is None:
                optional.append("weight")
            elif options.weighting != "fixed":
                optional.append("vqascores")
        if masks and options.granularity is None:
            optional.append("shared")
        chosen = options.misalignments
        if chosen is not None:
            optional.append("misalignment")
        self.rows = read_rows(rows, optional=optional, name=name)
        self.total = len(self.rows)
        if chosen is not None:
            self.rows = [row for row in self.rows if row.misalignment in chosen]
        self.weights = (
            weights_of(self.rows, options.weighting, name)
            if options.use_synthetic
            else [0.0] * len(self.rows)
        )
        self.texts = [(Text(row.caption), Text(row.neg_caption)) for row in self.rows]
        if masks:
            shared = shared_of_all(self.rows, options.granularity, tokenizer, name)
            self.masked = [
                (
                    masked_text(row.caption, own.spans, options.masked_text, own.tokens),
                    masked_text(row.neg_caption, other.spans, options.masked_text, other.tokens),
                )
                for row, (own, other) in zip(self.rows, shared, strict=True)
            ]
        else:
            self.masked = self.texts
        self._name = name

    def plan(
        self,
        unreadable_real: Collection[int] = (),
        unreadable_synthetic: Collection[int] = (),
    ) -> tuple[list[PlannedTriplet], dict[str, int]]:
        """The rows that train something, and counts of all of them.

        Args:
            unreadable_real, unreadable_synthetic: numbers of rows whose video was found to be broken; they count
                as rows without it.

        Raises:
            SchemaError: no row trains anything.
        """
        options = self.options
        planned: list[PlannedTriplet] = []
        taken: set[str] = set()
        counts = dict.fromkeys(COUNTS, 0)
        counts["rows"] = self.total
        if options.misalignments is not None:
            counts["other_misalignment"] = self.total - len(self.rows)
        counts["set_aside_real"], counts["set_aside_synthetic"] = (
            len(unreadable_real),
            len(unreadable_synthetic),
        )
        for row, weight, texts, masked in zip(self.rows, self.weights, self.texts, self.masked, strict=True):
            has_real = row.has_real and row.number not in unreadable_real
            has_synthetic = row.has_synthetic and row.number not in unreadable_synthetic
            takes_real = has_real and row.pair_id not in taken
            synthetic = has_synthetic and weight > 0.0
            counts["without_real"] += not has_real
            counts["without_synthetic"] += options.use_synthetic and not has_synthetic
            counts["zero_weight"] += has_synthetic and weight == 0.0
            if not takes_real and not synthetic:
                counts["dropped"] += 1
                continue
            explanation = None
            if takes_real:
                taken.add(row.pair_id)
                counts["takes_real"] += 1
                if row.nle is not None and row.nle.strip():
                    counts["with_nle"] += 1
                    if _chosen(row.pair_id, options.seed, options.nle_share):
                        counts["nle_chosen"] += 1
                        explanation = row.nle.strip()
            counts["takes_synthetic"] += synthetic
            planned.append(
                PlannedTriplet(
                    row.number,
                    row.row_id,
                    row.pair_id,
                    (*texts, *masked),
                    weight if synthetic else 0.0,
                    takes_real,
                    explanation,
                    # The real video of a row whose pair has had its L_real serves L_scr alone.
                    takes_real or (has_real and options.use_scr),
                    synthetic,
                    row.start,
                    row.end,
                    has_synthetic and weight == 0.0,
                )
            )
        counts["triplets"] = len(planned)
        counts["videos"] = sum(triplet.real + triplet.synthetic for triplet in planned)
        counts["pairs"] = len({triplet.pair_id for triplet in planned})
        if not planned:
            raise SchemaError(
                "no row of the dataset trains anything",
                file=self._name,
                found=", ".join(f"{key} {value:,}" for key, value in counts.items() if value),
                expected="rows with a real video, or with a synthetic one of positive weight"
                + (
                    f", of misalignment {' or '.join(options.misalignments)}" if options.misalignments else ""
                ),
                fix="Name other misalignments, or leave the option out"
                if not self.rows
                else "Give real_root= to load_triplets, and build with --synthetic and --vqascores",
            )
        return planned, counts


def checked_misalignments(names: Collection[str] | None) -> tuple[str, ...] | None:
    """The kinds of contrast that are asked for, in the order of `schema.MISALIGNMENTS`; None for all rows.

    Raises:
        SynvitaError: none at all, or one that does not exist.
    """
    if names is None:
        return None
    asked = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in asked if name not in MISALIGNMENTS]
    if unknown or not asked:
        raise SynvitaError(
            "no such misalignment" if unknown else "no misalignment is named",
            found=f"misalignments {asked}",
            expected=f"a list of some of {', '.join(MISALIGNMENTS)}",
            fix=None if unknown else "Leave the option out to train all rows",
        )
    return tuple(name for name in MISALIGNMENTS if name in asked)


# What `TripletData.counts` holds; docs/training-data.md explains each. Where `misalignments` are named, also
# `other_misalignment`.
COUNTS = (
    "rows",
    "triplets",
    "pairs",
    "videos",
    "takes_real",
    "takes_synthetic",
    "without_real",
    "without_synthetic",
    "zero_weight",
    "with_nle",
    "nle_chosen",
    "dropped",
    "set_aside_real",
    "set_aside_synthetic",
)


def _chosen(pair_id: str, seed: int, share: float) -> bool:
    """Whether a pair is among the share: by the hash of its id and the seed, whatever other rows there are."""
    digest = hashlib.sha256(f"{seed} {pair_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
