"""Share of questions whose right option has the highest score: the exact expectation when options tie, the
worst and best choice, the chance level, accuracy by question type, and a confidence interval by bootstrap over
questions. In Python: `evaluate.load("synvita/multiple_choice_accuracy", "types")`."""

# The Space's page, started by `python app.py`; the text above stands on it.

from pathlib import Path

import evaluate

from synvita_data.evaluate_metrics._shared.page import build_page, label, name, number, whole

QUESTIONS = (
    ("q1", "CW", "0", ("0.91", "0.20", "0.11", "0.35", "0.08")),
    ("q2", "TN", "1", ("0.44", "0.44", "0.30", "0.12", "0.27")),
    ("q3", "CH", "4", ("0.52", "0.61", "0.05", "0.33", "0.47")),
)
EXAMPLE = [
    [score, str(int(str(option) == answer)), question, str(option), type_]
    for question, type_, answer, scores in QUESTIONS
    for option, score in enumerate(scores)
]


if __name__ == "__main__":
    metric = evaluate.load(str(Path(__file__).with_name("multiple_choice_accuracy.py")), "types")
    build_page(
        title="Multiple-choice accuracy",
        summary=str(__doc__),
        columns={
            "predictions": number,
            "references": label,
            "questions": name,
            "options": whole,
            "types": str,
        },
        example=EXAMPLE,
        options={"partial": ("Leave out incomplete questions and report coverage", False)},
        compute=metric.compute,
    ).launch()
