"""From a `VqaModel` to a loaded scorer; this is where torch and transformers come in."""

from pathlib import Path
from typing import Any

from synvita_data.captions.placeholders import check_placeholder_space
from synvita_data.models.loading import check_complete, explained
from synvita_data.models.runtime import pick_device, torch_dtype

from .models import CHAT, CLIP_FLANT5, INSTRUCTBLIP, LLAVA, VqaModel
from .scorer import VqaScorer

# What the released scorer takes its tokenizer from; a checkpoint's own is the same.
FLAN_T5 = "google/flan-t5-xxl"
_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "spiece.model")


def open_scorer(
    model: VqaModel,
    *,
    preprocessing: str = "reference",
    dtype: str = "float32",
    device: str | None = None,
    placeholder_space: str = "processor",
) -> VqaScorer:
    """Load a model.

    Args:
        preprocessing: `reference` or `hf`. dtype: of the weights. device: None for this process's GPU, or the CPU.
        placeholder_space: `processor` or `original`; models without the choice do not look at it.

    Raises:
        SynvitaError: what is wrong with the model, its files or these choices.
    """
    import torch

    shape = model.shape(preprocessing)
    space = model.placeholder_space(check_placeholder_space(placeholder_space))
    weights, place = torch_dtype(dtype), pick_device(device)
    if model.kind in (CLIP_FLANT5, INSTRUCTBLIP):
        from .t5 import refuse_float16

        refuse_float16(model.label, dtype)
    # Memory is the engine's business.
    with explained(model.location, unchanged=(MemoryError, torch.OutOfMemoryError)):
        if model.kind == CLIP_FLANT5:
            from .clip_flant5 import ClipFlanT5Scorer
            from .clip_flant5_weights import load_clip_flant5

            loaded = load_clip_flant5(
                model.location, revision=model.hub_revision, dtype=weights, device=place
            )
            return ClipFlanT5Scorer(loaded, _flan_t5_tokenizer(model), shape)
        if model.kind == INSTRUCTBLIP:
            from .instructblip import InstructBlipScorer

            return InstructBlipScorer(
                *_stock(model, "InstructBlipForConditionalGeneration", weights, place), shape
            )
        if model.kind == LLAVA:
            from .llava import LlavaScorer

            return LlavaScorer(
                *_stock(model, "LlavaForConditionalGeneration", weights, place),
                shape,
                placeholder_space=space,
            )
        if model.kind == CHAT:
            from .chat import ChatScorer

            return ChatScorer(*_stock(model, "AutoModelForImageTextToText", weights, place))
        from synvita_data.models.loading import load_alignment_model
        from synvita_data.models.resolve import find_checkpoint

        from .whole_video import WholeVideoScorer

        checkpoint = find_checkpoint(model.location, revision=model.hub_revision)
        aligned, _ = load_alignment_model(checkpoint, dtype=dtype, device=place, placeholder_space=space)
        return WholeVideoScorer(aligned)


def _stock(model: VqaModel, kind: str, dtype: Any, device: str) -> tuple[Any, Any]:
    """Model in evaluation mode on its device, and processor."""
    import transformers

    loaded, loading = getattr(transformers, kind).from_pretrained(
        model.location, revision=model.hub_revision, dtype=dtype, output_loading_info=True
    )
    check_complete(model.location, loading)
    processor = transformers.AutoProcessor.from_pretrained(model.location, revision=model.hub_revision)
    return loaded.eval().requires_grad_(False).to(device), processor


def _flan_t5_tokenizer(model: VqaModel) -> Any:
    from transformers import AutoTokenizer
    from transformers.utils import cached_file

    if Path(model.location).is_dir():
        own = any((Path(model.location) / file).is_file() for file in _TOKENIZER_FILES)
    else:
        own = any(
            cached_file(
                model.location,
                file,
                revision=model.hub_revision,
                _raise_exceptions_for_missing_entries=False,
            )
            for file in _TOKENIZER_FILES
        )
    if own:
        return AutoTokenizer.from_pretrained(model.location, revision=model.hub_revision)
    return AutoTokenizer.from_pretrained(FLAN_T5)
