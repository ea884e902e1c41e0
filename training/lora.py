"""What of a model is trained: adapters of PEFT on the language model, the language model itself, or everything."""

import re
from pathlib import Path
from typing import Any

from torch import nn

from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel
from synvita_data.models.runtime import without_noise

from .config import SynViTAConfig


def make_trainable(model: Any, processor: Any, config: SynViTAConfig) -> AlignmentModel:
    """The model with what `config.tune` names switched on and all else frozen; changed in place.

    Args:
        model: a stock Video LLM of a known family, or a PEFT model of one whose adapter is trained further.
        processor: of the model.

    Raises:
        SynvitaError: unknown family or prompt; an adapter that is frozen or whose base could not be found again;
            a resumed adapter with other LoRA settings than those given; `lora_targets` that match no module.
    """
    arguments = config.model_arguments()
    alignment = AlignmentModel(model, processor, **arguments)
    if config.tune == "lora":
        network = model if model is not alignment.family.model else _adapted(alignment, config)
        _check_adapter(network)
        if network is model:
            _take_adapters_settings(network, alignment.family.model, config)
        return AlignmentModel(network, processor, **arguments)
    if model is not alignment.family.model:
        raise SynvitaError(
            "a model with an adapter can only train its adapter",
            found=f"tune={config.tune!r} with a {type(model).__name__}",
            fix="Use tune='lora', or merge the adapter first (merge_adapter)",
        )
    model.requires_grad_(config.tune == "all")
    for part in trained_parts(alignment):
        part.requires_grad_(True)
    return alignment


def trained_parts(alignment: AlignmentModel) -> tuple[nn.Module, nn.Module]:
    """The language model and its head."""
    return alignment.family.language_model, alignment.family.model.get_output_embeddings()


def trains_only_language(alignment: AlignmentModel) -> bool:
    """Whether every trained parameter belongs to the language model or its head: each batch then uses all of them."""
    known = {id(p) for part in trained_parts(alignment) for p in part.parameters()}
    return all(id(p) in known for p in alignment.parameters() if p.requires_grad)


def _adapted(alignment: AlignmentModel, config: SynViTAConfig) -> Any:
    from peft import LoraConfig, get_peft_model

    stock = alignment.family.model
    base, revision = _origin(stock)
    targets = config.lora_targets or alignment.family.lora_targets
    if not _linear(stock, targets):
        raise SynvitaError(
            "no module of the model is adapted",
            found=f"lora_targets {targets}",
            expected="a regular expression that matches whole names of linear layers",
            fix=f"The family's own: {alignment.family.lora_targets}",
        )
    settings = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
    )
    with without_noise():
        network = get_peft_model(stock, settings)
    settings = network.peft_config[network.active_adapter]
    settings.base_model_name_or_path, settings.revision = base, revision
    return network


def _origin(stock: Any) -> tuple[str, str | None]:
    """Where a loaded model came from, so that its adapter finds it again: (folder or Hub id, commit)."""
    name = str(getattr(stock, "name_or_path", "") or "")
    if not name:
        raise SynvitaError(
            "an adapter of this model could not be loaded later: the model has no name_or_path",
            found="name_or_path is empty",
            expected="a model from from_pretrained",
            fix="Save the model (save_pretrained) and load it from there",
        )
    if Path(name).is_dir():
        return str(Path(name).resolve()), None
    return name, getattr(stock.config, "_commit_hash", None)


def _check_adapter(network: Any) -> None:
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise SynvitaError(
            "an adapter was loaded to be used, not to be trained",
            found="no parameter that asks for gradients",
            fix="PeftModel.from_pretrained(model, adapter, is_trainable=True)",
        )


def _take_adapters_settings(network: Any, stock: nn.Module, config: SynViTAConfig) -> None:
    """A resumed adapter keeps its LoRA settings: `config` takes them over where it has its own defaults, so that what
    is saved of it is true.

    Raises:
        SynvitaError: `config` asks for something else.
    """
    settings = network.peft_config[network.active_adapter]
    if not hasattr(settings, "r"):  # an adapter of another kind than LoRA, which has no such settings
        return
    targets = settings.target_modules
    if not isinstance(targets, str):  # names, each the end of a module's; PEFT keeps them as a set
        targets = rf"(.*\.)?({'|'.join(re.escape(name) for name in sorted(targets))})"
    own = {
        "lora_r": settings.r,
        "lora_alpha": settings.lora_alpha,
        "lora_dropout": settings.lora_dropout,
        "lora_targets": targets,
    }
    fields = type(config).__dataclass_fields__
    given = {name: getattr(config, name) for name in own if getattr(config, name) != fields[name].default}
    differing = {name: value for name, value in given.items() if value != own[name]}
    if "lora_targets" in differing and _linear(stock, given["lora_targets"]) == _linear(stock, targets):
        del differing["lora_targets"]  # another spelling of the same modules
    if differing:
        raise SynvitaError(
            "the resumed adapter has other LoRA settings",
            found=", ".join(f"{name}={value}" for name, value in differing.items()),
            expected=", ".join(f"{name}={own[name]}" for name in differing),
            fix="Leave these settings out, or merge the adapter (merge_adapter) and train another one",
        )
    for name, value in own.items():
        setattr(config, name, value)


def _linear(stock: nn.Module, targets: str) -> set[str]:
    """Names of the linear layers, adapted or not, that an expression means."""
    from peft.tuners.lora import LoraLayer

    try:
        return {
            name
            for name, module in stock.named_modules()
            if isinstance(module, nn.Linear | LoraLayer) and re.fullmatch(targets, name)
        }
    except re.error as error:
        raise SynvitaError("lora_targets is not a regular expression", found=f"{targets}: {error}") from error
