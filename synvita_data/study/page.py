"""The page of the study, generated from its result files and from nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any

from ..comparison.forest import p_text, save_forest
from ..display import number
from ..errors import SynvitaError
from ..files import sha256_file, write_atomic
from ..hub.card import code, markdown, table
from ..progress import duration
from .analysis import Paired, arm_means, compare_all, verdict
from .plots import arms_figure, differences_figure, interval_text, omega_figure
from .questions import Question, Study
from .results import QuestionResult
from .run import model_revision

_INTRODUCTION = """\
# A study in miniature: the shapes world

*Written by `synvita study shapes --report` from the files in `docs/study/`; do not edit.*

Clips of moving shapes, a Video-LLaVA of a million parameters that knows them, and the same builders, weights,
trainer, tasks and metrics as for VideoCon. Three concepts (purple, star, "moves up") are in no true caption of
training, only in contrast captions; the tests have them in true captions.

**What this is**: a positive control of the pipeline, and a small world in which a question can be asked with many
seeds. **What it is not**: evidence about real videos, real generators or models of 7B parameters. Nothing here
proves or refutes the paper's numbers.
"""
_CAUTIONS = """\
## Cautions

- **A balanced text prior.** Contrast captions alone teach that the unseen words mean No. Any clip that is trained
  with its contrast caption as true takes that back, whatever it shows. The arms with grey clips and with the clips
  of other rows show how much of a gain that is; only what lies above them is due to what clips show.
- **Small weights.** Eq. 4 gives a mean weight far below 1, so it makes the whole term weaker, beside choosing among
  clips. `constant` has its scale without its choice, the normalised weights its choice without its scale.
- **The setting was chosen after pilots**, which are named below.
- **The better the base model, the less there is to gain.** Every arm starts from the earlier checkpoint, which leaves
  room; on unseen concepts no arm needs to reach "before".
- **Few seeds.** Intervals are of a bootstrap over seeds and too narrow with few of them; what is called decided is so
  by the paired t test after Holm's correction within a question. What is not decided is not equal.
"""


@dataclass
class _Page:
    """The page as it grows: its text, and plots by file name."""

    lines: list[str] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)

    def add(self, *parts: str) -> None:
        """Paragraphs."""
        for part in parts:
            self.lines += [part.rstrip("\n"), ""]


def write_page(study: Study, results: Sequence[QuestionResult], page: Path, images: Path) -> list[Path]:
    """Write the page and its plots; equal results give an equal page.

    Args:
        study: the declaration.
        results: of its questions, in its order.
        page: the Markdown file.
        images: folder of the plots.

    Returns:
        The files written.
    """
    made = _Page()
    made.add(_INTRODUCTION)
    made.add("## What was run", _run_table(study, results))
    made.add(*_changed(study, results))
    made.add("## What did not reproduce", *_not_reproduced(study, results))
    made.add("## Normalised weights", fill(_normalised(study, results), 100))
    for result in results:
        _add_question(made, study, study.question(result.question), result, page, images)
    made.add(_CAUTIONS)
    made.add("## Pilots", fill(markdown(study.pilots), 100))
    made.add("## Again", *_commands(study, results))
    write_atomic(page, "\n".join(made.lines).rstrip() + "\n")
    return [page, *made.plots]


def _run_table(study: Study, results: Sequence[QuestionResult]) -> str:
    """A line a question, those that were not run included."""
    rows = []
    for name, question in study.questions.items():
        own = [result for result in results if result.question == name]
        if not own:
            rows.append(
                [code(name), markdown(question.title), "", f"0 of {question.seeds}", "**not run**", ""]
            )
        for result in own:
            missing = result.missing(question)
            cells, worlds = result.processor_seconds
            rows.append(
                [
                    code(result.name),
                    markdown(question.title),
                    markdown(result.model["name"]),
                    f"{len(result.seeds)} of {question.seeds}",
                    f"{len(result.cells)}" + (f", **{len(missing)} not run**" if missing else ""),
                    f"{duration(cells)} + {duration(worlds)}",
                ]
            )
    head = ["question", "asks", "model", "seeds", "cells", "processor time (cells + worlds)"]
    return table(head, rows)


def _changed(study: Study, results: Sequence[QuestionResult]) -> list[str]:
    """Which model, which sizes, and whether the declaration is that of the runs."""
    models = {(result.model["name"], result.model["revision"]) for result in results}
    text = [
        f"Cells start from {' or '.join(f'{markdown(name)} (revision {own})' for name, own in sorted(models))}."
    ]
    for name in sorted(name for name, revision in models if revision != _shipped(study)):
        text.append(
            f"**{markdown(name)} is not {markdown(study.model)} as it is shipped now**: what started from it cannot be "
            "repeated with this package alone."
        )
    now = sha256_file(study.file)
    if any(result.declaration != now for result in results):
        text.append("**The file of questions was changed after some of these runs** (see its history).")
    cell = study.cell
    sizes = {
        "training triplets": cell.pairs,
        "test pairs of each set": cell.test_pairs,
        "steps": cell.steps,
        "batch": cell.batch,
        "learning rate": cell.learning_rate,
        "rank of the adapter": cell.rank,
        "share of contrast captions with an unseen concept": cell.share,
    }
    text.append(
        "A cell: " + ", ".join(f"{name} {value}" for name, value in sizes.items()) + ". "
        "A seed moves training pairs, clips, adapter, batches and test sets together."
    )
    for result in results:
        if other := result.other_sizes(study):
            text.append(f"{code(result.name)} was run with {markdown(_sizes(other))}.")
    return [" ".join(text)]


def _shipped(study: Study) -> str | None:
    """The revision of the study's own model; None where it is not here."""
    try:
        return model_revision(study.model)
    except SynvitaError:
        return None


