"""Small results with their score tables, of models that make mistakes in common."""

import numpy as np
from small_annotations import VIDEOCON_HEADER, write_csv

from synvita_data.annotations import read_annotations
from synvita_data.evaluation.results import make_result, measure, write_result
from synvita_data.tasks import get_task


def entailment(folder, videos=150):
    rows = [
        (f"tempo/videos/{v}.mp4", "tempo", f"real {v}", f"contrast {v}", "", "test", "flip")
        for v in range(videos)
    ]
    path = write_csv(folder / "videocon_llm_entailment.csv", rows, VIDEOCON_HEADER)
    return read_annotations("videocon-llm", path)


def write_official(out, annotations, name, scores):
    """A result that counts as official, whatever the size of its annotations."""
    task = get_task(annotations.task)
    made = make_result(
        task=task,
        annotations=annotations,
        metrics=measure(task, annotations, scores, "log_odds", resamples=200),
        model={"name": name, "revision": "1", "kind": "log_odds", "prompt": None, "settings": {}},
        scores=scores,
        frames=None,
        run={},
        notes={},
    )
    made.record.update(official=True, why_not_official=[])
    return write_result(out, made, annotations, scores, "log_odds")


def alike(annotations, spoilt, seed=0):
    """Scores of a model that makes the mistakes of the others of this seed, and `spoilt` captions more."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=len(annotations)) + 1.5 * annotations.label
    scores[np.flatnonzero(annotations.label)[:spoilt]] -= 2
    return scores
