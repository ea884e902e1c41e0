"""CLIP-FlanT5 (arXiv:2404.01291), which has no class in transformers: CLIP's patches inside a Flan-T5's input.

    image → CLIP ViT-L/14 at 336, second last layer, 576 patches → Linear, GELU, Linear → between the embeddings
    of the words before and after the image → T5 encoder → decoder: "Yes"

A released checkpoint is one `config.json` (T5's settings with `mm_…` ones) and one state dict, whole or in shards,
`.bin` or safetensors: T5's weights under their own names, `vision_tower.vision_tower.vision_model.…`, and
`mm_projector.0/2.…`. The vision tower may be left out: it is then that of `mm_vision_tower`.
"""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    T5Config,
    T5ForConditionalGeneration,
)

from synvita_data.errors import SynvitaError
from synvita_data.files import resolve_under
from synvita_data.hub.known import pinned
from synvita_data.models.download import fetch
from synvita_data.models.loading import check_complete
from synvita_data.models.released.weights import read_tensors, weight_files
from synvita_data.models.resolve import CONFIG, ModelFiles
from synvita_data.models.runtime import torch_dtype

from .base import VICUNA, FrameScorer, check_length, refuse_float16, t5_log_probs
from .models import VqaModel

# The longest question of the released code, its image counted as one token.
CONTEXT = 2048
# What the released scorer takes its tokenizer from; a checkpoint's own is the same.
FLAN_T5 = "google/flan-t5-xxl"
_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "spiece.model")
_VISION = "vision_tower.vision_tower.vision_model."
_PROJECTOR = "mm_projector."


