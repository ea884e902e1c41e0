"""Presets against what the authors recommend, and how settings replace them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from released.recorded import facts

from synvita_data.builders.generators.base import open_generator, parse_overrides
from synvita_data.builders.generators.diffusers.checkpoints import folder_revision
from synvita_data.builders.generators.diffusers.presets import PRESETS, STEPS, find_preset
from synvita_data.builders.generators.diffusers.settings import pipeline_settings
from synvita_data.errors import SourceError
from synvita_data.hub.known import known

# Model, its pipeline and the entries of its configuration that tell it apart -> what must come out.
RECOMMENDED = {
    "cogvideox-2b": (
        ("CogVideoXPipeline", {"num_layers": 30, "num_attention_heads": 30}, {}),
        {
            "dtype": "float16",
            "scheduler": "CogVideoXDDIMScheduler",
            "steps": 50,
            "guidance": 6.0,
            "frames": 49,
        }
        | {"height": 480, "width": 720, "fps": 8, "call": {}},
    ),
    "cogvideox-5b": (
        ("CogVideoXPipeline", {"num_layers": 42, "num_attention_heads": 48}, {}),
        {"dtype": "bfloat16", "scheduler": "CogVideoXDPMScheduler", "call": {"use_dynamic_cfg": True}}
        | {"scheduler_options": {"timestep_spacing": "trailing"}, "frames": 49, "height": 480, "fps": 8},
    ),
    "cogvideox-1.5-5b": (
        ("CogVideoXPipeline", {"num_layers": 42, "num_attention_heads": 48, "patch_size_t": 2}, {}),
        {"height": 768, "width": 1360, "frames": 81, "fps": 16, "dtype": "bfloat16"},
    ),
    "wan2.1-1.3b": (
        ("WanPipeline", {"num_layers": 30, "num_attention_heads": 12}, {}),
        {
            "vae_dtype": "float32",
            "height": 480,
            "width": 832,
            "frames": 81,
            "guidance": 5.0,
            "steps": 50,
            "fps": 16,
        }
        | {"scheduler_options": {"flow_shift": 3.0}},
    ),
    "wan2.1-14b": (
        ("WanPipeline", {"num_layers": 40, "num_attention_heads": 40}, {}),
        {
            "vae_dtype": "float32",
            "height": 480,
            "width": 832,
            "frames": 81,
            "guidance": 5.0,
            "steps": 50,
            "fps": 16,
        },
    ),
    "wan2.2-a14b": (
        ("WanPipeline", {"num_layers": 40, "num_attention_heads": 40}, {"boundary_ratio": 0.875}),
        {"vae_dtype": "float32", "frames": 81, "fps": 16, "guidance": 4.0, "call": {"guidance_scale_2": 3.0}},
    ),
    "wan2.2-ti2v-5b": (
        ("WanPipeline", {"num_layers": 30, "num_attention_heads": 24}, {"expand_timesteps": True}),
        {"vae_dtype": "float32", "height": 704, "width": 1280, "frames": 121, "fps": 24, "guidance": 5.0},
    ),
    "ltx-video": (
        ("LTXPipeline", {"num_layers": 28}, {}),
        {"height": 512, "width": 704, "frames": 161, "guidance": 3.0, "fps": 24},
    ),
    "ltx-video-condition": (
        ("LTXConditionPipeline", {"num_layers": 28}, {}),
        {"height": 512, "width": 704, "frames": 161, "guidance": 3.0, "fps": 24},
    ),
    "ltx-2": (
        ("LTX2Pipeline", {}, {}),
        {"height": 512, "width": 768, "frames": 121, "steps": 30, "guidance": 3.0, "fps": 24},
    ),
    "hunyuan-video": (
        ("HunyuanVideoPipeline", {}, {}),
        {"height": 720, "width": 1280, "frames": 129, "steps": 50, "guidance": 6.0},
    ),
    "mochi-1": (("MochiPipeline", {}, {}), {"steps": 64, "guidance": 4.5, "frames": 163}),
}


def settings(pipeline, overrides=(), transformer=None, index=None, name="some/model"):
    configs = {"transformer": transformer or {}, "model_index": index or {}}
    return pipeline_settings(pipeline, configs, name, parse_overrides(overrides))[0]


@pytest.mark.parametrize("name", RECOMMENDED)
def test_what_the_authors_recommend(name):
    (pipeline, transformer, index), expected = RECOMMENDED[name]
    found = settings(pipeline, (), transformer, index)
    assert found["preset"] == name
    assert {key: found[key] for key in expected} == expected


def test_presets_keep_their_own_rules():
    assert {preset.pipeline for preset in PRESETS} == set(STEPS)
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)
    for preset in PRESETS:
        again = settings(preset.pipeline, [f"preset={preset.name}"])
        assert again["preset"] == preset.name
        assert preset.scheduler is not None or "flow_shift" not in preset.scheduler_options


def test_a_model_is_known_by_its_configuration_before_its_name():
    configs = {"transformer": {"num_layers": 30, "num_attention_heads": 30}}
    assert find_preset("CogVideoXPipeline", configs, "me/CogVideoX-5b").name == "cogvideox-2b"
    assert find_preset("CogVideoXPipeline", {}, "THUDM/CogVideoX-5b").name == "cogvideox-5b"
    assert find_preset("CogVideoXPipeline", {}, "THUDM/CogVideoX1.5-5B").name == "cogvideox-1.5-5b"
    assert find_preset("CogVideoXPipeline", {}, "me/mine") is None
    assert find_preset("LTXPipeline", {"vae": {"timestep_conditioning": True}}, "x").name == "ltx-video-0.9.1"
    assert find_preset("AllegroPipeline", {}, "rhymes/cogvideox-2b") is None


def test_released_configurations_that_others_copied():
    """As recorded of copies under other names: heads tell Wan2.2-TI2V-5B from Wan2.1-1.3B, which has as many layers."""
    copy = facts("Wan-AI/Wan2.2-TI2V-5B-Diffusers")["copy"]["transformer"]
    assert copy["num_layers"] == 30
    found = settings("WanPipeline", transformer=copy, name="inference-sh/renamed")
    assert (found["preset"], found["frames"], found["height"]) == ("wan2.2-ti2v-5b", 121, 704)
    small = copy | {"num_attention_heads": 12}
    assert settings("WanPipeline", transformer=small, name="x")["preset"] == "wan2.1-1.3b"
    large = facts("Wan-AI/Wan2.1-T2V-14B-Diffusers")
    index = large["model_index_main_like (refs/pr/5)"]
    found = settings("WanPipeline", transformer=large["transformer_of_fine_tune"], index=index, name="x")
    assert found["preset"] == "wan2.1-14b"
    second = facts("Wan-AI/Wan2.2-T2V-A14B-Diffusers")["transformer_2_config (refs/pr/2)"]
    found = settings("WanPipeline", transformer=second, index={"boundary_ratio": 0.875}, name="x")
    assert found["preset"] == "wan2.2-a14b"


def test_cogvideox_2b_decodes_in_half_precision_whatever_its_vae_is_stored_in():
    """Its VAE is fp32 since 1137dac. The pipeline has one dtype; the preset's is that of the model card's example."""
    record = facts("THUDM/CogVideoX-2b")
    assert "VAE in fp32" in record["commits"]["1137dac"]
    transformer, index = record["transformer_config_of_fine_tune"], record["model_index_of_duplicate"]
    found = settings(index["_class_name"], transformer=transformer, index=index, name="somebody/copy")
    assert (found["preset"], found["dtype"], found["vae_dtype"]) == ("cogvideox-2b", "float16", None)
    with pytest.raises(SourceError, match="decodes in the dtype"):
        settings(index["_class_name"], ["vae_dtype=float32"], transformer)
    assert settings(index["_class_name"], ["dtype=float32"], transformer)["dtype"] == "float32"
    larger = facts("zai-org/CogVideoX-5b")["model_index"]
    assert find_preset(larger["_class_name"], {}, "zai-org/CogVideoX-5b").name == "cogvideox-5b"


def test_ltx_video_before_2025_is_named_with_the_commit_that_works(tmp_path, monkeypatch):
    """Its folders then were no pipeline of diffusers: no model_index.json."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    old = "9217013ba6e298e2841360673f70697f08b56f17"
    folder = tmp_path / "models--Lightricks--LTX-Video" / "snapshots" / old
    (folder / "transformer").mkdir(parents=True)
    (folder / "transformer/transformer_config.json").write_text("{}")
    works = known("Lightricks/LTX-Video").commit
    assert works in facts("Lightricks/LTX-Video")["commits"]
    with pytest.raises(SourceError, match="not a pipeline of diffusers") as error:
        open_generator(f"diffusers:Lightricks/LTX-Video@{old}")
    assert f"diffusers:Lightricks/LTX-Video@{works}" in str(error.value)
    with pytest.raises(SourceError, match="Give the folder that save_pretrained wrote"):
        open_generator(f"diffusers:{folder}")


