"""One stream of noise a row, drawn in fp32 on the CPU whatever the model's dtype and device.

`randn` in another dtype may be another stream of the same seed (which are, differs between releases of torch), and a
GPU has streams of its own. Every pipeline
of diffusers draws its first latents in one method, `prepare_latents(…, dtype, device, generator, latents)`, which
alone knows their shape, order and packing. So that method is asked for fp32 latents, from a CPU generator, and
what it gives is cast to the dtype that the pipeline wanted.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IN_FP32 = "fp32 latents from a CPU generator"
BY_PIPELINE = "drawn by the pipeline in its own dtype from a CPU generator"
_NEEDED = {"dtype", "generator", "latents"}


def cpu_generator(seed: int) -> "torch.Generator":
    """The generator of one row."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


def noise_kind(pipe: Any) -> str:
    """How a pipeline's noise is drawn under `fp32_latents`: IN_FP32 or BY_PIPELINE, for the record."""
    prepare = getattr(pipe, "prepare_latents", None)
    if prepare is None or not set(inspect.signature(prepare).parameters) >= _NEEDED:
        return BY_PIPELINE
    return IN_FP32


@contextmanager
def fp32_latents(pipe: Any) -> Iterator[None]:
    """Inside the `with`, the pipeline draws its first latents in fp32 and casts them.

    A pipeline without such a method draws as it does without this.
    """
    if noise_kind(pipe) != IN_FP32:
        yield
        return
    import torch

    stock = pipe.prepare_latents
    signature = inspect.signature(stock)

    def prepare(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        dtype = call.arguments["dtype"]
        call.arguments["dtype"] = torch.float32
        latents = stock(*call.args, **call.kwargs)
        return latents.to(dtype) if isinstance(latents, torch.Tensor) and dtype is not None else latents

    object.__setattr__(pipe, "prepare_latents", prepare)
    try:
        yield
    finally:
        object.__delattr__(pipe, "prepare_latents")
