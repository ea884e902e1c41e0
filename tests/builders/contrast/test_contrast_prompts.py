"""The seven prompts keep their own contract: their examples are answers that the reader and the checks take."""

import re

import pytest

from synvita_data.builders.contrast.answers import read_answer
from synvita_data.builders.contrast.checks import check
from synvita_data.builders.contrast.kinds import askable
from synvita_data.builders.contrast.prompts import CAPTION, Prompts, load_prompts
from synvita_data.errors import SynvitaError
from synvita_data.schema import MISALIGNMENTS

OURS = load_prompts()


def examples(text):
    """(caption, answer) of each example in a prompt."""
    parts = re.split(r"^Caption: ", text, flags=re.MULTILINE)[1:]
    assert parts.pop().strip() == CAPTION  # the caption that is asked about comes last
    return [part.strip().partition("\n")[::2] for part in parts]


def test_there_is_one_for_each_misalignment():
    assert set(OURS.texts) == set(MISALIGNMENTS)
    assert re.fullmatch("[0-9a-f]{16}", OURS.digest)
    assert load_prompts().digest == OURS.digest


@pytest.mark.parametrize("misalignment", MISALIGNMENTS)
def test_examples_are_good_answers(misalignment):
    found = examples(OURS.texts[misalignment])
    assert len(found) >= 3
    for caption, answer in found:
        assert askable(caption, misalignment) is None
        contrast = read_answer(answer, caption, misalignment)
        assert check(caption, contrast.neg_caption, misalignment) is None, caption
        phrases = (contrast.source_phrase, contrast.target_phrase)
        assert (phrases == (None, None)) == (misalignment == "flip")
        assert misalignment == "flip" or None not in phrases


@pytest.mark.parametrize("misalignment", MISALIGNMENTS)
def test_the_labels_are_asked_for(misalignment):
    labels = ["Contrast caption", "Explanation"] + (["Source", "Target"] if misalignment != "flip" else [])
    asked = OURS.texts[misalignment].partition("Answer with exactly")[2].partition("\nCaption:")[0]
    for label in ("Contrast caption", "Source", "Target", "Explanation"):
        assert (f"\n{label}: " in asked) == (label in labels)


def test_a_caption_is_taken_literally_on_one_line():
    prompts = Prompts({"object": f"Change {CAPTION} now"})
    assert (
        prompts.ask('a {dog}\n\n{caption} "runs" \\1', "object") == 'Change a {dog} {caption} "runs" \\1 now'
    )
    with pytest.raises(SynvitaError, match="unknown misalignment"):
        prompts.ask("a dog", "action")


def test_a_user_replaces_what_they_like(tmp_path):
    (tmp_path / "count.txt").write_text(f"Zähle anders: {CAPTION}", encoding="utf-8")
    (tmp_path / "README.md").write_text("ours")
    own = load_prompts(tmp_path)
    assert own.ask("a dog", "count") == "Zähle anders: a dog"
    assert own.ask("a dog", "flip") == OURS.ask("a dog", "flip")
    assert own.digest != OURS.digest
    assert load_prompts(str(tmp_path)).digest == own.digest


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("counting.txt", f"{CAPTION}".encode(), "not called like a misalignment"),
        ("count.txt", b"no place for it", "where the caption goes"),
        ("count.txt", f"{CAPTION} {CAPTION}".encode(), "where the caption goes"),
        ("count.txt", b"\xff\xfe", "cannot be read"),
        ("count.txt", f"{CAPTION}{'x' * 100_001}".encode(), "too long"),
        ("count.md", f"{CAPTION}".encode(), "holds none"),
    ],
)
def test_what_is_no_prompt_is_refused_with_its_file(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SynvitaError, match=message) as caught:
        load_prompts(tmp_path)
    assert str(tmp_path) in caught.value.file


def test_no_folder(tmp_path):
    with pytest.raises(SynvitaError, match="cannot be found"):
        load_prompts(tmp_path / "nothing")
