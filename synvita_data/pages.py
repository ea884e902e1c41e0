"""What the pages of this package share: HTML that runs no script and asks for nothing from outside.

Pictures are part of the page, as data. Texts of others pass `display.html_text` before they get here.
"""

import base64
from collections.abc import Mapping

from .display import html_text

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1b1f24; --soft: #5b6470; --line: #d9dee5;
  --right: #14733b; --right-bg: #e4f4ea; --wrong: #b3261e; --wrong-bg: #fdecea; --accent: #2457c5; --warn: #fff4d6; --warn-text: #6b4e00 }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1d2126; --text: #e7eaee; --soft: #a3acb8; --line: #343a42;
  --right: #7fd8a0; --right-bg: #173524; --wrong: #ff9f96; --wrong-bg: #45211e; --accent: #8fb2ff; --warn: #3b3110; --warn-text: #f4dd95 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
header, main, nav, footer { max-width: 62rem; margin: 0 auto; padding: 0 1rem }
header { padding-top: 1.5rem }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .75rem; overflow-wrap: anywhere }
.notice { background: var(--warn); color: var(--warn-text); border-radius: .5rem; padding: .6rem .8rem; margin: 0 0 1rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0 0 1rem }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin-bottom: 1rem }
nav label { border: 1px solid var(--line); background: var(--card); border-radius: 1rem; padding: .15rem .75rem; cursor: pointer }
.pick { position: absolute; opacity: 0; pointer-events: none }
article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem; margin: 0 0 1rem }
.head { display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: baseline; margin-bottom: .6rem; color: var(--soft); font-size: .9rem }
.head b { color: var(--text); font-size: 1rem }
.head span { overflow-wrap: anywhere }
.tag { border: 1px solid var(--line); border-radius: .4rem; padding: 0 .45rem; color: var(--text) }
.none { color: var(--soft); font-style: italic; margin: 0 0 .7rem }
footer { color: var(--soft); font-size: .85rem; padding-bottom: 2rem }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .35rem } body { font-size: 15px } }
"""


def head(title: str, style: str = "") -> str:
    """A page up to its body: nothing may be loaded or run, search engines leave it alone.

    Args:
        title: any text.
        style: sheets of this page, behind `STYLE`.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex, noarchive">\n'
        f"<title>{html_text(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
    )


def foot(text: str) -> str:
    """The end of a page, with a line of small print."""
    return f"<footer><p>{html_text(text)}</p></footer>\n</body>\n</html>\n"


def definitions(found: Mapping[str, str]) -> str:
    """A list of names and texts."""
    rows = "".join(f"<dt>{html_text(name)}</dt><dd>{html_text(text)}</dd>\n" for name, text in found.items())
    return f"<dl>\n{rows}</dl>\n"


def picks(name: str, label: str, choices: Mapping[str, str], hidden: str) -> tuple[str, str]:
    """A choice of what is shown, by radio buttons and style sheets alone; the first choice stands at the beginning.

    Args:
        name: of the choice on the page, letters only.
        label: what is chosen, for those who cannot see it.
        choices: key (letters, digits) -> words. An element is of the choice whose name and key together are a class of
            it; `all` shows every element.
        hidden: selector of the elements that are hidden where they are not of the choice.

    Returns:
        The buttons with their labels, which stand before `hidden` as its siblings; and their style sheet.
    """
    buttons = "".join(
        f'<input class="pick" type="radio" name="{name}" id="{name}{key}"{" checked" if place == 0 else ""}>\n'
        for place, key in enumerate(choices)
    )
    labels = "".join(
        f'<label for="{name}{key}">{html_text(words)}</label>\n' for key, words in choices.items()
    )
    hide = "\n".join(
        f"#{name}{key}:checked ~ {hidden}:not(.{name}{key}) {{ display: none }}"
        for key in choices
        if key != "all"
    )
    chosen, focus = (
        ", ".join(f'#{name}{key}:{state} ~ nav label[for="{name}{key}"]' for key in choices)
        for state in ("checked", "focus-visible")
    )
    style = (
        f"{hide}\n{chosen} {{ background: var(--accent); color: var(--page); border-color: var(--accent) }}"
        f"\n{focus} {{ outline: 2px solid var(--text) }}\n"
    )
    return f'{buttons}<nav aria-label="{html_text(label)}">\n{labels}</nav>\n', style


def image(content: bytes, kind: str, alt: str, width: int, height: int) -> str:
    """A picture as part of the page.

    Args:
        content: of the file.
        kind: `jpeg`, `png`, `gif`, `webp` or `svg+xml`.
        alt: what it shows, any text.
        width, height: pixels of the page.
    """
    data = base64.b64encode(content).decode()
    return f'<img alt="{html_text(alt)}" width="{width}" height="{height}" src="data:image/{kind};base64,{data}">'
