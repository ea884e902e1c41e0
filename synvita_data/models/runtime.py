"""Which device a process works on, with what numbers, and how to get the same bits from any number of processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import SynvitaError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


def pick_device(name: str | None) -> str:
    """`name`, or the GPU of this process (`LOCAL_RANK` as `accelerate launch` sets it), or the CPU.

    Raises:
        SynvitaError: `name` is no device, or one that this machine does not have.
    """
    import torch

    if name is None:
        if not torch.cuda.is_available():
            return "cpu"
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SynvitaError(
            "no such device on this machine",
            found=f"{name} ({str(error).splitlines()[0]})",
            expected="cpu, cuda:0, …",
        ) from error
    return name


def torch_dtype(name: str) -> "torch.dtype":
    """The torch dtype of this name.

    Raises:
        SynvitaError: not one of DTYPES.
    """
    if name not in DTYPES:
        raise SynvitaError(
            "weights cannot have this dtype", found=name, expected=f"one of {', '.join(DTYPES)}"
        )
    import torch

    found: torch.dtype = getattr(torch, name)
    return found


@contextmanager
def one_cpu_thread(device: str) -> Iterator[None]:
    """One thread for torch's CPU operations inside the `with`; on other devices, nothing changes.

    Matrix products on a CPU differ in their last bits with the number of threads, and launchers give
    each of two processes other numbers of threads than one process takes. More processes use more cores.
    """
    import torch

    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
