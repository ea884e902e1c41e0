"""The mistakes of a model as one page: HTML that asks for nothing from outside and runs no script.

All text of others goes through `display.html_text`. The filter is made of radio buttons and style sheets alone. The page
holds frames of real videos, which may not be redistributed: it says so, and names no place on this machine.
"""

from collections.abc import Iterator, Mapping

from .. import pages
from ..annotations import VideoRef
from ..display import html_text
from ..hub.places import without_places
from .find import SCORE_NAMES, Mistake, Mistakes, Side
from .frames import Picture, VideoFrames

NOTICE = (
    "This page holds frames of real videos. They may not be redistributed: keep the page to yourself, "
    "do not publish it."
)

_STYLE = """
.caption { margin: 0 0 .6rem; font-size: 1.05rem; overflow-wrap: anywhere }
.frames { display: grid; grid-template-columns: repeat(4, minmax(0, 14rem)); gap: .4rem; margin: 0 0 .7rem }
.frames figure { margin: 0 }
.frames img { display: block; width: 100%; height: auto; max-height: 20rem; object-fit: contain; border-radius: .35rem }
.frames figcaption { font-size: .75rem; color: var(--soft) }
.name { color: var(--soft); font-size: .9rem; margin: .8rem 0 .3rem; overflow-wrap: anywhere }
.sides { display: grid; gap: .45rem; margin: 0; padding: 0; list-style: none }
.sides.videos { grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)) }
.side { border-left: .25rem solid var(--wrong); background: var(--wrong-bg); border-radius: .25rem .4rem .4rem .25rem; padding: .4rem .7rem }
.side.other { border-color: var(--line); background: none }
.side.other .role { color: var(--soft) }
.side.right { border-color: var(--right); background: var(--right-bg) }
.side .role { display: flex; flex-wrap: wrap; gap: 0 .6rem; font-size: .85rem; color: var(--wrong) }
.side.right .role { color: var(--right) }
.side .score { font-variant-numeric: tabular-nums; font-weight: 600 }
.side .video { color: var(--soft); overflow-wrap: anywhere }
.side .text { overflow-wrap: anywhere }
.side .frames { margin: .4rem 0 .2rem; grid-template-columns: repeat(4, 1fr) }
.side .none { margin: .3rem 0 0 }
@media (max-width: 30rem) { article > .frames { grid-template-columns: repeat(2, 1fr) } }
"""


def page(mistakes: Mistakes, top: int, frames: VideoFrames | None = None) -> Iterator[str]:
    """The page in pieces, which are to be written one after the other; one mistake's frames are in memory at a time.

    Args:
        mistakes: of a model on a task.
        top: how many of them to show.
        frames: takes frames out of the task's videos; None shows none.
    """
    title = f"What {mistakes.model} got most wrong on {mistakes.task.title}"
    kinds = _kinds(mistakes, top)
    nav, style = _filter(kinds)
    yield f"{pages.head(title, _STYLE + style)}<header>\n<h1>{html_text(title)}</h1>\n"
    if frames is not None:
        yield f'<p class="notice">{html_text(NOTICE)}</p>\n'
    yield _facts(mistakes, top, frames) + "</header>\n"
    yield nav
    yield "<main>\n"
    for mistake in mistakes.worst(top):
        yield _article(mistake, mistakes, kinds, frames)
    if not len(mistakes):
        yield f"<p>{html_text(nothing_wrong(mistakes))}</p>\n"
    yield "</main>\n" + pages.foot("Made by synvita errors.")


def nothing_wrong(mistakes: Mistakes) -> str:
    """The sentence of a result without mistakes."""
    judged = len(mistakes.judged.ids)
    if not judged:
        return f"None of the {mistakes.judged.groups} can be judged: scores are missing."
    if mistakes.only is not None and mistakes.wrong:
        return f"Nothing is wrong among the {mistakes.judged.groups} of {mistakes.only}."
    return f"Nothing is wrong: {judged:,} of {judged:,} {mistakes.judged.groups} are right."


