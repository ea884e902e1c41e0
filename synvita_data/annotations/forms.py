"""What a form of task is: how its rows are read, how they are joined with a score file, and how they are measured.

Each form is a module of this folder with a `FORM`; `find_form` finds it by its name. How two models are compared by a
form is said there too (`units.py`).

Texts with two scores are joined with the annotations as the official scripts do. Their scripts merge score file and
annotations on video and caption, so a text with two scores becomes two rows. The released Video-LLaVA files may hold
such texts, rightly: a repeated row was scored with another horizontal flip, or in another batch in bfloat16. What then
happens is the scripts' own, by form of task:

- entailment (`eval_videocon_*.py`): every distinct score of a text is a row of the AUC;
- choice (`eval_atphard.py`): a question that has not exactly five rows after the merge is left out;
- retrieval (`calc_ssv2.py`): a caption that has not exactly as many rows as videos is left out. Nothing is
  deduplicated here, so that a row that repeats its score leaves its caption out too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..tables.columns import Floats, Ints
from ..tasks import Task
from .declared import DeclaredRows
from .mistakes import Judged
from .table import Annotations
from .units import ScoredRows, Units

Metrics = dict[str, Any]
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
        group: what these are called.
    """

    rows: Ints
    scores: Floats
    left_out: npt.NDArray[np.bool_]
    texts: int
    groups: int
    group: str = ""

    def to_record(self) -> dict[str, object]:
        """For the result file, beside the counts of the score file."""
        return {"join": "official", "texts_with_several_scores": self.texts, "groups_left_out": self.groups}

    def doubts(self) -> list[str]:
        """Why a result is not the one of one score a text."""
        if not self.texts and not self.groups:
            return []
        left_out = f", and {self.groups:,} {self.group} are left out" if self.group else ""
        return [f"joined as the official script does: {self.texts:,} texts have several scores{left_out}"]


@dataclass(frozen=True, slots=True)
class Form:
    """One form of task.

    Attributes:
        read: the rows of a file as the paper's benchmarks publish them; None where only declared columns are read.
        read_declared: the rows of files whose columns a declaration names.
        measure: the metrics of annotations, scores (NaN where missing), their kind, options (partial, resamples,
            seed) and what the official join found.
        group: what a group of rows is called: "questions"; empty where the official join leaves none out.
        units: what two models are compared by (`units.py`); None where they cannot be. Takes the rows, their scores (NaN
            where missing) and what these mean.
        from_tables: metrics that `units` gives without annotations, from what the score table tells.
        official_leaves_out: groups that the official join leaves out: those with a text of `several` different
            scores, or already those with a `repeated` row.
        judge: which groups of rows are wrong, of annotations, scores (NaN where missing) and their kind; None: the form
            cannot tell.
        groups_in_scores: a group is a caption, so that a score table alone tells the groups.
    """

    read: Callable[[Task, Path], Annotations] | None
    measure: Callable[[Annotations, Floats, str, Metrics, OfficialJoin | None], Metrics]
    read_declared: Callable[[DeclaredRows], Annotations]
    group: str = ""
    units: Callable[[ScoredRows, Floats, str], Units] | None = None
    from_tables: frozenset[str] = frozenset()
    official_leaves_out: Literal["several", "repeated"] | None = None
    judge: Callable[[Annotations, Floats, str], Judged] | None = None
    groups_in_scores: bool = False


def find_form(task: Task | Annotations) -> Form:
    """The form of a task, or of its annotations."""
    form: Form = import_module(f"{__package__}.{task.form}").FORM
    return form


def join_officially(annotations: Annotations, form: Form, place: Ints, scores: Floats) -> OfficialJoin:
    """Join the rows of a score file.

    Args:
        annotations: of the task.
        form: of the task.
        place: int64 [R], for each row of the file its text, as in `annotations.pair`.
        scores: float64 [R].
    """
    # The first score of each text is known; these are the others.
    first = first_rows(place, int(annotations.pair.max()) + 1)
    further = sorted({(p, s) for p, s, f in zip(place, scores, first[place], strict=True) if s != scores[f]})
    by_text = np.argsort(annotations.pair, kind="stable")
    edges = np.searchsorted(annotations.pair[by_text], np.arange(len(first) + 1))
    rows = [by_text[edges[text] : edges[text + 1]] for text, _ in further]
    values = [np.full(len(own), score) for own, (_, score) in zip(rows, further, strict=True)]

    several = np.zeros(len(first), bool)
    several[[text for text, _ in further]] = True
    groups: Ints = np.zeros(0, np.int64)
    if form.official_leaves_out is not None:
        repeated = np.bincount(place, minlength=len(first)) > 1
        unwelcome = several if form.official_leaves_out == "several" else repeated
        groups = np.unique(annotations.group_code[unwelcome[annotations.pair]])
    return OfficialJoin(
        rows=np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64),
        scores=np.concatenate([*values, np.zeros(0)]),
        left_out=np.isin(annotations.group_code, groups),
        texts=int(several.sum()),
        groups=len(groups),
        group=form.group,
    )


def join_rows(annotations: Annotations, form: Form, scores: Floats) -> tuple[Floats, OfficialJoin]:
    """The official join of scores that belong to rows, not to texts: the first score of each text, and the others.

    Args:
        annotations: of the task, with their order in the file.
        form: of the task.
        scores: float64 [N], aligned with the annotations; NaN where there is none.

    Returns:
        float64 [N], each row with the score of the file's first row of its text; and what the join makes of others.
    """
    assert annotations.file_order is not None
    order = np.argsort(annotations.file_order, kind="stable")
    order = order[~np.isnan(scores[order])]
    place, values = annotations.pair[order], scores[order]
    first = first_rows(place, int(annotations.pair.max()) + 1)
    of_text = np.full(len(first), np.nan)
    of_text[first >= 0] = values[first[first >= 0]]
    return of_text[annotations.pair], join_officially(annotations, form, place, values)


def first_rows(place: Ints, texts: int) -> Ints:
    """For each text the first row that has it, −1 for none."""
    first = np.full(texts, -1, np.int64)
    first[place[::-1]] = np.arange(len(place))[::-1]
    return first
