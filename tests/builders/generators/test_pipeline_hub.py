"""A pipeline of the Hub: settings before weights, and the commit as its revision."""

import json

import pytest
from loopback_hub.client import run_client


@pytest.mark.slow
def test_a_pipeline_of_the_hub(loopback_hub, tmp_path):
    pytest.importorskip("diffusers")
    from tiny_pipelines import SETTINGS, save_pipeline

    token = loopback_hub.add_user("ann").token
    folder = save_pipeline("cogvideox", tmp_path / "tiny")
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS["cogvideox"]))
    done = run_client(
        """
        import json, sys
        from pathlib import Path
        from huggingface_hub import HfApi, scan_cache_dir
        from synvita_data.builders.generators import generate_videos, open_generator
        from synvita_data.schema import Triplet

        folder, work = map(Path, sys.argv[1:])
        settings = json.loads((work / "settings.json").read_text())
        HfApi().create_repo("ann/tiny")
        commit = HfApi().upload_folder(repo_id="ann/tiny", folder_path=folder).oid
        generator = open_generator("diffusers:ann/tiny@main", settings)
        cached = {file.file_name for repo in scan_cache_dir().repos for r in repo.revisions for file in r.files}
        assert not any(name.endswith(".safetensors") for name in cached), cached
        assert (generator.recipe.revision, generator.recipe.name) == (commit, "tiny")
        assert "torch" not in sys.modules
        rows = [Triplet(source="x", video_id="1", caption="a man", neg_caption="a dog", row=0)]
        report = generate_videos(rows, "diffusers:ann/tiny", work / "out", overrides=settings)
        print(report.lines()[0])
        for wrong in ("ann/none", "ann/tiny@v9"):
            try:
                open_generator(f"diffusers:{wrong}", settings)
            except Exception as error:
                print(type(error).__name__, error)
        print(commit)
        """,
        loopback_hub,
        str(folder),
        str(tmp_path),
        home=tmp_path,
        token=token,
        fresh=True,
        USE_TORCH="1",
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stderr
    *_, first, none, version, commit = done.stdout.splitlines()
    assert "1 of 1 done" in first
    assert none.startswith("SourceError ann/none: the model cannot be found: it does not exist")
    assert version.startswith("SourceError ann/tiny@v9: the model cannot be read: there is no such revision")
    line = json.loads((tmp_path / "out/manifest.jsonl").read_text())
    assert (line["revision"], line["generator"]) == (commit, "tiny")
    assert line["caption"] == "a dog"