def test_every_value_can_be_replaced():
    overrides = ["frames=9", "size=64x96", "fps=12.5", "steps=2", "guidance=1", "dtype=float32"]
    overrides += ["negative_prompt=bad", "scheduler=DDIMScheduler", "scheduler.eta=1", "offload=sequential"]
    overrides += ["vae_tiling=false", "vae_slicing=false", "batch_size=2", "call.use_dynamic_cfg=false"]
    found = settings("CogVideoXPipeline", ["preset=cogvideox-5b", *overrides])
    assert found == {
        "pipeline": "CogVideoXPipeline",
        "preset": "cogvideox-5b",
        "batch_size": 2,
        "frames": 9,
        "height": 64,
        "width": 96,
        "fps": 12.5,
        "steps": 2,
        "guidance": 1.0,
        "negative_prompt": "bad",
        "scheduler": "DDIMScheduler",
        "scheduler_options": {"timestep_spacing": "trailing", "eta": 1},
        "dtype": "float32",
        "vae_dtype": None,
        "vae_tiling": False,
        "vae_slicing": False,
        "call": {"use_dynamic_cfg": False},
    }
    assert PRESETS[1].scheduler_options == {"timestep_spacing": "trailing"}  # a preset is never changed


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("frame=9", "unknown setting.*frames"),
        ("scheduler.=1", "unknown setting"),
        ("call.num_frames=9", "not free.*--set frames"),
        ("call.generator=9", "not free"),
        ("frames=48", r"8·N \+ 1, such as 41 or 49"),
        ("height=490", "a multiple of 16, such as 480 or 496"),
        ("size=480", "HEIGHTxWIDTH"),
        ("steps=0", "whole number"),
        ("steps=2.5", "whole number"),
        ("steps=true", "whole number"),
        ("fps=NaN", "a number above 0"),
        ("dtype=int8", "float32"),
        ("vae_dtype=float32", "decodes in the dtype"),
        ("offload=disk", "none, model, sequential"),
        ("vae_tiling=1", "true or false"),
        ("preset=wan2.1-14b", "unknown preset.*cogvideox-2b"),
        ("frames", "cannot be read"),
    ],
)
def test_settings_that_cannot_be_used(override, problem):
    with pytest.raises(SourceError, match=problem):
        settings("CogVideoXPipeline", [override], {"num_layers": 42, "num_attention_heads": 48})


