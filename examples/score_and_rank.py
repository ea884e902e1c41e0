"""Score a model on a benchmark and show it on the leaderboard.

    python examples/score_and_rank.py MODEL TASK ANNOTATIONS REAL_ROOT RESULTS
    python examples/score_and_rank.py openai/clip-vit-base-patch32 ssv2-temporal eval_ssv2_temporal.csv /data/ssv2 results

MODEL is a Video LLM, CLIP or SigLIP, or `chance`; docs/tasks.md says where each task's annotations are published.
`synvita evaluate` and `synvita leaderboard` do the same from the command line.
"""

import sys
from pathlib import Path

from synvita_data import (
    evaluate_scorer,
    get_task,
    make_leaderboard,
    open_scorer,
    read_annotations,
    read_results,
)
from synvita_data.leaderboard.exports import to_markdown


def main(model: str, name: str, annotations: str, real_root: str, results: str) -> None:
    task = get_task(name)
    rows = read_annotations(task, annotations)

    # Saved after every video: run it again after a crash and it continues.
    done = evaluate_scorer(open_scorer(model), task, rows, real_root, results)
    if done is None:  # under `accelerate launch` the first process writes
        return
    print(f"{done.result.main_score['name']}: {done.result.main_score['value']:.2f}, in {done.path}")

    # Ours beside the published results, with intervals, and what is not comparable said.
    print(to_markdown(make_leaderboard(read_results(Path(results)))))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
