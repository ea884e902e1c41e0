"""What every run of a model needs: its device, its numbers, the same bits from any number of processes, and videos
read ahead of it."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ..errors import SynvitaError, VideoError, first_line
from ..video import MissingBackendError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")
Item = TypeVar("Item")
Read = TypeVar("Read")


@contextmanager
def without_noise() -> Iterator[None]:
    """Within, no warning of one library about what another one does, which no user can mend: PEFT's question for
    transformers' old name of activation checkpointing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def pick_device(name: str | None) -> str:
    """`name`, or the GPU of this process (`LOCAL_RANK` as `accelerate launch` sets it), or the CPU.

    Raises:
        SynvitaError: `name` is not a device, or one that this machine does not have.
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
            "this machine does not have the device",
            found=f"{name} ({first_line(error)})",
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


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], workers: int
) -> Iterator[tuple[Item, Read | VideoError]]:
    """Items in order with what `read` makes of them, at most `2 * workers` ahead of the one in hand.

    Args:
        items: in any number.
        read: called in threads. A `VideoError` of it is handed on in its place, but for a decoder that is
            missing, which is the machine's fault and not the video's; other exceptions end the stream.
        workers: how many threads.
    """

    def attempt(item: Item) -> Read | VideoError:
        try:
            return read(item)
        except MissingBackendError:
            raise
        except VideoError as error:
            return error

    waiting: deque[tuple[Item, Future[Read | VideoError]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append((item, pool.submit(attempt, item)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:  # also when the caller stops early
        pool.shutdown(cancel_futures=True)
