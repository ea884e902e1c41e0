"""Several questions of one video: what the shared prefix saves against one forward an option, and one a question.

    python benchmarks/questions.py [--small] [--rounds 5]

Prints one line a figure: `name: value unit (goal …) ok|short`. The model is narrow (512 wide, four layers) with random
weights, but the tokens are Video-LLaVA's: eight frames of 257 tokens, and questions that list their options. All sides
run in turns in this one process, in processor time of one thread, which other processes on the machine hardly change;
the median of the rounds counts. The vision tower runs once a forward on every side, and no side resizes frames.

The sides: `option`, a plain forward for each option of each question, as a lone text is scored; `question`, one for
each question, from which all of its options are read; `shared`, one call for all of them, the way it is chosen. Goals
are nine tenths of the ratio of their tokens.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from gpu_parts.shapes import captions, clip
from measure import argument_parser, figure, in_turns
from scoring import narrow_model

from synvita_data.captions import Question, Text
from synvita_data.models import AlignmentModel, PreparedVideo
from synvita_data.models.strategies import pack

# How many questions of one video, and how many options each has.
SHAPES = ((4, 4), (5, 3))


def asked(questions: int, options: int) -> list[list[Text]]:
    """The texts of each question: some ten words, and options of four to six, each under its letter."""
    letters = tuple("ABCDEFGH"[:options])
    words = [text.caption.removesuffix(".").split() for text in captions(questions * (options + 1))]
    made = []
    for number in range(questions):
        stem, *phrases = words[number * (options + 1) : (number + 1) * (options + 1)]
        listed = " ".join(
            f"{letter}. {' '.join(phrase[: 4 + place % 3])}"
            for place, (letter, phrase) in enumerate(zip(letters, phrases, strict=True))
        )
        question = f"{' '.join(stem[:10])}? {listed}. Answer with the letter of the option."
        made.append(
            [Text(f"{question} {a}", question=Question(question, letters, p)) for p, a in enumerate(letters)]
        )
    return made


def token_counts(
    model: AlignmentModel, texts: list[list[Text]], video: PreparedVideo
) -> tuple[int, int, int]:
    """Tokens of one forward an option, of one a question, and of the prefix once with a branch for each question."""
    prompts = [model.prompter.tokens(own[0], None, video) for own in texts]
    lengths = [len(prompt.ids) for prompt in prompts]
    return (
        sum(length * len(own) for length, own in zip(lengths, texts, strict=True)),
        sum(lengths),
        len(pack(prompts)),
    )


def compare(model: AlignmentModel, questions: int, options: int, rounds: int) -> None:
    """Both ratios of one shape; the log-odds of all sides agree before any is timed."""
    texts, video = asked(questions, options), model.prepare(clip(questions))
    together = [text for own in texts for text in own]

    def one_by_one(chosen: list[list[Text]]) -> list[torch.Tensor]:
        return [model([video], [each], strategy="plain").log_odds for each in chosen]

    sides = {
        "option": lambda: torch.cat(one_by_one([[text] for text in together])),
        "question": lambda: torch.cat(one_by_one(texts)),
        "shared": lambda: model([video], [together]).log_odds,
    }
    answers = {name: side() for name, side in sides.items()}
    for name, found in answers.items():
        difference = float((found - answers["option"]).abs().max())
        assert difference < 1e-4, f"{name} differs by {difference}"
    counts = dict(zip(sides, token_counts(model, texts, video), strict=True))
    spent = in_turns(rounds, time.process_time, median, **sides)
    shape = f"{questions} questions of {options} options"
    print(
        f"{shape}: "
        + "; ".join(f"{name} {counts[name]:,} tokens, {spent[name]:.2f} s" for name in sides)
        + f"; {model([video], [together]).strategy}"
    )
    for name, what in (("option", "one forward an option"), ("question", "one forward a question")):
        ratio = counts[name] / counts["shared"]
        figure(
            f"{shape}, faster than {what} (token ratio {ratio:.2f})",
            spent[name] / spent["shared"],
            "x",
            0.9 * ratio,
        )


def on_cpu(small: bool, rounds: int) -> None:
    """Every shape, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            with tempfile.TemporaryDirectory() as folder:
                model = narrow_model(Path(folder), small)
            for questions, options in SHAPES:
                compare(model, questions, options, 1 if small else rounds)
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    arguments = argument_parser(__doc__, rounds=5, counts="median").parse_args()
    on_cpu(arguments.small, arguments.rounds)


if __name__ == "__main__":
    main()
