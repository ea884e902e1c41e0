"""The reference of the stock Trainer's tests: a stock model fed by its own processor, one pair a forward, and the
loss written out from the paper. Nothing of `synvita_data.models` or `synvita_data.training` computes here."""

from dataclasses import replace

import numpy as np
import torch

from synvita_data.captions import Text
from synvita_data.training.data import TrainingTriplet
from synvita_data.video import Frames

QUESTION = 'Does this video entail the description: "{}"?'
CHAT = f"<|im_start|>user\n{{}}{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
QWEN = CHAT.format("<|vision_start|><|video_pad|><|vision_end|>", "{}")
PROMPTS = {
    "video_llava": f"USER: <video>\n{QUESTION} ASSISTANT:",
    "qwen2_5_vl": QWEN,
    "qwen3_vl": QWEN,
    "llava_onevision": CHAT.format("<video>", "{}"),
}


def answers_of(family: str) -> tuple[str, str]:
    return (" Yes", " No") if family == "video_llava" else ("Yes", "No")


def clip(seed: int) -> Frames:
    """Four frames of noise, a quarter of a second apart."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
    return Frames(pixels, (0, 1, 2, 3), (0.0, 0.25, 0.5, 0.75), 4.0, f"noise {seed}", "none")


# (own, contrast, spans hidden of each when masked): lengths differ, so rows are padded.
CAPTIONS = [
    ("A man plays a guitar on a stage.", "A man plays a piano on a stage.", ((14, 20),), ((14, 19),)),
    ("dogs run", "cats run", ((0, 4),), ((0, 4),)),
    (
        "A red circle moves left before a blue square grows.",
        "A red circle moves left after a blue square grows.",
        ((24, 30),),
        ((24, 29),),
    ),
    ("A woman cuts vegetables", "A woman washes vegetables", ((8, 12),), ((8, 14),)),
]


def rows(number: int) -> list[dict]:
    """Rows with every kind of triplet among them, as plain data: frames (or None), texts, weight, takes_real."""
    kinds = [
        {},
        {"weight": 0.25},
        {"real": None, "takes_real": False},
        {"synthetic": None, "weight": 0.0},
        {"takes_real": False, "weight": 0.7},
        {"weight": 1.0},
        {"synthetic": None, "weight": 0.0, "zero_weight": True},
        {"weight": 0.05},
    ]
    made = []
    for n in range(number):
        own, contrast, dark, contrast_dark = CAPTIONS[n % len(CAPTIONS)]
        texts = (Text(own), Text(contrast), Text(own, dark), Text(contrast, contrast_dark))
        row = {"real": clip(2 * n), "synthetic": clip(2 * n + 1), "weight": 0.5, "takes_real": True}
        made.append({"texts": texts, **row, **kinds[n % len(kinds)]})
    return made


def triplets_of(data: list[dict], collator) -> list[TrainingTriplet]:
    prepare = collator.preparer().prepare
    return [as_triplet(row, number, prepare) for number, row in enumerate(data)]


def as_triplet(row: dict, number: int, prepare) -> TrainingTriplet:
    real, synthetic = (None if row[side] is None else prepare(row[side]) for side in ("real", "synthetic"))
    triplet = TrainingTriplet(
        f"row{number}", f"pair{number}", row["texts"], real, synthetic, row["weight"], row["takes_real"]
    )
    return replace(triplet, zero_weight=row.get("zero_weight", False))


def pair_logits(model, processor, family: str, frames: Frames, text: Text, answer: bool | None = None):
    """Logits [k, V] where the answer is predicted and, with an answer, behind it."""
    prompt = PROMPTS[family].format(text.caption)
    if answer is not None:
        prompt += answers_of(family)[0 if answer else 1]
    inputs = processor(
        text=[prompt],
        videos=[frames.pixels],
        do_sample_frames=False,
        video_metadata=[
            {
                "fps": frames.fps,
                "total_num_frames": len(frames),
                "duration": len(frames) / frames.fps,
                "frames_indices": list(frames.indices),
            }
        ],
        return_tensors="pt",
    )
    ids = inputs["input_ids"]
    mask = torch.ones_like(ids)
    start = prompt.index('description: "') + len('description: "')
    dark = {start + i for a, b in text.hidden for i in range(a, b) if not text.caption[i].isspace()}
    tokens = processor.tokenizer(prompt, return_offsets_mapping=True)
    behind = ids.shape[1] - len(tokens["input_ids"])  # the video's token stands there many times
    for place, (a, b) in enumerate(tokens["offset_mapping"]):
        if dark & set(range(a, b)):
            mask[0, place + behind] = 0
    positions = torch.arange(ids.shape[1])[None]
    if hasattr(model.model, "get_rope_index"):
        grid = {name: inputs[name] for name in ("video_grid_thw", "second_per_grid_ts") if name in inputs}
        kinds = inputs["mm_token_type_ids"]
        positions = model.model.get_rope_index(ids, mm_token_type_ids=kinds, **grid)[0]
    inputs = {name: value for name, value in inputs.items() if name != "mm_token_type_ids"}
    inputs |= {"attention_mask": mask, "position_ids": positions, "use_cache": False}
    return model(**inputs).logits[0, -1 if answer is None else -2 :].float()


def reference_loss(model, processor, family: str, data: list[dict], answer_loss: str, lam: float, margin=0.2):
    """Eq. 7 over the number of rows, pair by pair."""
    vocabulary = processor.tokenizer.get_vocab()
    yes, no = (
        processor.tokenizer(answer, add_special_tokens=False)["input_ids"][0] for answer in answers_of(family)
    )
    end = vocabulary["</s>" if family == "video_llava" else "<|im_end|>"]
    total = torch.zeros(())
    for row in data:

        def answered(video, text, answer):
            logits = pair_logits(
                model, processor, family, video, text, answer if answer_loss == "token-and-end" else None
            )
            right = yes if answer else no
            if answer_loss == "two-way":
                return -(logits[0, right] - logits[0, [yes, no]].logsumexp(0))
            loss = -logits[0].log_softmax(0)[right]
            return loss - logits[1].log_softmax(0)[end] if answer_loss == "token-and-end" else loss

        def f(video, text):
            return pair_logits(model, processor, family, video, text)[0, [yes, no]].softmax(0)[0]

        own, contrast, own_masked, contrast_masked = row["texts"]
        real, synthetic, weight = row["real"], row["synthetic"], row["weight"]
        if row["takes_real"]:
            total = total + answered(real, own, True) + answered(real, contrast, False)
        if weight:
            total = total + weight * (answered(synthetic, contrast, True) + answered(synthetic, own, False))
        if weight and lam:
            scr = torch.relu(margin + f(synthetic, contrast_masked) - f(synthetic, contrast))
            scr = scr + torch.relu(margin + f(synthetic, own) - f(synthetic, own_masked))
            if real is not None:
                scr = scr + torch.relu(margin + f(real, own_masked) - f(real, own))
                scr = scr + torch.relu(margin + f(real, contrast) - f(real, contrast_masked))
            total = total + lam * weight * scr
    return total / len(data)


def adapted(folder):
    """(model, processor) of a tiny checkpoint with random LoRA weights on its language model, no dropout."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    stock = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    targets = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    config = LoraConfig(r=4, lora_alpha=4, target_modules=targets, init_lora_weights=False)
    return get_peft_model(stock, config), AutoProcessor.from_pretrained(folder)


