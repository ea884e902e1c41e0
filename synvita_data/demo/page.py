"""The report of a demo as one page that asks for nothing from outside and runs no script.

Clips are small pictures that move, beside a still form of each. Every text passes `display.html_text`.
"""

from collections.abc import Iterator, Sequence

from .. import pages
from ..display import html_text, number
from .report import Arm, Clip, Example, Report, Score, Span

TITLE = "SynViTA in miniature: one run on the shapes world"
NOTICE = (
    "A positive control of the pipeline on a world of coloured shapes: it proves nothing about real videos, and one run "
    "says little about which arm is better."
)
# What the run is evidence for, and what not.
SHOWS = (
    "That the whole pipeline works, from captions through synthetic videos, VQAScores, weights and masks to a fine-tuned "
    "model and its scores: a positive control, on clips whose truth is known.",
    "How the method's parts look on data: which clips are wrong, what ω makes of them, what the masks hide, and "
    "which way each arm moves the model in this one run.",
)
SHOWS_NOT = (
    "Nothing about real videos: these are coloured shapes, and the generator's faults are rates that were set.",
    "No comparison of the arms beyond this run. The intervals are over its test clips; another seed of data, adapter "
    "and batches moves the scores by as much or more. The study repeats it with many seeds (docs/study.md).",
    "Not that synthetic videos teach a concept: a caption that is seen as true with any clip also takes away what the "
    "text alone gave away, and this run cannot tell the two apart.",
    "Settings were chosen on this world after pilots.",
)

_STYLE = """
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem }
section > p, header > p { max-width: 46rem; margin: 0 0 .8rem }
nav { max-width: none; padding: 0 }
.figure { background: #fff; border: 1px solid var(--line); border-radius: .6rem; padding: .5rem; margin: 0 0 1rem }
.figure { overflow-x: auto } .figure:focus-visible { outline: 2px solid var(--accent) }
.figure img { display: block; width: 100%; min-width: 30rem; max-width: 46rem; height: auto; margin: 0 auto }
table { border-collapse: collapse; width: 100%; margin: 0 }
caption { text-align: left; font-weight: 600; margin-bottom: .3rem; overflow-wrap: anywhere }
caption span { color: var(--soft); font-weight: 400 }
th, td { text-align: left; vertical-align: baseline; padding: .3rem .6rem .3rem 0; font-weight: 400; overflow-wrap: anywhere }
thead th { color: var(--soft); font-size: .85rem; border-bottom: 1px solid var(--line) }
td { font-variant-numeric: tabular-nums }
td small, th small { color: var(--soft); white-space: nowrap }
td b { font-size: 1.02rem }
.scores td, .scores th { width: 23% }
.scores .track { width: 31%; vertical-align: middle }
.track div { position: relative; height: 1rem; border-radius: .25rem; background: var(--page) }
.track i { position: absolute; top: 0; bottom: 0; min-width: 2px }
.track .span { background: var(--accent); opacity: .35; border-radius: .25rem }
.track .point { width: .3rem; margin-left: -.15rem; background: var(--accent); border-radius: .15rem }
.track .base { border-left: 2px dashed var(--soft) }
.up { color: var(--right) } .down { color: var(--wrong) }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .8rem }
.pair h3 { font-size: .9rem; font-weight: 400; color: var(--soft); margin: 0 0 .3rem }
.side { border-left: .25rem solid var(--line); padding-left: .7rem }
.side.right { border-color: var(--right) } .side.half { border-color: var(--warn-text) } .side.wrong { border-color: var(--wrong) }
.side p { margin: .4rem 0 0; overflow-wrap: anywhere }
.side .says { font-size: .9rem } .wrong .says { color: var(--wrong) } .right .says { color: var(--right) }
.clip img { display: block; width: 100%; max-width: 12rem; height: auto; border-radius: .35rem }
.clip.mstill img { max-width: 24rem }
mark { border-radius: .2rem; padding: 0 .15rem; background: var(--warn); color: var(--warn-text) }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); gap: 1rem }
.examples article { margin: 0 }
.wide { overflow-x: auto } .wide th { overflow-wrap: normal } .wide:focus-visible { outline: 2px solid var(--accent) }
.list { max-width: 46rem; padding-left: 1.2rem } .list li { margin-bottom: .3rem }
code { font-size: .85rem; overflow-wrap: anywhere }
@media (prefers-reduced-motion: reduce) { .clip.mmoving, .motion { display: none } .clip.mstill { display: block !important } }
@media (max-width: 40rem) { .scores thead { display: none } .scores tr { display: grid; grid-template-columns: 1fr 1fr; padding: .4rem 0;
    border-bottom: 1px solid var(--line) }
  .scores td, .scores th, .scores .track { width: auto; padding: .1rem .4rem .1rem 0 } .scores th, .scores .track { grid-column: 1 / 3 } }
@media (max-width: 22rem) { .pair { grid-template-columns: 1fr } }
"""


