"""What all of mPLUG-Owl's models share: what they support, and how new weights begin."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration import MplugOwlConfig


class MplugOwlPreTrainedModel(PreTrainedModel):
    config_class: Any = MplugOwlConfig
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = [  # noqa: RUF012  (as transformers declares it)
        "MplugOwlVisionEncoderLayer",
        "MplugOwlVisualAbstractorLayer",
        "LlamaDecoderLayer",
    ]
    # LLaMA's rotary frequencies are computed again, in fp32; old checkpoints hold them rounded to bf16.
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq$"]  # noqa: RUF012

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)
        std = getattr(self.config, "initializer_range", 0.02)
        # Learned vectors that belong to no layer: query and class tokens, positions, `vit_eos`.
        for parameter in module._parameters.values():
            if type(module).__module__.startswith(__package__) and not isinstance(
                module, nn.LayerNorm | nn.Conv3d
            ):
                init.normal_(parameter, mean=0.0, std=std)
