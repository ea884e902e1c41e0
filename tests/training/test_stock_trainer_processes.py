"""Two processes with DDP give the gradients of one: both families, full and ragged batches, one start for all."""

import json
import multiprocessing

import torch
from forked import meeting_place
from stock_ranks import CASES, run_rank


def test_two_processes_have_the_gradients_of_the_papers_loss(tmp_path):
    # Imported once, before the processes fork.
    import peft  # noqa: F401
    from transformers import AutoModelForImageTextToText, Trainer, VideoLlavaForConditionalGeneration  # noqa: F401

    from synvita_data.testing import make_tiny

    folders = {family: str(make_tiny(family, tmp_path / family)) for family in {case[0] for case in CASES}}
    # Forking saves importing twice; a process that has used a GPU cannot be forked.
    context = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    with meeting_place() as place:
        processes = [
            context.Process(target=run_rank, args=(r, place, folders, str(tmp_path))) for r in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(900)
        for process in processes:
            process.kill()
            process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    differences = json.loads((tmp_path / "differences.json").read_text())
    assert len(differences) == len(CASES)
    for case, (of_gradients, of_loss) in zip(CASES, differences, strict=True):
        assert of_gradients < 1e-5, case
        assert abs(of_loss) < 1e-5, case
