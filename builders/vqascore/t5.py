"""What CLIP-FlanT5 and InstructBLIP share: a T5 that is given embeddings and asked for its answer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from synvita_data.errors import SynvitaError

from .scorer import token_log_probs


def answer_log_probs(t5: Any, embeddings: Sequence[Tensor], answer: Sequence[int]) -> Tensor:
    """fp32 [B, k] on the CPU: log-probabilities of the answer's tokens after each encoder input.

    Args:
        t5: `T5ForConditionalGeneration`. embeddings: B encoder inputs [n_i, D]; padded on the right and masked.
        answer: token ids, end token last.
    """
    device = embeddings[0].device
    lengths = torch.tensor([len(each) for each in embeddings], device=device)
    padded = torch.nn.utils.rnn.pad_sequence(list(embeddings), batch_first=True)
    mask = (torch.arange(padded.shape[1], device=device) < lengths[:, None]).long()
    begin = t5.config.decoder_start_token_id
    given = torch.tensor([[begin, *answer[:-1]]], device=device).expand(len(embeddings), -1)
    logits = t5(inputs_embeds=padded, attention_mask=mask, decoder_input_ids=given, use_cache=False).logits
    return token_log_probs(logits, answer)


def refuse_float16(name: str, dtype: str) -> None:
    """T5 was trained in bf16; its feed-forward layers overflow in fp16.

    Raises:
        SynvitaError: `dtype` is float16.
    """
    if dtype == "float16":
        raise SynvitaError("T5 overflows in float16", file=name, found=dtype, expected="bfloat16 or float32")