def counted(mistakes: Mistakes, top: int) -> str:
    """How many are wrong, and how many of them are shown: `41 of 570 pairs are wrong (2 tie); the worst 20 are shown`."""
    judged = len(mistakes.judged.ids)
    text = f"{mistakes.wrong:,} of {judged:,} {mistakes.judged.groups} are wrong"
    if mistakes.ties:
        text += f" ({mistakes.ties:,} by a tie)"
    if mistakes.only is not None:
        text += f", {len(mistakes):,} of them {mistakes.only}"
    if mistakes.not_scored:
        text += f", {mistakes.not_scored:,} are not scored"
    if len(mistakes) > top:
        text += f"; the worst {top:,} are shown"
    return text


def facts(mistakes: Mistakes, top: int) -> dict[str, str]:
    """What to know of the result: name -> text, without places on this machine."""
    record, score = mistakes.result.record, mistakes.result.main_score
    model, coverage = record["model"], record["coverage"]
    value, low, high = (score.get(name) for name in ("value", "low", "high"))
    estimate = "–" if value is None else f"{value:.2f}"
    if low is not None and high is not None:
        estimate += f" [{low:.1f}, {high:.1f}]"
    revision = model.get("revision")
    found = {
        "Model": mistakes.model + (f" ({revision})" if revision else ""),
        "Task": f"{mistakes.task.title} ({mistakes.result.task})",
        "Annotations": f"revision {record['task'].get('annotations')}",
        "Coverage": f"{coverage['k']:,} of {coverage['n']:,} texts",
        "Score": f"{score.get('name')} {estimate}" + ("" if mistakes.result.official else " (not official)"),
        "Wrong": counted(mistakes, top),
        "Sorted by": f"{mistakes.by}, lowest first",
        "Texts' scores": mistakes.unit,
    }
    if mistakes.result.control is not None:
        found["Control"] = f"{mistakes.result.control}: the model did not see the videos as they are"
    if mistakes.several:
        found["Several scores"] = f"{mistakes.several:,} texts have further scores; the first counts here"
    if model.get("prompt"):
        found["Prompt"] = str(model["prompt"])
    return {name: str(without_places(text)) for name, text in found.items()}


def measure_text(mistake: Mistake, mistakes: Mistakes) -> str:
    """How wrong a mistake is, as text: a margin in the scores' unit, anything else in percent."""
    return (
        score_text(mistake.measure, mistakes.unit, signed=True)
        if mistakes.by == "margin"
        else f"{mistake.measure:.1f}"
    )


def score_text(score: float, unit: str, *, signed: bool = False) -> str:
    """A score with as many digits as its unit is worth; log-odds, and what is `signed`, with their sign."""
    return (
        f"{score:+.2f}" if unit == SCORE_NAMES["log_odds"] else f"{score:+.4f}" if signed else f"{score:.4f}"
    )


def _facts(mistakes: Mistakes, top: int, frames: VideoFrames | None) -> str:
    found = facts(mistakes, top)
    if frames is not None:
        known = (
            "those that the model looked at" if frames.known else "evenly spaced, as the result names none"
        )
        found["Frames"] = f"a few of each video, {known}"
    return pages.definitions(found)


# --- the filter -------------------------------------------------------------------------------------


def _kind(mistake: Mistake) -> str | None:
    """The first tag, by which the page can be filtered."""
    return next((str(value) for value in mistake.tags.values()), None)


def _kinds(mistakes: Mistakes, top: int) -> dict[str, int]:
    """The first tags of what is shown, and how often; none where there is only one."""
    counts: dict[str, int] = {}
    for mistake in mistakes.worst(top):
        if (kind := _kind(mistake)) is not None:
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items())) if len(counts) > 1 else {}


