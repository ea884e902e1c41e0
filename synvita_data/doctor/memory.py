"""GPU memory of a run, estimated from parameters, dtype and what was measured; never by loading anything.

The measured figures are those of `docs/benchmarks.md` ("On a GPU"): one H100, Video-LLaVA's shape at 7B in bf16.

- Scoring: 14.0 GiB with 18 captions a video, 14.1 GiB with 49, where the weights are 13.7 GiB: below 1 GiB beside them
  (mPLUG-Owl and Qwen2.5-VL likewise).
- Training with LoRA r 32 and gradient checkpointing, packed: 16.5, 23.4 and 51.1 GiB at 1, 4 and 16 triplets, which is
  2.31 GiB a triplet. Without checkpointing 45.4 GiB at one triplet.
"""

from dataclasses import asdict, dataclass
from typing import Any

from .machine import Machine
from .report import Check, size
from .wanted import BYTES

GIB = 1 << 30
SOURCE = "docs/benchmarks.md, measured at 7B on one H100"
# Beside the weights, in scoring: the features of a video and the activations of its packed captions.
_SCORING = 1.0 * GIB
# Of training, at the parameters of the measured model.
_MEASURED_PARAMETERS = 7_371_000_000
_TRIPLET_CHECKPOINTED = 2.31 * GIB
_TRIPLET = 30.5 * GIB
# LoRA of rank 32 on the seven projections of a Vicuna-7B has 79.95 million parameters.
_LORA_SHARE = 79_953_920 / _MEASURED_PARAMETERS / 32
# An adapter in fp32 with its gradient and the two moments of AdamW.
_BYTES_TRAINED = 16
# Below this a run needs no GPU to end today.
_SMALL = 2 * GIB


@dataclass(frozen=True, slots=True)
class Part:
    """What takes memory: its name, bytes, and where the figure comes from."""

    what: str
    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Memory:
    """An estimate of the memory of one GPU; None for a total that cannot be known.

    Attributes:
        parts: what it is made of.
        largest: of several models that run one after another, the name of the one that is meant.
    """

    parts: tuple[Part, ...]
    largest: str | None = None

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)

    def to_record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"bytes": self.total, "estimate": True, **asdict(self)}


def weights_part(parameters: int, dtype: str) -> Part:
    """The weights of a model in a dtype."""
    count = parameters * BYTES.get(dtype, 4)
    return Part("weights", count, f"{parameters / 1e9:.2f} billion parameters in {dtype}")


def scoring_memory(parameters: int | None, dtype: str, name: str | None = None) -> Memory | None:
    """To score with a model.

    Args:
        parameters: of the model; None where nobody says.
        dtype: that it is loaded in.
        name: of the model, where others run after it.
    """
    if not parameters:
        return None
    working = int(min(_SCORING, parameters * 2) * (2 if dtype == "float32" else 1))
    return Memory(
        (weights_part(parameters, dtype), Part("one video and its captions", working, SOURCE)), name
    )


def training_memory(
    parameters: int | None,
    dtype: str,
    *,
    triplets: int,
    checkpointing: bool,
    tune: str = "lora",
    rank: int = 32,
) -> Memory | None:
    """To train a model.

    Args:
        parameters: of the model; None where nobody says.
        dtype: of its frozen weights.
        triplets: at once on this device (`per_device_train_batch_size`).
        checkpointing: whether activations are computed again in the backward pass.
        tune: `lora`, `language-model` or `all`.
        rank: of LoRA.
    """
    if not parameters:
        return None
    scale = parameters / _MEASURED_PARAMETERS
    if tune == "lora":
        trained = int(parameters * _LORA_SHARE * rank)
        optimizer = Part(
            "LoRA, its gradients and AdamW", trained * _BYTES_TRAINED, f"about {trained / 1e6:.0f} million"
        )
    else:  # gradients and two moments in the dtype of the weights
        optimizer = Part("gradients and AdamW", parameters * BYTES.get(dtype, 4) * 3, f"{tune} is trained")
    each = (_TRIPLET_CHECKPOINTED if checkpointing else _TRIPLET) * scale
    how = "with" if checkpointing else "without"
    several = "1 triplet" if triplets == 1 else f"{triplets} triplets"
    activations = Part(f"{several} at once, {how} gradient checkpointing", int(each * triplets), SOURCE)
    return Memory((weights_part(parameters, dtype), optimizer, activations))


def memory_check(
    memory: Memory | None, machine: Machine, *, device: str | None = None, spread: bool = False
) -> Check:
    """Whether the need fits the largest GPU, or the main memory where there is none.

    Args:
        memory: the need; None where it is not known.
        machine: this one.
        device: that the command names: `cpu`, `cuda:0`, …
        spread: whether one model goes over all GPUs (`--device-map`).
    """
    if memory is None:
        return Check("warn", "memory", "not known: nobody says how many parameters the model has")
    parts = " + ".join(f"{_gib(part.bytes)} {part.what}" for part in memory.parts)
    named = "" if memory.largest is None else f" for {memory.largest}"
    need = f"about {_gib(memory.total)}{named} ({parts}), an estimate"
    gpus, asked = machine.gpus, (device or "").removeprefix("cuda:")
    if device is not None and device.startswith("cuda"):
        gpus = gpus[int(asked) :][:1] if asked.isdigit() else gpus
        if not gpus:
            return Check("bad", "memory", f"there is no {device}: {len(machine.gpus)} GPUs are here")
    if device == "cpu" or not gpus:
        why = "the CPU was asked for" if device == "cpu" else f"no GPU ({machine.no_gpus})"
        ram = "main memory not known" if machine.ram is None else f"{_gib(machine.ram)} of main memory"
        need += f"; {why}, {ram}"
        if machine.ram is not None and memory.total > machine.ram:
            return Check("bad", "memory", need, "Use a machine with a GPU that is large enough")
        slow = "It will take days where a GPU takes minutes: use a machine with one"
        return Check("warn", "memory", need, slow) if memory.total > _SMALL else Check("ok", "memory", need)
    best = max(gpus, key=lambda gpu: gpu.total)
    counted = gpus if spread else (best,)
    total, free = sum(gpu.total for gpu in counted), sum(gpu.free for gpu in counted)
    several, each = (f"{len(gpus)} × ", " each") if len(gpus) > 1 else ("", "")
    need += f"; there: {several}{best.name}, {_gib(best.total)}{each}, {_gib(best.free)} free"
    if memory.total > total:
        return Check("bad", "memory", need, _smaller(memory))
    if memory.total > free:
        return Check("warn", "memory", need, "Something else uses the GPU: end it first")
    return Check("ok", "memory", need)


def _smaller(memory: Memory) -> str:
    wide = any("float32" in part.source for part in memory.parts)
    advice = ["dtype bfloat16 halves the weights"] if wide else []
    if any("triplet" in part.what for part in memory.parts):
        advice.append("per_device_train_batch_size=1 and gradient_checkpointing=true need least")
    return "; ".join([*advice, "or take a larger GPU"]).capitalize()


def _gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else size(count)
