"""The leaderboard's page with what can be shown honestly on this machine.

    python examples/leaderboard_page.py [OUT] [SSV2_TEMPORAL]

The paper's Table 3; `chance` and `words`; the shapes benchmark with the two shipped checkpoints and the controls `frame`
and `shuffle`, and with the fine-tunes of `make demo` where it has run; and, where SSV2_TEMPORAL holds them, the released
scores of SSv2-Temporal, which are evaluated here and shipped nowhere. All but the published numbers are verified: recomputed from their score tables. A few minutes on one
core; run again, it goes on with what is there. Opens the page where there is a desktop.
"""

import os
import sys
import webbrowser
from pathlib import Path

from synvita_data.builders.shapes.benchmark import write_benchmark
from synvita_data.builders.shapes.benchmark.write import CLIPS
from synvita_data.cli import main as synvita
from synvita_data.evaluation.results import safe_name

SHAPES = ("shapes-llm", "shapes-temporal", "shapes-choice")
RELEASED = "released SSv2-Temporal scores"
MODELS = ("shapes-video-llava", "shapes-video-llava-early")
FINE_TUNES = Path("demo/fine-tuned")  # of `make demo`, which start from the earlier checkpoint


def run(*arguments: object) -> None:
    """A command of synvita, as on the command line, said before it runs."""
    words = [str(argument) for argument in arguments]
    print("$ synvita", *words, flush=True)
    sys.argv = ["synvita", *words]
    try:
        synvita()
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"synvita {words[0]} ended with status {ended.code}")


def main(out: Path, released: Path) -> None:
    results, bench = out / "results", out / "benchmark"

    # The shapes world: made of nothing, always the same.
    if not all((bench / f"{task}.yaml").is_file() for task in SHAPES):
        write_benchmark(bench, seed=0, pairs=21, clips=2, questions=60, tasks=SHAPES)
    tasks = [part for task in SHAPES for part in ("--task", bench / f"{task}.yaml")]
    given = [*tasks, "--annotations", bench, "--real-root", bench / CLIPS, "--out", results]
    for model in (*MODELS, "chance", "words"):
        run("evaluate", model, *given)
    for adapter in sorted(path for path in FINE_TUNES.glob("*") if path.is_dir()):
        run("evaluate", adapter, *given)
    for control in ("frame", "shuffle"):
        run("evaluate", MODELS[0], *given, "--control", control)
    run("verify", results, "--annotations", bench, *tasks, "--write")

    # Real captions and a real model's scores, which are not ours to give away.
    annotations, scores = released / "eval_ssv2_temporal.csv", released / "eval_ssv2_temporal_scores.csv"
    if annotations.is_file() and scores.is_file():
        given = ["--task", "ssv2-temporal", "--annotations", annotations, "--out", results]
        for model in ("chance", "words"):
            run("evaluate", model, *given)
        run("evaluate", "--predictions", scores, "--name", RELEASED, *given)
        for model in ("chance", "words", safe_name(RELEASED)):
            run("verify", results / model / "ssv2-temporal.json", "--annotations", annotations, "--write")
    else:
        print(f"left out: the released SSv2-Temporal scores, which are not in {released}")

    page = out / "leaderboard.html"
    run("leaderboard", results, "--annotations", bench, "--html", page)
    print(f"the page: {page.resolve()}")
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in ("darwin", "win32"):
        webbrowser.open(page.resolve().as_uri())


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(*(given + [Path("leaderboard"), Path("../shared/data/ssv2-temporal")][len(given) :]))
