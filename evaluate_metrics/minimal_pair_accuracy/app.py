"""Share of questions that are answered right, and of pairs of questions that both are: the exact expectation under
ties, the worst and best choice, the chance level, and a confidence interval by bootstrap over pairs. A question of
one row is asked yes or no. In Python: `evaluate.load("synvita/minimal_pair_accuracy", "pairs")`."""

# The Space's page, started by `python app.py`; the text above stands on it.

from pathlib import Path

import evaluate

from synvita_data.evaluate_metrics._shared.page import build_page, label, name, number

EXAMPLE = [
    ["0.91", "1", "video 1: does it fall?", "fall"],
    ["0.20", "0", "video 2: does it fall?", "fall"],
    ["0.64", "1", "video 3: is it pushed?", "push"],
    ["0.50", "0", "video 4: is it pushed?", "push"],
    ["0.70", "1", "video 5: which ball is first?", "ball"],
    ["0.31", "0", "video 5: which ball is first?", "ball"],
    ["0.66", "0", "video 6: which ball is first?", "ball"],
    ["0.42", "1", "video 6: which ball is first?", "ball"],
]


if __name__ == "__main__":
    metric = evaluate.load(str(Path(__file__).with_name("minimal_pair_accuracy.py")), "pairs")
    build_page(
        title="Minimal-pair accuracy",
        summary=str(__doc__),
        columns={"predictions": number, "references": label, "questions": name, "pairs": str},
        example=EXAMPLE,
        options={
            "kind": ("Kind of score", ["probability", "log_odds", "similarity"]),
            "partial": ("Leave out incomplete questions and pairs and report coverage", False),
        },
        compute=metric.compute,
    ).launch()
