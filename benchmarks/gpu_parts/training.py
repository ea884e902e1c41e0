"""A training step of triplets at 7B with LoRA: packed against plain, memory, and what else could do the attention."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from training_step import Step, fixed_texts, with_lora

from synvita_data.models import AlignmentModel
from synvita_data.models.attention import split_attention
from synvita_data.models.strategies import branch_mask, pack

from .figures import Figures, dense_rate, flop_of, free_memory, peak_gib, seconds
from .shapes import attention_flop, frames_of, language_weights, prompts_of, seven_billion

GOAL = 45.0  # percent of the bound, without gradient checkpointing


def run(figures: Figures) -> None:
    rate = dense_rate(figures)
    model = with_lora(seven_billion("video_llava", figures.device, figures.small), dropout=0.05)
    videos = [model.prepare(frames_of("video_llava", seed, figures.small)) for seed in range(32)]
    bound = flop_of_triplet(model, videos[0]) / rate
    figures.add("FLOP bound of a triplet, forward and backward into LoRA", bound, "s")
    with figures.step("steps without gradient checkpointing"):
        steps(figures, model, videos, bound, checkpointing=False)
    with figures.step("steps with gradient checkpointing"):
        model.family.model.gradient_checkpointing_enable({"use_reentrant": False})
        steps(figures, model, videos, bound, checkpointing=True)
    with figures.step("attention kernels"):
        kernels(figures, model, videos[0])
    model.family.model.gradient_checkpointing_disable()
    for dynamic in (False, True):
        with figures.step(f"torch.compile of the decoder's layers, dynamic={dynamic}"):
            compiled(figures, model, videos, bound, dynamic=dynamic)


def flop_of_triplet(model: AlignmentModel, video: Any) -> float:
    """Two videos with four texts each. Backward computes what reaches LoRA through frozen weights: as much again,
    for attention twice. LoRA itself, norms and the head's eight rows are left out."""
    packed = pack(prompts_of(model, fixed_texts(), video))
    branches = np.bincount(packed.branch[packed.prefix :]).tolist()
    with torch.no_grad():
        tower = flop_of(lambda: model.encode(video))
    attention = attention_flop(model, packed.prefix, branches)
    return 2 * (tower + 2 * 2 * language_weights(model) * len(packed) + 3 * attention)


def steps(
    figures: Figures, model: AlignmentModel, videos: list[Any], bound: float, *, checkpointing: bool
) -> None:
    """One more triplet at a time until memory ends; the plain eight forwards for the first."""
    kind = "with gradient checkpointing" if checkpointing else "without gradient checkpointing"
    largest = 0
    for triplets in (1, 2) if figures.small else (1, 4, 16):
        step = Step(model, fixed_texts(), videos[: 2 * triplets])
        packed = on(figures, step.packed)
        try:
            memory = peak_gib(packed)
            taken = seconds(packed, 1 if figures.small else 3, 0) / triplets
        except torch.OutOfMemoryError:
            model.zero_grad(set_to_none=True)
            free_memory()
            break
        largest = triplets
        name = f"{triplets} triplet(s) a step, {kind}"
        figures.add(f"{name}: seconds a triplet, packed", taken, "s")
        goal = None if checkpointing or figures.small else GOAL  # checkpointing runs every forward twice
        figures.add(f"{name}: share of the bound", 100 * bound / taken, "%", goal)
        figures.add(f"{name}: peak memory", memory, "GiB")
        if triplets == 1:
            plain_step(figures, model, step, name, taken)
            figures.profile(f"training-{'checkpointed' if checkpointing else 'step'}", packed)
        if taken * triplets > 6:  # a larger step tells no more
            break
    figures.add(f"largest batch tried that fits, {kind}", float(largest), "triplets")


