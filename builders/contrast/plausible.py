"""Adversarial filtering: among several contrast captions of a row the one that words alone give away least.

A contrast caption must not be told from a caption without the video. So a text-only model (`captions.text_only`, words and
bigrams) is trained on captions and on the contrast captions that are chosen now; each row then takes the candidate that
a model which has seen nothing of its video finds most plausible as a true caption. Another choice is other training data:
candidates are ranked by the mean over all rounds so far, so that choices settle instead of swinging from one extreme to
the other. What is kept is the round with the lowest text-only AUC, the first candidates counted as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from synvita_data.captions.text_only import CaptionPair, TextOnly, TextOnlyModels, text_only_auc
from synvita_data.errors import CaptionError, SynvitaError

ROUNDS = 4
# Raise it when equal candidates would be chosen otherwise.
CHOICE_VERSION = 1


class PlausibleRow(NamedTuple):
    """A row that has candidates: `video` is the id by which models are cross-fitted."""

    video: str
    caption: str
    misalignment: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which candidate each row gets.

    Attributes:
        chosen: [N], index of the candidate of each row.
        before: text-only AUC with every row's first candidate.
        after: with the chosen ones; never above `before`.
        rounds: after how many rounds these were chosen; 0 where the first candidates stay.
    """

    chosen: tuple[int, ...]
    before: TextOnly
    after: TextOnly
    rounds: int


def choose_plausible(
    rows: Sequence[tuple[str, str, str | None]],
    candidates: Sequence[Sequence[str]],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Choice:
    """Choose one of the candidates of each row, so that words tell contrast captions from captions as little as they can.

    Nothing depends on the order of the rows. Where there are too few rows or videos for a text-only AUC, the first
    candidates stay.

    Args:
        rows: [N], (video, caption, misalignment).
        candidates: [N], contrast captions of each row, the writer's best first; at least one, all of them valid.
        rounds: how often the models are trained.
        seed: of the folds of videos.

    Raises:
        SynvitaError: other numbers of rows and candidates, or a row without any.
    """
    if len(rows) != len(candidates):
        raise SynvitaError(
            "rows and candidates differ in number", found=f"{len(rows)} rows, candidates of {len(candidates)}"
        )
    empty = next((place for place, own in enumerate(candidates) if not own), None)
    if empty is not None:
        raise SynvitaError("a row has no contrast caption to choose", row=empty)
    asked = [PlausibleRow(*row) for row in rows]
    first = (0,) * len(asked)
    before = text_only_auc(_pairs(asked, candidates, first))
    stays = Choice(first, before, before, 0)
    several = [place for place, own in enumerate(candidates) if len(set(own)) > 1]
    if before.overall.auc is None or not several:
        return stays
    # All candidates of the rows that have a choice, one after the other.
    texts = [text for place in several for text in candidates[place]]
    videos = [asked[place].video for place in several for _ in candidates[place]]
    ends = np.cumsum([len(candidates[place]) for place in several])
    # Of the misalignments apart only the last is told: rounds are compared by all rows together.
    together = [row._replace(misalignment=None) for row in asked]
    sums, chosen, best = np.zeros(len(texts)), first, (_told(before), 0, first)
    for done in range(1, rounds + 1):
        try:
            sums += _log_odds(asked, candidates, chosen, texts, videos, seed)
        except CaptionError:  # too few videos for folds
            break
        chosen = _most_plausible(sums, ends, several, first)
        told = _told(text_only_auc(_pairs(together, candidates, chosen)))
        best = min(best, (told, done, chosen))
    after = text_only_auc(_pairs(asked, candidates, best[2]))
    return Choice(best[2], before, after, best[1]) if _told(after) < _told(before) else stays


def _log_odds(
    rows: Sequence[PlausibleRow],
    candidates: Sequence[Sequence[str]],
    chosen: Sequence[int],
    texts: Sequence[str],
    videos: Sequence[str],
    seed: int,
) -> npt.NDArray[np.float64]:
    """How much rather each text is a true caption, by models of the chosen ones that have not seen its video."""
    pairs = [(row, own[at]) for row, own, at in zip(rows, candidates, chosen, strict=True)]
    models = TextOnlyModels.fit(
        [row.caption for row, _ in pairs] + [contrast for _, contrast in pairs],
        [1] * len(pairs) + [0] * len(pairs),
        [row.video for row, _ in pairs] * 2,
        seed=seed,
    )
    return models.log_odds(texts, videos)


def _most_plausible(
    sums: npt.NDArray[np.float64], ends: npt.NDArray[np.int64], several: Sequence[int], first: Sequence[int]
) -> tuple[int, ...]:
    """The candidate of the largest sum of each row that has several; of equal ones the writer's better."""
    chosen = list(first)
    for place, start, end in zip(several, [0, *ends[:-1]], ends, strict=True):
        # Two decimals: the last bits of a machine choose nothing.
        chosen[place] = int(np.round(sums[start:end], 2).argmax())
    return tuple(chosen)


def _pairs(
    rows: Sequence[PlausibleRow], candidates: Sequence[Sequence[str]], chosen: Sequence[int]
) -> list[CaptionPair]:
    return [
        CaptionPair(row.video, row.caption, own[at], row.misalignment)
        for row, own, at in zip(rows, candidates, chosen, strict=True)
    ]


def _told(share: TextOnly) -> float:
    """How far words tell, in either direction: an AUC of 30 gives as much away as one of 70."""
    auc = share.overall.auc
    return 50.0 if auc is None else abs(auc - 50.0)
