"""DDIM on VideoCrafter2's scaled signal.

VideoCrafter2 was trained on x_t = √ᾱ_t · s_t · x_0 + √(1−ᾱ_t) · ε, where s falls from 1 to 0.7 over the first 400
time steps and stays there (`use_scale` and `scale_b` of its configuration, `scale_arr` of its `ddpm3d.py`). Its sampler
differs from DDIM in the signal's part of a step alone, √ᾱ_prev · (s_prev / s_t) · x̂_0 for √ᾱ_prev · x̂_0, where x̂_0 is
the stock estimate.
"""

from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from torch import Tensor

_Stock: Any = DDIMScheduler  # diffusers' lazy imports look empty to a type checker

FIRST, LAST, FALLING_STEPS = 1.0, 0.7, 400


class ScaledDDIMScheduler(_Stock):
    """`DDIMScheduler` with VideoCrafter2's scale; see the module."""

    def step(
        self,
        model_output: Tensor,
        timestep: int,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: torch.Generator | None = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """As the stock scheduler's."""
        stock = super().step(
            model_output, timestep, sample, eta, use_clipped_model_output, generator, variance_noise
        )
        before = int(timestep) - self.config.num_train_timesteps // self.num_inference_steps
        alpha_before = self.alphas_cumprod[before] if before >= 0 else self.final_alpha_cumprod
        ratio = signal_scale(max(before, 0)) / signal_scale(int(timestep))
        signal = alpha_before.to(sample.device) ** 0.5 * stock.pred_original_sample
        # In the sample's own dtype: a Python number does not widen it.
        previous = stock.prev_sample + (ratio - 1.0) * signal.to(stock.prev_sample.dtype)
        if not return_dict:
            return previous, stock.pred_original_sample
        return DDIMSchedulerOutput(prev_sample=previous, pred_original_sample=stock.pred_original_sample)


def signal_scale(timestep: int) -> float:
    """s_t: linear from 1 to 0.7 over time steps 0 to 399, 0.7 from there."""
    along = min(timestep / (FALLING_STEPS - 1), 1.0)
    return FIRST + (LAST - FIRST) * along
