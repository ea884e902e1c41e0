"""How small a tiny model is."""

from dataclasses import dataclass, fields
from typing import Any

from ..errors import SynvitaError, choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes shared by all families; every one can be overridden in `make_tiny`.

    Attributes:
        hidden_size, intermediate_size, layers, heads: of the language model (CLIP: of the text tower).
            A head has `hidden_size / heads` dimensions, which must be even; the Qwens need at least 6.
        kv_heads: of the language models with grouped queries; Video-LLaVA, whose Vicuna has none, and CLIP
            do not use it.
        vision_hidden_size, vision_intermediate_size, vision_layers, vision_heads: of the vision tower.
        image_size, patch_size: pixels; None for what the family takes smallest. The Qwens resize to
            between `image_size²` and four times as many pixels.
        positions: the longest sequence of the language model.
        frames_together: that the original Video-LLaVA's tower reads together, 8 in the released model; others have
            no such number.
    """

    hidden_size: int = 32
    intermediate_size: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    vision_hidden_size: int = 32
    vision_intermediate_size: int = 64
    vision_layers: int = 2
    vision_heads: int = 4
    image_size: int | None = None
    patch_size: int | None = None
    positions: int = 2048
    frames_together: int = 2

    @classmethod
    def of(cls, **overrides: int) -> "Sizes":
        """Raises `SynvitaError` for a name that is not a size, or sizes that do not fit together."""
        for name in overrides:
            choose(name, [field.name for field in fields(cls)], "size of a tiny model")
        bad = {name: value for name, value in overrides.items() if not isinstance(value, int) or value < 1}
        if bad:
            raise SynvitaError("sizes are whole numbers from 1", found=bad)
        sizes = cls(**overrides)
        for whole, part in (
            (sizes.hidden_size, 2 * sizes.heads),
            (sizes.heads, sizes.kv_heads),
            (sizes.vision_hidden_size, 2 * sizes.vision_heads),
        ):
            if whole % part:
                raise SynvitaError("sizes do not fit together", found=f"{whole} is not a multiple of {part}")
        return sizes

    def frame(self, image_size: int, patch_size: int) -> tuple[int, int]:
        """(image size, patch size), with a family's own where none was asked for.

        Raises:
            SynvitaError: the image is not a whole number of patches.
        """
        patch = self.patch_size or patch_size
        image = self.image_size or image_size * patch // patch_size
        if image % patch:
            raise SynvitaError(
                "an image is not a whole number of patches", found=f"image_size {image}, patch_size {patch}"
            )
        return image, patch

    def language_model(self) -> dict[str, Any]:
        """Keyword arguments that the configs of Llama and Qwen share."""
        return {
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": self.positions,
        }

    def vision_model(self) -> dict[str, Any]:
        """Keyword arguments that the configs of CLIP and SigLIP share."""
        return {
            "hidden_size": self.vision_hidden_size,
            "intermediate_size": self.vision_intermediate_size,
            "num_hidden_layers": self.vision_layers,
            "num_attention_heads": self.vision_heads,
        }
