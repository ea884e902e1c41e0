"""Result files written by hand, with the fields that `synvita evaluate` writes."""

import json
from pathlib import Path
from typing import Any

from synvita_data.evaluation.results import Result

MAIN_SCORE = {
    "videocon-llm": "auc",
    "videocon-human": "auc",
    "videocon-human-hard": "auc",
    "ssv2-temporal": "map",
    "ssv2-events": "map",
    "atp-hard": "accuracy",
}


def record(
    model: str,
    task: str,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    ties: tuple[float, float] | None = None,
    k: int = 1000,
    n: int = 1000,
    revision: str | None = "1",
    annotations: str = "a" * 16,
    why: tuple[str, ...] = (),
    **more: Any,
) -> dict[str, Any]:
    """A whole record; partial where k < n, official where it is complete and `why` is empty."""
    reasons = [f"{k} of {n} texts were scored"] * (k < n) + list(why)
    worst, best = ties or (value, value)
    return {
        "schema_version": "1.0",
        "task": {"name": task, "annotations": annotations},
        "model": {"name": model, "revision": revision, "kind": "probability", "prompt": None, "settings": {}},
        "frames": {"policy": {"count": 8}, "first_video": {"indices": [0]}},
        "main_score": {
            "name": MAIN_SCORE.get(task, "auc"),
            "value": value,
            "low": low,
            "high": high,
            "worst_ties": worst,
            "best_ties": best,
            "k": k,
            "n": n,
        },
        "metrics": {"groups": {"flip": value}},
        "coverage": {"k": k, "n": n},
        "partial": k < n,
        "official": not reasons,
        "why_not_official": reasons,
        "versions": {"numpy": "2"},
        "run": {"wall_seconds": 1.5},
        **more,
    }


def result(*args: Any, **how: Any) -> Result:
    return result_of(record(*args, **how))


def result_of(made: dict[str, Any]) -> Result:
    return Result(made["model"]["name"], made["task"]["name"], made)


def write(folder: Path, place: str, content: Any) -> Path:
    """`content` as JSON (a string as it is) in `folder/place`."""
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
