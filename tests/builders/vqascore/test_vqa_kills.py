"""VQAScore jobs killed at random moments, forked after everything heavy was imported."""

import pytest
import torch
import transformers  # noqa: F401
from engine.kill_harness import survive_kills

from synvita_data.builders.sources import FoundVideos, SyntheticVideo
from synvita_data.builders.vqascore import VqaScoreJob, VqaSettings, find_model, llava, worker  # noqa: F401
from synvita_data.builders.vqascore.rows import plan_rows
from synvita_data.schema import Triplet
from synvita_data.store import Store


@pytest.fixture
def make_job(inputs, tiny, tmp_path):
    """The job of 30 rows on any store: five videos, six pairs of captions each."""
    assert torch.get_num_threads() == 1  # or a forked child may hang
    triplets = [
        Triplet(source="msr-vtt", video_id=f"v{i}", caption=f"a dog runs {i} times", neg_caption=f"a cat {i}")
        for i in range(30)
    ]
    found = FoundVideos(
        {
            triplet.pair_id: [SyntheticVideo(inputs.videos[i % 5], generator="lavie")]
            for i, triplet in enumerate(triplets)
        }
    )
    rows = tuple(plan_rows(triplets, found, "lavie", Store(tmp_path / "videos")).rows)
    model = find_model(str(tiny("llava")))
    return lambda root: VqaScoreJob(root, model, VqaSettings(), rows)


def test_five_kills(make_job, tmp_path):
    survive_kills(make_job, tmp_path / "kills", kills=5)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_thirty_kills(make_job, tmp_path, workers):
    for seed in range(3):
        survive_kills(
            make_job,
            tmp_path / f"kills{seed}",
            kills=10,
            workers=workers,
            victim="parent" if workers == 1 else "either",
            seed=seed,
        )


@pytest.mark.slow
def test_kills_on_ray(make_job, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    survive_kills(make_job, tmp_path / "kills", kills=5, workers=2, victim="worker", engine="ray")
