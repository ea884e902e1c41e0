"""One of two processes of a stock Trainer with DDP on gloo; started by `test_stock_trainer_processes.py`."""

import json
import os
from pathlib import Path

# Family -> rows of the data, batch a process, accumulated batches. One optimiser step each.
# 7 rows in batches of 2: a process has batches of 2 and 2, the other 2 and one that the loader fills up with row 0.
CASES = [
    ("video_llava", 8, 4, 1),
    ("video_llava", 7, 2, 2),
    ("qwen2_5_vl", 8, 4, 1),
]


def run_rank(rank: int, place: dict[str, str], checkpoints: dict[str, str], folder: str) -> None:
    """Train each case; process 0 writes to `folder/differences.json` how far its gradients are from the paper's."""
    os.environ |= place | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "1",
    }
    import torch
    from accelerate.state import AcceleratorState, GradientState
    from stock_pairs import (
        adapted,
        difference,
        gradients,
        reference_loss,
        rows,
        trained_gradients,
        triplets_of,
    )

    from synvita_data.training.stock.collator import StockCollator
    from synvita_data.training.stock.loss import SynViTALoss

    torch.set_num_threads(1)
    AcceleratorState._reset_state(True)  # a forked process has its parent's, of one process
    GradientState._reset_state()
    models = {family: adapted(path) for family, path in checkpoints.items()}
    found = []
    for family, number, batch, accumulation in CASES:
        model, processor = models[family]
        data = rows(number)
        collator = StockCollator(model, processor)
        own, logged = trained_gradients(
            model,
            triplets_of(data, collator),
            collator,
            SynViTALoss(),
            folder,
            batch=batch,
            accumulation=accumulation,
            ddp_backend="gloo",
        )
        assert torch.distributed.get_world_size() == 2
        if rank == 0:
            model.zero_grad(set_to_none=True)
            seen = data + data[: 2 * batch * accumulation - number]
            loss = reference_loss(model.get_base_model(), processor, family, seen, "two-way", 1.0)
            loss.backward()
            found.append([difference(own, gradients(model)), logged / loss.item() - 1])
    if rank == 0:
        Path(folder, "differences.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
