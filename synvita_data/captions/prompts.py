"""The question a model is asked about a caption, by name; the one place that puts a caption into a prompt
or takes it out of one.

Annotations and score files hold clean captions, or captions inside one of these prompts, to the letter.
Nothing is guessed: a text that is not a known prompt is a caption.

At the end: the tokens around the placeholder of a video, where released code and transformers' processors differ.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ..errors import CaptionError, SchemaError, TokenizerError, choose
from ..tables.cells import check_data, is_missing, strip_cell
from . import Span
from .masking import Tokenizer, Tokens, tokenize

_LINE_BREAKS = re.compile(r"\s*[\r\n\u2028\u2029]+\s*")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt is `before + caption + after`.

    Attributes:
        before: ends right before the caption. `video` stands in it where the model's video tokens go.
        video: the placeholder of the video; empty for a question without one, which a model family wraps in
            its own chat template.
        joiner: what the released code puts between the placeholders of the frames; they matter to the
            tokenizer. None where there is one placeholder for the whole video.
        origin: where the wording comes from.
    """

    name: str
    before: str
    after: str
    video: str
    origin: str
    joiner: str | None = None

    def wrap(self, caption: str) -> str:
        """The prompt with this caption, taken literally: quotes, brackets and braces stay as they are."""
        return f"{self.before}{caption}{self.after}"

    def unwrap(self, text: str) -> str | None:
        """The caption of which `text` is `wrap`; None if it is not."""
        if len(text) < len(self.before) + len(self.after):
            return None
        if not (text.startswith(self.before) and text.endswith(self.after)):
            return None
        return text[len(self.before) : len(text) - len(self.after)]

    def without_video(self) -> "Prompt":
        """The wording without the placeholder of the video and the line break behind it; where the video is a message of
        its own, which says again who speaks (`Human: <|video|>`), without that message."""
        said, placeholder, rest = self.before.partition(self.video) if self.video else ("", "", self.before)
        speaker, rest = said.rpartition("\n")[2], rest.removeprefix("\n") if placeholder else rest
        if placeholder and speaker:
            rest = rest.removeprefix(speaker)
        return replace(self, before=said + rest, video="", joiner=None)


_QUESTION = 'Does this video entail the description: "'
_EXPLAIN = 'What is the misalignment between this video and the description: "'
_OWL = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions.\nHuman: <|video|>\nHuman: "
)
_VICUNA = (
    "A chat between a curious {0} and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the {0}'s questions. USER: <video>\n"
)

PROMPTS = {
    prompt.name: prompt
    for prompt in (
        Prompt(
            "question", _QUESTION, '"?', "", "the question alone; a family puts it into its chat template"
        ),
        Prompt(
            "mplug-owl",
            _OWL + _QUESTION,
            '"?\nAI: ',
            "<|video|>",
            "VideoCon's scripts, training and evaluation; the space after `AI:` belongs to it",
        ),
        Prompt(
            "video-llava",
            "USER: <video>\n" + _QUESTION,
            '"? ASSISTANT:',
            "<video>",
            "SynViTA's paper, with the quotes of its code",
        ),
        Prompt(
            "video-llava-unquoted",
            "USER: <video>\nDoes this video entail the description: ",
            "? ASSISTANT:",
            "<video>",
            "the same without quotes",
        ),
        Prompt(
            "video-llava-train",
            _VICUNA.format("user") + _QUESTION,
            '"? ASSISTANT:',
            "<video>",
            "SynViTA's released training code: Vicuna's system sentence with “curious user”",
            joiner="",
        ),
        Prompt(
            "video-llava-eval",
            _VICUNA.format("human") + _QUESTION,
            '"? ASSISTANT:',
            "<video>",
            "SynViTA's released evaluation code: “curious human”, frame tokens joined by spaces",
            joiner=" ",
        ),
    )
}
# The longest template first: a text in quotes also fits the template without them.
_MOST_SPECIFIC_FIRST = sorted(PROMPTS.values(), key=lambda prompt: -len(prompt.before + prompt.after))


def get_prompt(name: str) -> Prompt:
    """The prompt of this name.

    Raises:
        CaptionError: there is none.
    """
    return PROMPTS[choose(name, PROMPTS, "prompt", error=CaptionError)]