def page(report: Report) -> Iterator[str]:
    """The page in pieces, to be written one after the other."""
    kinds = list(dict.fromkeys(example.misalignment for example in report.examples))
    choices = {"all": f"all {len(report.examples):,}"}
    choices |= {
        str(place): f"{kind} {sum(each.misalignment == kind for each in report.examples):,}"
        for place, kind in enumerate(kinds)
    }
    filters, filter_style = pages.picks("k", "Misalignment", choices, "div article")
    motion = {"moving": "clips move", "still": "four frames of each"}
    motions, motion_style = pages.picks("m", "Pictures", motion, "div .clip")
    yield pages.head(TITLE, _STYLE + filter_style + motion_style)
    yield f"<header>\n<h1>{html_text(TITLE)}</h1>\n"
    yield (
        "<p>Captions of moving shapes, contrast captions that are wrong in one thing, and a generator that films the "
        "contrast captions with faults of its own. A small Video-LLaVA that knows this world is fine-tuned on them in "
        "three ways. Everything below comes from this one run.</p>\n"
    )
    yield f'<p class="notice">{html_text(NOTICE)}</p>\n'
    yield pages.definitions(report.facts) + "</header>\n<main>\n"
    yield _scores(report)
    yield _concepts(report)
    yield _figure(report)
    if report.examples:
        yield "<section>\n<h2>Clips</h2>\n" + _about_clips(report)
        yield motions.replace("<nav ", '<nav class="motion" ', 1)
        yield (filters if len(kinds) > 1 else "") + '<div class="examples">\n'
        for example in report.examples:
            yield _example(example, kinds.index(example.misalignment))
        yield "</div>\n</section>\n"
    yield "<section>\n<h2>What this shows, and what not</h2>\n<p>It shows:</p>\n" + _list(SHOWS)
    yield "<p>It does not show:</p>\n" + _list(SHOWS_NOT) + "</section>\n"
    yield _steps(report)
    yield "</main>\n" + pages.foot("Made by synvita demo.")


def _list(texts: Sequence[str]) -> str:
    return '<ul class="list">\n' + "".join(f"<li>{html_text(text)}</li>\n" for text in texts) + "</ul>\n"


# --- scores -----------------------------------------------------------------------------------------


def _scores(report: Report) -> str:
    """A table a test set: each arm's score, its interval drawn, and its change from the model before."""
    parts = ["<section>\n<h2>Scores</h2>\n"]
    if not report.arms:
        text = report.missing or "No arm was trained."
        return "".join([*parts, f'<p class="none">{html_text(text)}</p>\n</section>\n'])
    parts.append(
        "<p>In percent, with 95% bootstrap intervals over the test clips. The change is from the model before "
        "fine-tuning, compared pair by pair; the dashed line is that model.</p>\n"
    )
    for name, title in report.sets.items():
        arms = [arm for arm in report.arms if name in arm.scores]
        if not arms:
            continue
        low, high = _reach([arm.scores[name] for arm in arms])
        base = next((arm.scores[name].value for arm in arms if arm.scores[name].change is None), None)
        count = max(arm.scores[name].n for arm in arms)
        metric = html_text(report.metric.get(name, ""))
        parts.append(
            f'<article><table class="scores">\n<caption>{html_text(title)} '
            f'<span>{metric}, {count:,} texts</span></caption>\n<thead><tr><th scope="col">arm</th>'
            '<th scope="col">score</th><th scope="col">change</th><th scope="col">'
            f"{low:.0f} to {high:.0f}</th></tr></thead>\n<tbody>\n"
        )
        parts += [_row(arm, arm.scores[name], low, high, base) for arm in arms]
        parts.append("</tbody></table></article>\n")
    return "".join([*parts, "</section>\n"])


