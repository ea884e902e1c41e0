"""Tiny random models of the real transformers classes, made offline and saved as a checkpoint folder.

    folder = make_tiny("video_llava", "tiny")
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)

For tests, demos and dry runs: everything that loads a checkpoint loads these. They know nothing until
trained. Importing this package imports neither torch nor transformers; see `docs/shapes.md`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import choose

if TYPE_CHECKING:
    from .sizes import Sizes

# Family, as in `config.json`'s `model_type` -> the Auto class that loads it.
FAMILIES = {
    "video_llava": "AutoModelForImageTextToText",
    "video_llava_original": "AutoModelForImageTextToText",
    "llava_onevision": "AutoModelForImageTextToText",
    "qwen2_5_vl": "AutoModelForImageTextToText",
    "qwen3_vl": "AutoModelForImageTextToText",
    "mplug-owl": "AutoModelForImageTextToText",
    "clip": "AutoModel",
}
# Models of VQAScore, for `synvita_data.builders.vqascore`; CLIP-FlanT5 has no class in transformers.
VQA_MODELS = ("clip_flant5", "instructblip", "llava")
# Models of text alone: a chat model, a classifier of natural language inference.
TEXT_MODELS = {"chat": "AutoModelForCausalLM", "nli": "AutoModelForSequenceClassification"}


def make_tiny(family: str, folder: str | Path, seed: int = 0, **size_overrides: int) -> Path:
    """Save a tiny random model with its processor and tokenizer into `folder`, and return the folder.

    The same arguments give the same files. torch's own random state is left as it was.

    Args:
        family: of FAMILIES, VQA_MODELS or TEXT_MODELS; a hyphen or an underscore in it is the same.
        folder: made if it is not there; files of an earlier model are overwritten.
        seed: of the weights.
        size_overrides: see `sizes.Sizes`.

    Raises:
        SynvitaError: an unknown family or size, or sizes that do not fit together.
    """
    families = (*FAMILIES, *VQA_MODELS, *TEXT_MODELS)
    as_written = {name.replace("-", "_"): name for name in families}
    family = choose(as_written.get(family.replace("-", "_"), family), families, "family of tiny models")
    from .sizes import Sizes

    sizes = Sizes.of(**size_overrides)
    from . import text_models, video_models, vqa_models

    module = vqa_models if family in VQA_MODELS else text_models if family in TEXT_MODELS else video_models
    model, processor = construct(getattr(module, family.replace("-", "_")), sizes, seed)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def construct(build: Callable[["Sizes"], tuple[Any, Any]], sizes: "Sizes", seed: int) -> tuple[Any, Any]:
    """What `build(sizes)` gives, with weights that follow from `seed`, in fp32 and evaluation mode.

    The usual initialisation (standard deviation 0.02) keeps a tiny model so close to linear that a leak
    from one text to another, or a wrong position, moves a logit by less than rounding does. So matrices are
    drawn with the standard deviation fan_in ** -0.5, which keeps activations near 1; biases and norms stay
    as the constructor leaves them.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = build(sizes)
        with torch.no_grad():
            for _, weights in sorted(model.named_parameters()):
                if weights.ndim >= 2:
                    weights.normal_(std=(weights.numel() / len(weights)) ** -0.5)
    return model.eval(), processor
