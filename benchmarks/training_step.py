"""A training step of a triplet: eight scores behind two shared videos against eight forwards, in time and memory.

    python benchmarks/training_step.py [--small] [--rounds 3]

Prints one line a figure: `name: value unit (goal …) ok|short`. A step is forward, the objective (Eq. 7) and
backward into LoRA (r 32, every linear layer of the language model). On a CPU the model is narrow (512 wide, four
layers) with random weights, but the tokens are Video-LLaVA's: eight frames of 257 tokens, and captions of
VideoCon (where it is there, see `measure.py`, with a tokenizer trained on them; otherwise fixed ones) with what they
do not share hidden in the masked texts. All sides run in turns in this one process, and the best round of each
counts: on a CPU in processor time of one thread, which other processes on the machine hardly change. Memory is the
peak above the loaded model, each side in a process of its own.

The sides: `packed`, two rows of prefix and branches; `plain`, eight forwards that read the last logit, one by one
(faster on a CPU than a padded batch), in one graph, since L_scr couples the scores; `released`, the same with the
logits of the whole vocabulary at every position.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_parts.shapes import clip
from measure import added_megabytes, argument_parser, figure, in_turns, of_a_process, real_pairs
from peft import LoraConfig, get_peft_model
from scoring import narrow_model
from torch import Tensor

from synvita_data.captions import Text, hidden_spans
from synvita_data.models import AlignmentModel, EncodedVideo, PreparedVideo
from synvita_data.models.prompting import PromptTokens
from synvita_data.models.strategies import pack
from synvita_data.training.data import TrainingTriplet
from synvita_data.training.objective import Objective, Supervision, two_way_losses

FIXED = (
    "A couple of men playing racket ball on a court and a woman talking as they play.",
    "A couple of men talking as they play racket ball on a court and a woman playing",
)
FIXED_SHARED = (((0, 15), (24, 58)), ((0, 15), (37, 71)))
Texts = tuple[Text, Text, Text, Text]


def texts_of(pair: tuple[str, str]) -> Texts:
    """The four texts of a triplet, masked by words."""
    from synvita_data.captions.lcs import shared_spans

    shared = shared_spans(*pair, granularity="word")
    masked = [Text(caption, hidden_spans(caption, own)) for caption, own in zip(pair, shared, strict=True)]
    return Text(pair[0]), Text(pair[1]), masked[0], masked[1]


def fixed_texts() -> Texts:
    masked = [Text(c, hidden_spans(c, own)) for c, own in zip(FIXED, FIXED_SHARED, strict=True)]
    return Text(FIXED[0]), Text(FIXED[1]), masked[0], masked[1]


def real_tokenizer(model: AlignmentModel, pairs: int) -> AlignmentModel:
    """The same model asked with a tokenizer that cuts real captions as a real one does (8,000 tokens)."""
    from synvita_data.testing.tokenizer import llama_tokenizer

    asked = tuple(model.prompt.wrap(caption) for pair in real_pairs(pairs) for caption in pair)
    if not asked:
        return model
    corpus = (*asked, *(prompt + answer for prompt in asked[:200] for answer in model.family.answers))
    processor = model.family.processor
    processor.tokenizer = llama_tokenizer(["<image>", "<video>"], corpus, 8000)
    network = model.family.model
    for name in ("image", "video"):
        number = processor.tokenizer.convert_tokens_to_ids(f"<{name}>")
        setattr(processor, f"{name}_token_id", number)
        setattr(network.config, f"{name}_token_id", number)
    with torch.no_grad():  # rows that were added all alike say Yes and No with one voice
        for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
            layer.weight.normal_(std=layer.weight.shape[1] ** -0.5)
    return AlignmentModel(network, processor)


def with_lora(model: AlignmentModel, dropout: float = 0.0) -> AlignmentModel:
    """The paper's adapter; `init_lora_weights=False` so that all of its gradients are there from the first step."""
    torch.manual_seed(0)
    config = LoraConfig(
        r=32,
        lora_alpha=32,
        lora_dropout=dropout,
        target_modules=model.family.lora_targets,
        init_lora_weights=False,
    )
    adapted = get_peft_model(model.family.model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(0.01)
    return AlignmentModel(adapted, model.family.processor).train()


class Step:
    """One optimiser step's forward and backward for triplets with the same texts.

    Args:
        videos: real and synthetic in turns.
    """

    def __init__(self, model: AlignmentModel, texts: Texts, videos: Sequence[Any]) -> None:
        self.model, self.texts, self.videos = model, texts, list(videos)
        some = EncodedVideo(PreparedVideo({}, "", ()))
        rows = [
            TrainingTriplet(str(n), str(n), texts, some, some, 0.4, True)
            for n in range(len(self.videos) // 2)
        ]
        self.counts, self.supervision = (
            Objective().counts(rows),
            Supervision.of(rows, model.family.model.device),
        )

    def packed(self) -> Tensor:
        return self._backward(self._scores("packed"))

    def plain(self) -> Tensor:
        return self._backward(self._scores("plain"))

    def released(self) -> Tensor:
        """All logits of every pair, kept until the backward pass."""
        network, scores = self.model.family.model, []
        yes, no = self.model.prompter.answer_ids
        for video in self.videos:
            for text in self.texts:
                prompt = self.model.prompter.tokens(text, None, video)
                logits = network(
                    input_ids=torch.from_numpy(prompt.ids)[None].to(network.device),
                    attention_mask=torch.from_numpy(~prompt.hidden)[None].long().to(network.device),
                    pixel_values_videos=video.inputs["pixel_values_videos"].to(network.device, network.dtype),
                    use_cache=False,
                ).logits.float()
                scores.append(logits[0, -1, yes] - logits[0, -1, no])
        return self._backward(torch.stack(scores))

    def _scores(self, way: str) -> Tensor:
        return self.model(self.videos, [self.texts] * len(self.videos), strategy=way).log_odds

    def _backward(self, log_odds: Tensor) -> Tensor:
        m = log_odds.view(-1, 2, 4)
        objective = Objective()
        loss, _ = objective.loss(objective.terms(two_way_losses(m), m, self.supervision), self.counts)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        return m.detach()


def gradient(model: AlignmentModel) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def prompts_of(model: AlignmentModel, texts: Texts, video: PreparedVideo) -> list[PromptTokens]:
    return [model.prompter.tokens(text, None, video) for text in texts]


def token_counts(model: AlignmentModel, texts: Texts, video: PreparedVideo) -> tuple[int, int]:
    """Tokens of a packed row (both videos of a triplet have one) and of its four plain prompts."""
    prompts = prompts_of(model, texts, video)
    return len(pack(prompts)), sum(len(prompt.ids) for prompt in prompts)


def waste(model: AlignmentModel, pairs: int, triplets: int = 4) -> None:
    """Padding of packed batches in the file's order, and hidden tokens that are computed though nothing sees them."""
    video = PreparedVideo({}, model.family.placeholder, (8 * 257,))
    lengths, hidden = [], 0
    for pair in real_pairs(pairs):
        prompts = prompts_of(model, texts_of(pair), video)
        packed = pack(prompts)
        lengths.append(len(packed))
        for number, prompt in enumerate(prompts):
            hidden += int(prompt.hidden[packed.slots[packed.branch == number]].sum())
    if not lengths:
        print("padding: no videocon-16k here")
        return
    rows = torch.tensor(lengths).view(-1, triplets)
    computed = rows.amax(1) * triplets
    name = f"packed batches of {triplets} triplets, {rows.numel():,} real pairs"
    print(f"{name}: {rows.float().mean():.0f} tokens a row, {int(rows.min())} to {int(rows.max())}")
    wasted = computed.sum() - rows.sum() + hidden
    figure(f"{name}: padding and hidden tokens", 100 * float(wasted / computed.sum()), "%", 5, at_most=True)
    figure(f"{name}: the worst batch", 100 * float((1 - rows.sum(1) / computed).max()), "%")


def middle_texts(model: AlignmentModel, video: PreparedVideo, small: bool) -> Texts:
    """The triplet of median length among real ones; a fixed one without them."""
    pairs = real_pairs(20 if small else 999)
    if not pairs:
        return fixed_texts()
    texts = [texts_of(pair) for pair in pairs]
    lengths = [token_counts(model, own, video)[0] for own in texts]
    return texts[sorted(range(len(texts)), key=lengths.__getitem__)[len(texts) // 2]]


def ready(small: bool) -> tuple[AlignmentModel, Texts, list[PreparedVideo]]:
    with tempfile.TemporaryDirectory() as folder:
        model = narrow_model(Path(folder), small)
    model = with_lora(real_tokenizer(model, 200 if small else 4000))
    videos = [model.prepare(clip(seed)) for seed in (0, 1)]
    return model, middle_texts(model, videos[0], small), videos


def on_cpu(small: bool, rounds: int) -> None:
    model, texts, videos = ready(small)
    waste(model, 80 if small else 8000)
    packed_tokens, plain_tokens = token_counts(model, texts, videos[0])
    ratio = plain_tokens / packed_tokens
    print(f"a triplet: {2 * plain_tokens:,} tokens in eight forwards, {2 * packed_tokens:,} packed")
    step = Step(model, texts, videos)
    check(model, step)
    best = in_turns(rounds, time.process_time, packed=step.packed, plain=step.plain)
    best |= in_turns(1, time.process_time, released=step.released)
    seconds = ", ".join(f"{name} {value:.2f}" for name, value in best.items())
    print(f"seconds of processor time a step, from prepared frames: {seconds}")
    name = f"a triplet's step, faster than eight plain forwards (token ratio {ratio:.2f})"
    figure(name, best["plain"] / best["packed"], "x", 0.95 * ratio)
    figure(
        "a triplet's step, faster than the released way (full logits)", best["released"] / best["packed"], "x"
    )
    with torch.no_grad():
        encoded = Step(model, texts, [model.encode(video) for video in videos])
    best = in_turns(rounds, time.process_time, packed=encoded.packed, plain=encoded.plain)
    print(f"seconds with cached features: packed {best['packed']:.2f}, plain {best['plain']:.2f}")
    name = "the same where both have the vision tower's features already"
    figure(name, best["plain"] / best["packed"], "x", 0.95 * ratio)
    peaks = {side: peak(side, small) for side in ("packed", "plain", "released")}
    print(
        "peak MB above the loaded model: " + ", ".join(f"{name} {value:.0f}" for name, value in peaks.items())
    )
    figure("peak memory against plain", 100 * peaks["packed"] / peaks["plain"], "%", 40, at_most=True)
    figure("peak memory against the released way", 100 * peaks["packed"] / peaks["released"], "%")


def check(model: AlignmentModel, step: Step) -> None:
    """All sides say the same before any is timed."""
    found = {}
    for side in ("plain", "packed", "released"):
        scores = getattr(step, side)()
        found[side] = scores, gradient(model)
    scores, reference = found["plain"]
    for side in ("packed", "released"):
        torch.testing.assert_close(found[side][0], scores, atol=1e-4, rtol=0)
        apart = float((found[side][1] - reference).norm() / reference.norm())
        assert apart < 1e-4, f"gradients of {side} differ from plain: {apart}"


def peak(side: str, small: bool) -> float:
    """Megabytes that a step adds to a loaded model, at most; in a process of its own, unless a rough figure does."""
    if small:
        return measure_peak(side, small)
    # Large blocks go back to the system when they are freed, so that the peak is of what is in use.
    return of_a_process("--memory-of", side, MALLOC_MMAP_THRESHOLD_="65536")


def measure_peak(side: str, small: bool) -> float:
    model, texts, videos = ready(small)
    Step(
        model, texts, [model.prepare(clip(seed, frames=1)) for seed in (0, 1)]
    ).packed()  # what torch sets aside
    model.zero_grad(set_to_none=True)
    return added_megabytes(getattr(Step(model, texts, videos), side))


def main() -> None:
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("--memory-of", choices=("packed", "plain", "released"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory_of:
        print(json.dumps(measure_peak(arguments.memory_of, arguments.small)))
    else:
        on_cpu(arguments.small, 1 if arguments.small else arguments.rounds)


if __name__ == "__main__":
    main()
