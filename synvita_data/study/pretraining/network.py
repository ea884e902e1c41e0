"""The Video-LLaVA that is pre-trained: real classes of transformers, small sizes, and its weights at the start."""

from typing import Any

import torch

from synvita_data.testing import video_models
from synvita_data.testing.sizes import Sizes

from .settings import Settings

# Standard deviations at the start. The tower's positions beside patches of about 0.5: with the usual 0.02 neighbouring
# patches cannot be told apart, and shapes are not learned early.
_POSITION, _EMBEDDING = 0.3, 0.3


def new_model(settings: Settings) -> tuple[Any, Any]:
    """A model with random weights by `settings.seed`, in training mode, and its processor.

    torch's own random state is left as it was.
    """
    sizes = Sizes.of(
        hidden_size=settings.width,
        intermediate_size=2 * settings.width,
        layers=settings.layers,
        heads=settings.heads,
        kv_heads=settings.heads,
        vision_hidden_size=settings.tower_width,
        vision_intermediate_size=4 * settings.tower_width,
        vision_layers=settings.tower_layers,
        vision_heads=4,
        image_size=settings.image_size,
        patch_size=settings.patch_size,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model, processor = video_models.video_llava(sizes)
        # The tower's last layer, where stock Video-LLaVA takes the one before: the tower has only two.
        model.config.vision_feature_layer = -1
        model.model.config.vision_feature_layer = -1
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if (deviation := _deviation(name, weights)) is not None:
                    weights.normal_(std=deviation)
    return model.train(), processor


def _deviation(name: str, weights: torch.Tensor) -> float | None:
    """Standard deviation of a parameter at the start; None for those that stay as the constructor leaves them."""
    if "tower" in name:
        if "position_embedding" in name:
            return _POSITION
        return float(weights[0].numel() ** -0.5) if "patch_embedding" in name else None
    if weights.ndim != 2:
        return None
    if "embed_tokens" in name:
        return _EMBEDDING
    into_the_stream = "o_proj" in name or "down_proj" in name
    return float(weights.shape[1] ** -0.5 * (0.5 if into_the_stream else 1.0))


def normalised(model_input: torch.Tensor, video_processor: Any) -> torch.Tensor:
    """Pixels as the processor gives them to the model.

    Args:
        model_input: uint8 [..., 3, S, S], resized by the processor already.
        video_processor: whose mean and deviation.

    Returns:
        fp32, of the same shape.
    """
    mean, deviation = (
        torch.tensor(values)[:, None, None]
        for values in (video_processor.image_mean, video_processor.image_std)
    )
    return (model_input.float() * video_processor.rescale_factor - mean) / deviation