def test_a_setting_is_given_once():
    with pytest.raises(SourceError, match="twice"):
        parse_overrides(["steps=1", "steps=2"])


@given(st.sampled_from(sorted(STEPS)), st.integers(1, 400))
def test_frames_are_taken_exactly_where_the_model_can_make_them(pipeline, frames):
    overrides = [f"frames={frames}", "fps=8", "preset=none"]
    if frames % STEPS[pipeline][0] == 1:
        assert settings(pipeline, overrides)["frames"] == frames
    else:
        with pytest.raises(SourceError, match="N"):
            settings(pipeline, overrides)


def test_cogvideox_1_5_packs_frames_in_pairs():
    for frames, good in ((81, True), (161, True), (49, True), (41, False), (89, False)):
        overrides = [f"frames={frames}", "preset=cogvideox-1.5-5b"]
        if good:
            assert settings("CogVideoXPipeline", overrides, {"patch_size_t": 2})["frames"] == frames
        else:
            with pytest.raises(SourceError, match=r"16·N \+ 1"):
                settings("CogVideoXPipeline", overrides, {"patch_size_t": 2})


def test_a_pipeline_without_a_preset_says_what_it_needs():
    with pytest.raises(SourceError, match=r"--set fps=… .* one of the presets: .*cogvideox-2b"):
        settings("CogVideoXPipeline", [], {"num_layers": 1})
    with pytest.raises(SourceError, match="--set fps=…"):
        settings("AllegroPipeline")
    found = settings("AllegroPipeline", ["fps=15"])
    assert (found["preset"], found["frames"], found["steps"], found["fps"]) == (None, None, None, 15)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"%s": 3}', b'{"%s": [1, 2]}', b"\xff\xfe"])
def test_a_damaged_cache_of_digests_is_made_anew(tmp_path, damage):
    weights, cache = tmp_path / "model" / "w.safetensors", tmp_path / "weights.json"
    weights.parent.mkdir()
    weights.write_bytes(b"12345678")
    whole = folder_revision([weights], weights.parent, cache)
    kept = cache.read_bytes()
    cache.write_bytes(damage.replace(b"%s", str(weights).encode()))
    assert folder_revision([weights], weights.parent, cache) == whole
    assert cache.read_bytes() == kept