class ClipFlanT5(nn.Module):
    """The model. T5's head is its own (Flan-T5 does not tie it to the embeddings), so nothing here ties weights.

    Args:
        config: T5's, with `mm_hidden_size` (of the vision tower) and `mm_vision_select_layer`.
        vision: the vision tower's.
    """

    def __init__(self, config: T5Config, vision: CLIPVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.t5 = T5ForConditionalGeneration(config)
        self.vision = CLIPVisionModel(vision)
        width, settings = config.d_model, cast(Any, config)
        self.select_layer = int(settings.mm_vision_select_layer)
        self.projector = nn.Sequential(
            nn.Linear(settings.mm_hidden_size, width), nn.GELU(), nn.Linear(width, width)
        )

    def encode(self, images: Tensor) -> Tensor:
        """[F, 3, S, S] -> [F, patches, T5's width], without the class token."""
        states = self.vision(images, output_hidden_states=True)
        return cast(Tensor, self.projector(states.hidden_states[self.select_layer][:, 1:]))

    def splice(self, before: Sequence[int], patches: Tensor, after: Sequence[int]) -> Tensor:
        """T5's input [n, width]: words, one image [patches, width], words."""
        words = self.t5.get_input_embeddings()(torch.tensor([*before, *after], device=patches.device))
        return torch.cat([words[: len(before)], patches, words[len(before) :]])


class ClipFlanT5Scorer(FrameScorer):
    """Patches of a frame are computed once; the T5, whose encoder sees the caption everywhere, runs for each pair.

    Args:
        model: in evaluation mode, on its device.
        tokenizer: Flan-T5's.
        shape: of the preprocessing: `pad` (the reference) or `crop` (as `CLIPImageProcessor` does).
    """

    def __init__(self, model: ClipFlanT5, tokenizer: Any, shape: str) -> None:
        super().__init__(model, tokenizer, shape, int(cast(Any, model.vision.config).image_size))
        before, _ = VICUNA.before.split(VICUNA.image)
        # Both parts are tokenized alone and keep their </s>, as in the released code.
        self._before: list[int] = tokenizer(before)["input_ids"]
        self._answer: list[int] = tokenizer(VICUNA.answer)["input_ids"]

    def question(self, caption: str) -> list[int]:
        after: list[int] = self._tokenizer(VICUNA.wrap(caption).split(VICUNA.image)[1])["input_ids"]
        check_length(len(self._before) + 1 + len(after), CONTEXT, caption)
        return after

    def ask(self, images: Tensor, pairs: Sequence[tuple[int, list[int]]]) -> Tensor:
        patches = self.model.encode(images)
        inputs = [self.model.splice(self._before, patches[number], after) for number, after in pairs]
        return t5_log_probs(self.model.t5, inputs, self._answer)


def load(model: VqaModel, *, shape: str, dtype: str, device: str, **_: Any) -> ClipFlanT5Scorer:
    """The scorer of a checkpoint; see `models.open_scorer`."""
    refuse_float16(model, dtype)
    files = fetch(ModelFiles(model.location, model.hub_revision))
    loaded = _load_weights(files, torch_dtype(dtype), device)
    source = (
        files
        if any(files.find_if_there(file) for file in _TOKENIZER_FILES)
        else ModelFiles(FLAN_T5, pinned(FLAN_T5))
    )
    tokenizer = AutoTokenizer.from_pretrained(source.location, revision=source.revision)
    return ClipFlanT5Scorer(loaded, tokenizer, shape)


def _load_weights(files: ModelFiles, dtype: torch.dtype, device: str) -> ClipFlanT5:
    """The model of a checkpoint, in evaluation mode.

    Shards are read and cast one after the other, so that a checkpoint in fp32 needs its own size in `dtype` and
    one shard more.

    Raises:
        SynvitaError: no such checkpoint, or weights that are missing or of another shape.
    """
    name, folder = files.location, files.folder
    settings = dict(files.read(CONFIG) or {})
    model_type = settings.pop("model_type", None)
    try:
        config = T5Config(**settings)
        # The vision tower's settings are in a folder inside the checkpoint's, or under its own name.
        tower = str(settings["mm_vision_tower"])
        if folder is not None and not Path(tower).is_absolute():
            inside = resolve_under(folder, tower)
            tower = str(inside) if inside.is_dir() else tower
        with torch.device("meta"):  # which takes no memory
            model = ClipFlanT5(config, CLIPVisionConfig.from_pretrained(tower)).to(dtype)
    except (KeyError, AttributeError, TypeError) as error:
        raise SynvitaError(
            "not the settings of a CLIP-FlanT5",
            file=name,
            found=f"model_type {model_type!r}, {type(error).__name__} {error}",
            expected="T5's settings with mm_vision_tower, mm_hidden_size and mm_vision_select_layer",
        ) from error
    expected = {key: value.shape for key, value in model.state_dict().items()}
    weights: dict[str, Tensor] = {}
    for file, tensors in _files_of_weights(files):
        for theirs, tensor in tensors.items():
            key = _our_name(theirs, expected)
            if key is None:
                continue
            if tensor.shape != expected.get(key):
                raise SynvitaError(
                    "a checkpoint holds weights of another model",
                    file=file,
                    found=f"{key} {list(tensor.shape)}",
                    expected=f"{list(expected[key])}" if key in expected else "no such weight",
                )
            weights[key] = tensor.to(device=device, dtype=dtype)
    if not any(key.startswith("vision.") for key in weights):
        kind: Any = CLIPVisionModel  # the types of from_pretrained do not know that it may give two
        vision, loading = kind.from_pretrained(tower, dtype=dtype, output_loading_info=True)
        check_complete(tower, loading)
        weights |= {f"vision.{key}": value.to(device) for key, value in vision.state_dict().items()}
    # Both stacks read the shared embeddings. The head is left alone: Flan-T5's is its own.
    model.t5.encoder.embed_tokens = model.t5.decoder.embed_tokens = model.t5.shared
    check_complete(name, {"missing_keys": [key for key, _ in model.named_parameters() if key not in weights]})
    model.load_state_dict(weights, strict=False, assign=True)
    # Position ids are no weights: they are counted here, where the model was made without memory.
    for key, buffer in list(model.named_buffers()):
        owner, _, attribute = key.rpartition(".")
        assert attribute == "position_ids", f"a buffer of CLIP-FlanT5 is unknown: {key}"
        ids = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
        model.get_submodule(owner).register_buffer(attribute, ids, persistent=False)
    return model.eval().requires_grad_(False)


def _our_name(key: str, expected: Container[str]) -> str | None:
    """Our name of a weight in a checkpoint; None for what is a copy or no weight."""
    if key == "embed_tokens.weight" or key.endswith((".embed_tokens.weight", "position_ids")):
        return None
    if key.startswith(_VISION):
        plain = f"vision.{key[len(_VISION) :]}"
        return plain if plain in expected else f"vision.vision_model.{key[len(_VISION) :]}"
    if key.startswith(_PROJECTOR):
        return f"projector.{key[len(_PROJECTOR) :]}"
    return f"t5.{key}"


def _files_of_weights(files: ModelFiles) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Each file of weights with its tensors under the checkpoint's names.

    Raises:
        SynvitaError: a file is missing, cut, or holds something else than tensors.
    """
    for path in weight_files(files.find_if_there, files.location):
        yield str(path), read_tensors(path)
