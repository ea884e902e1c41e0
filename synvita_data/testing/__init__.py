"""Tiny random models of the real transformers classes, made offline and saved as a checkpoint folder.

    folder = make_tiny("video_llava", "tiny")
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)

For tests, demos and dry runs: everything that loads a checkpoint loads these. They know nothing until
trained. Importing this package imports neither torch nor transformers; see `docs/shapes.md`.
"""

from functools import partial
from importlib import import_module
from pathlib import Path

from ..errors import SynvitaError

# Family, as in `config.json`'s `model_type` -> the Auto class that loads it.
FAMILIES = {
    "video_llava": "AutoModelForImageTextToText",
    "llava_onevision": "AutoModelForImageTextToText",
    "qwen2_5_vl": "AutoModelForImageTextToText",
    "qwen3_vl": "AutoModelForImageTextToText",
    "mplug-owl": "AutoModelForImageTextToText",
    "clip": "AutoModel",
}
# Models of VQAScore, for `synvita_data.builders.vqascore`; CLIP-FlanT5 has no class in transformers.
VQA_MODELS = ("clip_flant5", "instructblip", "llava")


def make_tiny(family: str, folder: str | Path, seed: int = 0, **size_overrides: int) -> Path:
    """Save a tiny random model with its processor and tokenizer into `folder`, and return the folder.

    The same arguments give the same files. torch's own random state is left as it was.

    Args:
        family: of FAMILIES or VQA_MODELS. folder: made if it is not there; files of an earlier model are overwritten.
        seed: of the weights. size_overrides: see `sizes.Sizes`.

    Raises:
        SynvitaError: an unknown family or size, or sizes that do not fit together.
    """
    from .sizes import Sizes

    if family not in (*FAMILIES, *VQA_MODELS):
        raise SynvitaError(
            "no tiny model of this family",
            found=family,
            expected=f"one of {', '.join((*FAMILIES, *VQA_MODELS))}",
        )
    sizes = Sizes.of(**size_overrides)
    from .random_weights import construct

    model, processor = construct(
        import_module(f"{__name__}.build_{family.replace('-', '_')}").build, sizes, seed
    )
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


video_llava = partial(make_tiny, "video_llava")
llava_onevision = partial(make_tiny, "llava_onevision")
qwen2_5_vl = partial(make_tiny, "qwen2_5_vl")
qwen3_vl = partial(make_tiny, "qwen3_vl")
mplug_owl = partial(make_tiny, "mplug-owl")
clip = partial(make_tiny, "clip")