def gradients(model) -> dict[str, torch.Tensor]:
    return {n: p.grad.double().clone() for n, p in model.named_parameters() if p.grad is not None}


def difference(one, two) -> float:
    """Relative L2 over all parameters together."""
    assert one.keys() == two.keys()
    assert one
    gap = sum((one[name] - two[name]).square().sum() for name in one).sqrt()
    return float(gap / sum(value.square().sum() for value in two.values()).sqrt())


def training_arguments(folder, **changes):
    from transformers import TrainingArguments

    arguments = {
        "per_device_train_batch_size": 1,
        "num_train_epochs": 1,
        "learning_rate": 0.0,
        "max_grad_norm": 0.0,
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,
    }
    return TrainingArguments(str(folder), **{**arguments, **changes})


def trained_gradients(model, data, collator, loss, folder, *, batch: int, accumulation: int, **changes):
    """(gradients, logged loss) of one optimiser step of a stock Trainer over all of `data`, in its order."""
    from transformers import Trainer, TrainerCallback

    seen = {}

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            seen.setdefault("gradients", gradients(model))

    model.zero_grad(set_to_none=True)
    trainer = Trainer(
        model,
        training_arguments(
            folder, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, **changes
        ),
        train_dataset=data,
        data_collator=collator,
        compute_loss_func=loss,
        callbacks=[loss, Keep()],
    )
    output = trainer.train()
    assert output.global_step == 1
    return seen["gradients"], output.training_loss