def _reach(scores: Sequence[Score]) -> tuple[float, float]:
    """From where to where the intervals are drawn: whole fives around all of them."""
    ends = [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
    low, high = 5 * (min(ends) // 5), 5 * -(-max(ends) // 5)
    return float(low), float(max(high, low + 5))


def _row(arm: Arm, score: Score, low: float, high: float, base: float | None) -> str:
    def at(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    drawn = ""
    if score.low is not None and score.high is not None:
        width = f"{100 * (score.high - score.low) / (high - low):.2f}%"
        drawn += f'<i class="span" style="left:{at(score.low)};width:{width}"></i>'
    drawn += f'<i class="point" style="left:{at(score.value)}"></i>'
    if base is not None:
        drawn += f'<i class="base" style="left:{at(base)}"></i>'
    return (
        f'<tr><th scope="row">{html_text(arm.title)}</th><td><b>{score.value:.1f}</b> '
        f"<small>{html_text(interval_text(score.low, score.high))}</small></td><td>{_change(score)}</td>"
        f'<td class="track" aria-hidden="true"><div>{drawn}</div></td></tr>\n'
    )


def interval_text(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """`[76.1, 84.2]`; nothing where there is none."""
    if low is None or high is None:
        return ""
    form = "+.1f" if signed else ".1f"
    return f"[{number(low, form)}, {number(high, form)}]"


def is_told_apart(score: Score) -> bool:
    """Whether the interval of the change leaves 0 out."""
    if score.change_low is None or score.change_high is None:
        return False
    return score.change_low > 0 or score.change_high < 0


def _change(score: Score) -> str:
    if score.change is None:
        return "<small>before</small>"
    kind = "" if not is_told_apart(score) else ' class="up"' if score.change > 0 else ' class="down"'
    span = html_text(interval_text(score.change_low, score.change_high, signed=True))
    return f"<span{kind}>{number(score.change, '+.1f')}</span> <small>{span}</small>"


# --- unseen concepts --------------------------------------------------------------------------------


def _concepts(report: Report) -> str:
    """What became of concepts that training names in contrast captions only."""
    words = list(dict.fromkeys(word for arm in report.arms for word in arm.concepts))
    if not words:
        return ""
    names = ", ".join(words)
    parts = [
        "<section>\n<h2>Unseen concepts</h2>\n"
        f"<p>In training, {html_text(names)} occur only in contrast captions: a model can learn that captions with "
        "these words are false. Without synthetic videos nothing speaks against it; with them the same captions are "
        "also true, of the clips made from them. The test asks about real clips whose true captions name them.</p>\n"
    ]
    parts += [f"<p>{html_text(line)}</p>\n" for line in changes(report.arms, report.unseen)]
    heads = "".join(f'<th scope="col">{html_text(word)}</th>' for word in words)
    parts.append(
        '<article class="wide" tabindex="0" role="region" aria-label="Pairs in the right order, by concept">'
        "<table>\n<caption>Pairs in the right order <span>true caption above contrast caption</span></caption>\n"
        f'<thead><tr><th scope="col">arm</th>{heads}</tr></thead>\n<tbody>\n'
    )
    for arm in report.arms:
        cells = "".join(f"<td>{_share(arm.concepts.get(word))}</td>" for word in words)
        parts.append(f'<tr><th scope="row">{html_text(arm.title)}</th>{cells}</tr>\n')
    return "".join([*parts, "</tbody></table></article>\n</section>\n"])


def _share(counted: tuple[int, int] | None) -> str:
    if counted is None or not counted[1]:
        return "–"
    return f"{100 * counted[0] / counted[1]:.0f}% <small>{counted[0]:,} of {counted[1]:,}</small>"


def changes(arms: Sequence[Arm], outcome: str) -> list[str]:
    """A sentence an arm on a test set: how far it moved, and whether this run can tell."""
    lines = []
    for arm in arms:
        score = arm.scores.get(outcome)
        if score is None or score.change is None:
            continue
        before = score.value - score.change
        line = f"{arm.title}: {before:.1f} before, {score.value:.1f} after ({number(score.change, '+.1f')}"
        if score.change_low is not None and score.change_high is not None:
            line += f" {interval_text(score.change_low, score.change_high, signed=True)}"
            if not is_told_apart(score):
                line += ": no change that these clips can tell"
        lines.append(line + ").")
    return lines


# --- Figure 2 and clips -----------------------------------------------------------------------------


def _figure(report: Report) -> str:
    if report.figure is None:
        return ""
    alt = "; ".join(f"{kind} {value:+.3f}" for kind, value in report.differences.items())
    picture = pages.image(report.figure, "svg+xml", f"Mean VQAScore difference: {alt}", 720, 600)
    return (
        "<section>\n<h2>The paper's Figure 2, of this run</h2>\n<p>How much better a synthetic clip fits the contrast "
        "caption that it was made from than the real caption, as three frame-level scorers see it. The weight ω of a clip "
        f'is what is above 0 (Eq. 4).</p>\n<figure class="figure" tabindex="0">{picture}</figure>\n</section>\n'
    )


def _about_clips(report: Report) -> str:
    wrong, count = report.wrong
    right_weight, wrong_weight = report.weights
    text = (
        "On the left the real clip with its caption, on the right the synthetic one with the contrast caption that it was "
        "made from. Marked words are what the masks hide: what is left is true of both. "
    )
    if count:
        text += f"{wrong:,} of {count:,} synthetic clips do not show what their caption says in the contrasted words"
        if right_weight is not None and wrong_weight is not None:
            text += f"; their mean weight ω is {wrong_weight:.3f}, that of the others {right_weight:.3f}"
        text += ". Only the world knows which: no arm is told."
    return f"<p>{html_text(text)}</p>\n"


def _example(example: Example, kind: int) -> str:
    facts = []
    if example.weight is not None:
        facts.append(f"ω {example.weight:.3f}")
    if example.difference is not None:
        facts.append(f"f̄ difference {example.difference:+.3f}")
    tags = "".join(f'<span class="tag">unseen: {html_text(word)}</span>' for word in example.unseen)
    kinds = ", ".join(example.faults)
    if not example.right:
        side, says = "wrong", f"Wrong ({kinds}): shows “{example.shown}”"
    elif example.faults:
        side, says = (
            "half",
            f"Right in the contrast, but wrong in another thing ({kinds}): shows “{example.shown}”",
        )
    else:
        side, says = "right", "Right: shows what its caption says."
    return (
        f'<article class="k{kind}">\n<div class="head"><b>{html_text(example.misalignment)}</b>'
        f"<span>{html_text(' · '.join(facts))}</span>{tags}</div>\n"
        f'<div class="pair"><div class="side"><h3>real</h3>{_clip(example.real, example.caption)}'
        f"<p>{_masked(example.caption, example.hidden)}</p></div>\n"
        f'<div class="side {side}"><h3>synthetic</h3>{_clip(example.synthetic, example.shown)}'
        f"<p>{_masked(example.contrast, example.hidden_contrast)}</p>"
        f'<p class="says">{html_text(says)}</p></div></div>\n</article>\n'
    )


def _clip(clip: Clip | None, shown: str) -> str:
    """Both forms of a clip; the style sheet shows one of them."""
    if clip is None:
        return '<p class="none">This clip cannot be shown.</p>'
    moving = pages.image(clip.moving, clip.kind, shown, clip.width, clip.height)
    still = pages.image(clip.still, "png", f"four frames: {shown}", 4 * clip.width, clip.height)
    return f'<div class="clip mmoving">{moving}</div><div class="clip mstill">{still}</div>'


def _masked(caption: str, hidden: Sequence[Span]) -> str:
    """The caption, with what the masks hide marked."""
    parts, end = [], 0
    for first, last in hidden:
        parts += [html_text(caption[end:first]), f"<mark>{html_text(caption[first:last])}</mark>"]
        end = last
    return "".join([*parts, html_text(caption[end:])])


# --- how it was made --------------------------------------------------------------------------------


def _steps(report: Report) -> str:
    rows = "".join(
        f'<tr><th scope="row">{html_text(title)}</th><td>{seconds:.1f} s</td>'
        f"<td><code>{html_text(command)}</code></td></tr>\n"
        for title, command, seconds in report.steps
    )
    if not rows:
        return ""
    trained = [arm for arm in report.arms if arm.facts]
    details = "".join(
        f"<p>{html_text(arm.title)}: {html_text(', '.join(f'{name} {text}' for name, text in arm.facts.items()))}.</p>\n"
        for arm in trained
    )
    return (
        '<section>\n<h2>How it was made</h2>\n<article class="wide" tabindex="0" role="region" aria-label="Steps">'
        '<table>\n<thead><tr><th scope="col">step</th><th scope="col">time</th><th scope="col">by hand</th></tr></thead>'
        f"\n<tbody>\n{rows}</tbody></table></article>\n{details}</section>\n"
    )
