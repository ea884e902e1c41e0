"""LoRA's gradients are the same through packed branches and through one stock forward per pair."""

import pytest
import torch
from stock_models import clip

from synvita_data.captions import Text
from synvita_data.models import AlignmentModel

VIDEOS = [clip(2), clip(3)]
CAPTIONS = ("A man plays a guitar on a stage.", "A man plays a piano on a stage.")
# The eight pairs of a triplet: both captions, and both with what they do not share hidden.
TEXTS = [Text(CAPTIONS[0]), Text(CAPTIONS[1]), Text(CAPTIONS[0], ((14, 20),)), Text(CAPTIONS[1], ((14, 19),))]


@pytest.fixture
def adapted(stock):
    """A model with random LoRA weights (no dropout) on what its family names."""
    from peft import LoraConfig, get_peft_model

    network, processor = stock
    targets = AlignmentModel(network, processor).family.lora_targets
    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    return AlignmentModel(get_peft_model(network, config), processor)


def loss(log_odds):
    """Two-way cross-entropy and hinge terms of a triplet, so that every score matters."""
    m = log_odds.view(2, 4)
    f = m.sigmoid()
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    hinge = (0.2 + f[:, 2:] - f[:, :2]).relu().sum() + (
        0.2 + f[:, :2].flip(1) - f[:, 2:].flip(1)
    ).relu().sum()
    return -torch.nn.functional.logsigmoid(signs * m[:, :2]).sum() + hinge


def gradients(model, strategy, **options):
    model.zero_grad(set_to_none=True)
    output = model(VIDEOS, [TEXTS, TEXTS], strategy=strategy, **options)
    total = loss(output.log_odds)
    if output.vocabulary_logits is not None:
        total = total + output.vocabulary_logits.logsumexp(-1).sum()
    total.backward()
    return {n: p.grad.double().clone() for n, p in model.named_parameters() if p.grad is not None}


def difference(one, two) -> float:
    """Relative L2 over all parameters together."""
    assert one.keys() == two.keys()
    assert one
    gap = sum((one[name] - two[name]).square().sum() for name in one).sqrt()
    return float(gap / sum(value.square().sum() for value in two.values()).sqrt())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("vocabulary", [0, 2])
def test_packed_and_plain_give_the_same_gradients(adapted, checkpointing, vocabulary):
    options = {"vocabulary": vocabulary}
    if vocabulary == 2:
        options["answers"] = [[True, False, True, False]] * 2
    adapted.train()
    reference = gradients(adapted, "plain", **options)
    assert all("lora_" in name and "language_model" in name for name in reference)
    kinds = {name.rsplit(".lora_", 1)[0].rsplit(".", 1)[-1] for name in reference}
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    if checkpointing:
        stock = adapted.family.model
        stock.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        assert any(getattr(module, "gradient_checkpointing", False) for module in stock.modules())
    for attention in ("split", "sdpa", "eager"):
        other = AlignmentModel(adapted.model, adapted.family.processor, attention=attention)
        other.train()
        assert difference(gradients(other, "packed", **options), reference) < 1e-5, attention


def test_reentrant_checkpointing(adapted):
    adapted.train()
    reference = gradients(adapted, "plain")
    adapted.family.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    adapted.family.model.enable_input_require_grads()
    assert difference(gradients(adapted, "packed"), reference) < 1e-5


def test_a_leak_between_branches_is_noticed(adapted, monkeypatch):
    from synvita_data.models import strategies

    reference = gradients(adapted, "plain")

    def causal(branch, first_query=0):
        return torch.ones(len(branch), len(branch), dtype=torch.bool).tril()[first_query:]

    monkeypatch.setattr(strategies, "branch_mask", causal)
    assert difference(gradients(adapted, "packed"), reference) > 1e-3
