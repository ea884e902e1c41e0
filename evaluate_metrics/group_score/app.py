"""Do captions find their videos and videos their captions, in groups of two videos and two captions? Text, video and
group score: the exact expectation over orders of tied scores, the worst and best order, the chance level, and a
confidence interval by bootstrap over groups. In Python: `evaluate.load("synvita/group_score", "categories")`."""

# The Space's page, started by `python app.py`; the text above stands on it.

from pathlib import Path

import evaluate

from synvita_data.evaluate_metrics._shared.page import build_page, label, name, number

GROUPS = (
    ("sit, stand", "action", ("0.93", "0.41", "0.38", "0.87")),
    ("open, close", "action", ("0.78", "0.60", "0.78", "0.81")),
    ("red, blue", "object", ("0.62", "0.35", "0.71", "0.55")),
)
EXAMPLE = [
    [score, str(cell // 2), str(cell % 2), group, category]
    for group, category, scores in GROUPS
    for cell, score in enumerate(scores)
]


if __name__ == "__main__":
    metric = evaluate.load(str(Path(__file__).with_name("group_score.py")), "categories")
    build_page(
        title="Group score",
        summary=str(__doc__),
        columns={"predictions": number, "video": label, "caption": label, "groups": name, "category": str},
        example=EXAMPLE,
        options={"partial": ("Leave out incomplete groups and report coverage", False)},
        compute=metric.compute,
    ).launch()