def plain_step(figures: Figures, model: AlignmentModel, step: Step, name: str, packed: float) -> None:
    plain = on(figures, step.plain)
    try:
        memory = peak_gib(plain)
        taken = seconds(plain, 1, 0)
    except torch.OutOfMemoryError:
        model.zero_grad(set_to_none=True)
        free_memory()
        figures.add(f"{name}: eight plain forwards in one graph", "does not fit")
        return
    figures.add(f"{name}: eight plain forwards in one graph", taken, "s")
    figures.add(f"{name}: packed faster than plain", taken / packed, "x")
    figures.add(f"{name}: peak memory of plain", memory, "GiB")


def on(figures: Figures, work: Callable[[], object]) -> Callable[[], object]:
    """Under bf16 autocast as a Trainer with `bf16=True` has it: LoRA's weights are fp32, the others bf16."""

    def cast() -> object:
        with torch.autocast(figures.device, torch.bfloat16, enabled=figures.device == "cuda"):
            return work()

    return cast


def kernels(figures: Figures, model: AlignmentModel, video: Any) -> None:
    """The attention of one layer, forward and backward, for the two rows of a triplet: what the product does, one
    dense mask, and flex attention with a block mask."""
    packed = pack(prompts_of(model, fixed_texts(), video))
    config = model.family.model.config.get_text_config(decoder=True)
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    device, length = figures.device, len(packed)
    branch = torch.from_numpy(packed.branch).to(device)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    q, k, v = (
        torch.randn(2, heads, length, width, device=device, dtype=dtype).requires_grad_() for _ in range(3)
    )
    dense = branch_mask(branch)[None, None]
    behind = branch_mask(branch, packed.prefix)[None, None]
    sides: dict[str, Callable[[], Tensor]] = {
        "split, as the product does": lambda: split_attention(
            torch.nn.Module(), q, k, v, behind, prefix_length=packed.prefix
        )[0].transpose(1, 2),
        "one dense mask": lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=dense),
    }
    if device == "cuda":  # its backward pass is for GPUs only
        sides["flex attention"] = flex(q, k, v, branch)
    reference = None
    for name, side in sides.items():
        with figures.step(f"attention, {name}"):
            found = side()
            reference = found if reference is None else reference
            apart = float((found - reference).detach().abs().max())
            grad = torch.randn_like(found)

            def both(side: Callable[[], Tensor] = side, grad: Tensor = grad) -> None:
                side().backward(grad)

            forward = seconds(side, 5, 2)
            whole = seconds(both, 5, 2)
            figures.add(
                f"attention of a layer, {name}: forward {1e3 * forward:.2f} ms, with backward (differs by {apart:.1g})",
                1e3 * whole,
                "ms",
            )


def flex(q: Tensor, k: Tensor, v: Tensor, branch: Tensor) -> Callable[[], Tensor]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def sees(b: Tensor, h: Tensor, row: Tensor, column: Tensor) -> Tensor:
        own = (branch[column] < 0) | (branch[column] == branch[row])
        return own & (column <= row)

    blocks = create_block_mask(sees, None, None, len(branch), len(branch), device=str(q.device))
    run_flex = torch.compile(flex_attention, dynamic=False)
    return lambda: run_flex(q, k, v, block_mask=blocks)


def compiled(
    figures: Figures, model: AlignmentModel, videos: list[Any], bound: float, *, dynamic: bool
) -> None:
    """The decoder's layers compiled one by one, without gradient checkpointing; the rest of a step stays as it is."""
    torch.compiler.reset()
    for layer in model.family.language_model.layers:
        layer.compile(dynamic=dynamic, backend="inductor" if figures.device == "cuda" else "eager")
    try:
        step = on(figures, Step(model, fixed_texts(), videos[:2]).packed)
        first = seconds(step, 1, 0)
        taken = seconds(step, 1 if figures.small else 3, 1)
    finally:
        model.zero_grad(set_to_none=True)
        for layer in model.family.language_model.layers:
            layer._compiled_call_impl = None
    name = f"torch.compile of the decoder's layers, dynamic={dynamic}"
    figures.add(f"{name}: the first step", first, "s")
    figures.add(f"{name}: seconds a triplet", taken, "s")
    figures.add(f"{name}: share of the bound", 100 * bound / taken, "%", None if figures.small else GOAL)
