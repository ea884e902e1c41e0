"""Fine-tune a Video LLM with the weighted loss in a stock `Trainer` of transformers.

    python examples/weighted_loss.py MODEL DATASET REAL_ROOT OUT
    python examples/weighted_loss.py LanguageBind/Video-LLaVA-7B-hf out/videocon-syn /data/videos out/stock

Any family of docs/alignment.md will do. `SynViTATrainer` does the same several times faster (docs/training.md).
"""

import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText, AutoProcessor, Trainer, TrainingArguments

from synvita_data import StockCollator, SynViTALoss, TripletData, load_triplets


def main(name: str, dataset: str, real_root: str, out: str) -> None:
    processor = AutoProcessor.from_pretrained(name)
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype)
    model = get_peft_model(model, LoraConfig(r=32, lora_alpha=32, target_modules=["q_proj", "v_proj"]))

    # A batch holds every pair of a triplet's videos and texts; the loss reads Yes and No behind each.
    collator = StockCollator(model, processor)
    rows = load_triplets(dataset, split="train", real_root=real_root)
    loss = SynViTALoss(scr_weight=1.0)  # lambda of Eq. 7
    trainer = Trainer(
        model,
        TrainingArguments(
            out,
            remove_unused_columns=False,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=8,
            learning_rate=1e-4,
            num_train_epochs=1,
            logging_steps=1,
            report_to="none",
        ),
        train_dataset=TripletData(rows, collator.preparer(), nle_share=0),
        data_collator=collator,
        compute_loss_func=loss,
        callbacks=[loss],
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
