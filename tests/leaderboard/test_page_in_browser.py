"""The leaderboard's page as a browser shows it. One browser for all tests: each loads a page of its own."""

import csv
import io
import json

import pytest
from page_browser import MISSING, chromium
from selenium_or_skip import Keys
from small_results import MAIN_SCORE, record, result, write
from small_scored import alike, entailment, write_official

from synvita_data.comparison.compare import compare_results
from synvita_data.errors import SynvitaError
from synvita_data.evaluation.scored import read_scored
from synvita_data.leaderboard.exports import csv_sheet, latex_sheet, markdown_sheet
from synvita_data.leaderboard.page.html import make_page
from synvita_data.leaderboard.table import make_leaderboard, read_results
from synvita_data.tasks import TASKS

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {MISSING}"),
    pytest.mark.xdist_group("browser"),
]
EVIL = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>"\'&lt;\x1b[31m‮{{data}}'
SHEETS = {"csv": csv_sheet, "md": markdown_sheet, "tex": latex_sheet}
NUMBERS = {"middle": 60.0, "low": 40.0, "high": 80.0, "blank": None}


@pytest.fixture(scope="module")
def browser():
    with chromium() as shown:
        yield shown


@pytest.fixture
def page(browser, tmp_path):
    """Shows a leaderboard; 1280 pixels wide, light."""
    browser.size(1280, 900, prefers_color_scheme="light")

    def show(board, results=(), address=""):
        path = tmp_path / "board.html"
        path.write_text(make_page(board, results).text, encoding="utf-8")
        shown = browser.open(path, address)
        assert shown.errors() == []
        return shown

    return show


def some(**how):
    """Four models of ours with ATP-Hard, one of them without a number, and one with another benchmark."""
    found = [
        result(
            name,
            "atp-hard",
            value,
            None if value is None else value - 4,
            None if value is None else value + 4,
        )
        for name, value in NUMBERS.items()
    ]
    return make_leaderboard([*found, result("high", "ssv2-events", 9.0, 7.0, 11.0, k=3)], **how)


def test_everything_is_there_and_nothing_is_asked_for(page):
    board = some()
    shown = page(board)
    assert shown.names() == [
        row.label + ("*" * row.reproduced + "†" * (row.kind == "published")) for row in board.rows
    ]
    assert "15 of 15 models" in shown.text("#count")
    row = '#board tr[data-place="12"] td[data-task="ssv2-events"]'
    assert shown.text(f"{row} .value") == "9.00 ‡"
    assert shown.text(f"{row} .interval") == "[7.0, 11.0]"
    assert shown.text(f"{row} .coverage") == "3/1,000"
    assert set(shown.texts("#board .tag")) == {"published", "self-reported"}
    assert shown.js("return performance.getEntriesByType('resource').length") == 0
    assert shown.js("return document.querySelectorAll('script').length") == 2


def test_sorting_goes_down_up_and_back(page):
    board = some()
    shown = page(board)
    at_first = shown.names()
    head = '#board th[data-sort="atp-hard"]'
    values = {row.label: row.cells["atp-hard"].value for row in board.rows if "atp-hard" in row.cells}

    def shown_values():
        return [values.get(name.rstrip("†*")) for name in shown.names()]

    shown.click(f"{head} button")
    down = shown_values()
    known = [value for value in down if value is not None]
    assert known == sorted((value for value in values.values() if value is not None), reverse=True)
    assert down[len(known) :] == [None] * (len(down) - len(known))
    assert shown.one(head).get_attribute("aria-sort") == "descending"
    shown.click(f"{head} button")
    assert [value for value in shown_values() if value is not None] == known[::-1]
    assert shown_values()[len(known) :] == [None] * (len(down) - len(known))
    assert shown.one(head).get_attribute("aria-sort") == "ascending"
    shown.click(f"{head} button")
    assert shown.names() == at_first
    assert shown.one(head).get_attribute("aria-sort") is None


