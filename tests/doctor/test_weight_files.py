"""Weight files: which there should be, whether they are whole, and what their headers say."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from synvita_data.doctor.wanted import missing_shards, read_weight_files


@given(st.integers(1, 40), st.data(), st.sampled_from(["safetensors", "bin"]))
def test_the_missing_shards_are_those_that_are_not_there(total, data, suffix):
    every = [f"folder/model-{n:05d}-of-{total:05d}.{suffix}" for n in range(1, total + 1)]
    there = data.draw(st.sets(st.sampled_from(every), min_size=1))
    assert missing_shards([*there, "config.json", "data-00001-of-00009.parquet"]) == sorted(
        set(every) - there
    )


def test_parameters_and_dtype_are_those_of_the_arrays(tmp_path):
    arrays = {
        "a": np.zeros((3, 5), np.float16),
        "b": np.zeros((7,), np.float16),
        "c": np.zeros((2, 2), np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    save_file({name: arrays[name] for name in ("a", "b")}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({name: arrays[name] for name in ("c", "empty")}, tmp_path / "model-00002-of-00002.safetensors")
    (tmp_path / "config.json").write_text("{}")
    facts = read_weight_files(tmp_path.iterdir())
    assert facts.parameters == sum(array.size for array in arrays.values())
    assert facts.dtype == "float16"
    assert facts.faults == []


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda whole: whole[:-1], "not fully covered"),
        (lambda whole: whole[:20], "20 bytes"),
        (lambda whole: b"", "0 bytes"),
        (lambda whole: b"\xff" * 64, "header too large"),
        (lambda whole: whole[:8] + b"x" * (len(whole) - 8), "invalid JSON in header"),
        (lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS"),
    ],
)
def test_a_file_that_is_not_whole_is_named(tmp_path, spoil, expected):
    path = tmp_path / "model.safetensors"
    save_file({"a": np.ones((4, 4), np.float32)}, path)
    path.write_bytes(spoil(path.read_bytes()))
    (fault,) = read_weight_files([path]).faults
    assert fault.startswith("model.safetensors is not whole: ")
    assert expected in fault


def test_an_empty_file_of_torch_is_not_whole(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    assert read_weight_files(tmp_path.iterdir()).faults == ["pytorch_model.bin is not whole: an empty file"]


def test_an_index_names_shards_of_any_name(tmp_path):
    from synvita_data.doctor import look_at

    (tmp_path / "config.json").write_text("{}")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}))
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "x-1.safetensors")
    assert "x-2.safetensors is missing" in look_at(str(tmp_path)).faults
    index.write_text("not JSON")
    assert "an index of weights cannot be read" in str(look_at(str(tmp_path)).problem)


def test_an_index_of_the_form_that_is_not_read_promises_nothing(tmp_path):
    """`models.download` fetches every index and one form of the weights."""
    from synvita_data.doctor import look_at

    (tmp_path / "config.json").write_text("{}")
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "model-00001-of-00001.safetensors")
    for name, shard in (
        ("model.safetensors", "model-00001-of-00001.safetensors"),
        ("pytorch_model.bin", "pytorch_model-00001-of-00001.bin"),
    ):
        (tmp_path / f"{name}.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    assert look_at(str(tmp_path)).faults == ()
    (tmp_path / "model-00001-of-00001.safetensors").rename(tmp_path / "model.safetensors")
    assert look_at(str(tmp_path)).faults == ()
    (tmp_path / "model.safetensors").unlink()
    assert "model-00001-of-00001.safetensors is missing" in look_at(str(tmp_path)).faults
