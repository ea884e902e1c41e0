"""Names of the original's weights in ours, and back: what `LanguageBind/Video-LLaVA-7B` calls each of them.

| original | here |
|---|---|
| `model.{embed_tokens,layers.N,norm}`, `lm_head` | `model.language_model.{…}`, `lm_head` |
| `model.mm_projector.{0,2}.` | `model.multi_modal_projector.linear_{1,2}.` |
| `model.{video,image}_tower.{video,image}_tower.X` | `model.{video,image}_tower.X` |
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...errors import SynvitaError

# Fixed by the architecture; old checkpoints hold them, rounded.
_COMPUTED = re.compile(r"(^|\.)(rotary_emb\.inv_freq|position_ids)$")
_RULES = (
    (re.compile(r"^model\.mm_projector\.0\.(weight|bias)$"), r"model.multi_modal_projector.linear_1.\1"),
    (re.compile(r"^model\.mm_projector\.2\.(weight|bias)$"), r"model.multi_modal_projector.linear_2.\1"),
    (re.compile(r"^model\.(video|image)_tower\.\1_tower\.(.+)$"), r"model.\1_tower.\2"),
    (re.compile(r"^model\.((?:embed_tokens|norm|layers\.\d+)\..+)$"), r"model.language_model.\1"),
    (re.compile(r"^(lm_head\.weight)$"), r"\1"),
)


def our_name(name: str) -> str | None:
    """Our name of a weight; None for what is computed from the settings.

    Args:
        name: as the original calls it.

    Raises:
        KeyError: the original has no such weight.
    """
    if _COMPUTED.search(name):
        return None
    for pattern, ours in _RULES:
        if pattern.match(name):
            return pattern.sub(ours, name)
    raise KeyError(name)


def our_names(state: Mapping[str, Tensor], file: Path | None = None) -> dict[str, Tensor]:
    """A state dict of the original under our names, without what is computed.

    Args:
        state: by the original's names.
        file: that it came from, for errors.

    Raises:
        SynvitaError: a name that the original does not have.
    """
    renamed = {}
    for name, tensor in state.items():
        try:
            ours = our_name(name)
        except KeyError:
            raise SynvitaError(
                "a checkpoint of the original Video-LLaVA holds an unknown weight",
                file=file,
                found=name,
                expected="model.layers…, model.mm_projector…, model.video_tower.video_tower…, lm_head…",
                fix="Names that begin with `model.language_model` are of transformers' port: that needs no conversion",
            ) from None
        if ours is not None:
            renamed[ours] = tensor
    return renamed


def tower_names(state: Mapping[str, Tensor], file: Path | None = None) -> dict[str, Tensor]:
    """The vision tower of a LanguageBind model under CLIP's names; its text tower and projections are left out.

    Args:
        state: of `LanguageBind_Video_merge`, with `vision_model.` in front of the tower's names.
        file: that it came from, for errors.

    Raises:
        SynvitaError: there is no such tower.
    """
    prefix = "vision_model."
    found = {
        name[len(prefix) :]: tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and not _COMPUTED.search(name)
    }
    if not found:
        raise SynvitaError(
            "no vision tower in a checkpoint",
            file=file,
            found=sorted(state)[:3],
            expected="vision_model.encoder.layers… as LanguageBind/LanguageBind_Video_merge has them",
        )
    return found


_LORA = re.compile(
    r"^(?:module\.)?base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.(?:default\.)?weight$"
)


def lora_place(key: str) -> tuple[str, str]:
    """Our name of the module that a matrix of a LoRA in LLaVA's layout is for, and its side, A or B.

    Args:
        key: of `adapter_model.bin`.

    Raises:
        KeyError: not such a matrix.
    """
    match = _LORA.match(key)
    if match is None:
        raise KeyError(key)
    if match["module"].startswith("model.language_model."):  # converted already
        return match["module"], match["side"]
    ours = our_name(f"{match['module']}.weight")
    if ours is None or not ours.startswith("model.language_model.layers."):
        raise KeyError(key)
    return ours.removesuffix(".weight"), match["side"]


# What PEFT and LLaVA's trainer put in front of the names in `non_lora_trainables.bin`.
_BESIDE = re.compile(r"^(?:base_model\.)?(?:model\.)?(?=model\.|lm_head\.)")


def beside_lora(state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The weights of `non_lora_trainables.bin` under our names.

    Args:
        state: as it is there, with `base_model.model.model.`, `model.model.` or `model.` in front.
        file: for errors.

    Raises:
        SynvitaError: a name that the original does not have.
    """
    return our_names({_BESIDE.sub("", name): tensor for name, tensor in state.items()}, file)


def with_more_rows(weights: Mapping[str, Tensor], vocabulary: int, rows: int) -> dict[str, Tensor]:
    """Weights with `rows` rows of the embeddings and of the head; new ones are the mean of the old.

    Args:
        weights: by our names.
        vocabulary: the original's; a matrix with another number of rows is left as it is, to be refused.
        rows: of the larger vocabulary.
    """
    made = dict(weights)
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        if name in made and len(made[name]) == vocabulary:
            mean = made[name].float().mean(0, keepdim=True).to(made[name].dtype)
            made[name] = torch.cat([made[name], mean.expand(rows - vocabulary, -1)])
    return made
