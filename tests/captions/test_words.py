"""Words in any script. A second reading of the rules comes from `regex`, another implementation of Unicode."""

import csv
import hashlib
import json
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise
from unicodedata import normalize

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from synvita_data.captions import check_spans, hidden_spans, words
from synvita_data.captions.lcs import shared_spans
from synvita_data.captions.words import is_plain, word_rule, word_spans
from synvita_data.errors import SynvitaError

regex = pytest.importorskip("regex")

LIBRARIES = f"uniseg-{version('uniseg')}"
MODELS = f"{LIBRARIES}+budoux-{version('budoux')}"

# What a speaker would call shared of two captions, and what they differ in.
PAIRS = {
    "Chinese": ("一个男人在厨房里吃苹果。", "一个男人在厨房里切苹果。", ["吃"], ["切"]),
    "Chinese, traditional": ("一個男人在廚房裡吃蘋果", "一個男人在廚房裡切蘋果", ["吃"], ["切"]),
    "Chinese, a count": ("两只猫在沙发上睡觉", "三只猫在沙发上睡觉", ["两"], ["三"]),
    "Chinese, fullwidth": ("一只狗在跑，跳。", "一只狗在跑，跳！", ["。"], ["！"]),
    "Japanese": ("女性が赤い車を運転している。", "女性が青い車を運転している。", ["赤い"], ["青い"]),
    "Japanese, a verb": ("男の人がりんごを食べている", "男の人がりんごを切っている", ["食べ"], ["切っ"]),
    "Thai": ("ผู้ชายกินแอปเปิล", "ผู้ชายหั่นแอปเปิล", ["กิน"], ["หั่น"]),
    "Lao": ("ຜູ້ຊາຍກິນໝາກໂປມ", "ຜູ້ຊາຍຕັດໝາກໂປມ", ["ກິນ"], ["ຕັດ"]),
    "Khmer": ("បុរសកំពុងញ៉ាំផ្លែប៉ោម", "បុរសកំពុងកាត់ផ្លែប៉ោម", ["ញ៉ាំ"], ["កាត់"]),
    "Burmese": ("လူပန်းသီးစားနေသည်", "လူပန်းသီးလှီးနေသည်", ["စား"], ["လှီး"]),
    "Hindi": ("एक आदमी सेब खा रहा है।", "एक आदमी सेब काट रहा है।", ["खा"], ["काट"]),
    "Hindi, one mark": ("लड़की नाचती है", "लड़का नाचता है", ["लड़की नाचती"], ["लड़का नाचता"]),
    "Tamil": ("ஒரு மனிதன் ஓடுகிறான்", "ஒரு மனிதன் நடக்கிறான்", ["ஓடுகிறான்"], ["நடக்கிறான்"]),
    "Bengali": ("একজন মানুষ খায়", "একজন মানুষ কাটে", ["খায়"], ["কাটে"]),
    "Arabic, vowels": ("رَجُلٌ يَأْكُلُ تُفَّاحَةً", "رَجُلٌ يَقْطَعُ تُفَّاحَةً", ["يَأْكُلُ"], ["يَقْطَعُ"]),
    "Persian, joiner": ("او می‌خورد", "او می‌دود", ["می‌خورد"], ["می‌دود"]),
    "Hebrew, points": ("יֶלֶד אוֹכֵל", "יֶלֶד רָץ", ["אוֹכֵל"], ["רָץ"]),
    "Korean": ("한 남자가 사과를 먹는다", "한 남자가 사과를 자른다", ["먹는다"], ["자른다"]),
    "Vietnamese": ("Một người đàn ông ăn táo", "Một người đàn ông cắt táo", ["ăn"], ["cắt"]),
    "Emoji, joined": ("👩‍👧 walk", "👩‍👦 walk", ["👩‍👧"], ["👩‍👦"]),
    "Emoji, skin": ("👋🏽 at dawn", "👋🏿 at dawn", ["👋🏽"], ["👋🏿"]),
    "Flags": ("flags 🇩🇪🇫🇷", "flags 🇩🇪🇮🇹", ["🇫🇷"], ["🇮🇹"]),
    "Mixed": ("一只2岁的dog在跑", "一只3岁的dog在跑", ["2"], ["3"]),
    "Mixed, no space": ("A man eats 苹果 today", "A man cuts 苹果 today", ["eats"], ["cuts"]),
}


def parts(text: str, spans) -> list[str]:
    return [text[a:b] for a, b in spans]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other_form", ["NFC", "NFD"])
