"""Mean average precision and R@K of text-to-video retrieval: the exact expectation over all orders of tied
videos, the worst and best order, the chance level, and a confidence interval by bootstrap over captions.
In Python: `evaluate.load("synvita/retrieval_map")`."""

# The Space's page, started by `python app.py`; the text above stands on it.

from pathlib import Path

import evaluate

from synvita_data.evaluate_metrics._shared.page import build_page, label, name, number

CAPTIONS = ("Pouring [something] into [something]", "Covering [something] with [something]")
SCORES = (("0.9", "0.9", "0.4", "0.2", "0.4"), ("0.3", "0.8", "0.8", "0.8", "0.1"))
POSITIVES = ((0, 2), (3,))
EXAMPLE = [
    [score, str(int(place in positives)), caption, f"videos/{place + 1}.webm"]
    for caption, scores, positives in zip(CAPTIONS, SCORES, POSITIVES, strict=True)
    for place, score in enumerate(scores)
]


if __name__ == "__main__":
    metric = evaluate.load(str(Path(__file__).with_name("retrieval_map.py")))
    build_page(
        title="Retrieval mAP",
        summary=str(__doc__),
        columns={"predictions": number, "references": label, "captions": name, "videos": name},
        example=EXAMPLE,
        options={
            "ties": ("Rule for tied scores", ["expected", "official", "sklearn"]),
            "candidates": ("Videos a caption ranks: all, or its own", ["shared", "own"]),
            "partial": ("Allow missing pairs and report coverage", False),
        },
        compute=metric.compute,
    ).launch()
