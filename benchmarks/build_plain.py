"""What `synvita build` does to annotations and scores, in twenty lines of `datasets` and `rapidfuzz`: the other side of
`build.py`. Without checks, ids of the authors' naming, figure, card, report and text-only AUC.

    python benchmarks/build_plain.py TRIPLETS SCORES OUT
"""

import csv
import re
import sys
from collections import defaultdict
from statistics import fmean

from datasets import Dataset
from rapidfuzz.distance import LCSseq

triplets, scores, out = sys.argv[1:]
words = re.compile(r"\w+|[^\w\s]")
by_row = defaultdict(list)
for row in csv.DictReader(open(scores, encoding="utf-8-sig", newline="")):
    names = ("neg_caption_score", "caption_score")
    by_row[int(row["row"])].append({"model": row["model"], **{name: float(row[name]) for name in names}})
splits = defaultdict(list)
for number, row in enumerate(csv.DictReader(open(triplets, encoding="utf-8-sig", newline=""))):
    found = [[(m.start(), m.end()) for m in words.finditer(row[n])] for n in ("caption", "neg_caption")]
    texts = [[row[n][a:b] for a, b in s] for n, s in zip(("caption", "neg_caption"), found, strict=True)]
    blocks = [block for block in LCSseq.opcodes(*texts).as_matching_blocks() if block.size]
    row["shared"] = {
        "caption": [[found[0][b.a][0], found[0][b.a + b.size - 1][1]] for b in blocks],
        "neg_caption": [[found[1][b.b][0], found[1][b.b + b.size - 1][1]] for b in blocks],
    }
    row["vqascores"] = own = by_row[number]
    row["weight"] = max(0.0, fmean(s["neg_caption_score"] - s["caption_score"] for s in own)) if own else None
    splits[row["split"]].append(row)
for split, rows in splits.items():
    Dataset.from_list(rows).to_parquet(f"{out}/{split}.parquet")