def test_only_the_words_that_differ_are_hidden(name, form, other_form):
    caption, neg_caption, *hidden = PAIRS[name]
    caption, neg_caption = normalize(form, caption), normalize(other_form, neg_caption)
    spans, neg_spans = shared_spans(caption, neg_caption)
    found = (
        parts(caption, hidden_spans(caption, spans)),
        parts(neg_caption, hidden_spans(neg_caption, neg_spans)),
    )
    assert found == (
        [normalize(form, word) for word in hidden[0]],
        [normalize(other_form, word) for word in hidden[1]],
    )
    assert shared_spans(neg_caption, caption) == (neg_spans, spans)


# Texts of many scripts: whole syllables and lone marks, joiners and digits between them.
PIECES = st.sampled_from(
    [
        "男人",
        "吃",
        "苹果",
        "りんご",
        "を食べ",
        "テレビー",
        "々",
        "〇",
        "กิน",
        "ผู้",
        "เปิ",
        "ກິນ",
        "ຊາຍ",
        "ញ៉ាំ",
        "ផ្លែ",
        "စား",
        "န်း",
        "हिन्दी",
        "में",
        "காட்டி",
        "رَجُلٌ",
    ]
    + [
        "한국",
        "e\u0301",
        "é",
        "ö",
        "\u0301",
        "\u200d",
        "\ufe0f",
        "👩‍👧",
        "👋🏽",
        "🇩🇪",
        "🇩",
        "1️⃣",
        "a",
        "B2",
        "_",
        "३",
        "½",
        "٣",
    ]
    + [" ", "\n", "　", "，", "。", "「", ".", "'", "\u00ad", "\u200b", "可", "龍", "个", "個"]
)
TEXTS = st.lists(PIECES, max_size=10).map("".join)
WITH_SPACES = st.text(
    st.sampled_from("ab_3é\u0301\u0308हिन्दमेंखकाड़ ரபகாி்  رَجُلٌكתֶל한국각각👩👧\u200d🏽\ufe0f🇩🇪.,'—३½Å\n"),
    max_size=14,
)


@given(TEXTS | st.text(max_size=12))
def test_words_hold_everything_but_white_space_and_whole_characters(text):
    spans = word_spans(text)
    check_spans(text, spans)
    covered = {i for start, end in spans for i in range(start, end)}
    assert all((i in covered) or text[i].isspace() for i in range(len(text)))
    edges = {edge for span in spans for edge in span}
    if not any(c.isspace() for c in text):  # a mark on a space is a word of its own
        clusters = [match.end() for match in regex.finditer(r"\X", text)]
        new_in_newer_unicode = regex.search(r"\p{Cn}|\p{InCB=Linker}", text)
        assert new_in_newer_unicode or edges <= {0, *clusters}


@given(WITH_SPACES)
def test_words_of_scripts_with_spaces(text):
    """A run of characters that begin with a letter, digit or underscore; otherwise one character."""
    # Of a virama on nothing, releases of Unicode say different things.
    assume(not regex.search(r"(?<![\u0915-\u0939])\u094d", text))
    expected = []
    for chunk in regex.split(r"\s+", text):
        expected += regex.findall(r"(?:(?=[\p{L}\p{N}_])\X)+|\X", chunk)
    assert parts(text, word_spans(text)) == expected


@given(st.text(st.sampled_from("ກຂຊາຍ໐កខគងហကခဂငᨠᨡ龦𗀀 .a3"), max_size=12))
def test_scripts_without_a_model_are_cut_into_characters(text):
    assert parts(text, word_spans(text)) == regex.findall(
        r"[\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Tham}\p{Tangut}&&\p{L}]|\p{Han}+|[a3໐]+|\.", text, regex.V1
    )


@given(TEXTS, TEXTS)
def test_shared_words(caption, neg_caption):
    """The k-th spans hold the same words, and swapping the captions swaps the result."""
    spans, neg_spans = shared_spans(caption, neg_caption)
    check_spans(caption, spans)
    check_spans(neg_caption, neg_spans)

    def squeezed(text: str) -> str:
        return normalize("NFC", "".join(text.split()))

    assert [squeezed(word) for word in parts(caption, spans)] == [
        squeezed(word) for word in parts(neg_caption, neg_spans)
    ]
    assert shared_spans(neg_caption, caption) == (neg_spans, spans)


@given(TEXTS)
def test_equal_captions_share_everything(text):
    shared = [(a, b) for a, b in [(len(text) - len(text.lstrip()), len(text.rstrip()))] if a < b]
    assert shared_spans(text, text)[0] == shared
    for form in ("NFC", "NFD"):
        other = normalize(form, text)
        assert "".join(parts(text, shared_spans(text, other)[0])).split() == text.split()