def _filter(kinds: Mapping[str, int]) -> tuple[str, str]:
    """The buttons, and their style sheet."""
    if not kinds:
        return "", ""
    choices = {"all": f"all {sum(kinds.values()):,}"}
    choices |= {f"{place}": f"{kind} {count:,}" for place, (kind, count) in enumerate(kinds.items())}
    return pages.picks("k", "Filter", choices, "main article")


# --- one mistake ------------------------------------------------------------------------------------


def _article(
    mistake: Mistake, mistakes: Mistakes, kinds: Mapping[str, int], frames: VideoFrames | None
) -> str:
    kind = _kind(mistake)
    of_kind = f' class="k{list(kinds).index(kind)}"' if kind is not None and kind in kinds else ""
    videos: dict[str, list[Side]] = {}
    for side in mistake.sides:
        videos.setdefault(side.video.video_id, []).append(side)
    one_text = len(videos) > 1 and len({side.text for side in mistake.sides}) == 1
    tags = "".join(
        f'<span class="tag">{html_text(value if isinstance(value, str) else f"{name}: {value}")}</span>'
        for name, value in mistake.tags.items()
    )
    note = f"<span>{html_text(mistake.note)}</span>" if mistake.note else ""
    name = next(iter(videos)) if len(videos) == 1 else "" if one_text else mistake.group
    where = f"<span>{html_text(name)}</span>" if name else ""
    parts = [
        f'<article{of_kind}>\n<div class="head"><b>{mistake.place}.</b> '
        f"<span>{html_text(mistakes.by)} <b>{measure_text(mistake, mistakes)}</b></span>{tags}{where}{note}</div>\n"
    ]
    if one_text:
        # One caption, and a video in each box.
        parts.append(
            f'<p class="caption">{html_text(mistake.sides[0].text)}</p>\n<ul class="sides videos">\n'
        )
        roles = list(dict.fromkeys(side.role for side in mistake.sides))
        for side in sorted(mistake.sides, key=lambda side: roles.index(side.role)):
            parts.append(_side(side, mistakes.unit, video=True) + _frames(side.video, frames) + "</li>\n")
        parts.append("</ul>\n")
    else:
        # Each video with its texts.
        for video, sides in videos.items():
            if len(videos) > 1:
                parts.append(f'<p class="name">{html_text(video)}</p>\n')
            parts.append(_frames(sides[0].video, frames) + '<ul class="sides">\n')
            parts += [_side(side, mistakes.unit, text=True) + "</li>\n" for side in sides]
            parts.append("</ul>\n")
    return "".join([*parts, "</article>\n"])


def _side(side: Side, unit: str, *, video: bool = False, text: bool = False) -> str:
    """The beginning of a box: role and score, with the video's name or the text."""
    kind = " right" if side.right else " other" if side.role.startswith("other option") else ""
    rank = "" if side.rank is None else f"<span>rank {side.rank:,}</span>"
    name = f'<span class="video">{html_text(side.video.video_id)}</span>' if video else ""
    words = f'<div class="text">{html_text(side.text)}</div>' if text else ""
    return (
        f'<li class="side{kind}"><div class="role"><span>{html_text(side.role)}</span>'
        f'<span class="score">{html_text(unit)} {score_text(side.score, unit)}</span>{rank}{name}</div>{words}'
    )


def _frames(video: VideoRef, frames: VideoFrames | None) -> str:
    if frames is None:
        return ""
    found = frames.of(video)
    if isinstance(found, str):
        return f'<p class="none">{html_text(found)}</p>\n'
    return f'<div class="frames">{"".join(map(_picture, found))}</div>\n'


def _picture(picture: Picture) -> str:
    return (
        f"<figure>{pages.image(picture.jpeg, 'jpeg', f'frame {picture.index}', picture.width, picture.height)}"
        f"<figcaption>{picture.seconds:.2f} s</figcaption></figure>"
    )
