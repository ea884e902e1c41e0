"""Our network on the fixture's inputs, stage by stage under the fixture's names, and what differs."""

import inspect

import torch
import transformers
from torch import Tensor

YES, NO = 40, 41
VOCABULARY = 64  # the original's; ours has rows for its media tokens behind it
PLACEHOLDER, PAD = -200, 0
TOLERANCE = {
    "video": 2e-5,
    "image": 2e-5,
    "inputs_embeds": 2e-5,
    "logits": 1e-4,
    "answer_logits": 1e-4,
    "scores": 1e-5,
}
# Its name in the forward of transformers until 5.22, and since.
_FORWARD = inspect.signature(transformers.VideoLlavaForConditionalGeneration.forward).parameters
IMAGE = "pixel_values" if "pixel_values" in _FORWARD else "pixel_values_images"


def scores(answer_logits: Tensor) -> Tensor:
    """P(Yes) / (P(Yes) + P(No)) of logits [B, V]."""
    return (answer_logits[:, YES] - answer_logits[:, NO]).sigmoid()


def spliced(ids: Tensor, tokens: int, token: int) -> Tensor:
    """Ids [S] with `tokens` ids `token` in place of each placeholder."""
    out: list[int] = []
    for each in ids.tolist():
        out += [token] * tokens if each == PLACEHOLDER else [each]
    return torch.tensor(out)


def rows(network, io, name: str, mask_name: str, left: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Spliced ids, mask and positions of a padded batch; positions restart at 0 in each row."""
    tokens = (network.config.video_config.image_size // network.config.video_config.patch_size) ** 2 + 1
    made = [
        spliced(row[seen.bool()], tokens, network.config.video_token_index)
        for row, seen in zip(io[name], io[mask_name], strict=True)
    ]
    length = max(map(len, made))
    ids, mask, positions = (torch.zeros(len(made), length, dtype=torch.long) for _ in range(3))
    for number, row in enumerate(made):
        at = slice(length - len(row), length) if left else slice(0, len(row))
        ids[number, at], mask[number, at], positions[number, at] = row, 1, torch.arange(len(row))
    return ids, mask, positions


def embeds(network, io, name: str, mask_name: str, left: bool) -> dict[str, Tensor]:
    """`inputs_embeds`, `logits` and `mask` of a batch of the fixture with its videos."""
    ids, mask, positions = rows(network, io, name, mask_name, left)
    seen = {"mask": mask}
    hook = network.model.language_model.register_forward_pre_hook(
        lambda module, args, named: seen.__setitem__("inputs_embeds", named["inputs_embeds"]),
        with_kwargs=True,
    )
    with torch.no_grad():
        seen["logits"] = network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            pixel_values_videos=io["video_pixel_values"].transpose(1, 2),
        ).logits[..., :VOCABULARY]
    hook.remove()
    return seen


def tower_hooks(tower, kind: str, seen: dict[str, Tensor], fold) -> list:
    """Keep what a tower makes, by the fixture's names."""

    def keep(name):
        return lambda module, args, output: seen.__setitem__(name, fold(output.detach()))

    hooks = [
        tower.embeddings.register_forward_hook(keep(f"{kind}_embeddings")),
        tower.pre_layrnorm.register_forward_hook(keep(f"{kind}_pre_layrnorm")),
    ]
    for number, layer in enumerate(tower.encoder.layers):
        hooks.append(layer.register_forward_hook(keep(f"{kind}_layer{number}")))
        if kind == "video":  # what goes into the spatial half
            hooks.append(
                layer.layer_norm1.register_forward_pre_hook(
                    lambda module, args, name=f"video_layer{number}_temporal": seen.__setitem__(
                        name, fold(args[0].detach())
                    )
                )
            )
    return hooks


def run(network, io) -> dict[str, Tensor]:
    """What our network makes of the fixture's videos and evaluation prompts."""
    seen: dict[str, Tensor] = {}

    def fold(states: Tensor) -> Tensor:
        return states.unflatten(0, (2, -1))

    tower = network.model.video_tower
    hooks = tower_hooks(tower, "video", seen, fold)
    hooks.append(
        network.model.multi_modal_projector.register_forward_hook(
            lambda module, args, output: seen.update(
                video_features=fold(args[0].detach()), video_projected=fold(output.detach())
            )
        )
    )

    def keep_output(module, args, output):
        pooled = tower.post_layernorm(output.last_hidden_state[:, 0])
        seen["video_pooler_output"] = fold(pooled).mean(1).detach()
        if (states := output.hidden_states[-2]) is not None:  # only what is asked for is there
            seen["video_hidden_states_m2"] = fold(states.detach())

    hooks.append(tower.register_forward_hook(keep_output))
    made = embeds(network, io, "input_ids", "attention_mask", left=True)
    for hook in hooks:
        hook.remove()
    seen |= {
        "inputs_embeds": made["inputs_embeds"],
        "logits": made["logits"],
        "answer_logits": made["logits"][:, -1],
        "scores": scores(made["logits"][:, -1]),
    }
    return seen


def image_stages(network, io) -> dict[str, Tensor]:
    """What our network makes of the fixture's images."""
    seen: dict[str, Tensor] = {}
    tower = network.model.image_tower
    hooks = tower_hooks(tower, "image", seen, lambda states: states)
    hooks.append(
        tower.register_forward_hook(
            lambda module, args, output: seen.update(
                image_hidden_states_m2=output.hidden_states[-2].detach(),
                image_pooler_output=tower.post_layernorm(output.last_hidden_state[:, 0]).detach(),
            )
        )
    )
    hooks.append(
        network.model.multi_modal_projector.register_forward_hook(
            lambda module, args, output: seen.update(
                image_features=args[0].detach(), image_projected=output.detach()
            )
        )
    )
    with torch.no_grad():
        network.model.get_image_features(io["image_pixel_values"])
    for hook in hooks:
        hook.remove()
    return seen


def wrong(ours: dict[str, Tensor], io, prefix: str = "out.") -> list[str]:
    """Names of the fixture's tensors that ours miss by more than the tolerance, or have another shape of."""
    names = []
    for name, value in ours.items():
        expected = io[prefix + name]
        kind = name if name in TOLERANCE else name.partition("_")[0]
        if value.shape != expected.shape:
            names.append(name)
            continue
        apart = (value - expected).abs()
        if name in ("logits", "inputs_embeds") and f"{prefix}spliced_attention_mask" in io:
            apart = apart[io[f"{prefix}spliced_attention_mask"].bool()]  # padding is compared by nobody
        if not apart.max() <= TOLERANCE[kind]:
            names.append(name)
    return names