@given(TEXTS, TEXTS, st.sampled_from(["NFC", "NFD"]))
def test_both_normal_forms_share_the_same_words(caption, neg_caption, form):
    composed = normalize("NFC", caption)
    other = normalize(form, caption)
    one, two = (shared_spans(text, neg_caption)[0] for text in (composed, other))
    assert [normalize("NFC", word) for word in parts(other, two)] == parts(composed, one)


@given(
    st.lists(
        st.sampled_from(["厨房", "里", "吃", "切", "苹果", "男人", "在", "打", "开门", "走"]), max_size=8
    )
)
def test_a_shared_head_and_tail_are_cut_alike(head):
    """A model cuts by what stands around; both captions are then cut wherever one of them is, so that what is
    hidden around the one character that differs is no more than the smaller of the two words there."""
    one, other = "".join(head) + "吃苹果", "".join(head) + "切苹果"
    spans, neg_spans = shared_spans(one, other)
    assert spans == neg_spans
    ((start, end),) = hidden_spans(one, spans)
    place = len(one) - 3
    around = [next((a, b) for a, b in word_spans(text) if a <= place < b) for text in (one, other)]
    assert (start, end) == (max(a for a, _ in around), min(b for _, b in around))


@pytest.mark.parametrize(
    ("captions", "rule"),
    [
        (("a man eats", "a man cuts"), ""),
        (("café, naïve — “it’s” 3½ °C 😀", "a"), ""),
        (("한국 사람", "الرجل يأكل"), ""),
        (("苹果", "a"), ""),  # one word either way
        (("cafe\u0301", "a"), LIBRARIES),
        (("हिन्दी", "a"), LIBRARIES),
        (("👩‍👧", "a"), LIBRARIES),
        (("ກິນ", "a"), LIBRARIES),
        (("a", "男人吃苹果"), MODELS),
        (("ผู้ชายกิน", "a"), MODELS),
        (("\u212b", "a"), LIBRARIES),  # the Ångström sign equals Å
    ],
)
def test_the_rule_is_named_where_it_changes_words(captions, rule):
    assert word_rule(*captions) == rule
    assert word_rule(*captions[::-1]) == rule


@given(TEXTS | st.text(max_size=8), TEXTS)
def test_no_rule_is_named_where_the_plain_one_would_do(caption, neg_caption):
    plain = [[m.span() for m in words._PLAIN.finditer(text)] for text in (caption, neg_caption)]
    if not word_rule(caption, neg_caption):
        # Cut together: one caption may say which Chinese the other is in.
        together = caption + neg_caption
        cuts = [
            words.plain_spans(text) if is_plain(text) else words.cut_text(text, together).spans()
            for text in (caption, neg_caption)
        ]
        assert cuts == plain
        assert all(normalize("NFC", text) == text for text in (caption, neg_caption))
    if is_plain(caption):
        assert word_spans(caption) == plain[0]


def test_english_loads_neither_library():
    code = (
        "import sys; from synvita_data.captions.lcs import shared_spans; from synvita_data.captions.words import word_rule\n"
        "shared_spans('a café — “it’s” 3½', 'naïve 😀'); word_rule('é', 'ö')\n"
        "print(*(name in sys.modules for name in ('uniseg', 'budoux')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_release_without_a_model_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(words, "files", lambda package: tmp_path)
    words._parser.cache_clear()
    words._boundaries_of.cache_clear()
    try:
        with pytest.raises(SynvitaError, match=r"th\.json") as error:
            word_spans("ผู้ชายกินข้าว")
        assert "budoux>=0.10" in error.value.fix
    finally:
        words._parser.cache_clear()


def test_real_rows_keep_their_words_and_spans(real_data):
    """Digests were made with commit 79b0f4d, which knew the plain rule only."""
    with (real_data / "videocon-16k" / "triplets.csv").open(encoding="utf-8-sig", newline="") as handle:
        pairs = [(row["caption"], row["neg_caption"]) for row in csv.DictReader(handle)]
    digest = hashlib.sha256()
    for caption, neg_caption in pairs:
        for ignore_case in (False, True):
            spans = shared_spans(caption, neg_caption, ignore_case=ignore_case)
            digest.update(json.dumps(spans).encode())
        assert word_rule(caption, neg_caption) == ""
    assert len(pairs) == 16_856
    assert digest.hexdigest() == "c1ff6f402a9f32b35baab3213bc188f0405fab726fedd9421078b02ac71bd670"
    assert all(b[0] >= a[1] for caption, _ in pairs[::500] for a, b in pairwise(word_spans(caption)))
