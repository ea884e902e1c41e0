"""Sentences that the tiny tokenizers are trained on: real prompts, everyday captions, the shapes world.

Enough words are here that prompts, answers and the captions of `synvita_data.builders.shapes` come out as
whole words, and everything else as pieces or bytes, as a real tokenizer does with rare words.
"""

from collections.abc import Iterator

ANSWERS = ("Yes", "No", "yes", "no")
PROMPTS = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. USER: ",
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the human's questions. USER: ",
    "The following is a conversation between a curious human and AI assistant. Human: AI: ",
    'Does this video entail the description: "a man talks."? ASSISTANT: Yes',
    'Does this video entail the description: "a woman talks"? ASSISTANT: No',
    "Does this video entail the description: a dog runs? ASSISTANT:",
    'What is the misalignment between this video and the description: "a cat sleeps."? ASSISTANT:',
    'Does this figure show "a dog runs."? Please answer yes or no. ASSISTANT: Yes',
    "Describe this video. Describe what is shown in the video. ASSISTANT:",
    "system You are a helpful assistant. user assistant",
    "The image shows a photo of a video frame. Frame1: 0.5 seconds",
    # Words that follow a line break or a quote, without a space before them.
    '"Does" "What" "Describe" "First" "Human" "AI" "USER" "Yes" "No" "A" "The" "Two" "Three" "Four"',
)
EVERYDAY = (
    "A man is talking while another man plays a guitar on a stage.",
    "A woman cuts vegetables in a kitchen and then puts them into a pot.",
    "Two children run across a field and a dog jumps over a fence.",
    "A person throws a ball, then the girl catches it with both hands.",
    "The boy opens the door before he walks into the room.",
    "Several people are dancing in the street after the music starts.",
    "A young lady in a white shirt is riding a brown horse along the beach.",
    "The camera pans to the left and a black car comes into view for the first time.",
    "Three men in hats stand next to a table, looking at something in front of them.",
    "The baby is not crying, it is laughing.",
)
NUMBERS = ("A", "One", "Two", "Three", "Four", "a", "one", "two", "three", "four")
SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
SHAPES = ("circle", "square", "triangle", "star")
VERBS = ("moves", "grows", "shrinks", "spins", "blinks")
DIRECTIONS = ("left", "right", "up", "down")
RELATIONS = ("to the left of", "to the right of", "above", "below")
EXPLANATIONS = (
    "it is not true that it moves left.",
    "they spin, it is not true that they blink.",
    "The star is small, not large.",
    "There are two red circles, not three.",
    "The star spins before it grows, not after.",
    "There is no blue square in the video.",
    "The video does not show that it shrinks.",
    "The red shape is a circle, not a square.",
    "The blue shapes are circles, not stars.",
    "The red circle is above the blue star, not below it.",
)


def sentences() -> Iterator[str]:
    """The corpus, always the same, in a fixed order; frequent words come often, as in real text."""
    for _ in range(40):
        yield from ANSWERS
        yield from (f"ASSISTANT: {answer}" for answer in ANSWERS)
    for _ in range(8):
        yield from PROMPTS
        yield from EXPLANATIONS
    for _ in range(3):
        yield from EVERYDAY
    for number in NUMBERS:
        for size in SIZES:
            yield from (f"{number} {size} {colour}" for colour in COLOURS)
    for shape in SHAPES:
        for verb in VERBS:
            for direction in DIRECTIONS:
                yield f"First a {shape} {verb} {direction}, then some {shape}s {verb[:-1]} {direction}."
                yield f"A {shape} first {verb} and then moves {direction}."
        yield from (f"A {shape} is {relation} a {shape} while it spins." for relation in RELATIONS)