def test_search_source_and_columns(page):
    shown = page(some())
    shown.search("OWL videocon")
    assert shown.names() == ["VideoCon (mPLUG-Owl 7B)*†"]
    assert shown.text("#count") == "1 of 15 models"
    assert "VideoCon (LLM)" in " ".join(shown.texts("#board thead th"))
    shown.search("no such model")
    assert shown.names() == []
    assert "No model matches" in shown.one("#nothing").text
    shown.click("#again")
    shown.choose("#source", "self-reported")
    assert sorted(shown.names()) == ["blank", "high", "low", "middle"]
    assert shown.text("#count") == "4 of 15 models, 2 of 6 benchmarks"
    shown.choose("#source", "")
    shown.click('#columns input[value="videocon-llm"]')
    shown.click('#facts input[value="interval"]')
    assert "VideoCon (LLM)" not in " ".join(shown.texts("#board thead th"))
    assert shown.texts("#board .interval") == []
    assert shown.texts("#board .coverage") != []
    shown.click("#reset")
    assert len(shown.names()) == 15
    assert "VideoCon (LLM)" in " ".join(shown.texts("#board thead th"))


def test_the_address_brings_the_same_view_and_the_history_goes_back(page, browser):
    shown = page(some())
    shown.search("i")
    shown.choose("#source", "self-reported")
    shown.click('#board th[data-sort="atp-hard"] button')
    shown.click('#columns input[value="ssv2-temporal"]')
    names, address = shown.names(), shown.driver.current_url
    assert names == ["high", "middle"]
    shown.driver.get("about:blank")
    shown.driver.get(address)
    assert shown.names() == names
    assert shown.one("#q").get_attribute("value") == "i"
    assert "SSv2-Temporal" not in " ".join(shown.texts("#board thead th"))
    # A step of the history is a view; back shows the one before.
    shown.click('[data-view="forest"]')
    assert shown.texts("#forest svg .name")
    shown.driver.back()
    shown.until(lambda: shown.names() == names)
    shown.driver.forward()
    shown.until(lambda: shown.texts("#forest svg .name"))


def test_an_address_of_another_leaderboard_shows_something(page):
    shown = page(
        some(), address="view=nowhere&sort=gone&task=none&hidden=a,b&model=nobody&__proto__=1&q=high"
    )
    assert shown.names() == ["high"]
    assert shown.errors() == []


@pytest.mark.parametrize("kind", ["csv", "md", "tex"])
def test_downloads_are_the_files_of_the_package(page, kind):
    board = some()
    shown = page(board)
    assert shown.download(kind) == SHEETS[kind](board).text()
    # And of a part, in its order.
    shown.choose("#source", "self-reported")
    shown.click('#board th[data-sort="atp-hard"] button')
    places = [[row.label for row in board.rows].index(name) for name in shown.names()]
    # Benchmarks of which no row that is shown has a number are left out.
    columns = [
        place for place, column in enumerate(board.columns) if column.task in ("ssv2-events", "atp-hard")
    ]
    part = shown.download(kind)
    assert part == SHEETS[kind](board).text(places, columns)
    if kind == "csv":
        lines = list(csv.DictReader(io.StringIO(part)))
        assert [line["model"] for line in lines if line["task"] == "atp-hard"] == [
            "high",
            "middle",
            "low",
            "blank",
        ]


def test_the_json_download_is_the_command_s(page):
    board = some()
    shown = page(board)
    record = json.loads(json.dumps(board.to_record()))
    assert json.loads(shown.download("json")) == record
    shown.search("high")
    part = json.loads(shown.download("json"))
    assert [row["label"] for row in part["rows"]] == ["high"]
    assert part["rows"][0] == next(row for row in record["rows"] if row["label"] == "high")


