"""A device without fp64, as Apple's GPUs are, played by tensors of the CPU: what is fp64 there raises, until `.cpu()`."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map


class OnDevice(Tensor):
    """A tensor that is there; whatever is computed from it is there too."""


class NoFp64(TorchFunctionMode):
    """While it is on, fp64 on the device is an error: computed from an `OnDevice`, or made with `device=`."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = tree_leaves((args, kwargs))
        there = any(isinstance(each, OnDevice) for each in inputs)
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **kwargs)
        home = function in (Tensor.cpu, Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__float__)
        if (there and not home) or any(isinstance(each, torch.device) for each in inputs):
            for each in tree_leaves(result):
                if isinstance(each, Tensor) and each.dtype == torch.float64:
                    raise TypeError(f"this device has no float64 ({getattr(function, '__name__', function)})")
        if not there:
            return result
        return tree_map(
            lambda each: each.as_subclass(Tensor if home else OnDevice) if isinstance(each, Tensor) else each,
            result,
        )


def on_device(value: Tensor) -> Tensor:
    return value.as_subclass(OnDevice)
