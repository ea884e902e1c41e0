"""The Qwens' vision towers: windows in one call against the library's own loop over them."""

import pytest

pytest.importorskip("torch")
import torch
from transformers import AutoProcessor

from synvita_data.models import AlignmentModel, get_family
from synvita_data.models.attention import WINDOWS, window_attention
from synvita_data.testing import make_tiny


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("grid", [(1, 8, 8), (2, 12, 20), (3, 6, 10)])
def test_the_tower_gives_what_the_library_gives(family, grid, tmp_path):
    """Grids whose windows are all alike, and grids with windows of several lengths in no order."""
    make_tiny(family, tmp_path)
    made = get_family(family).network_class().from_pretrained(tmp_path).eval()
    tower = made.model.visual
    vision = tower.config
    patches = grid[0] * grid[1] * grid[2]
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    pixels = torch.randn(patches, width, generator=torch.Generator().manual_seed(0))
    thw = torch.tensor([grid])
    with torch.no_grad():
        expected = tower(pixels, grid_thw=thw, return_dict=True)
        assert vision._attn_implementation == "sdpa"
        AlignmentModel(made, AutoProcessor.from_pretrained(tmp_path))
        assert vision._attn_implementation == WINDOWS
        found = tower(pixels, grid_thw=thw, return_dict=True)
    torch.testing.assert_close(found.pooler_output, expected.pooler_output, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_another_attention_leaves_the_tower_alone(attention, tmp_path):
    make_tiny("qwen2_5_vl", tmp_path)
    made = get_family("qwen2_5_vl").network_class().from_pretrained(tmp_path)
    AlignmentModel(made, AutoProcessor.from_pretrained(tmp_path), attention=attention)
    assert made.model.visual.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("lengths", [[4, 4, 4], [4, 2, 4, 3, 2], [1], [3, 0, 3]])
def test_windows_see_themselves_and_nothing_else(lengths):
    """Against one softmax a window, written out; gradients too."""
    generator = torch.Generator().manual_seed(1)
    total, heads, width = sum(lengths), 2, 8
    sides = [
        torch.randn(1, heads, total, width, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(3)
    ]
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    found, _ = window_attention(None, *sides, None, scaling=0.3, cu_seq_lens_q=bounds)
    parts, begin = [], 0
    for length in lengths:
        q, k, v = (side[0, :, begin : begin + length] for side in sides)
        parts.append((0.3 * q @ k.transpose(1, 2)).softmax(-1) @ v)
        begin += length
    expected = torch.cat(parts, 1).transpose(0, 1)[None]
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((out * weights).sum(), sides, retain_graph=True) for out in (found, expected)
    ]
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other, atol=1e-12, rtol=1e-12)
