"""What the trainer does for a GPU, as far as a CPU can tell: autocast, and a step that does not fit."""

import pytest
import torch
from small_trainer import make_trainer, small_rows

from synvita_data.errors import SynvitaError
from synvita_data.testing import make_tiny


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny("video_llava", tmp_path_factory.mktemp("tiny"))


def _scores(trainer, *, casts: bool | None):
    """Log-odds under bf16 autocast; `casts` puts PEFT's cast of inputs back."""
    module = trainer.module
    if casts:
        module.alignment._follow_autocast = lambda: None
    with torch.autocast("cpu", torch.bfloat16):
        return module(triplets=trainer.train_dataset[:4])


def test_adapters_take_autocasts_dtype(checkpoint, tmp_path):
    """Without dropout the numbers are those with PEFT's own cast, which autocast undoes again."""
    trainer = make_trainer(checkpoint, tmp_path, small_rows())
    layers = trainer.alignment._adapters
    assert len(layers) == 2 * 7
    own = _scores(trainer, casts=False)
    assert not any(layer.cast_input_dtype_enabled for layer in layers)
    seen = []
    hooks = [
        layer.lora_A["default"].register_forward_pre_hook(lambda m, x: seen.append(x[0].dtype))
        for layer in layers
    ]
    _scores(trainer, casts=False)
    assert torch.bfloat16 in seen
    for hook in hooks:
        hook.remove()
    for layer in layers:
        layer.cast_input_dtype_enabled = True
    stock = _scores(trainer, casts=True)
    torch.testing.assert_close(own.log_odds, stock.log_odds, atol=0, rtol=0)
    assert own.log_odds.abs().max() > 0


def test_without_autocast_peft_casts(checkpoint, tmp_path):
    """bf16 weights under fp32 adapters need it."""
    trainer = make_trainer(checkpoint, tmp_path, small_rows())
    _scores(trainer, casts=False)
    trainer.module(triplets=trainer.train_dataset[:1])
    assert all(layer.cast_input_dtype_enabled for layer in trainer.alignment._adapters)


@pytest.mark.parametrize(
    ("changes", "named", "unnamed"),
    [
        ({}, ("per_device_train_batch_size=1", "gradient_checkpointing=true", "bf16=true"), ("way=packed",)),
        (
            {"per_device_train_batch_size": 1, "gradient_checkpointing": True, "way": "plain"},
            ("way=packed",),
            ("per_device_train_batch_size=1", "gradient_checkpointing=true"),
        ),
    ],
)
def test_a_step_that_does_not_fit_says_what_to_set(checkpoint, tmp_path, changes, named, unnamed):
    trainer = make_trainer(checkpoint, tmp_path, small_rows(), **changes)

    def refuse(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 70.00 MiB.")

    trainer.alignment.family.language_model.register_forward_pre_hook(refuse)
    with pytest.raises(SynvitaError, match="does not fit in the memory") as caught:
        trainer.train()
    for name in named:
        assert name in str(caught.value)
    for name in unnamed:
        assert name not in str(caught.value)
    assert "70.00 MiB" in str(caught.value)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
