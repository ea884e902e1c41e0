"""Functions run in forked processes: alone (to be killed), or as the two ranks of a gloo group."""

import os
import socket
import sys
import traceback


def run_forked(function) -> int:
    """Run in a child of this process and return its exit status (negative: the signal that ended it)."""
    return _finish(_start(function))


def run_as_ranks(function, processes: int = 2) -> None:
    """Run `function(rank)` in processes that torch.distributed and accelerate take for ranks of one launch."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(processes):

        def one(rank=rank):
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(processes),
                LOCAL_WORLD_SIZE=str(processes),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
                ACCELERATE_USE_CPU="1",
            )
            function(rank)
            import torch

            torch.distributed.destroy_process_group()

        children.append(_start(one))
    assert [_finish(child) for child in children] == [0] * processes


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
