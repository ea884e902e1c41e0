"""Captioning before entailment, for models that know nothing yet: tiny ones with random weights.

Yes and No alone teach a random model slowly: every caption is right as often as it is wrong, so nothing is gained until
the model sees *and* reads. Captioning pays for each thing seen, word by word. A released checkpoint needs none of it.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel, Description, PreparedVideo

_RISE = 20  # steps in which the learning rate rises to its height


def warm_up(
    model: AlignmentModel,
    clips: Sequence[tuple[PreparedVideo, str]],
    *,
    steps: int = 300,
    batch_size: int = 16,
    learning_rate: float = 2e-3,
    seconds: float | None = None,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a model to answer `Describe this video.` with the caption; changes it in place.

    Every parameter that asks for gradients is trained, with AdamW and gradients clipped at norm 1. The learning rate
    rises for 20 steps and then stays. Equal arguments give equal weights, unless `seconds` cuts the run short.

    Args:
        clips: prepared videos, each with a caption that is true of it.
        steps: optimizer steps, at most. batch_size: clips a step, drawn without repetition until all were seen.
        seconds: stop after the first step that ends later than this.
        on_step: called after each step with its number from 1 and its loss.

    Returns:
        The loss of each step: mean cross-entropy of the captions' tokens and end tokens, before the step.

    Raises:
        SynvitaError: no clips, or nothing that can be trained; a caption that cannot be a prompt's answer.

    Example:
        >>> losses = warm_up(model, [(model.prepare(frames), "A red circle moves left.")])  # doctest: +SKIP
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not clips or not trained or steps < 1 or batch_size < 1:
        raise SynvitaError(
            "nothing to warm up with",
            found=f"{len(clips)} clips, {len(trained)} trainable parameters, steps={steps}, batch_size={batch_size}",
            expected="at least one of each",
        )
    was_training = model.training
    model.train()
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    draw = np.random.default_rng(seed)
    waiting: list[int] = []
    losses: list[float] = []
    started = time.monotonic()
    for step in range(1, steps + 1):
        while len(waiting) < batch_size:
            waiting += draw.permutation(len(clips)).tolist()
        chosen, waiting = [clips[k] for k in waiting[:batch_size]], waiting[batch_size:]
        output = model(
            [video for video, _ in chosen],
            [[] for _ in chosen],
            explanations=[Description(caption) for _, caption in chosen],
            strategy="plain",  # one sequence a video: there is nothing to share
            plain_batch=batch_size,
        )
        loss = output.explanation_loss.sum() / sum(output.explanation_tokens)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, step / _RISE)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if on_step is not None:
            on_step(step, losses[-1])
        if seconds is not None and time.monotonic() - started > seconds:
            break
    model.train(was_training)
    return losses
