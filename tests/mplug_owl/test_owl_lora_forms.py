"""Every form in which SynViTA's LoRA on mPLUG-Owl may be released, and which of the two uploads a base is."""

import json

import pytest
import torch
from released_layouts import ALPHA, RANK, lora_state, owl_state, write_mplug_owl, write_mplug_owl_lora
from safetensors.torch import load_file
from typer.testing import CliRunner

from synvita_data.errors import SynvitaError
from synvita_data.models.mplug_owl import convert as owl_convert
from synvita_data.models.mplug_owl.convert import convert_mplug_owl
from synvita_data.models.mplug_owl.lora_checkpoint import convert_lora, merge_lora


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("owl")
    convert_mplug_owl(write_mplug_owl(folder / "released"), folder / "base")
    return folder / "base"


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
@pytest.mark.parametrize("nested", [None, "checkpoint-5180"])
@pytest.mark.parametrize("form", ["whole", "sharded", "safetensors", "bin"])
def test_every_form_gives_the_same_adapter(base, tmp_path, form, nested, prefix):
    lines = []
    source = write_mplug_owl_lora(tmp_path / "lora", form=form, nested=nested, prefix=prefix)
    report = convert_lora(source, tmp_path / "out", base, say=lines.append)
    compared = 119 if form in ("whole", "sharded") else 0
    assert report == {"modules": 14, "rank": RANK, "compared": compared}
    # An adapter alone says its alpha, a state dict does not; and it has no copy of the base, which is said.
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert settings["lora_alpha"] == (32 if compared else ALPHA)
    assert settings["base_model_name_or_path"] == str(base)
    assert lines[0].startswith(f"{compared} weights of the base")
    assert ("cannot be seen" in lines[0]) == (not compared)
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    expected = lora_state("base_model.model.language_model.model.", dtype=torch.bfloat16)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    names = set(json.loads((tmp_path / "out" / "conversion.json").read_text())["files"])
    assert all(name.startswith(("pytorch_model", "adapter_model")) for name in names)


def test_a_compiled_module_inside(base, tmp_path):
    """torch.compile of the inner model puts its wrapper behind PEFT's."""
    source = write_mplug_owl_lora(tmp_path / "lora")
    path = source / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    torch.save(
        {k.replace("model.language_model", "model._orig_mod.language_model"): v for k, v in state.items()},
        path,
    )
    assert convert_lora(source, tmp_path / "out", base)["compared"] == 119


@pytest.mark.parametrize("form", ["whole", "safetensors"])
def test_merged_into_its_own_base_or_the_named_one(base, tmp_path, form):
    source = write_mplug_owl_lora(tmp_path / "lora", form=form)
    merge_lora(source, tmp_path / "out", base, alpha=ALPHA)
    merged = load_file(tmp_path / "out" / "model.safetensors")
    weights, lora = owl_state(), lora_state("", dtype=torch.bfloat16)
    name = "layers.1.mlp.down_proj"
    low, high = (lora[f"{name}.lora_{side}.weight"].double() for side in "AB")
    exact = weights[f"language_model.model.{name}.weight"].double() + ALPHA / RANK * high @ low
    assert (merged[f"language_model.model.{name}.weight"].double() - exact).abs().max() < 2**-7
    assert torch.equal(merged["query_tokens"], weights["query_tokens"])


@pytest.mark.parametrize(
    ("given", "alpha", "words"),
    [
        ({"settings": {"r": 8}}, None, r"another rank than its settings say.*r = 8.*4"),
        ({"settings": {"use_dora": True}}, None, "not a plain LoRA.*use_dora"),
        ({}, 16, r"settings have another alpha.*8.*16"),
    ],
)
def test_settings_that_do_not_fit(base, tmp_path, given, alpha, words):
    source = write_mplug_owl_lora(tmp_path / "lora", form="safetensors", **given)
    with pytest.raises(SynvitaError, match=words):
        convert_lora(source, tmp_path / "out", base, alpha=alpha)
    assert [path.name for path in tmp_path.iterdir()] == ["lora"]


def test_an_adapter_alone_for_another_base(base, tmp_path):
    source = write_mplug_owl_lora(tmp_path / "lora", form="bin")
    path = source / "adapter_model.bin"
    state = torch.load(path, weights_only=True)
    key = "base_model.model.language_model.model.layers.0.mlp.up_proj.lora_A.weight"
    torch.save({**state, key: torch.zeros(RANK, 31)}, path)
    with pytest.raises(SynvitaError, match=r"another base model.*up_proj.*\[64, 32\]"):
        convert_lora(source, tmp_path / "out", base)


def test_another_base_than_the_checkpoints(base, tmp_path):
    source = write_mplug_owl_lora(tmp_path / "lora", base_seed=3)
    with pytest.raises(SynvitaError, match="base is not this one"):
        convert_lora(source, tmp_path / "out", base)


def test_several_checkpoints(base, tmp_path):
    source = write_mplug_owl_lora(tmp_path / "lora", nested="checkpoint-1")
    write_mplug_owl_lora(tmp_path / "other", nested="checkpoint-2")
    (tmp_path / "other" / "checkpoint-2").rename(source / "checkpoint-2")
    with pytest.raises(SynvitaError, match="several checkpoints"):
        convert_lora(source, tmp_path / "out", base)


def test_which_upload_a_base_is_is_said(tmp_path, monkeypatch):
    """By the digest of its weights: two uploads have one name (../shared/facts/hub, surprise 5)."""
    from synvita_data.files import sha256_file

    source = write_mplug_owl(tmp_path / "released")
    lines = []
    convert_mplug_owl(source, tmp_path / "out", say=lines.append)
    digest = sha256_file(source / "pytorch_model.bin")
    assert any(digest in line and "neither of the two" in line for line in lines)
    made_of = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert made_of["files"]["pytorch_model.bin"]["sha256"] == digest
    assert made_of["tokenizer"] == {"legacy": False}  # surprise 4: given to the class, and written down
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["legacy"] is False
    assert len(owl_convert.UPLOADS) == 2
    for known in owl_convert.UPLOADS:
        assert len(known) == 64
        monkeypatch.setattr(owl_convert, "UPLOADS", {digest: owl_convert.UPLOADS[known]})
        lines.clear()
        convert_mplug_owl(source, tmp_path / known, say=lines.append)
        assert any("upload (" in line for line in lines)
        monkeypatch.undo()


def test_the_command_takes_an_adapter(base, tmp_path):
    from synvita_data.cli import app

    source = write_mplug_owl_lora(tmp_path / "lora", form="safetensors", nested="checkpoint-5180")
    done = CliRunner().invoke(
        app, ["convert", "mplug-owl-lora", str(source), str(tmp_path / "out"), "--base", str(base)]
    )
    assert done.exit_code == 0, done.output
    assert "0 weights of the base compared" in " ".join(done.output.split())
    assert "rank 4 and alpha 8 on 14 layers" in " ".join(done.output.split())
