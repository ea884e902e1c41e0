"""Small annotation and score files in the published formats, written by hand for the tests.

Nothing here uses the code under test: prompts are spelled out, cells are quoted by Python's `csv`.
"""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

OWL = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions.\n"
    "Human: <|video|>\n"
    'Human: Does this video entail the description: "{}"?\n'
    "AI: "
)

VIDEOCON_HEADER = ("videopath", "source", "caption", "neg_caption", "youtube_key", "split", "misalignment")
VIDEOCON_ROWS = (
    ("k600/val/eOsIGrDFuuw_000004_000014.mp4", "vatex", "A man runs.", "A man swims.", "", "test", "action"),
    ("k600/val/eOsIGrDFuuw_000004_000014.mp4", "vatex", "A man runs.", "Two men run.", "", "test", "count"),
    (
        "msr-vtt/TrainValVideo/video12.mp4",
        "msr-vtt",
        'a "dog", barking',
        "a cat barking",
        "abcdefghijk",
        "test",
        "object",
    ),
    ("tempo/videos/7.mp4", "tempo", "she sits then stands", "she stands then sits", "", "test", "flip"),
    ("tempo/videos/8.mp4", "tempo", "left out: train", "contrast", "", "train", "flip"),
)
HUMAN_HEADER = ("video_url", "caption", "neg_caption", "nle", "hard")
HUMAN_ROWS = (
    (
        "https://bucket.s3.example/anet/v_abc-DEF_123.mp4",
        "He lifts a bar.",
        "He drops a bar.",
        "He lifts it.",
        "True",
    ),
    ("https://bucket.s3.example/anet/v_abc-DEF_123.mp4", "He rests.", "He jumps.", "He rests.", "False"),
    ("https://bucket.s3.example/anet/v_xyz.mp4", "A girl sings.", "A girl dances.", "She sings.", "True"),
)
# Templates with brackets, quotes, braces and commas, all literal.
TEMPLATES = (
    "Covering [something] with [something]",
    'Showing "{caption}", then [something]',
    "Closing [something]?",
)


def write_csv(
    path: Path,
    rows: Sequence[Sequence[object]],
    header: Sequence[str] | None = None,
    *,
    bom: bool = False,
    line_end: str = "\n",
) -> Path:
    """A CSV file; `line_end` is also that of line breaks inside cells, as a converted file has it."""
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator=line_end)
        for row in ([header] if header else []) + list(rows):
            writer.writerow([str(cell).replace("\n", line_end) for cell in row])
    return path


def ssv2_pairs(videos: int = 6, positives: int = 2) -> list[tuple[str, str, int]]:
    """(videopath, caption, match): every template with every video, video by video."""
    return [
        (f"videos/{10 + video}.avi", caption, int(video // positives == place))
        for video in range(videos)
        for place, caption in enumerate(TEMPLATES)
    ]


def write_ssv2(
    path: Path, pairs: Sequence[tuple[str, str, int]], *, prompted: bool = True, **how: object
) -> Path:
    rows = [
        (video, OWL.format("{}").replace("{}", caption, 1) if prompted else caption, match)
        for video, caption, match in pairs
    ]
    return write_csv(path, rows, ("videopath", "caption", "match"), **how)


def owl(caption: str) -> str:
    return OWL.replace("{}", caption)


# Two questions of video 111 use the same words and have other types; in the last question two statements agree.
QUESTIONS = (
    (
        "4010069381",
        "how do they play",
        0,
        6,
        "CH",
        ("Roll it.", "Tap it.", "Strum it.", "Hit it.", "Pat it."),
    ),
    (
        "111",
        "what happens",
        3,
        1,
        "TN",
        ("He sits, then goes.", "He runs.", "He eats.", "He naps.", "He sings."),
    ),
    ("111", "what happens", 2, 4, "CW", ("She sits.", "She runs.", "She eats.", "She naps.", "She sings.")),
    (
        "222",
        "why so",
        4,
        0,
        "CW",
        ("It walks.", "It flies.", "It swims.", "It looks away.", "It looks away."),
    ),
)
LIST_HEADER = (
    "video",
    "frame_count",
    "width",
    "height",
    "question",
    "answer",
    "qid",
    "type",
    "a0",
    "a1",
    "a2",
    "a3",
    "a4",
)


def write_questions(path: Path, questions: Sequence[tuple] = QUESTIONS) -> Path:
    """`nextqa-atphard.csv`, with one question more for which there are no statements."""
    rows = [
        (video, 100, 640, 480, words, answer, qid, kind, *"abcde")
        for video, words, answer, qid, kind, _ in questions
    ]
    return write_csv(path, [*rows, ("333", 50, 640, 480, "no statements", 0, 2, "TP", *"abcde")], LIST_HEADER)


def write_statements(path: Path, questions: Sequence[tuple] = QUESTIONS, **how: object) -> Path:
    """`nextqa-atphard-statements.csv`."""
    header = ("vid_id", "question", "answer", "s0", "s1", "s2", "s3", "s4")
    return write_csv(path, [(q[0], q[1], q[2], *q[5]) for q in questions], header, **how)


def write_options(path: Path, questions: Sequence[tuple] = QUESTIONS) -> Path:
    """`eval-nextqa-atphard.csv`: five rows a question, absolute paths of another machine, full prompts."""
    rows = [
        (f"/local2/nextqa/NExTVideo/1106/{q[0]}.mp4", q[1], q[2], option, owl(statement))
        for q in questions
        for option, statement in enumerate(q[5])
    ]
    return write_csv(path, rows, ("videopath", "question", "answer", "option", "caption"))


# What captions of no video are drawn from.
WORDS = [
    "a",
    "man",
    "woman",
    "dog",
    "cat",
    "runs",
    "jumps",
    "over",
    "under",
    "the",
    "red",
    "blue",
    "table",
    "before",
    "after",
    "it",
    "stops",
]


def write_scored(folder: Path, rows: int, videos: int | None = None) -> dict[str, Path]:
    """So many triplets of two splits, with scores of three models that name the video.

    Args:
        folder: is made.
        rows: how many.
        videos: whose they are; None for one each.
    """
    rng = random.Random(0)
    folder.mkdir()
    triplets, scores = [], []
    for row in range(rows):
        caption = " ".join(rng.choices(WORDS, k=14))
        video = row % (videos or rows)
        split = "train" if video % 3 else "test"
        triplets.append([f"video{video}", "msr-vtt", f"{caption} {row}", f"{caption} now", split, "action"])
        scores += [[row, f"video{video}", model, rng.random(), rng.random()] for model in "abc"]
    header = ["videopath", "source", "caption", "neg_caption", "split", "misalignment"]
    write_csv(folder / "triplets.csv", triplets, header)
    header = ["row", "videopath", "model", "neg_caption_score", "caption_score"]
    write_csv(folder / "scores.csv", scores, header)
    return {"triplets": folder / "triplets.csv", "vqascores": folder / "scores.csv"}
