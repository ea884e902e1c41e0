"""Which row of a dataset trains what: its weight, its masked texts, L_real and NLE once a pair, all of it counted."""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from synvita_data.captions import QuotedTokens, Span, Text, check_spans, hidden_spans
from synvita_data.captions.words import without_spaces
from synvita_data.errors import CaptionError, SchemaError, ScoreError, SynvitaError, choose, located
from synvita_data.schema import MISALIGNMENTS
from synvita_data.weights import WEIGHTINGS, ModelScore, weight

from .only import check_only, chosen_rows, columns_of, describe_only
from .rows import Row, is_number, read_rows

MASKED_TEXT = ("hide", "remove")
# As in `lcs.GRANULARITIES`, which needs rapidfuzz to import.
GRANULARITIES = ("word", "token", "released")
# What `TripletData.counts` holds; docs/training-data.md explains each. Where `misalignments` are named, also
# `other_misalignment`; where `only` is, `not_chosen`.
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
_SCORE_FIELDS = ("model", "neg_caption_score", "caption_score")


@dataclass(frozen=True, slots=True)
class SelectedRow:
    """What one row trains; a `TrainingTriplet` without its videos.

    Attributes:
        number: of the row in the dataset.
        row_id: `id` of the dataset.
        pair_id: `pair_id` of the dataset.
        texts: in the order of TEXTS.
        weight: ω of the synthetic video; 0 where it is not trained on.
        takes_real: whether this row takes L_real.
        explanation: the answer that is trained, None for none.
        real: whether the real video is trained on.
        synthetic: whether the synthetic video is trained on.
        start: second of the real video's file at which the clip begins, None for its beginning.
        end: second at which the clip ends, None for its end.
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


class RowSelection:
    """The checked rows of a dataset with their weights and texts; `select` says what they train.

    Args:
        rows: a `datasets.Dataset` with the published columns, or a sequence of such rows.
        tokenizer: the model's, for granularities that need one.
        name: of the dataset, for messages.
        weighting, granularity, masked_text, use_synthetic, use_scr, nle_share, seed, misalignments, only: as for
            `TripletData`.

    Raises:
        SynvitaError: an argument, a column, a weight, a score or a span is wrong; the message names the row.
    """

    def __init__(
        self,
        rows: Any,
        tokenizer: Any,
        name: str,
        *,
        weighting: str | None = None,
        granularity: str | None = None,
        masked_text: str = "hide",
        use_synthetic: bool = True,
        use_scr: bool = True,
        nle_share: float = 1.0,
        seed: int = 0,
        misalignments: Collection[str] | None = None,
        only: Mapping[str, Any] | str | None = None,
    ) -> None:
        choose(masked_text, MASKED_TEXT, "masked_text")
        check_share("nle_share", nle_share)
        self.use_synthetic, self.use_scr = use_synthetic, use_scr
        self.nle_share, self.seed, self.name = nle_share, seed, name
        self.misalignments = check_misalignments(misalignments)
        self.only = check_only(only)
        # Read only the columns that these arguments need.
        masked = use_scr and use_synthetic
        needed = {
            "nle": bool(nle_share),
            "synthetic_video": use_synthetic,
            "weight": use_synthetic and weighting is None,
            "vqascores": use_synthetic and weighting not in (None, "fixed"),
            "shared": masked and granularity is None,
            "misalignment": self.misalignments is not None,
        }
        columns = [column for column, wanted in needed.items() if wanted] + columns_of(self.only)
        read = read_rows(rows, optional=columns, name=name)
        self.total = len(read)
        of_kind = self.misalignments
        right_kind = read if of_kind is None else [row for row in read if row.misalignment in of_kind]
        self.rows = list(chosen_rows(right_kind, self.only))
        self._other_kind, self._not_chosen = len(read) - len(right_kind), len(right_kind) - len(self.rows)
        # A weight, two whole texts and two masked ones for each row.
        weights = weights_of(self.rows, weighting, name) if use_synthetic else [0.0] * len(self.rows)
        shown = [(Text(row.caption), Text(row.neg_caption)) for row in self.rows]
        hiding = shown
        if masked:
            shared = shared_of_all(self.rows, granularity, tokenizer, name)
            hiding = [
                (
                    mask_caption(row.caption, own.spans, masked_text, own.tokens),
                    mask_caption(row.neg_caption, other.spans, masked_text, other.tokens),
                )
                for row, (own, other) in zip(self.rows, shared, strict=True)
            ]
        self._read = list(zip(self.rows, weights, shown, hiding, strict=True))

    def select(
        self, unreadable_real: Collection[int] = (), unreadable_synthetic: Collection[int] = ()
    ) -> tuple[list[SelectedRow], dict[str, int]]:
        """The rows that train something, and counts of all of them.

        Args:
            unreadable_real: numbers of rows whose real video cannot be read; they count as rows without it.
            unreadable_synthetic: the same of synthetic videos.

        Raises:
            SchemaError: no row trains anything.
        """
        selected: list[SelectedRow] = []
        taken: set[str] = set()  # pairs that have had their L_real
        counts = dict.fromkeys(COUNTS, 0) | {"rows": self.total}
        if self.misalignments is not None:
            counts["other_misalignment"] = self._other_kind
        if self.only is not None:
            counts["not_chosen"] = self._not_chosen
        counts["set_aside_real"] = len(unreadable_real)
        counts["set_aside_synthetic"] = len(unreadable_synthetic)
        for row, omega, shown, hiding in self._read:
            has_real = row.has_real and row.number not in unreadable_real
            has_synthetic = row.has_synthetic and row.number not in unreadable_synthetic
            takes_real = has_real and row.pair_id not in taken
            synthetic = has_synthetic and omega > 0.0
            zero_weight = has_synthetic and omega == 0.0
            counts["without_real"] += not has_real
            counts["without_synthetic"] += self.use_synthetic and not has_synthetic
            counts["zero_weight"] += zero_weight
            if not takes_real and not synthetic:
                counts["dropped"] += 1
                continue
            explanation = None
            if takes_real:
                taken.add(row.pair_id)
                counts["takes_real"] += 1
                if row.nle is not None and row.nle.strip():
                    counts["with_nle"] += 1
                    if _in_share(row.pair_id, self.seed, self.nle_share):
                        counts["nle_chosen"] += 1
                        explanation = row.nle.strip()
            counts["takes_synthetic"] += synthetic
            # The real video of a row whose pair has had its L_real serves L_scr alone.
            real = takes_real or (has_real and self.use_scr)
            selected.append(
                SelectedRow(
                    number=row.number,
                    row_id=row.row_id,
                    pair_id=row.pair_id,
                    texts=(*shown, *hiding),
                    weight=omega if synthetic else 0.0,
                    takes_real=takes_real,
                    explanation=explanation,
                    real=real,
                    synthetic=synthetic,
                    start=row.start,
                    end=row.end,
                    zero_weight=zero_weight,
                )
            )
        counts["triplets"] = len(selected)
        counts["videos"] = sum(each.real + each.synthetic for each in selected)
        counts["pairs"] = len({each.pair_id for each in selected})
        if not selected:
            kinds = f", of misalignment {' or '.join(self.misalignments)}" if self.misalignments else ""
            kinds += f", of {describe_only(self.only)}" if self.only else ""
            raise SchemaError(
                "no row of the dataset trains anything",
                file=self.name,
                found=", ".join(f"{key} {value:,}" for key, value in counts.items() if value),
                expected="rows with a real video, or with a synthetic one of positive weight" + kinds,
                fix="Give real_root= to load_triplets, and build with --synthetic and --vqascores"
                if self.rows
                else "Name other rows (misalignments, only), or leave the option out",
            )
        return selected, counts


def check_share(name: str, value: float) -> None:
    """Raises `SynvitaError` for a value outside [0, 1], also for NaN and what is not a number."""
    if not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise SynvitaError(f"{name} is not a share", found=value, expected="0 to 1")


def check_misalignments(names: Collection[str] | None) -> tuple[str, ...] | None:
    """The kinds of contrast that are asked for, in the order of `schema.MISALIGNMENTS`; None for all rows.

    Raises:
        SynvitaError: none is named, or one that is unknown.
    """
    if names is None:
        return None
    asked = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in asked if name not in MISALIGNMENTS]
    if unknown or not asked:
        raise SynvitaError(
            "unknown misalignment" if unknown else "no misalignment is named",
            found=f"misalignments {asked}",
            expected=f"a list of some of {', '.join(MISALIGNMENTS)}",
            fix=None if unknown else "Leave the option out to train all rows",
        )
    return tuple(name for name in MISALIGNMENTS if name in asked)


def _in_share(pair_id: str, seed: int, share: float) -> bool:
    """Whether a pair is among the share: by the hash of its id and the seed, whatever other rows there are."""
    digest = hashlib.sha256(f"{seed} {pair_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


# Weights


def weights_of(rows: Sequence[Row], weighting: str | None, name: str) -> list[float]:
    """ω in [0, 1] of each row; 0 where there is no synthetic video.

    Args:
        rows: of the dataset.
        weighting: None for the column `weight`; a name in `WEIGHTINGS` to compute it from `vqascores`.
            `fixed` is 1 and needs no scores (Eq. 3).
        name: of the dataset, for messages.

    Raises:
        ScoreError: a row with a synthetic video has no weight (no scores), NaN, or one outside [0, 1], or scores
            of other models than the first such row.
        SynvitaError: unknown weighting.
    """
    if weighting is not None:
        choose(weighting, WEIGHTINGS, "weighting")
    weights: list[float] = []
    models: list[str] | None = None  # of the first row with scores: means over other models do not compare
    for row in rows:
        with located(name, row.number):
            if not row.has_synthetic:
                weights.append(0.0)
            elif weighting is None:
                weights.append(_published_weight(row))
            elif weighting == "fixed":
                weights.append(1.0)
            else:
                scores = _scores(row)
                weights.append(weight(scores, weighting, models=models))
                models = models or [score.model for score in scores]
    return weights


_NO_SCORES = "Build the dataset with --vqascores FILE, or train with weighting='fixed' or use_synthetic=False"


def _published_weight(row: Row) -> float:
    value = row.weight
    if value is None or (is_number(value) and math.isnan(value)):
        problem, fix = "a synthetic video has no weight", _NO_SCORES
    elif not is_number(value):
        problem, fix = "a weight is not a number", "Build the dataset again"
    elif not 0.0 <= value <= 1.0:
        problem, fix = "a weight is outside [0, 1]", "Build the dataset again"
    else:
        return float(value)
    raise ScoreError(problem, found=f"{value!r} of {row.row_id}", expected="a number in [0, 1]", fix=fix)


def _scores(row: Row) -> list[ModelScore]:
    if not row.vqascores:
        raise ScoreError(
            "a synthetic video has no VQAScores to weigh it by",
            found=f"vqascores {row.vqascores!r} of {row.row_id}",
            expected="one entry a VQA model",
            fix=_NO_SCORES,
        )
    scores = []
    for entry in row.vqascores:
        values = [entry.get(key) for key in _SCORE_FIELDS] if isinstance(entry, Mapping) else [None]
        if not isinstance(values[0], str) or not all(v is None or is_number(v) for v in values[1:]):
            raise ScoreError(
                "an entry of vqascores has another form",
                found=repr(entry),
                expected=f"an entry with {', '.join(_SCORE_FIELDS)}",
                fix="Build the dataset again",
            )
        scores.append(ModelScore(*values))
    return scores


# Masked texts


class Shared(NamedTuple):
    """What a caption shares with the other one of its row.

    Attributes:
        spans: half-open character spans.
        tokens: flags of the released code's mask; None but for `released`.
    """

    spans: list[Span]
    tokens: QuotedTokens | None = None


def mask_caption(caption: str, shared: Sequence[Span], mode: str, tokens: QuotedTokens | None = None) -> Text:
    """The masked text t′ of one caption.

    Args:
        caption: the whole caption.
        shared: half-open character spans that the other caption shares.
        mode: `hide` (the paper): the whole caption, attention does not see the rest. `remove`: a caption of
            the shared words alone, a space where something was left out (but not between two letters of a
            script without spaces); empty where nothing is shared.
        tokens: flags of the tokens of the quoted caption, which say what to hide where there are any.

    Raises:
        CaptionError: the spans do not fit the caption.

    Example:
        >>> mask_caption("a red cat, asleep", [(0, 1), (6, 10)], "hide").hidden
        ((2, 5), (11, 17))
        >>> mask_caption("a red cat, asleep", [(0, 1), (6, 9), (9, 10)], "remove").caption
        'a cat,'
    """
    if mode == "hide":
        return Text(caption, hidden_spans(caption, shared), tokens)
    check_spans(caption, shared)
    words, end_before = "", 0
    for start, end in shared:
        if words and start > end_before:
            spaced = caption[end_before:start].strip() != caption[end_before:start]
            joined = not spaced and without_spaces(words[-1]) and without_spaces(caption[start])
            words += "" if joined else " "
        words += caption[start:end]
        end_before = end
    return Text(words)


def shared_of_all(
    rows: Sequence[Row], granularity: str | None, tokenizer: Any, name: str
) -> list[tuple[Shared, Shared]]:
    """What the captions of each row share: as published, or computed, once a pair of captions.

    Args:
        rows: of the dataset.
        granularity: None for the dataset's own; one of GRANULARITIES.
        tokenizer: the model's, for `token` and `released`.
        name: of the dataset, for messages.

    Raises:
        SynvitaError: unknown granularity, or spans that are missing or do not fit.
    """
    if granularity is None:
        found = []
        for row in rows:
            with located(name, row.number):
                found.append((_published_spans(row, "caption"), _published_spans(row, "neg_caption")))
        return found
    from synvita_data.captions.lcs import released_masks, shared_spans

    choose(granularity, GRANULARITIES, "granularity")
    known: dict[tuple[str, str], tuple[Shared, Shared]] = {}
    for row in rows:
        pair = (row.caption, row.neg_caption)
        if pair in known:
            continue
        if granularity == "released":
            own, other = released_masks(*pair, tokenizer)
            known[pair] = Shared(*own), Shared(*other)
        else:
            used = None if granularity == "word" else tokenizer
            spans, neg_spans = shared_spans(*pair, granularity=granularity, tokenizer=used)
            known[pair] = Shared(spans), Shared(neg_spans)
    return [known[row.caption, row.neg_caption] for row in rows]


def _published_spans(row: Row, column: str) -> Shared:
    """Raises `SchemaError` for spans that are null or of another form, `CaptionError` for some that do not fit."""
    try:
        spans = [(start, end) for start, end in row.shared[column]]
        whole = all(type(edge) is int for span in spans for edge in span)
    except (TypeError, KeyError, ValueError):
        whole = False
    if not whole:
        raise SchemaError(
            "a cell of the column shared has another form",
            found=repr(row.shared),
            expected=f"a list of [start, end] whole numbers for {column}",
            fix="Build the dataset again, or train with granularity='word', which does not need this column",
        )
    try:
        check_spans(getattr(row, column), spans)
    except CaptionError as error:
        raise CaptionError(
            f"the shared spans of {column} do not fit it",
            found=error.found,
            expected=error.expected,
            fix="Build the dataset again, or train with granularity='word', which computes them",
        ) from error
    return Shared(spans)
