"""ROC-AUC of entailment scores with ties as half, its bounds under ties, and a confidence interval by
bootstrap over videos; with paired accuracy (caption above contrast caption of the same video) and strict accuracy.
In Python: `evaluate.load("synvita/entailment_auc")`."""

# The Space's page, started by `python app.py`; the text above stands on it.

from pathlib import Path

import evaluate

from synvita_data.evaluate_metrics._shared.page import build_page, label, name, number

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


if __name__ == "__main__":
    metric = evaluate.load(str(Path(__file__).with_name("entailment_auc.py")))
    build_page(
        title="Entailment AUC",
        summary=str(__doc__),
        columns={"predictions": number, "references": label, "videos": name, "texts": name},
        example=EXAMPLE,
        options={"kind": ("Kind of score", ["probability", "log_odds", "similarity"])},
        compute=metric.compute,
    ).launch()