def explanation_prompt(prompt: Prompt) -> Prompt:
    """The question of VideoCon's second task (natural-language explanation) in the wording of `prompt`.

    It takes a contrast caption, always in quotes, and is answered by what is wrong with it for the video.

    Raises:
        CaptionError: a wording of one's own that does not ask the entailment question.

    Example:
        >>> explanation_prompt(get_prompt("video-llava-unquoted")).wrap("a cat")
        'USER: <video>\\nWhat is the misalignment between this video and the description: "a cat"? ASSISTANT:'
    """
    before, after = _around_question(prompt)
    return replace(
        prompt,
        name=f"{prompt.name}-explanation",
        before=before + _EXPLAIN,
        after=f'"?{after}',
        origin="VideoCon's explanation task",
    )


def bare_prompt(prompt: Prompt) -> Prompt:
    """The entailment question in the wording of `prompt`, without a video's placeholder and without a chat template:
    for programs that put their own around it.

    Raises:
        CaptionError: a wording of one's own that does not ask the entailment question.

    Example:
        >>> bare_prompt(get_prompt("video-llava-unquoted")).wrap("a cat")
        'Does this video entail the description: a cat?'
    """
    before, after = _around_question(prompt)
    return replace(
        prompt,
        name=f"{prompt.name}-bare",
        before=prompt.before.removeprefix(before),
        after=prompt.after.removesuffix(after),
        video="",
        joiner=None,
        origin="the question alone",
    )


def description_prompt(prompt: Prompt) -> Prompt:
    """A request for a caption in the wording of `prompt`; what it takes in place of a caption is the word `video`.

    Raises:
        CaptionError: as `explanation_prompt`.

    Example:
        >>> description_prompt(get_prompt("video-llava")).wrap("video")
        'USER: <video>\\nDescribe this video. ASSISTANT:'
    """
    before, after = _around_question(prompt)
    return replace(
        prompt,
        name=f"{prompt.name}-description",
        before=f"{before}Describe this ",
        after=f".{after}",
        origin="plain captioning",
    )


def question_prompt(prompt: Prompt) -> Prompt:
    """Any question in the wording of `prompt`, where its entailment question stands; it takes the question's words in
    place of a caption.

    Raises:
        CaptionError: as `explanation_prompt`.

    Example:
        >>> question_prompt(get_prompt("video-llava")).wrap("Which way does it turn? A. left B. right")
        'USER: <video>\\nWhich way does it turn? A. left B. right ASSISTANT:'
    """
    before, after = _around_question(prompt)
    return replace(
        prompt, name=f"{prompt.name}-asked", before=before, after=after, origin="a question of a task"
    )


def _around_question(prompt: Prompt) -> tuple[str, str]:
    """What a prompt says before and after its entailment question."""
    before, asked, quote = prompt.before.rpartition(_QUESTION.removesuffix('"'))
    if not asked or not prompt.after.startswith(f"{quote}?"):
        raise CaptionError(
            f"the prompt {prompt.name!r} does not say how to ask anything else",
            found=f"…{prompt.before[-50:]!r}",
            expected=f"…{_QUESTION!r}",
        )
    return before, prompt.after.removeprefix(f"{quote}?")


def wrap(caption: str, prompt: str) -> str:
    """`caption` inside the prompt of this name."""
    return get_prompt(prompt).wrap(caption)


def unwrap(text: str) -> str | None:
    """The caption inside `text` if `text` is one of PROMPTS with a caption, to the letter; otherwise None."""
    found = which_prompt(text)
    return None if found is None else found.unwrap(text)


def which_prompt(text: str) -> Prompt | None:
    """The prompt that `text` is an instance of; of several (quotes or none) the one that says most."""
    return next((prompt for prompt in _MOST_SPECIFIC_FIRST if prompt.unwrap(text) is not None), None)


@lru_cache(maxsize=4096)
def read_caption(text: str, *, words_for_nothing: bool = True) -> str:
    """The clean caption of a cell that holds it bare or inside a known prompt.

    A line break and the space around it become one space, and space at both ends goes, as in the dataset's
    own captions.

    Args:
        words_for_nothing: `nan`, `NULL`, `none` are an empty cell; an answer may be such a word.

    Raises:
        CaptionError: empty, the error value of a spreadsheet, or a text that begins as a known prompt and breaks
            off or asks something else.
    """
    inner = unwrap(text)
    if inner is None:
        for prompt in _MOST_SPECIFIC_FIRST:
            # What stands before the video is long enough to be no caption's own words.
            if prompt.video and text.startswith(prompt.before.partition(prompt.video)[0]):
                raise CaptionError(
                    f"a text begins as the prompt {prompt.name!r} and does not go on as it",
                    found=f"…{text[-60:]!r}",
                    expected=f"…{prompt.before[-50:]!r}, a caption, and {prompt.after!r}",
                    fix="The file was cut or changed on the way: fetch or write it again",
                )
    caption = text if inner is None else inner
    caption = (caption if caption.isprintable() else _LINE_BREAKS.sub(" ", caption)).strip()
    caption = strip_cell(caption)
    try:
        check_data(caption, "a caption")
    except SchemaError as error:
        raise error.recast(CaptionError) from error
    if "\0" in caption:
        raise CaptionError("a caption holds a NUL character", found=repr(caption[:60]))
    if not caption or (words_for_nothing and is_missing(caption)):
        raise CaptionError("a caption is empty", found=repr(text) if caption else None)
    return caption


