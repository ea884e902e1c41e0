"""What VQA models are asked about a frame and a caption, and how their answer becomes a score.

VQAScore (arXiv:2404.01291) is the probability that a model answers "yes" to "does this figure show …?".
Wordings, answers and the score are those of its released code (`t2v_metrics`), which the paper's f̄ was made with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum
from typing import Any

from synvita_data.errors import CaptionError, ScoreError, SynvitaError

SCORES = ("reference", "first-token")
_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)
_FIGURE = 'Does this figure show "'
_ASKED = '"? Please answer yes or no.'


@dataclass(frozen=True, slots=True)
class Question:
    """`before + caption + after`, answered by `answer` and the end token.

    Attributes:
        name: in the `method` of score tables. image: what stands for the image in `before`, "" where the model takes
            it from beside the text.
    """

    name: str
    before: str
    after: str
    answer: str
    image: str = ""

    def wrap(self, caption: str) -> str:
        """The question about this caption, taken literally: quotes and braces stay as they are."""
        return f"{self.before}{caption}{self.after}"


VICUNA = Question(
    "vicuna", f"{_SYSTEM} USER: <image>\n{_FIGURE}", f"{_ASKED} ASSISTANT: ", "Yes", image="<image>"
)
BLIP = Question("blip", f"Question: {_FIGURE}", _ASKED, "yes")  # InstructBLIP says it in lower case
CHAT = Question("chat", _FIGURE, _ASKED, "Yes")  # inside a model's own chat template


def score_of(log_probs: Sequence[float], score: str) -> float:
    """A score in [0, 1] from the log-probabilities of the answer's tokens, the end token last.

    Args:
        log_probs: natural logarithms, at least two; computed by a log-softmax in fp32.
        score: `reference`: exp of minus the mean cross-entropy over answer and end token, what the released
            code computes. `first-token`: the probability of the answer's first token among the whole
            vocabulary, what newer scorers take.

    Raises:
        ScoreError: not finite. SynvitaError: an unknown score.
    """
    if score not in SCORES:
        raise SynvitaError("no such score", found=score, expected=f"one of {', '.join(SCORES)}")
    total = fsum(log_probs)
    if not total - total == 0:
        raise ScoreError(
            "a model's answer has no probability",
            found=list(log_probs),
            expected="finite log-probabilities",
            fix="Score with --dtype bfloat16 or float32: float16 overflows in some models",
        )
    value = log_probs[0] if score == "first-token" else total / len(log_probs)
    return min(1.0, exp(value))  # a log-softmax in fp32 may give 1e-8


def check_caption(caption: str, tokenizer: Any) -> None:
    """Refuse a caption with a token that means something to the model, such as `<image>` or `</s>`.

    Raises:
        CaptionError: what the caption holds.
    """
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    found = [i for i in tokenizer(caption, add_special_tokens=False)["input_ids"] if i in special]
    if found:
        raise CaptionError(
            "a caption holds a special token of the model",
            found=f"{tokenizer.convert_ids_to_tokens(found[0])} in {caption!r}",
            expected="words",
        )


def check_length(tokens: int, limit: int, caption: str) -> None:
    """Refuse a caption that does not fit the model: a question that is cut is another question.

    Raises:
        CaptionError: `tokens` is more than `limit`.
    """
    if tokens > limit:
        raise CaptionError(
            "a caption is too long for the model",
            found=f"{tokens} tokens with its question: {caption!r}",
            expected=f"at most {limit}",
            fix="Shorten the caption, or score with a model of a longer context",
        )
