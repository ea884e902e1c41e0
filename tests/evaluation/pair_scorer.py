"""A program that scores a table as `synvita score` does, with a scorer without a model that may be killed."""

import sys
from pathlib import Path

from file_scorer import FileScorer

from synvita_data.evaluation.pair_output import claim_out, run_facts, write_pairs
from synvita_data.evaluation.pair_tables import read_pairs
from synvita_data.evaluation.pairs import PairScores, score_pairs
from synvita_data.evaluation.scoring import process_rank


def score_table(folder: Path, scorer: FileScorer, out: str = "scores.csv", **options) -> PairScores | None:
    """Score `folder/pairs.csv` into `folder/out`; the work is in `folder/work`."""
    table = read_pairs(folder / "pairs.csv")
    claim_out(folder / out, table, scorer, **options)
    wait = process_rank() == 0
    found = score_pairs(scorer, table.pairs, folder / "work", file=table.source, wait=wait)
    if found is not None:
        write_pairs(folder / out, table, found, run_facts(table, scorer))
    return found


if __name__ == "__main__":
    folder, dies_at = Path(sys.argv[1]), sys.argv[2]
    score_table(folder, FileScorer(folder / "log", dies_at=int(dies_at) if dies_at else None))
