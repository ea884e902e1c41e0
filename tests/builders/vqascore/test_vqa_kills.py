"""VQAScore jobs killed at random moments, forked after everything heavy was imported."""

import subprocess
import sys
from importlib import import_module

import pytest
import torch
import transformers  # noqa: F401
from jobs import test_ray_cluster as on_ray
from jobs.kill_harness import survive_kills

from synvita_data.builders.sources import FoundVideos, SyntheticVideo
from synvita_data.builders.vqascore import VqaScoreJob, VqaSettings, find_model, score_videos
from synvita_data.builders.vqascore.run import plan_rows
from synvita_data.jobs import Store
from synvita_data.schema import Triplet

ray_cluster = on_ray.cluster  # the fixture
for _module in ("llava", "job"):  # before the forks
    import_module(f"synvita_data.builders.vqascore.{_module}")


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


@pytest.mark.slow
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


@on_ray.needs_ray
@pytest.mark.slow
def test_kills_on_ray(make_job, tmp_path, monkeypatch, repo_root, ray_cluster):
    on_ray.give_key(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", f"{repo_root}/tests:{repo_root}")
    survive_kills(
        make_job,
        tmp_path / "kills",
        kills=8,
        workers=2,
        victim="worker",
        fresh=True,
        engine="ray",
        address=ray_cluster,
    )


@on_ray.needs_ray
@pytest.mark.slow
def test_ray_gives_the_same_bytes(inputs, tiny, tmp_path, repo_root, ray_cluster):
    """In a process of its own: Ray's threads do not survive the forks of other tests."""
    model, one, two = tiny("clip_flant5"), tmp_path / "one.parquet", tmp_path / "two.parquet"
    score_videos(inputs.triplets, inputs.spec, [find_model(str(model))], one)
    command = [sys.executable, "-m", "synvita_data.cli", "vqascore", "--triplets", inputs.file]
    command += ["--synthetic", inputs.spec, "--model", model, "--out", two, "--dtype", "float32"]
    command += ["--engine", "ray", "--address", ray_cluster, "--workers", "2"]
    done = subprocess.run(
        list(map(str, command)),
        env=on_ray.environment(repo_root, tmp_path) | on_ray.KEY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "5 of 5 done (0 found done, 5 made now)" in done.stdout
    assert one.read_bytes() == two.read_bytes()
