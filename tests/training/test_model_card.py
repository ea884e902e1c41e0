"""Run record, model card, and their publication on a Hub of our own on loopback."""

import json

import pytest
import yaml
from loopback_hub import run_client

from synvita_data.errors import SchemaError
from synvita_data.files import sha256_file
from synvita_data.training.publish import render_model_card
from synvita_data.training.recipe import Recipe, RunOptions
from synvita_data.training.run_record import (
    as_json,
    dataset_version,
    make_run_record,
    public_record,
    read_run_record,
    write_run_record,
)


@pytest.fixture
def record(tmp_path):
    recipe = Recipe(
        "video-llava/synvita",
        RunOptions(
            model="LanguageBind/Video-LLaVA-7B-hf", data="synvita/videocon-syn", about="SynViTA", batch=6
        ),
        {"margin": 0.2, "scr_weight": 1.0, "weighting": "product", "output_dir": "out/x"},
    )
    return make_run_record(
        recipe,
        model={
            "name": "LanguageBind/Video-LLaVA-7B-hf",
            "revision": "abc",
            "family": "video_llava",
            "prompt": "video-llava-train",
            "frames": "8 linspace",
        },
        data={
            "path": "synvita/videocon-syn",
            "revision": "v0.1.0",
            "commit": "f" * 40,
            "config": "cogvideox",
        },
        counts={"rows": 16854, "without_real": 12},
        processes=2,
        summary={"train_loss": 0.5},
        history=[
            {"loss": 1.0, "step": 1},
            {"eval_auc": 61.234, "eval_loss": 0.7, "step": 0},
            {"eval_auc": 85.5, "eval_texts": 1140, "eval_runtime": 3.0, "step": 500},
            {"eval_auc": 85.5, "eval_texts": 1140, "eval_runtime": 4.0, "step": 500},
        ],
    )


def test_the_card_says_what_was_trained_on_what_and_what_came_out(record):
    text = render_model_card(record, "someone/my-model")
    head = yaml.safe_load(text.split("---")[1])
    assert head["base_model"] == "LanguageBind/Video-LLaVA-7B-hf"
    assert head["datasets"] == ["synvita/videocon-syn"]
    assert head["library_name"] == "peft"
    assert "synvita evaluate someone/my-model" in text
    assert "# my-model" in text
    for part in (
        "`v0.1.0`",
        "f" * 40,
        "| rows | 16,854 |",
        "| `margin` | 0.2 |",
        "| `weighting` | product |",
    ):
        assert part in text
    assert "| 0 | 61.23 |  |" in text
    assert text.count("| 500 | 85.50 | 1,140 |") == 1
    assert "train_loss" not in record["summary"]
    assert "SynViTA. Fine-tuned from" in text
    assert "2 processes" in text


def test_a_changed_recipe_does_not_say_what_the_unchanged_one_is(record):
    record["recipe"] |= {"changed": ["real_root", "model", "learning_rate"], "use_synthetic": False}
    text = render_model_card(record)
    assert "SynViTA. Fine-tuned" not in text
    assert "with other values of `learning_rate`, `model`," in text
    assert "on real videos:" in text
    assert "| `weighting`" not in text


def test_what_is_published_names_no_place(record, tmp_path):
    (tmp_path / "base").mkdir()
    record["model"]["name"] = record["recipe"]["model"] = str(tmp_path / "base")
    record["recipe"] |= {"real_root": "/data/secret", "feature_cache": "/scratch/me"}
    text = as_json(public_record(record))
    assert json.loads(text)["model"]["name"] == "base"
    for place in (str(tmp_path), "/data/secret", "/scratch/me", "out/x"):
        assert place not in text
    assert json.loads(text)["recipe"]["data"] == "synvita/videocon-syn"


def test_no_value_of_a_recipe_names_a_place(record):
    record["recipe"] |= {
        "deepspeed": "/srv/cluster/jobs/zero3.json",
        "about": "from /home/anna/recipes/x.yaml",
    }
    record["summary"] = {"note": ["C:\\Users\\anna\\x.json"]}
    text = as_json(public_record(record))
    for place in ("cluster", "anna", "srv"):
        assert place not in text
    assert "jobs/zero3.json" in text


