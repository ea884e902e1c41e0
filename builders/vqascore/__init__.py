"""VQAScore: how well VQA models find that a synthetic video shows its captions; `docs/vqascore.md`.

    models = [find_model(name) for name in ("clip-flant5-xxl", "instructblip-flan-t5-xxl", "llava-1.5-13b")]
    report = score_videos(triplets, "folder:videos", models, Path("scores.parquet"))

Importing this imports neither torch nor transformers: workers do, when there is something to score.
"""

from .job import SCORES, VqaRow, VqaScoreJob, VqaSettings, default_dtype
from .models import ALIASES, VqaModel, find_model
from .run import Coverage, VqaScoreReport, score_of, score_videos

__all__ = [
    "ALIASES",
    "SCORES",
    "Coverage",
    "VqaModel",
    "VqaRow",
    "VqaScoreJob",
    "VqaScoreReport",
    "VqaSettings",
    "default_dtype",
    "find_model",
    "score_of",
    "score_videos",
]
