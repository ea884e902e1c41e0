"""The Space's page: `python app.py`."""

from pathlib import Path

import evaluate
import gradio as gr

from synvita_data.evaluate_metrics._shared.page import build_page, label, name, number

SUMMARY = """ROC-AUC of entailment scores with ties as half, its bounds under ties, and a confidence interval by
bootstrap over videos; with paired accuracy (caption above contrast caption of the same video) and strict accuracy.
In Python: `evaluate.load("synvita/entailment_auc")`."""

EXAMPLE = [
    ["0.93", "1", "video1", "a man walks a dog"],
    ["0.41", "0", "video1", "a man carries a dog"],
    ["0.78", "1", "video2", "she opens the door, then sits down"],
    ["0.78", "0", "video2", "she sits down, then opens the door"],
    ["0.62", "1", "video3", "two children play chess"],
    ["0.35", "0", "video3", "four children play chess"],
    ["0.55", "1", "video4", "a red car turns left"],
    ["0.71", "0", "video4", "a blue car turns left"],
]


def main() -> None:
    metric = evaluate.load(str(Path(__file__).with_name("entailment_auc.py")))
    build_page(
        title="Entailment AUC",
        summary=SUMMARY,
        columns={"predictions": number, "references": label, "videos": name, "texts": name},
        example=EXAMPLE,
        options={
            "kind": lambda: gr.Dropdown(
                ["probability", "log_odds", "similarity"], value="probability", label="Kind of score"
            ),
            "resamples": lambda: gr.Slider(0, 2000, 1000, step=100, label="Bootstrap resamples"),
        },
        compute=metric.compute,
    ).launch()


if __name__ == "__main__":
    main()
