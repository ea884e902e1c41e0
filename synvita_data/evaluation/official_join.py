"""Texts with two scores, joined with the annotations as the official scripts do.

Their scripts merge score file and annotations on video and caption, so a text with two scores becomes two rows. The
released Video-LLaVA files may hold such texts, rightly: a repeated row was scored with another horizontal flip, or in
another batch in bfloat16. What then happens is the scripts' own, by form of task:

- entailment (`eval_videocon_*.py`): every distinct score of a text is a row of the AUC;
- choice (`eval_atphard.py`): a question that has not exactly five rows after the merge is left out;
- retrieval (`calc_ssv2.py`): a caption that has not exactly as many rows as videos is left out. Nothing is
  deduplicated here, so that a row that repeats its score leaves its caption out too.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..tasks.annotations import Annotations, Ints

Floats = npt.NDArray[np.float64]
JOINS = ("strict", "official")


@dataclass(frozen=True, eq=False)
class OfficialJoin:
    """What the merge makes of texts with several scores, beside the first score of each.

    Attributes:
        rows: int64 [M], rows of the annotations that come once more.
        scores: float64 [M], their further scores.
        left_out: bool [N], rows of questions or captions that the script leaves out.
        texts: how many distinct (video, text) pairs have several scores.
        groups: how many questions or captions are left out.
    """

    rows: Ints
    scores: Floats
    left_out: npt.NDArray[np.bool_]
    texts: int
    groups: int

    def to_record(self) -> dict[str, object]:
        """For the result file, beside the counts of the score file."""
        return {"join": "official", "texts_with_several_scores": self.texts, "groups_left_out": self.groups}

    def doubts(self, form: str) -> list[str]:
        """Why a result is not the one of one score a text."""
        if not self.texts and not self.groups:
            return []
        what = {"entailment": "", "choice": "questions", "retrieval": "captions"}[form]
        left_out = f", and {self.groups:,} {what} are left out" if what else ""
        return [f"joined as the official script does: {self.texts:,} texts have several scores{left_out}"]


def join_officially(annotations: Annotations, form: str, place: Ints, scores: Floats) -> OfficialJoin:
    """Join the rows of a score file.

    Args:
        form: of the task: `entailment`, `choice` or `retrieval`.
        place: int64 [R], for each row of the file its text, as in `annotations.pair`.
        scores: float64 [R].
    """
    # The first score of each text is known; these are the others.
    first = _first_rows(place, int(annotations.pair.max()) + 1)
    further = sorted({(p, s) for p, s, f in zip(place, scores, first[place], strict=True) if s != scores[f]})
    by_text = np.argsort(annotations.pair, kind="stable")
    edges = np.searchsorted(annotations.pair[by_text], np.arange(len(first) + 1))
    rows = [by_text[edges[text] : edges[text + 1]] for text, _ in further]
    values = [np.full(len(own), score) for own, (_, score) in zip(rows, further, strict=True)]

    several = np.zeros(len(first), bool)
    several[[text for text, _ in further]] = True
    unwelcome = several if form != "retrieval" else np.bincount(place, minlength=len(first)) > 1
    groups: Ints = np.zeros(0, np.int64)
    if form != "entailment":
        groups = np.unique(annotations.group_code[unwelcome[annotations.pair]])
    return OfficialJoin(
        rows=np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64),
        scores=np.concatenate([*values, np.zeros(0)]),
        left_out=np.isin(annotations.group_code, groups),
        texts=int(several.sum()),
        groups=len(groups),
    )


def _first_rows(place: Ints, texts: int) -> Ints:
    """For each text the first row that has it, −1 for none."""
    first = np.full(texts, -1, np.int64)
    first[place[::-1]] = np.arange(len(place))[::-1]
    return first
