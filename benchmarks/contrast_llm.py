"""Contrast captions by a chat model: batches against one request after the other.

    python benchmarks/contrast_llm.py [--small] [--rounds 3]

Prints one line a figure: `name: value unit (goal …) ok|short`. The model is a tiny one of a real class with random weights,
so that answers run to their longest; the prompts are ours. *One by one* is `generate` of transformers on each prompt alone,
without padding; *batched* is `llm:MODEL` with 32 rows. Both sides run in turns in this one process; what counts is
processor time (torch on one thread), the best round of each, so that a busy machine matters little. A GPU has far more
to gain: its time for a step hardly depends on the rows. The share of requests whose text is the same, to the letter, is
printed too.
"""

import tempfile
import time
from pathlib import Path

import torch
from measure import argument_parser, figure, in_turns
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from synvita_data.builders.contrast.answers import cut_raw
from synvita_data.builders.contrast.base import ContrastRequest
from synvita_data.builders.contrast.llm import LlmWriter
from synvita_data.builders.contrast.prompts import load_prompts
from synvita_data.schema import MISALIGNMENTS
from synvita_data.testing import make_tiny

logging.disable_progress_bar()
logging.set_verbosity_error()


def main() -> None:
    parser = argument_parser(__doc__ or "", rounds=3)
    options = parser.parse_args()
    count, tokens, rows = (8, 8, 4) if options.small else (64, 64, 32)
    torch.set_num_threads(1)
    animals = ("dog", "cat", "horse", "child", "man")
    requests = [
        ContrastRequest(
            f"{number} small {animals[number % 5]}s run on the beach", MISALIGNMENTS[number % 7], number
        )
        for number in range(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        place = make_tiny("chat", Path(folder) / "tiny")
        writer = LlmWriter(str(place), device="cpu", dtype="float32", max_new_tokens=tokens, batch_size=rows)
        tokenizer = AutoTokenizer.from_pretrained(place)
        model = AutoModelForCausalLM.from_pretrained(place).eval()
        prompts = load_prompts()
        texts: dict[str, list[str | None]] = {}

        def one_by_one() -> None:
            found = []
            for request in requests:
                message = {"role": "user", "content": prompts.ask(request.caption, request.misalignment)}
                given = tokenizer.apply_chat_template(
                    [message], add_generation_prompt=True, return_dict=True, return_tensors="pt"
                )
                with torch.inference_mode():
                    out = model.generate(**given, do_sample=False, max_new_tokens=tokens)
                written = out[0, given["input_ids"].shape[1] :]
                found.append(cut_raw(tokenizer.decode(written, skip_special_tokens=True)))
            texts["one_by_one"] = list(found)

        def batched() -> None:
            texts["batched"] = [answer.raw for answer in writer.write(requests)]

        writer.write(requests[:1])  # loads the model
        best = in_turns(options.rounds, time.process_time, one_by_one=one_by_one, batched=batched)
        writer.close()
    same = sum(a == b for a, b in zip(*texts.values(), strict=True))
    for name, seconds in best.items():
        figure(f"{name.replace('_', ' ')}: {count} requests, {tokens} tokens each", seconds, "s")
    figure("batched against one by one", best["one_by_one"] / best["batched"], "x", 3.0)
    figure("requests with the same text", 100 * same / count, "%", 99.0)


if __name__ == "__main__":
    main()
