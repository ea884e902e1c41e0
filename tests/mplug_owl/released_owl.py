"""What the released evaluation does, for comparison: its answers off padded rows, and its files as a model."""

from pathlib import Path

import torch
from torch import Tensor, nn

from synvita_data.models.mplug_owl import MplugOwlForConditionalGeneration
from synvita_data.models.mplug_owl.released import checked, read_config
from synvita_data.models.released.weights import read_state_dict


def read_positions(input_ids: Tensor, pad: int = 0) -> Tensor:
    """int64 [B]: the last id before the first `pad` of each row [B, S], the last of all where there is none.

    That is the lone `▁` at the end of `AI: `, whose next token is the answer.
    """
    is_pad = input_ids == pad
    first = is_pad.long().argmax(1)
    return torch.where(is_pad.any(1), first, input_ids.shape[1]) - 1


def answer_log_odds(logits: Tensor, input_ids: Tensor, yes: int, no: int, pad: int = 0) -> Tensor:
    """fp32 [B]: logit(Yes) − logit(No) at the read positions; its sigmoid is P(Yes) / (P(Yes) + P(No)).

    Args:
        logits: [B, S, V] of the rows `input_ids` [B, S]. yes, no: first ids of `Yes` and `No` tokenised alone.
    """
    rows = torch.arange(len(logits), device=logits.device)
    at = logits[rows, read_positions(input_ids, pad).to(logits.device)].float()
    return at[:, yes] - at[:, no]


def load_released(folder: str | Path, dtype: torch.dtype = torch.float32) -> MplugOwlForConditionalGeneration:
    """The model of a folder as it was released, in evaluation mode on the CPU.

    Raises:
        SynvitaError: a weight is missing, left over or of another shape, or the files cannot be read.
    """
    path = Path(folder)
    config = read_config(path)
    state = checked(read_state_dict(path), config, path)
    model = MplugOwlForConditionalGeneration(config)
    model.load_state_dict(state, strict=True)
    made: MplugOwlForConditionalGeneration = nn.Module.to(model, dtype).eval()
    return made
