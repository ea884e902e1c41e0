"""Two processes with DDP give the gradients of one: both families, full and ragged batches, one start for all."""

import json
import multiprocessing
import socket

import torch
from stock_ranks import CASES, run_rank


def test_two_processes_have_the_gradients_of_the_papers_loss(tmp_path):
    # Imported once, before the processes fork.
    import peft  # noqa: F401
    from transformers import AutoModelForImageTextToText, Trainer, VideoLlavaForConditionalGeneration  # noqa: F401

    from synvita_data.tiny_models import make_tiny

    folders = {family: str(make_tiny(family, tmp_path / family)) for family in {case[0] for case in CASES}}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forking saves importing twice; a process that has used a GPU cannot be forked.
    context = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    processes = [context.Process(target=run_rank, args=(r, port, folders, str(tmp_path))) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    for process in processes:
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    differences = json.loads((tmp_path / "differences.json").read_text())
    assert len(differences) == len(CASES)
    for case, (of_gradients, of_loss) in zip(CASES, differences, strict=True):
        assert of_gradients < 1e-5, case
        assert abs(of_loss) < 1e-5, case
