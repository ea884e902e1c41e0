"""A sheet of contrast captions to be read by people, each by itself: rows of `rules` on a seeded sample of real captions.

    python benchmarks/contrast_sheet.py --out sheet.md [--seed 17]

100 captions of VideoCon (`measure.py` says where), chosen so that every kind has rows, and all contrast captions that
`rules` writes of each. The sheet holds captions that are not ours to publish: what is committed are the marks.
"""

import argparse
import random
from pathlib import Path

from measure import real_pairs

from synvita_data.builders.contrast.base import ContrastRequest
from synvita_data.builders.contrast.rules.writer import RulesWriter
from synvita_data.display import say
from synvita_data.schema import MISALIGNMENTS

# Captions that are drawn from those that get a contrast caption of a kind.
QUOTAS = {
    "count": 12,
    "relation": 12,
    "flip": 18,
    "attribute": 14,
    "action": 20,
    "object": 18,
    "hallucination": 6,
}

HEAD = """# Contrast captions to read

Each row has a true caption of a video and a contrast caption that a program wrote by changing it. You see no video. Read each
row by itself, without talking to the other reader, and answer three questions with `y` or `n`. Be strict; where you
hesitate between y and n for longer than a few seconds, write `n`.

1. **Grammatical**: is the contrast caption as good English as the caption? Mistakes that the caption has already do not
   count; new ones do, and so does a sentence that nobody could mean.
2. **Different**: would a video that the caption describes clearly not be described by the contrast caption? `n` where both
   could be true of what the caption says, or where only the wording changed.
3. **Of its kind**: is what changed of the kind that the row names?
   - action: what somebody does is another action;
   - attribute: a quality (colour, size, age, material, state, loudness, speed, …) is another one;
   - count: a number of things is another number;
   - flip: the order of events is another one, or two who act exchange what they do;
   - hallucination: the caption is still there, and something is added of which it says nothing (for question 2: what is
     added would have to be seen or heard in the video, and the caption gives no reason to expect it);
   - object: a thing, animal, person or place is another one;
   - relation: where something is, which way it goes, or how it compares is otherwise.

Fill in the last three columns of every row and change nothing else. A row is accepted where all three are `y`.

| id | kind | caption | contrast caption | grammatical | different | of its kind |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="where the sheet goes")
    parser.add_argument("--seed", type=int, default=17, help="of the sample")
    given = parser.parse_args()
    captions = sorted({caption for caption, _ in real_pairs()})
    writer = RulesWriter()
    written = {
        kind: {
            caption: answer.contrasts[0].neg_caption
            for caption, answer in zip(
                captions, writer.write([ContrastRequest(caption, kind) for caption in captions]), strict=True
            )
            if answer.contrasts
        }
        for kind in MISALIGNMENTS
    }
    draw, chosen = random.Random(given.seed), []
    for kind, quota in QUOTAS.items():
        free = sorted(set(written[kind]) - set(chosen))
        chosen += draw.sample(free, quota)
    rows = [(kind, caption) for caption in chosen for kind in MISALIGNMENTS if caption in written[kind]]
    draw.shuffle(rows)

    def cell(text: str) -> str:
        return " ".join(text.split()).replace("|", "\\|")

    lines = [
        f"| {number} | {kind} | {cell(caption)} | {cell(written[kind][caption])} | | | |"
        for number, (kind, caption) in enumerate(rows, 1)
    ]
    given.out.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    for kind in MISALIGNMENTS:
        share = 100 * len(written[kind]) / len(captions)
        say(f"{kind}: {len(written[kind]):,} of {len(captions):,} captions ({share:.1f}%)")
    say(f"{len(rows)} rows of {len(chosen)} captions in {given.out}; tables {writer.tables.digest}")


if __name__ == "__main__":
    main()
