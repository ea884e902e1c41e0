"""What a task of each form may declare: its columns, the names they commonly have, and its metric.

Another form is one more entry here, its module in `synvita_data.annotations`, and its metric.
"""

from collections.abc import Mapping
from dataclasses import dataclass

VIDEO = ("video", "videopath", "video_path", "video_name", "video_id", "file", "filename", "path")
QUESTION = ("question", "query", "prompt")
ANSWER = ("answer", "correct_answer", "label", "gt")
ID = ("id", "question_id", "qid")
# Fields that every form may have.
COMMON: Mapping[str, tuple[str, ...]] = {
    "source": ("source", "src_dataset", "dataset"),
    "start": ("start",),
    "end": ("end",),
    "split": ("split",),
}
CONTRAST = (
    "contrast",
    "contrast_caption",
    "neg_caption",
    "negative_caption",
    "counterfactual",
    "negative",
    "neg",
)


@dataclass(frozen=True, slots=True)
class TaskForm:
    """What may be declared of a form.

    Attributes:
        metric: module of `synvita_data.evaluate_metrics`.
        main_score: its entry that stands in the table.
        columns: field -> names of its column where a declaration names none, best first.
        needed: fields that must have a column; of a tuple one of the fields.
        several: fields that may have several columns.
        questions: its texts are questions: `scored_as` and `answer_prompt` may be declared.
    """

    metric: str
    main_score: str
    columns: Mapping[str, tuple[str, ...]]
    needed: tuple[str | tuple[str, ...], ...]
    several: frozenset[str] = frozenset()
    questions: bool = False


FORMS: Mapping[str, TaskForm] = {
    "entailment": TaskForm(
        "entailment_auc",
        "auc",
        {
            "video": VIDEO,
            "caption": ("caption", "text", "positive_caption", "pos_caption", "positive", "pos"),
            "contrast": CONTRAST,
            "label": ("label", "entailment", "match"),
            "group": ("group", "pair", "pair_id"),
            "misalignment": ("misalignment",),
            "hard": ("hard",),
        },
        ("video", "caption", ("contrast", "label")),
    ),
    "retrieval": TaskForm(
        "retrieval_map",
        "map",
        {"video": VIDEO, "caption": ("caption", "text", "query"), "label": ("match", "label")},
        ("video", "caption", "label"),
    ),
    "choice": TaskForm(
        "multiple_choice_accuracy",
        "accuracy",
        {
            "video": VIDEO,
            "question": QUESTION,
            "options": ("options", "choices", "candidates"),
            "answer": ANSWER,
            "id": ID,
        },
        ("video", "question", "answer"),
        several=frozenset({"options"}),
        questions=True,
    ),
    "groups": TaskForm(
        "group_score",
        "group",
        {
            "video": VIDEO,
            "caption": ("caption", "text"),
            "group": ("group", "group_id", "pair", "pair_id", "id"),
        },
        ("video", "caption"),
        several=frozenset({"video", "caption"}),
    ),
    "yes_no": TaskForm(
        "minimal_pair_accuracy",
        "accuracy",
        {"video": VIDEO, "question": QUESTION, "answer": ANSWER, "id": ID},
        ("video", "question", "answer"),
        questions=True,
    ),
    "pairs": TaskForm(
        "minimal_pair_accuracy",
        "pair_accuracy",
        {
            "video": VIDEO,
            "question": QUESTION,
            "options": ("options", "choices", "candidates"),
            "answer": ANSWER,
            "pair": ("pair", "pair_id", "group"),
            "id": ID,
        },
        ("video", "question", "answer", "pair"),
        several=frozenset({"options"}),
        questions=True,
    ),
}
