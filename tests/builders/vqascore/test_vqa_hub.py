"""Models that come from the Hub: which commit they are, and that this commit is what is loaded."""

import json
import shutil

import pytest
from huggingface_hub import constants
from loopback_hub.client import run_client

from synvita_data.builders.vqascore import find_model
from synvita_data.builders.vqascore.models import open_scorer
from synvita_data.errors import SynvitaError


@pytest.mark.slow
def test_a_model_of_the_hub_is_pinned_to_its_commit(loopback_hub, tiny, tmp_path):
    """The branch moves on between finding and loading: the weights of then are scored with, as the key says."""
    user = loopback_hub.add_user("alice")
    folder = tmp_path / "model"
    shutil.copytree(tiny("clip_flant5"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"mm_vision_tower": "alice/tower"}))
    done = run_client(
        """
        import json, sys
        import torch
        from huggingface_hub import HfApi
        from synvita_data.builders.vqascore import find_model
        from synvita_data.builders.vqascore.models import open_scorer

        api, folder = HfApi(), sys.argv[1]
        for repo in ("alice/tiny", "alice/tower"):
            api.create_repo(repo, repo_type="model")
        api.upload_folder(folder_path=f"{folder}/vision_tower", repo_id="alice/tower")
        api.upload_folder(folder_path=folder, repo_id="alice/tiny")
        first = api.model_info("alice/tiny").sha
        model = find_model("alice/tiny@main")
        api.delete_file("pytorch_model.bin.index.json", "alice/tiny")
        scorer = open_scorer(model)
        weights = {}
        for shard in (1, 2):
            weights |= torch.load(f"{folder}/pytorch_model-0000{shard}-of-00002.bin", weights_only=True)
        same = torch.equal(scorer.model.t5.lm_head.weight, weights["lm_head.weight"])
        moved = find_model("alice/tiny").revision
        print(json.dumps([model.label, model.kind, model.revision == first, moved == first, same]))
        """,
        loopback_hub,
        str(folder),
        home=tmp_path,
        token=user.token,
        USE_TORCH="1",
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stderr
    label, kind, pinned, unmoved, same = json.loads(done.stdout.splitlines()[-1])
    assert (label, kind, pinned, unmoved, same) == ("alice/tiny", "clip-flant5", True, False, True)


def test_a_checkpoint_is_loaded_offline_from_a_cache_that_knows_its_own_files_only(
    tiny, tmp_path, monkeypatch
):
    """`hf download` on another machine: nobody has asked the Hub for the files that the repository lacks."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--alice--tiny"
    snapshot = cached / "snapshots" / ("c" * 40)
    shutil.copytree(tiny("clip_flant5"), snapshot)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("c" * 40)
    config = json.loads((snapshot / "config.json").read_text())
    config["mm_vision_tower"] = str(snapshot / "vision_tower")
    (snapshot / "config.json").write_text(json.dumps(config))
    assert not (snapshot / "model.safetensors.index.json").exists()  # asked for first
    model = find_model("alice/tiny")
    assert model.revision == "c" * 40
    assert open_scorer(model).model.t5.shared.weight.isfinite().all()
    for shard in snapshot.glob("*.bin"):
        shard.unlink()
    with pytest.raises(SynvitaError, match="a checkpoint lacks a file"):
        open_scorer(model)
