"""Adversarial filtering on made-up captions whose writer has a taste that words give away."""

import random

import pytest

from synvita_data.builders.contrast.plausible import choose_plausible
from synvita_data.captions.text_only import CaptionPair, text_only_auc
from synvita_data.errors import SynvitaError

ANIMALS = ["dog", "cat", "cow", "horse", "sheep", "goat", "bird", "duck"]
RARE = ["yak", "emu", "newt", "gnu"]
PLACES = ["beach", "street", "field", "garden", "kitchen", "river"]


def made_up(videos, candidates, *, seed=0, best_is_rare=True, kinds=1):
    """Rows and candidates: the writer likes rare animals best, and then takes any."""
    rng = random.Random(seed)
    rows, several = [], []
    for video in range(videos):
        animal, place = rng.choice(ANIMALS), rng.choice(PLACES)
        others = [other for other in ANIMALS if other != animal]
        words = [rng.choice(RARE) if best_is_rare and rng.random() < 0.7 else rng.choice(others)]
        words += rng.sample(others, candidates - 1)
        rows.append(
            (
                f"video{video}",
                f"a {animal} walks in the {place}",
                "object" if video % kinds == 0 else "action",
            )
        )
        several.append([f"a {word} walks in the {place}" for word in words])
    return rows, several


@pytest.fixture(scope="module")
def data():
    return made_up(150, 4)


@pytest.fixture(scope="module")
def choice(data):
    return choose_plausible(*data, rounds=2)


def auc_of(rows, candidates, chosen):
    pairs = [
        CaptionPair(video, caption, own[at], kind)
        for (video, caption, kind), own, at in zip(rows, candidates, chosen, strict=True)
    ]
    return text_only_auc(pairs)


def test_words_tell_less_afterwards(data, choice):
    assert choice.before.overall.auc > 75
    assert choice.after.overall.auc < choice.before.overall.auc - 10
    assert choice.rounds > 0


def test_the_report_is_of_the_first_and_of_the_chosen(data, choice):
    assert choice.before == auc_of(*data, [0] * len(data[0]))
    assert choice.after == auc_of(*data, choice.chosen)
    rows, candidates = made_up(120, 3, kinds=2)
    by_kind = choose_plausible(rows, candidates, rounds=1)
    assert set(by_kind.after.misalignments) == {"object", "action"}
    assert by_kind.after == auc_of(rows, candidates, by_kind.chosen)


@pytest.mark.slow
def test_it_is_no_further_from_chance_than_before():
    """Also where the first candidates give nothing away, so that every other choice could only be worse."""
    rows, candidates = made_up(120, 3, seed=1, best_is_rare=False)
    found = choose_plausible(rows, candidates, rounds=2)
    assert abs(found.after.overall.auc - 50) <= abs(found.before.overall.auc - 50)


def test_it_does_not_depend_on_the_order_of_rows(data, choice):
    order = random.Random(3).sample(range(len(data[0])), len(data[0]))
    rows, candidates = ([part[place] for place in order] for part in data)
    found = choose_plausible(rows, candidates, rounds=2)
    assert found.chosen == tuple(choice.chosen[place] for place in order)
    assert (found.before, found.after) == (choice.before, choice.after)


def test_models_have_not_seen_the_video(monkeypatch):
    """Every candidate is scored by a model that was fitted without its video."""
    from synvita_data.builders.contrast import plausible

    seen = []

    class Watched(plausible.TextOnlyModels):
        def log_odds(self, texts, videos=None):
            assert set(videos) <= set(self.fold)
            seen.append(len(texts))
            return super().log_odds(texts, videos)

    monkeypatch.setattr(plausible, "TextOnlyModels", Watched)
    rows, candidates = made_up(110, 3)
    choose_plausible(rows, candidates, rounds=2)
    assert seen == [330, 330]


def test_rows_with_one_candidate_stay(data):
    rows, candidates = data
    mixed = [own if place % 3 else own[:1] for place, own in enumerate(candidates)]
    found = choose_plausible(rows, mixed, rounds=1)
    assert all(found.chosen[place] == 0 for place in range(0, len(rows), 3))
    assert any(found.chosen)
    alone = choose_plausible(rows, [own[:1] for own in candidates])
    assert (alone.chosen, alone.rounds, alone.before) == ((0,) * len(rows), 0, alone.after)


def test_too_few_rows_keep_their_first():
    rows, candidates = made_up(10, 3)
    found = choose_plausible(rows, candidates)
    assert found.chosen == (0,) * 10
    assert found.before.overall.auc is None
    assert choose_plausible([], []).chosen == ()


def test_what_cannot_be_chosen_from_is_said():
    rows, candidates = made_up(10, 3)
    with pytest.raises(SynvitaError, match="differ in number"):
        choose_plausible(rows, candidates[1:])
    for place in (0, 4):
        empty = [[] if at == place else own for at, own in enumerate(candidates)]
        with pytest.raises(SynvitaError, match="no contrast caption") as caught:
            choose_plausible(rows, empty)
        assert caught.value.row == place