def _not_reproduced(study: Study, results: Sequence[QuestionResult]) -> list[str]:
    """What the paper says that these runs do not show, and what they do, said plainly."""
    rows: list[list[str]] = []
    counted = dict.fromkeys(("larger", "smaller", "open", "away"), 0)
    for result in results:
        question = study.question(result.question)
        for own in compare_all(question, result.values):
            for expected in question.expect:
                if (own.first, own.second, own.outcome) != (
                    expected.first,
                    expected.second,
                    expected.outcome,
                ):
                    continue
                said, away = verdict(own), own.difference.value <= 0
                counted[said] += 1
                counted["away"] += said == "open" and away
                word = {"larger": "reproduced", "smaller": "**the opposite**"}.get(
                    said, f"**not decided**, points {'the other' if away else 'that'} way"
                )
                where = "" if len(question.settings) == 1 else f", {question.settings[own.setting].title}"
                compared = f"{own.first} − {own.second}, {_short(study, own.outcome)}{where}"
                seeds = f"{own.wins} of {own.difference.seeds}"
                row = [code(result.name), markdown(expected.why), markdown(compared), _signed(own)]
                rows.append([*row, seeds, _p(own), word])
    if not rows:
        return ["No expectation was tested."]
    summary = (
        f"Of {len(rows)} comparisons in which the paper says that the first is the better, {counted['larger']} are "
        f"decided that way in this miniature, {counted['smaller']} the other way, and {counted['open']} are not decided, "
        f"{counted['away']} of which point the other way."
    )
    head = ["result", "statement", "compared", "difference", "seeds above 0", "p after Holm", ""]
    return [fill(summary, 100), *_to_win_back(study, results), table(head, rows)]


def _to_win_back(study: Study, results: Sequence[QuestionResult]) -> list[str]:
    """How much contrast captions alone take from unseen concepts: without such a bias nothing can be won back."""
    lines = []
    for result in results:
        for own in compare_all(study.question(result.question), result.values):
            if (own.first, own.second, own.outcome) == ("none", "before", "unseen"):
                text = f"{code(result.name)}: on unseen concepts, contrast captions alone move the model by {_signed(own)} "
                lines.append(
                    fill(text + "points, which is the bias that synthetic videos can take back.", 100)
                )
    return lines


def _normalised(study: Study, results: Sequence[QuestionResult]) -> str:
    """Whether weights divided by their mean have earned a name: better than weight 1 somewhere, worse nowhere."""
    said = [
        verdict(own)
        for result in results
        for own in compare_all(study.question(result.question), result.values)
        if (own.first, own.second) == ("mean-one", "weight-1")
        and own.outcome in ("unseen", "train_like", "rest")
    ]
    counted = (
        f"Weights divided by their mean against weight 1, both without SCR: of {len(said)} comparisons "
        f"{said.count('larger')} are decided for them, {said.count('smaller')} against them, {said.count('open')} open."
    )
    if "larger" in said and "smaller" not in said:
        return f"{counted} That speaks for an option of the trainer, which is to be tried on another world first."
    return f"{counted} That is no evidence for an option of the trainer: they stay an arm of the study."


def _add_question(
    made: _Page, study: Study, question: Question, result: QuestionResult, page: Path, images: Path
) -> None:
    """Tables, plots and what was not run of one question."""
    made.add(f"## {markdown(question.title)}" + _run_otherwise(study, result))
    stem = f"study-{result.name.replace('@', '-')}"
    means = arm_means(question, result.values)
    shown = [outcome for outcome in question.outcomes if any(outcome in own for own in means.values())]
    several = len(question.settings) > 1
    rows = []
    for (setting, arm), own in means.items():
        head = [markdown(study.arms[arm].title)]
        head += [markdown(question.settings[setting].title)] if several else []
        head += [str(max((each.seeds for each in own.values()), default=0))]
        rows.append([*head, *(interval_text(own[outcome]) if outcome in own else "" for outcome in shown)])
    head = [
        "arm",
        *(["setting"] if several else []),
        "seeds",
        *(markdown(study.outcomes[each]) for each in shown),
    ]
    seeds = len(result.seeds)
    made.add(
        f"Means over at most {seeds} seed{'s' if seeds != 1 else ''}, percent, with 95 % bootstrap intervals over seeds.",
        table(head, rows),
    )
    _plot(made, arms_figure(study, question, result.values), f"{stem}-arms", page, images)
    found = compare_all(question, result.values)
    if found:
        made.add("Differences, paired by seed (Holm over the comparisons of this question that decide):")
        made.add(_difference_table(study, question, found, several))
        figure = differences_figure(study, question, found)
        _plot(made, figure, f"{stem}-differences", page, images)
    made.add(*_facts(made, question, result, page, images))
    missing = result.missing(question)
    if missing:
        lacking = sorted({cell.seed for cell in missing})
        made.add(
            f"Not run: {len(missing)} of {len(question.cells(range(question.seeds)))} declared cells "
            f"(seeds {', '.join(map(str, lacking))})."
        )


