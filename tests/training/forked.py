"""Functions run in forked processes: alone (to be killed), or as the two ranks of a gloo group."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator


def run_forked(function) -> int:
    """Run in a child of this process and return its exit status (negative: the signal that ended it)."""
    return _finish(_start(function))


def run_as_ranks(function, processes: int = 2) -> None:
    """Run `function(rank)` in processes that torch.distributed and accelerate take for ranks of one launch."""
    with meeting_place() as place:
        children = []
        for rank in range(processes):

            def one(rank=rank):
                os.environ.update(
                    place,
                    RANK=str(rank),
                    LOCAL_RANK=str(rank),
                    WORLD_SIZE=str(processes),
                    LOCAL_WORLD_SIZE=str(processes),
                    ACCELERATE_USE_CPU="1",
                )
                function(rank)
                import torch

                torch.distributed.destroy_process_group()

            children.append(_start(one))
        assert [_finish(child) for child in children] == [0] * processes


@contextlib.contextmanager
def meeting_place() -> Iterator[dict[str, str]]:
    """Variables by which ranks find each other: at a store in a process of its own, as torchrun's agent has one.

    It is open when its port is known: nobody can take a free port between its choice and its use.
    """
    answer, says = os.pipe()
    hears, ended = os.pipe()

    def keep() -> None:
        import torch

        os.close(ended)
        store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(says, str(store.port).encode())
        os.read(hears, 1)  # until the other end is closed, also by the death of who holds it

    keeper = _start(keep)
    os.close(says)
    os.close(hears)
    try:
        port = os.read(answer, 10).decode()
        assert port, "the store has not opened"
        yield {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }
    finally:
        os.close(answer)
        os.close(ended)
        assert _finish(keeper) == 0


def _start(function) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        from accelerate.state import AcceleratorState, PartialState

        AcceleratorState._reset_state(
            reset_partial_state=True
        )  # what earlier tests left: a state of one process
        PartialState._reset_state()
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _finish(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