def test_two_models_pair_by_pair(page, tmp_path):
    annotations = entailment(tmp_path, videos=40)
    files = {
        name: write_official(tmp_path / "r", annotations, name, alike(annotations, spoilt))
        for name, spoilt in (("first", 0), ("second", 12), ("third", 5))
    }
    found = read_results(tmp_path / "r")
    shown = page(make_leaderboard(found), found, "view=compare&a=second&b=first")
    expected = compare_results(
        read_scored(files["second"]), read_scored(files["first"]), TASKS["videocon-llm"], resamples=2_000
    )
    main, won = expected.main, expected.won

    def signed(value):
        return f"{value:+.2f}".replace("-", "−")

    words = f"{signed(main.difference)} [{signed(main.low)}, {signed(main.high)}]"
    assert words in shown.text("#compare-body table")
    assert f"{won.won} / {won.tied} / {won.lost} {expected.item}s" in shown.text("#compare-body table")
    assert shown.texts("#compare-plot svg .name") == ["VideoCon (LLM), AUC"]
    shown.click("#swap")
    turned = main.reversed()
    assert f"{signed(turned.difference)} [{signed(turned.low)}, {signed(turned.high)}]" in shown.text(
        "#compare-body table"
    )
    assert f"{won.lost} / {won.tied} / {won.won} {expected.item}s" in shown.text("#compare-body table")
    shown.choose("#b", "VideoCLIP")
    assert "not pair by pair: VideoCLIP† has no score table" in shown.text("#compare-body table")


def test_one_model_with_its_breakdown(page):
    made = record("m", "videocon-human", 84.0, 81.5, 86.5)
    estimate = made["main_score"]
    made["metrics"] = {
        "auc": estimate,
        "groups": {
            "misalignment": {"flip": {**estimate, "value": 71.25}, "action": {**estimate, "value": 90.5}}
        },
    }
    made["model"]["settings"] = {"dtype": "float32"}
    from small_results import result_of

    shown = page(make_leaderboard([result_of(made)]))
    shown.js("document.querySelectorAll('#board .name')[11].click()")
    text = shown.text("#model-body")
    for part in (
        "VideoCon (Human), AUC: 84.00",
        "dtype float32",
        "flip",
        "71.25",
        "90.50",
        "self-reported",
    ):
        assert part in text, part
    assert set(shown.texts("#model-body svg .name")) == {"flip", "action"}


def test_names_of_others_are_text(page):
    made = [result(EVIL, "atp-hard", 50.0, 48.0, 52.0), result(EVIL + "2", "no-such-task", 1.0)]
    broken = SynvitaError(EVIL, file="x.json")
    board = make_leaderboard(made, problems=[broken])
    shown = page(board)
    (label,) = (row.label for row in board.rows if row.kind == "ours")
    assert label in shown.names()
    for view in ("forest", "model", "compare", "about", "table"):
        shown.click(f'[data-view="{view}"]')
        assert shown.js("return document.querySelectorAll('img, iframe, object').length") == 0
        assert shown.js("return document.querySelectorAll('script').length") == 2
    assert shown.driver.title == "SynViTA leaderboard"
    assert "onerror" in shown.text("#about-body")
    shown.choose("#which", label)
    assert shown.one("#which").get_attribute("value") == label
    # The state of such a name comes back from the address, too.
    address = shown.driver.current_url
    shown.driver.get("about:blank")
    shown.driver.get(address)
    assert shown.one("#which").get_attribute("value") == label
    assert shown.errors() == []


def test_no_results_at_all(page):
    shown = page(make_leaderboard([], published=False))
    assert shown.names() == []
    assert shown.text("#summary") == "No results yet."
    for view in ("forest", "model", "compare", "about", "table"):
        shown.click(f'[data-view="{view}"]')
    assert shown.errors() == []