def _run_otherwise(study: Study, result: QuestionResult) -> str:
    """Which other model or other sizes than the study's own a result is of, for a heading."""
    said = []
    if result.model["name"] != study.model:
        said.append(f"started from {result.model['name']}")
    if other := result.other_sizes(study):
        said.append(_sizes(other))
    return f" ({markdown('; '.join(said))})" if said else ""


def _sizes(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in changed.items())


def _difference_table(study: Study, question: Question, found: Sequence[Paired], several: bool) -> str:
    rows = []
    for own in found:
        if own.outcome not in question.decide:
            continue
        head = [markdown(f"{own.first} − {own.second}")]
        head += [markdown(question.settings[own.setting].title)] if several else []
        said = verdict(own)
        rows.append(
            [
                *head,
                markdown(_short(study, own.outcome)),
                _signed(own),
                f"{own.wins} of {own.difference.seeds}",
                "–" if own.p is None else p_text(own.p),
                _p(own),
                said if said == "open" else f"**{said}**",
            ]
        )
    head = [
        "first − second",
        *(["setting"] if several else []),
        "outcome",
        "difference",
        "seeds above 0",
        "p",
    ]
    return table([*head, "p after Holm", ""], rows)


def _short(study: Study, outcome: str) -> str:
    """An outcome's title without what stands in brackets."""
    return study.outcomes[outcome].split(" (")[0]


def _signed(own: Paired) -> str:
    value = own.difference
    if value.low is None or value.high is None:
        return number(value.value, "+.1f")
    return f"{number(value.value, '+.1f')} [{number(value.low, '+.1f')}, {number(value.high, '+.1f')}]"


def _p(own: Paired) -> str:
    return "–" if own.holm is None else p_text(own.holm)


def _facts(made: _Page, question: Question, result: QuestionResult, page: Path, images: Path) -> list[str]:
    """What was in the generator's clips: right ones, ω of right and wrong ones, and Figure 2 in miniature."""
    lines = []
    stem = f"study-{result.name.replace('@', '-')}"
    for setting in question.settings:
        # The same clips in all arms with generated ones: one cell a seed says it.
        by_seed = {
            own["seed"]: own["facts"]
            for own in result.cells
            if own["setting"] == setting and own["arm"] in ("weight-1", "synvita") and own["facts"]
        }
        if not by_seed:
            continue
        facts = list(by_seed.values())

        def mean_of(name: str, facts: Sequence[dict[str, float]] = facts) -> str:
            known = [own[name] for own in facts if own.get(name) is not None]
            return f"{sum(known) / len(known):.3f}" if known else "–"

        where = "" if len(question.settings) == 1 else f" ({question.settings[setting].title})"
        lines.append(
            f"Clips{where}: {mean_of('right')} right in the contrasted fact; mean ω {mean_of('omega')}, of right clips "
            f"{mean_of('omega_right')}, of wrong ones {mean_of('omega_wrong')}."
        )
        if question.name == "main" and setting == "default":
            kinds = {
                kind: [own["difference"][kind] for own in facts if own["difference"].get(kind) is not None]
                for kind in facts[0]["difference"]
            }
            figure = omega_figure({kind: own for kind, own in kinds.items() if own}, len(facts))
            _plot(made, figure, f"{stem}-omega", page, images)
    return lines


def _plot(made: _Page, figure: object, name: str, page: Path, images: Path) -> None:
    path = images / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_forest(figure, path)  # type: ignore[arg-type]
    made.plots.append(path)
    made.add(f"![{name}]({path.resolve().relative_to(page.resolve().parent).as_posix()})")


def _commands(study: Study, results: Sequence[QuestionResult]) -> list[str]:
    """The commands of these results, and the versions behind them."""
    runs = "\n".join(
        f"    synvita study shapes --question {result.question} --seeds {max(result.seeds) + 1} --out docs/study"
        for result in results
        if result.seeds and result.model["name"] == study.model and not result.other_sizes(study)
    )
    versions = ", ".join(f"{name} {value}" for name, value in results[0].versions.items())
    return [
        runs + ("\n" if runs else "") + "    synvita study shapes --out docs/study --report docs/study.md",
        f"One thread a worker, on a CPU. {markdown(versions)}.",
        "`tests/study/test_recomputed.py` (slow) recomputes a committed cell from scratch.",
    ]