PLACEHOLDER_SPACES = ("processor", "original")
_SPACE = "▁"  # sentencepiece's
# How many tokens behind the placeholder are shown and recorded: the space, the line break, the first word.
SHOWN = 3


def check_placeholder_space(name: str, allowed: Sequence[str] = PLACEHOLDER_SPACES) -> str:
    """The name, if it is one.

    Raises:
        SynvitaError: it is not.
    """
    what = "placeholder_space for this model" if name in PLACEHOLDER_SPACES else "placeholder_space"
    fix = "`processor` is what transformers gives; `original` is of LLaVA-1.5 and Video-LLaVA"
    return choose(name, allowed, what, fix=fix)


def tokenize_in_parts(tokenizer: Tokenizer, text: str, placeholder: str, placeholder_id: int) -> Tokens:
    """Tokens of `text` with its parts between placeholders tokenised by themselves, and one id a placeholder.

    The tokens at the start (BOS) come once, before the first part.

    Args:
        tokenizer: a fast tokenizer of LLaMA's kind.
        text: the whole prompt.
        placeholder: its text, `<image>` or `<video>`.
        placeholder_id: its token.

    Returns:
        Offsets are those of `text`. The space put before a part belongs to its first character.

    Raises:
        TokenizerError: the tokenizer puts no space before a text, has no offsets, or truncates.
    """
    letter = tokenizer.convert_ids_to_tokens(tokenizer("a", add_special_tokens=False)["input_ids"])
    if not letter[0].startswith(_SPACE):
        raise TokenizerError(
            "the tokenizer does not put a space before a text, as LLaMA's does",
            found=letter,
            expected=f"{_SPACE}a",
            fix="Leave placeholder_space as it is by default",
        )
    start_ids = tokenize(tokenizer, "", add_special_tokens=True).ids
    ids, offsets = list(start_ids), [(0, 0)] * len(start_ids)
    keys = [(number, "") for number in start_ids]
    start = 0
    for part in re.split(f"({re.escape(placeholder)})", text):
        if part == placeholder:
            ids.append(placeholder_id)
            offsets.append((start, start + len(part)))
            keys.append((placeholder_id, ""))
        elif part:
            own = _part(tokenizer, part)
            ids += own.ids
            offsets += [(start + a, start + b) for a, b in own.offsets]
            keys += own.keys
        start += len(part)
    return Tokens(ids, offsets, keys)


def behind(ids: Sequence[int], placeholder_id: int) -> list[int]:
    """The first ids behind the last placeholder."""
    last = max(i for i, number in enumerate(ids) if number == placeholder_id)
    return [int(number) for number in ids[last + 1 : last + 1 + SHOWN]]


def describe(space: str, ids: Sequence[int], tokens: Sequence[str]) -> str:
    """One line for people: what follows the placeholder. Control characters of a tokenizer's words are escaped."""
    shown = ", ".join(f"{number} {token!r}" for number, token in zip(ids, tokens, strict=True))
    return f"behind the placeholder ({space}): {shown}"


def _part(tokenizer: Tokenizer, part: str) -> Tokens:
    """One part by itself, as sentencepiece reads it: with a space before it, also where it begins with one."""
    added = 1 if part[0] == " " and not _doubles(tokenizer) else 0
    tokens = tokenize(tokenizer, " " * added + part, add_special_tokens=False)
    offsets: list[Span] = [(max(a - added, 0), max(b - added, 0)) for a, b in tokens.offsets]
    offsets[0] = (0, max(1, offsets[0][1]))
    return Tokens(tokens.ids, offsets, tokens.keys)


def _doubles(tokenizer: Tokenizer) -> bool:
    """Whether a space at the start of a text stands beside the one that is put there. In transformers' LLaMA tokenizer it
    takes its place; sentencepiece keeps both."""
    return (
        tokenize(tokenizer, " a", add_special_tokens=False).ids
        != tokenize(tokenizer, "a", add_special_tokens=False).ids
    )
