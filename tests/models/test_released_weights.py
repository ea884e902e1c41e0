"""The one reader of released weights: files, shards and folders that are whole, and those that are not."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from released_layouts import save_state

from synvita_data.errors import SynvitaError
from synvita_data.models.released.conversion import merge_exact, merge_float32, write_shards
from synvita_data.models.released.lora_settings import read_lora_settings
from synvita_data.models.released.weights import folder_with, read_shapes, read_state_dict, read_tensors

STATE = {name: torch.arange(n + 1.0) for n, name in enumerate("abcde")}


@pytest.mark.parametrize("form", ["bin", "safetensors"])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_what_is_read_is_what_was_saved(tmp_path, form, shards):
    save_state(tmp_path, STATE, form, shards)
    read = read_state_dict(tmp_path)
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[name], STATE[name]) for name in STATE)


def test_safetensors_come_before_bin(tmp_path):
    save_state(tmp_path, STATE, "bin", 2)
    save_state(tmp_path, {"other": torch.zeros(1)}, "safetensors", 1)
    assert set(read_state_dict(tmp_path)) == {"other"}


def test_an_index_that_names_more_than_its_files_hold(tmp_path):
    save_state(tmp_path, STATE, "bin", 2)
    index = tmp_path / "pytorch_model.bin.index.json"
    names = json.loads(index.read_text())
    names["weight_map"]["lost"] = "pytorch_model-00001-of-00002.bin"
    index.write_text(json.dumps(names))
    with pytest.raises(SynvitaError, match=r"lack what their index names.*1 missing: lost"):
        read_state_dict(tmp_path)
    index.write_text('{"weight_map": 3}')
    with pytest.raises(SynvitaError, match="index of weights cannot be read"):
        read_state_dict(tmp_path)


def test_an_index_stays_in_its_folder(tmp_path):
    """A name in it with folders in front is looked for beside the index."""
    inside = tmp_path / "inside"
    inside.mkdir()
    torch.save(STATE, tmp_path / "evil.bin")
    (inside / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "../evil.bin"}}))
    with pytest.raises(SynvitaError, match="lacks a file"):
        read_state_dict(inside)


class Command:
    """What a pickle may hold, and a checkpoint of tensors does not."""

    def __reduce__(self):
        return pytest.exit, ("a checkpoint was executed",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": Command()}, "cannot be read"),
        ([torch.zeros(1)], r"not a state dict.*list"),
        ({"a": {"b": torch.zeros(1)}}, r"not a state dict.*dict"),
        ({"a": torch.zeros(1), "epoch": 1}, r"not a state dict.*int"),
    ],
)
def test_a_bin_with_anything_but_tensors(tmp_path, content, words):
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(SynvitaError, match=words):
        read_tensors(tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_in_place_of_a_file(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(SynvitaError, match=r"pointer of Git LFS.*[Dd]ownload"):
        read_tensors(tmp_path / name)


@given(cut=st.integers(1, 300))
def test_a_safetensors_file_that_was_cut_off(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    save_state(folder, STATE, "safetensors", 1)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SynvitaError, match="cannot be read"):
        read_tensors(path)
    with pytest.raises(SynvitaError, match="cannot be read"):
        read_shapes(path)


def test_shapes_by_the_header_alone(tmp_path):
    save_state(tmp_path, STATE, "safetensors", 1)
    assert read_shapes(tmp_path / "model.safetensors") == {name: [n + 1] for n, name in enumerate("abcde")}


def test_the_folder_itself_comes_before_a_checkpoint_in_it(tmp_path):
    for place in (tmp_path / "checkpoint-1", tmp_path):
        with pytest.raises(SynvitaError, match="holds no weights"):
            folder_with(tmp_path, ["x.bin"])
        place.mkdir(exist_ok=True)
        if place != tmp_path:
            (place / "x.bin").touch()
            assert folder_with(tmp_path, ["x.bin"]) == place
            (tmp_path / "checkpoint-2").mkdir()
            assert folder_with(tmp_path, ["x.bin"]) == place  # an empty one does not count
            (place / "x.bin").unlink()
    (tmp_path / "x.bin").touch()
    for number in (1, 2):
        (tmp_path / f"checkpoint-{number}" / "x.bin").touch()
    assert folder_with(tmp_path, ["x.bin"]) == tmp_path


def test_settings_of_an_adapter(tmp_path):
    assert read_lora_settings(tmp_path) is None
    path = tmp_path / "adapter_config.json"
    path.write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 6, "target_modules": ["q_proj"]}')
    settings = read_lora_settings(tmp_path)
    assert (settings.rank, settings.alpha, settings.targets) == (4, 6.0, {"q_proj"})
    for content in ("[]", '{"peft_type": "LORA", "r": true, "lora_alpha": 6}', '{"peft_type": "IA3"}', "{"):
        path.write_text(content)
        with pytest.raises(SynvitaError, match="adapter"):
            read_lora_settings(tmp_path)


@given(st.integers(0, 2**31), st.sampled_from([0.5, 1.0, 3.0]))
def test_both_merges_are_near_the_exact_sum(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    weight, low, high = (torch.randn(*shape, generator=generator) for shape in ((6, 5), (2, 5), (6, 2)))
    exact = weight.double() + scale * high.double() @ low.double()
    assert (merge_float32(weight, low, high, scale) - exact).abs().max() < 1e-5
    # Two roundings to 11 bits, of W and of the sum.
    bound = 2**-11 * (weight.abs() + exact.abs()) + 1e-6
    assert ((merge_exact(weight, low, high, scale) - exact).abs() <= bound).all()
    before = weight.half()
    merge_exact(before, low, high, scale)
    assert torch.equal(before, weight.half())  # the weight itself stays


def test_an_index_counts_what_was_written(tmp_path):
    state = {name: torch.zeros(64) for name in "ab"}
    assert write_shards(tmp_path, state, 256, lambda name, tensor: tensor.half()) == 2
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 2 * 64 * 2