def test_broken_results_are_listed(page, tmp_path):
    write(tmp_path, "good/atp-hard.json", record("good", "atp-hard", 50.0, 48.0, 52.0))
    write(tmp_path, "bad/atp-hard.json", "{")
    write(tmp_path, "worse/atp-hard.json", record("worse", "atp-hard", 5000.0))
    problems = []
    found = read_results(tmp_path, on_broken=problems.append)
    shown = page(make_leaderboard(found, problems=problems), found)
    assert "2 result files could not be used" in shown.text(".notice")
    assert "good" in shown.names()
    assert "worse" not in shown.names()
    shown.click(".notice button")
    assert "percentage outside [0, 100]" in shown.text("#about-body")
    assert "bad/atp-hard.json" in shown.text("#about-body")


def test_two_thousand_results(page):
    made = [
        result(f"model {number:03}", task, (37 * number) % 97, (37 * number) % 97, (37 * number) % 97)
        for number in range(334)
        for task in MAIN_SCORE
    ]
    shown = page(make_leaderboard(made, published=False, paired=False))
    assert len(shown.names()) == 334
    shown.click('#board th[data-sort="atp-hard"] button')
    expected = sorted(range(334), key=lambda number: (-((37 * number) % 97), number))
    assert shown.names() == [f"model {number:03}" for number in expected]
    shown.search("33")
    assert set(shown.names()) == {f"model {number:03}" for number in range(334) if "33" in f"{number:03}"}
    shown.click("#reset")
    shown.click('[data-view="forest"]')
    assert len(shown.texts("#forest svg .name")) == 100
    assert "highest 100 of 334" in shown.text("#forest-note")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768])
def test_narrow_screens_scroll_nothing_but_tables(page, browser, width, scheme):
    shown = page(some())
    browser.size(width, 700, prefers_color_scheme=scheme)
    for view in ("table", "forest", "model", "compare", "about"):
        shown.click(f'[data-view="{view}"]')
        assert shown.js("return document.documentElement.scrollWidth <= window.innerWidth"), view
        # Text can be read on its ground: 4.5 to 1, as WCAG asks.
        assert shown.js(CONTRAST) >= 4.5, view


# The lowest contrast of a text that is shown, by WCAG's formula.
CONTRAST = """
const parse = text => text.match(/[\\d.]+/g).map(Number)
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0)
const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c } return [255, 255, 255] }
let worst = 21
for (const e of document.querySelectorAll('body *')) {
  if (!e.checkVisibility() || e.disabled || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue
  const svg = e instanceof SVGElement
  if (e.closest('option, script, style')) continue
  const [one, other] = [light(parse(getComputedStyle(e)[svg ? 'fill' : 'color'])), light(ground(e))].sort((a, b) => b - a)
  worst = Math.min(worst, (one + .05) / (other + .05))
}
return worst
"""


def test_by_keyboard_alone(page):
    shown = page(some())
    shown.js("document.activeElement.blur()")
    active = shown.driver.switch_to

    def press(*keys):
        active.active_element.send_keys(*keys)

    shown.one("body").send_keys(Keys.TAB)
    assert active.active_element.get_attribute("id") == "skip"
    assert shown.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(Keys.ENTER)
    assert active.active_element.get_attribute("id") == "main"
    seen = []
    while active.active_element.get_attribute("class") != "sort":
        press(Keys.TAB)
        seen.append(active.active_element.get_attribute("id"))
        assert shown.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid", seen[-1]
    assert seen[:3] == ["q", "source", "sort"]
    press(Keys.ENTER)
    assert shown.one('#board th[data-sort="model"]').get_attribute("aria-sort") == "ascending"
    # The button keeps the focus, and works again.
    press(Keys.SPACE)
    assert shown.one('#board th[data-sort="model"]').get_attribute("aria-sort") == "descending"


def test_marks_do_not_depend_on_colour(page):
    shown = page(some())
    text = shown.text("#board tbody")
    assert "≈" in text or "▲" in text or "△" in text
    assert shown.js(
        "return [...document.querySelectorAll('#board b.value')].every(e => /[▲≈]/.test(e.textContent))"
    )
