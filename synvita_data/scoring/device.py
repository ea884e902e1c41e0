"""Which device a process works on."""

import os


def pick_device(name: str | None) -> str:
    """`name`, or the GPU of this process (`LOCAL_RANK` as `accelerate launch` sets it), or the CPU."""
    if name is not None:
        return name
    import torch

    if torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    return "cpu"
