"""Text of others in Markdown, tables and YAML: an independent renderer shows it as it was, and makes nothing of it."""

import html
import re

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from synvita_data.display import plain
from synvita_data.hub.card import code, code_line, front_matter, markdown, table

HOSTILE = (
    '<img src=http://evil/track.png onerror=alert(1)> ![t](http://evil/t.png) [l](http://evil "x") <script>alert(2)'
    "</script> **b** `c` | d\n\n---\n# Heading\n\n- item\n> quote\n```\n~~~ \x1b[31mred\x07 \u202ertl \u200b \\| \\\\| &lt; "
    "&#60; www.evil.org <http://evil> $x$ {y} a_b_c ~~s~~ 1. x"
)
RENDER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXTS = st.text(max_size=60) | st.text("<>&|\\`*_[]()!#~$-+=.:/ ab1\n\t\x1b\u202e\ud800", max_size=40)


def shown(rendered):
    """The text that a reader sees, without tags, white space as one space."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", rendered)).split())


def one_line(text):
    return " ".join(plain(text).split())


def tags(rendered):
    return set(re.findall(r"<\s*/?\s*([a-zA-Z0-9]+)", rendered))


@given(TEXTS)
@example(HOSTILE)
@example("1. a")
@example("- a")
@example("+")
@example("===")
@example("---")
@example("- - -")
def test_a_paragraph_shows_the_text_and_nothing_else(text):
    rendered = RENDER.render(markdown(text))
    assert tags(rendered) <= {"p"}
    assert shown(rendered) == one_line(text)


@given(st.lists(TEXTS, min_size=2, max_size=2), st.lists(TEXTS, min_size=2, max_size=2))
@example([HOSTILE, HOSTILE], [HOSTILE, HOSTILE])
@example(["a\\|b", "a\\\\|b"], ["|", "\\"])
def test_a_table_has_its_cells_whatever_is_in_them(texts, codes):
    made = table(["first", "second"], [map(markdown, texts), map(code, codes)])
    rendered = RENDER.render(made)
    assert tags(rendered) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    cells = re.findall(r"<td>(.*?)</td>", rendered, re.DOTALL)
    assert [shown(cell) for cell in cells] == [one_line(text) for text in (*texts, *codes)]


@given(TEXTS)
@example(HOSTILE)
@example("```")
def test_code_is_one_span_or_plain_text(text):
    rendered = RENDER.render(f"x {code(text)} y")
    assert tags(rendered) <= {"p", "code"}
    assert shown(rendered) == " ".join(f"x {one_line(text)} y".split())


@given(TEXTS)
@example("a\n```\n<img src=x>")
@example("~~~\n<b>")
def test_no_text_closes_a_fenced_block(text):
    rendered = RENDER.render(f"```bash\n{code_line(text)}\n```\n")
    assert tags(rendered) == {"pre", "code"}
    assert rendered.count("<pre>") == 1


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS), max_size=3))
@example({"name": "x\n---\nlicense: mit\n---\n# Heading"})
@example({"name": "\xa0"})
def test_front_matter_is_one_block_of_yaml(metadata):
    made = front_matter(metadata)
    assert made.startswith("---\n")
    assert made.endswith("---\n")
    inside = made.removeprefix("---\n").removesuffix("---\n")
    assert not re.search(r"^(---|\.\.\.)", inside, re.MULTILINE)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u200b\ufeff]", inside)
    expected = {
        plain(key): plain(value) if isinstance(value, str) else [plain(each) for each in value]
        for key, value in metadata.items()
    }
    assert yaml.safe_load(inside) == expected


def test_no_address_becomes_a_link():
    # GitHub makes links of bare addresses; a backslash before the colon or the dot stops that.
    for text in ("http://evil", "HTTPS://evil", "www.evil.org", "mailto:a@b.c", "a@b.c", "ftp://x"):
        assert not re.search(r"(?i)(https?|ftp|mailto):|www\.|\w@\w", markdown(text))