def test_a_fine_tune_with_a_token_or_a_home_folder_is_not_sent(record, loopback_hub, tmp_path):
    owner = loopback_hub.add_user("someone")
    out = tmp_path / "out"
    out.mkdir()
    token = "hf_" + "a1B2c3D4e5" * 3
    record["recipe"]["about"] = f"made with {token}"
    write_run_record(out, record)
    (out / "adapter_model.safetensors").write_bytes(b"weights" * 100)
    base = tmp_path / "base"
    base.mkdir()
    (out / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), "r": 8}))
    (out / "chat_template.jinja").write_text("{# /home/anna/templates/x #}")
    script = """
        import json, sys
        from pathlib import Path
        from synvita_data.errors import SynvitaError
        from synvita_data.training.publish import push_model
        folder, said = Path(sys.argv[1]), []
        def attempt(**how):
            try:
                push_model(folder, "someone/fine-tune", **how)
                said.append("sent")
            except SynvitaError as error:
                said.append(f"{type(error).__name__}: {error}")
        attempt()
        attempt(allow_home_folders=True)
        record = json.loads((folder / "training_run.json").read_text())
        record["recipe"]["about"] = "a test"
        (folder / "training_run.json").write_text(json.dumps(record))
        attempt()
        attempt(allow_home_folders=True)
        print(json.dumps(said))
    """
    done = run_client(script, loopback_hub, str(out), home=tmp_path, token=owner.token)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    for line in said[:2]:
        assert line.startswith("LeakError: README.md: ")
        assert token not in line
    assert "home folder" in said[2]
    assert "chat_template.jinja" in said[2]
    assert said[3] == "sent"
    tree = loopback_hub.repos["model", "someone/fine-tune"].resolve("main").tree
    assert json.loads(tree["adapter_config.json"].content) == {"base_model_name_or_path": "base", "r": 8}


def test_local_models_and_data_are_not_named_as_the_hubs(record):
    record["model"]["name"] = "/home/me/model"
    record["data"] = {"path": "videocon-syn", "build": "a" * 64, "counts": {}}
    record["evaluations"] = []
    head = yaml.safe_load(render_model_card(record, adapter=False).split("---")[1])
    assert not {"base_model", "datasets"} & head.keys()
    assert head["library_name"] == "transformers"


def test_a_record_comes_back_and_a_folder_without_one_is_no_run(record, tmp_path):
    write_run_record(tmp_path, record)
    assert read_run_record(tmp_path) == json.loads(json.dumps(record))
    assert record["recipe"]["batch"] == 6
    with pytest.raises(SchemaError, match="training_run"):
        read_run_record(tmp_path / "other")
    (tmp_path / "training_run.json").write_text("{")
    with pytest.raises(SchemaError, match="training_run"):
        read_run_record(tmp_path)


def test_a_folders_version_is_that_of_its_build(tmp_path):
    assert dataset_version(str(tmp_path)) == {"path": tmp_path.name, "build": None}
    (tmp_path / "build.json").write_text("{}")
    assert dataset_version(str(tmp_path))["build"] == sha256_file(tmp_path / "build.json")


def test_a_fine_tune_is_published_once_and_whole(record, loopback_hub, tmp_path):
    owner = loopback_hub.add_user("someone")
    out = tmp_path / "out"
    (out / "checkpoint-5").mkdir(parents=True)
    write_run_record(out, record)
    (out / "adapter_model.safetensors").write_bytes(b"weights" * 100)
    (out / "adapter_config.json").write_text("{}")
    (out / "quarantine.jsonl").write_text("a list of somebody's files")
    (out / "training_args.json").write_text(json.dumps({"prompt": "video-llava", "output_dir": "/home/me"}))
    (out / "training_args.bin").write_bytes(b"a pickle that stays here")
    (out / "checkpoint-5" / "optimizer.pt").write_bytes(b"state")
    script = """
        import json, sys
        from pathlib import Path
        from synvita_data.errors import SynvitaError
        from synvita_data.training.publish import push_model
        folder, said = Path(sys.argv[1]), {}
        said["first"] = push_model(folder, "someone/fine-tune")
        said["again"] = push_model(folder, "someone/fine-tune")
        try:
            push_model(folder, "someone/fine-tune", private=True)
        except SynvitaError as error:
            said["private"] = str(error)
        (folder / "adapter_model.safetensors").unlink()
        try:
            push_model(folder, "someone/fine-tune")
        except SynvitaError as error:
            said["empty"] = str(error)
        print(json.dumps(said))
    """
    done = run_client(script, loopback_hub, str(out), home=tmp_path, token=owner.token)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["first"] == said["again"]
    assert "public" in said["private"]
    assert "no weights" in said["empty"]
    files = set(loopback_hub.repos["model", "someone/fine-tune"].resolve("main").tree)
    assert files - {".gitattributes"} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "training_args.json",
        "training_run.json",
    }
    tree = loopback_hub.repos["model", "someone/fine-tune"].resolve("main").tree
    assert json.loads(tree["training_args.json"].content) == {"prompt": "video-llava"}
