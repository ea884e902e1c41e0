"""Which files of a repository are fetched: by recorded file lists, and by what the loaders do fetch."""

import json

import pytest
from loopback_hub import run_client

from synvita_data.doctor.wanted import dataset_files, lacking_weights, model_files, pipeline_files

# As recorded of the Hub on 2026-11-26 (LanguageBind/Video-LLaVA-7B, Salesforce/instructblip-flan-t5-xl, THUDM/CogVideoX-2b).
BOTH_FORMS = [
    ".gitattributes",
    "README.md",
    "config.json",
    "generation_config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "pytorch_model-00001-of-00002.bin",
    "pytorch_model-00002-of-00002.bin",
    "pytorch_model.bin.index.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "trainer_state.json",
    "training_args.bin",
]
PIPELINE = [
    "README.md",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model-00001-of-00002.safetensors",
    "text_encoder/model-00002-of-00002.safetensors",
    "text_encoder/model.safetensors.index.json",
    "text_encoder/pytorch_model.bin",
    "tokenizer/added_tokens.json",
    "tokenizer/spiece.model",
    "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "transformer/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "safety_checker/config.json",
    "safety_checker/model.safetensors",
    "ltx-video-2b-v0.9.safetensors",
]


def test_safetensors_are_taken_and_not_their_copies():
    chosen = model_files(BOTH_FORMS)
    assert {path for path in chosen if path.endswith((".safetensors", ".bin"))} == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }
    assert "model.safetensors.index.json" in chosen
    assert not chosen & {"README.md", "training_args.bin"}


def test_bin_files_are_taken_where_there_is_nothing_else():
    only = [path for path in BOTH_FORMS if "safetensors" not in path]
    assert {path for path in model_files(only) if path.endswith(".bin")} == {
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
    }


def test_a_single_file_comes_before_shards():
    assert "model-00001-of-00002.safetensors" not in model_files([*BOTH_FORMS, "model.safetensors"])


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_fetched_shards_are_those_of_the_index(tmp_path, form):
    """By names alone, as of a repository, and by the index, as `fetch` reads it."""
    from synvita_data.models.download import files_to_fetch, weight_names

    stem = "model" if form == "safetensors" else "pytorch_model"
    shards = [f"{stem}-0000{n}-of-00002.{form}" for n in (1, 2)]
    index = tmp_path / f"{stem}.{form}.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}))
    paths = ["config.json", index.name, *shards, "README.md", "optimizer.pt", f"sub/{shards[0]}"]

    def find(name):
        return tmp_path / name if (tmp_path / name).exists() else None

    assert weight_names(find) == shards
    assert files_to_fetch(paths) == {"config.json", index.name, *shards}
    # transformers loads the single file where both are there.
    (tmp_path / f"{stem}.{form}").touch()
    assert weight_names(find) == [f"{stem}.{form}"]
    assert files_to_fetch([*paths, f"{stem}.{form}"]) == {"config.json", index.name, f"{stem}.{form}"}


def test_an_adapter_is_two_files():
    paths = [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.pt",
        "training_args.json",
    ]
    assert model_files(paths) == {"adapter_config.json", "adapter_model.safetensors", "training_args.json"}


def test_a_pipeline_takes_its_components_without_variants_and_copies():
    components = ["scheduler", "text_encoder", "tokenizer", "transformer", "vae"]
    left_out = {
        "README.md",
        "text_encoder/pytorch_model.bin",
        "transformer/diffusion_pytorch_model.fp16.safetensors",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "ltx-video-2b-v0.9.safetensors",
    }
    assert pipeline_files(PIPELINE, components) == set(PIPELINE) - left_out


def test_what_has_settings_and_no_weights_is_named():
    assert lacking_weights(sorted(pipeline_files(PIPELINE))) == []
    without = [path for path in pipeline_files(PIPELINE) if path != "vae/diffusion_pytorch_model.safetensors"]
    assert lacking_weights(without) == ["vae has settings and no weights that are read (config.json)"]
    assert lacking_weights(["config.json", "model.safetensors", "tower/config.json"]) == []
    assert lacking_weights(["config.json"]) == [
        "the model has settings and no weights that are read (config.json)"
    ]


def test_a_dataset_takes_what_its_card_gives_to_a_config():
    wanted = dataset_files(["lavie/train-*.parquet"])
    paths = ["README.md", "lavie/train-0.parquet", "lavie/test-0.parquet", "cogvideox/train-0.parquet"]
    assert wanted(paths) == {"README.md", "lavie/train-0.parquet"}


@pytest.mark.slow
def test_the_loaders_fetch_no_weights_but_these(tiny, tmp_path, loopback_hub):
    """What transformers asks for while it loads is the reference."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    (copy / "pytorch_model.bin").write_bytes(b"a copy that nobody reads")
    (copy / "notes.md").write_text("nothing")
    loopback_hub.serve("org/tiny", copy)
    done = run_client(
        """
        import json
        from synvita_data.doctor import look_at
        facts = look_at("org/tiny")
        from synvita_data.models.loading import load_alignment_model
        from synvita_data.models.resolve import find_checkpoint
        load_alignment_model(find_checkpoint("org/tiny"), device="cpu")
        after = look_at("org/tiny")
        print(json.dumps([sorted(facts.paths), facts.bytes_to_fetch, after.bytes_to_fetch]))
        """,
        loopback_hub,
        home=tmp_path,
        USE_TORCH="1",
    )
    assert done.returncode == 0, done.stderr
    wanted, before, after = json.loads(done.stdout.splitlines()[-1])
    served = {
        request.path.rpartition("/")[2]
        for request in loopback_hub.requests("download")
        if request.status == 200
    }
    assert served <= set(wanted)
    assert served & {"model.safetensors"}
    assert before > 0
    assert after <= before - (tiny / "model.safetensors").stat().st_size
