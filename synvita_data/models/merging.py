"""An adapter of PEFT merged into its base as the release does it: in the dtype in which the base was loaded.

The released Video-LLaVA is loaded in float16, its LoRA is merged there by peft 0.4.0, and the whole becomes bfloat16.
peft 0.4.0 keeps A and B in fp32 on such a base, so a merged weight is `round_to_fp16(W + fp32((alpha / r) * B A))`.
Later releases of PEFT round the product first, which changes a third of the weights in their last bit.
"""

from typing import Any

from ..errors import SynvitaError, choose

MERGES = ("none", "float16")


def check_merge(name: str) -> str:
    """The name, if it is one.

    Raises:
        SynvitaError: it is not.
    """
    fix = "`none` keeps an adapter beside its base; `float16` is how the released Video-LLaVA is evaluated"
    return choose(name, MERGES, "merge", fix=fix)


def merge_adapter(model: Any, name: str) -> Any:
    """The base with the adapter in its weights, each sum rounded once to the base's dtype.

    Args:
        model: a `PeftModel` with LoRA layers; it is taken apart.
        name: of the adapter, for errors.

    Returns:
        The stock model inside it.

    Raises:
        SynvitaError: the adapter is something else than plain LoRA on linear layers.
    """
    import torch
    from peft.tuners.lora import Linear

    with torch.no_grad():
        for layer_name, layer in model.named_modules():
            if not hasattr(layer, "lora_A"):
                continue
            if not isinstance(layer, Linear) or any(getattr(layer, "use_dora", {}).values()):
                raise SynvitaError(
                    "an adapter cannot be merged as the release does",
                    file=name,
                    found=f"{type(layer).__name__} at {layer_name}",
                    expected="plain LoRA on linear layers",
                    fix="Leave merge out: the adapter then stays beside its base",
                )
            weight = layer.get_base_layer().weight
            for adapter in layer.active_adapters:
                lora_a, lora_b = layer.lora_A[adapter].weight.float(), layer.lora_B[adapter].weight.float()
                delta = (lora_b @ lora_a) * layer.scaling[adapter]
                if layer.fan_in_fan_out:
                    delta = delta.T
                weight.copy_(weight.float() + delta)
    return model.unload()


def cast_weights(model: Any, dtype: Any) -> None:
    """Turn the weights that were loaded in float16 into another dtype, in place; fp32 buffers (rotary frequencies)
    stay as they are, where `model.to(dtype)` would round them too."""
    import torch

    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype == torch.float16:
            tensor.data = tensor.data.to(dtype)
