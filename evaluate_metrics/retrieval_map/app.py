"""The Space's page: `python app.py`."""

from pathlib import Path

import evaluate
import gradio as gr

from synvita_data.evaluate_metrics._shared.page import build_page, label, name, number

SUMMARY = """Mean average precision and R@K of text-to-video retrieval: the exact expectation over all orders of tied
videos, the worst and best order, the chance level, and a confidence interval by bootstrap over captions.
In Python: `evaluate.load("synvita/retrieval_map")`."""

CAPTIONS = ("Pouring [something] into [something]", "Covering [something] with [something]")
SCORES = (("0.9", "0.9", "0.4", "0.2", "0.4"), ("0.3", "0.8", "0.8", "0.8", "0.1"))
POSITIVES = ((0, 2), (3,))
EXAMPLE = [
    [score, str(int(place in positives)), caption, f"videos/{place + 1}.webm"]
    for caption, scores, positives in zip(CAPTIONS, SCORES, POSITIVES, strict=True)
    for place, score in enumerate(scores)
]


def main() -> None:
    metric = evaluate.load(str(Path(__file__).with_name("retrieval_map.py")))
    build_page(
        title="Retrieval mAP",
        summary=SUMMARY,
        columns={"predictions": number, "references": label, "captions": name, "videos": name},
        example=EXAMPLE,
        options={
            "ties": lambda: gr.Dropdown(
                ["expected", "official", "sklearn"], value="expected", label="Rule for tied scores"
            ),
            "candidates": lambda: gr.Dropdown(
                ["shared", "own"], value="shared", label="Videos a caption ranks: all, or its own"
            ),
            "partial": lambda: gr.Checkbox(False, label="Allow missing pairs and report coverage"),
            "resamples": lambda: gr.Slider(0, 2000, 1000, step=100, label="Bootstrap resamples"),
        },
        compute=metric.compute,
    ).launch()


if __name__ == "__main__":
    main()
