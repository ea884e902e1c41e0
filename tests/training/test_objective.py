"""The objective against NumPy loops over the paper's equations, finite differences and batches worked by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from synvita_data.errors import SynvitaError
from synvita_data.training.objective import (
    Counts,
    Objective,
    Supervision,
    consistency_term,
    mean_scores,
    pair_sums,
    real_term,
    right_answers,
    synthetic_term,
    token_losses,
    two_way_losses,
)

R, S = 0, 1  # videos
OWN, CONTRAST, OWN_MASKED, CONTRAST_MASKED = range(4)  # texts: t^r, t^s, and both masked


def supervision(*rows) -> Supervision:
    """Of rows (real, synthetic, weight, takes_real)."""
    real, synthetic, weight, takes = zip(*rows, strict=True)
    present = torch.tensor([real, synthetic]).T
    return Supervision(present, torch.tensor(weight), torch.tensor(takes), torch.tensor(synthetic))


@st.composite
def batches(draw):
    """(log-odds fp64 [N, 2, 4], supervision) with every kind of row; what is absent is 0."""
    rows, odds = [], []
    for _ in range(draw(st.integers(1, 5))):
        real = draw(st.booleans())
        synthetic = draw(st.booleans()) if real else True
        weight = draw(st.floats(0.0, 1.0, width=32)) if synthetic else 0.0
        rows.append((real, synthetic, weight, real and draw(st.booleans())))
        own = draw(st.lists(st.floats(-12, 12), min_size=8, max_size=8))
        odds.append(np.array(own).reshape(2, 4) * np.array([[real], [synthetic]]))
    return torch.tensor(np.array(odds)), supervision(*rows)


def equations(log_odds, trained, margin):
    """(L_real, L_syn, L_scr) summed over rows: Eqs. 2, 5 and 6, term by term in NumPy."""
    f = 1 / (1 + np.exp(-np.asarray(log_odds, dtype=np.float64)))
    real = synthetic = scr = 0.0
    for n in range(len(f)):
        w = float(trained.weight[n])
        if trained.takes_real[n]:
            real -= np.log(f[n, R, OWN]) + np.log(1 - f[n, R, CONTRAST])
        if trained.present[n, S]:
            synthetic -= w * (np.log(f[n, S, CONTRAST]) + np.log(1 - f[n, S, OWN]))
            scr += w * max(0, margin + f[n, S, CONTRAST_MASKED] - f[n, S, CONTRAST])
            scr += w * max(0, margin + f[n, S, OWN] - f[n, S, OWN_MASKED])
            if trained.present[n, R]:
                scr += w * max(0, margin + f[n, R, OWN_MASKED] - f[n, R, OWN])
                scr += w * max(0, margin + f[n, R, CONTRAST] - f[n, R, CONTRAST_MASKED])
    return real, synthetic, scr


def hinges(log_odds, margin):
    """What stands inside the maxima, to keep away from their corners: [N, 2, 2]."""
    f = log_odds.sigmoid()
    sign = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    return margin + sign * (f[..., 2:] - f[..., :2])


def loss_of(log_odds, trained, counts, **options):
    objective = Objective(**options)
    return objective.loss(objective.terms(two_way_losses(log_odds), log_odds, trained), counts)[0]


@settings(max_examples=50)
@given(batches(), st.floats(0, 1), st.floats(0, 2))
def test_terms_and_loss_are_the_papers_equations(batch, margin, lam):
    log_odds, trained = batch
    expected = equations(log_odds, trained, margin)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        odds = log_odds.to(dtype)
        terms = Objective(margin=margin).terms(two_way_losses(odds), odds, trained)
        found = (terms.real, terms.synthetic, terms.consistency)
        assert all(term.dtype == dtype and term.ndim == 0 for term in found)
        assert [float(term) for term in found] == pytest.approx(expected, rel=tolerance, abs=tolerance)
        loss, parts = Objective(scr_weight=lam).loss(terms, Counts(triplets=len(odds)))
        real, synthetic, scr = (value / len(odds) for value in expected)
        assert float(loss) == pytest.approx(real + synthetic + lam * scr, rel=tolerance, abs=tolerance)
        logged = {name: float(value) for name, value in parts.named().items()}
        assert logged == pytest.approx(
            {"real": real, "synthetic": synthetic, "consistency": scr, "explanation": 0.0},
            rel=tolerance,
            abs=tolerance,
        )


@settings(max_examples=20)
@given(batches(), st.floats(0, 2))
def test_gradients_are_finite_differences(batch, lam):
    log_odds, trained = batch
    assume(float(hinges(log_odds, 0.2).abs().min()) > 1e-4)
    counts = Counts(triplets=len(log_odds))
    odds = log_odds.clone().requires_grad_()
    loss_of(odds, trained, counts, scr_weight=lam).backward()
    step = 1e-5
    for place in np.ndindex(*log_odds.shape):
        moved = log_odds.repeat(2, 1, 1, 1)
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (float(loss_of(each, trained, counts, scr_weight=lam)) for each in moved)
        assert float(odds.grad[place]) == pytest.approx((up - down) / (2 * step), abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("m", [80.0, -80.0])
def test_log_odds_of_80_are_finite_and_right(dtype, m):
    odds = torch.full((1, 2, 4), m, dtype=dtype, requires_grad=True)
    both = supervision((True, True, 1.0, True))
    terms = Objective().terms(two_way_losses(odds), odds, both)
    # Of each video one answer is certain and right, and one certain and wrong: 0 + 80 nats.
    assert [terms.real.item(), terms.synthetic.item()] == pytest.approx([80.0, 80.0])
    assert terms.consistency.item() == pytest.approx(4 * 0.2)  # all f equal: four margins
    loss, _ = Objective().loss(terms, Counts(triplets=1))
    assert loss.dtype == torch.float32
    loss.backward()
    # The wrong ones: a full push; the right ones and those that only L_scr reads: none is left.
    wrong = 1.0 if m > 0 else -1.0
    expected = torch.zeros(2, 4)
    expected[
        right_answers().nonzero(as_tuple=True) if m < 0 else (~right_answers()).nonzero(as_tuple=True)
    ] = wrong
    assert torch.allclose(odds.grad[0].float(), expected, atol=1e-30)


def test_bf16_log_odds_are_reduced_in_fp32():
    rounded = torch.randn(64, 2, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    trained = supervision(*[(True, True, 0.5, True)] * 64)
    expected = equations(rounded.double(), trained, 0.2)
    terms = Objective().terms(two_way_losses(rounded), rounded, trained)
    assert [float(t) for t in (terms.real, terms.synthetic, terms.consistency)] == pytest.approx(
        expected, rel=1e-6
    )


@settings(max_examples=30)
@given(batches())
def test_weight_one_everywhere_is_equation_3(batch):
    log_odds, trained = batch
    ones = Supervision(trained.present, torch.ones(len(log_odds)), trained.takes_real, trained.has_synthetic)
    pairs = [
        (log_odds[n, S, OWN], log_odds[n, S, CONTRAST]) for n in range(len(log_odds)) if trained.present[n, S]
    ]
    expected = sum(-math.log(1 / (1 + math.exp(-c))) - math.log(1 / (1 + math.exp(o))) for o, c in pairs)
    assert float(synthetic_term(two_way_losses(log_odds), ones)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=30)
@given(batches())
def test_without_lambda_and_weights_the_loss_is_videocons(batch):
    log_odds, trained = batch
    none = Supervision(
        trained.present, torch.zeros(len(log_odds)), trained.takes_real, torch.zeros_like(trained.takes_real)
    )
    # VideoCon: cross-entropy of Yes for the caption and No for the contrast, of real videos only.
    rows = log_odds[trained.takes_real][:, R, :2].reshape(-1)
    classes = torch.stack([rows, torch.zeros_like(rows)], dim=-1)
    targets = torch.tensor([0, 1]).repeat(len(rows) // 2)
    expected = torch.nn.functional.cross_entropy(classes, targets, reduction="sum") / len(log_odds)
    loss = loss_of(log_odds, none, Counts(triplets=len(log_odds)), scr_weight=0.0)
    assert float(loss) == pytest.approx(float(expected) if len(rows) else 0.0, abs=1e-9)
    # And with λ: without weights there is nothing to regularise.
    assert float(loss_of(log_odds, none, Counts(triplets=len(log_odds)), scr_weight=1.0)) == float(loss)


def log_odds_of(f):
    """fp64 [N, 2, 4] with these f."""
    values = torch.tensor(f, dtype=torch.float64)
    return (values / (1 - values)).log()


# Two triplets: all there with ω = 1/2; and without a synthetic video. f of (real, synthetic) x TEXTS.
WORKED = log_odds_of(
    [
        [[0.8, 0.5, 0.75, 0.5], [0.25, 0.5, 0.4, 0.5]],
        [[0.5, 0.75, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]],
    ]
)
WORKED_SUPERVISION = supervision((True, True, 0.5, True), (True, False, 0.0, True))
LN = math.log
WORKED_REAL = -LN(0.8) - LN(0.5) - LN(0.5) - LN(0.25)
WORKED_SYNTHETIC = 0.5 * (-LN(0.5) - LN(0.75))
# Real: 0.2 + 0.75 - 0.8 and 0.2 + 0.5 - 0.5. Synthetic: 0.2 + 0.5 - 0.5 and 0.2 + 0.25 - 0.4.
WORKED_SCR = 0.5 * (0.15 + 0.2 + 0.2 + 0.05)


def test_both_normalisations_of_a_batch_worked_by_hand():
    explained = torch.tensor([3.0, 0.5])  # cross-entropies of explanations, of 5 tokens
    terms = Objective().terms(two_way_losses(WORKED), WORKED, WORKED_SUPERVISION, explained)
    # Answers: two texts of two real videos and of one synthetic one. Half-triplets: two of the first triplet.
    counts = Counts(triplets=2, answer_tokens=6, half_triplets=2, explanation_tokens=5)
    paper, parts = Objective(scr_weight=0.01, nle_weight=2.0).loss(terms, counts)
    assert float(paper) == pytest.approx(
        WORKED_REAL / 2 + WORKED_SYNTHETIC / 2 + 0.01 * WORKED_SCR / 2 + 2 * 3.5 / 5, rel=1e-6
    )
    assert float(parts.explanation) == pytest.approx(0.7)
    released, parts = Objective(normalisation="released", scr_weight=0.01).loss(terms, counts)
    assert float(released) == pytest.approx(
        (WORKED_REAL + WORKED_SYNTHETIC + 3.5) / 11 + 0.01 * WORKED_SCR / 2, rel=1e-6
    )
    assert float(parts.real) == pytest.approx(WORKED_REAL / 11)
    assert float(parts.explanation) == pytest.approx(3.5 / 11)


@settings(max_examples=30)
@given(batches(), st.data())
def test_a_window_cut_in_any_way_gives_the_same_loss(batch, data):
    log_odds, trained = batch
    counts = Counts(len(log_odds), data.draw(st.integers(1, 99)), data.draw(st.integers(1, 99)), 0)
    cut = data.draw(st.integers(0, len(log_odds)))
    for normalisation in ("paper", "released"):
        whole = loss_of(log_odds, trained, counts, normalisation=normalisation, scr_weight=0.3)
        parts = [
            loss_of(
                log_odds[own],
                Supervision(
                    trained.present[own],
                    trained.weight[own],
                    trained.takes_real[own],
                    trained.has_synthetic[own],
                ),
                counts,
                normalisation=normalisation,
                scr_weight=0.3,
            )
            for own in (slice(cut), slice(cut, None))
        ]
        assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-9)


@pytest.mark.parametrize("end", [None, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_token_losses_are_cross_entropies(end, dtype):
    yes, no = 5, 2
    logits = (torch.randn(3, 2, 2, 2, 7, generator=torch.Generator().manual_seed(1)) * 9).to(dtype)
    logits.requires_grad_()
    found = token_losses(logits, right_answers().expand(3, 2, 2), yes=yes, no=no, end=end)
    assert found.dtype == torch.float32
    for n, v, t in np.ndindex(3, 2, 2):
        target = yes if v == t else no  # the real video is its caption's, the synthetic one the contrast's
        own = logits[n, v, t].detach().float()
        expected = torch.nn.functional.cross_entropy(own[:1], torch.tensor([target]))
        if end is not None:
            expected = expected + torch.nn.functional.cross_entropy(own[1:], torch.tensor([end]))
        assert found[n, v, t].item() == pytest.approx(float(expected), rel=1e-6)
    found.sum().backward()
    assert bool(logits.grad[..., 1, :].any()) == (end is not None)


def test_token_losses_of_80_are_finite():
    logits = torch.tensor(
        [[[80.0, -80.0, 0.0]], [[-80.0, 80.0, 0.0]]], dtype=torch.bfloat16, requires_grad=True
    )
    losses = token_losses(logits, torch.tensor([True, True]), yes=0, no=1)
    assert losses.tolist() == pytest.approx([0.0, 160.0], abs=1e-30)
    losses.sum().backward()
    assert logits.grad.float()[1, 0].tolist() == pytest.approx([-1.0, 1.0, 0.0])


@settings(max_examples=20)
@given(batches())
def test_needed_scores_are_those_that_change_the_loss(batch):
    log_odds, trained = batch
    counts = Counts(triplets=len(log_odds))
    # A positive weight that a loss cannot feel in fp64 is not what this is about.
    weight = torch.where(trained.weight > 0, trained.weight.clamp(min=0.1), 0.0)
    trained = Supervision(trained.present, weight, trained.takes_real, trained.has_synthetic)
    # Every hinge is open on both sides when all f are 1/2.
    flat = torch.zeros_like(log_odds)
    for consistency in (True, False):
        needed = trained.needed(consistency=consistency)
        base = loss_of(flat, trained, counts, scr_weight=float(consistency))
        for place in np.ndindex(*flat.shape):
            moved = flat.clone()
            moved[place] = 0.1
            changed = abs(float(loss_of(moved, trained, counts, scr_weight=float(consistency)) - base)) > 1e-9
            assert changed == bool(needed[place]), place


def test_mean_scores_of_batches_together():
    scored = torch.ones(2, 2, 4, dtype=torch.bool)
    scored[1, S] = False
    scored[:, :, OWN_MASKED] = False
    sums = pair_sums(WORKED, scored) + pair_sums(WORKED[:1].bfloat16(), scored[:1])
    found = mean_scores(sums)
    rounded = WORKED[:1].bfloat16().double().sigmoid()[0]
    assert found == pytest.approx(
        {
            "f/real/caption": (0.8 + 0.5 + float(rounded[R, OWN])) / 3,
            "f/real/neg_caption": (0.5 + 0.75 + float(rounded[R, CONTRAST])) / 3,
            "f/real/neg_caption_masked": 0.5,
            "f/synthetic/caption": (0.25 + float(rounded[S, OWN])) / 2,
            "f/synthetic/neg_caption": 0.5,
            "f/synthetic/neg_caption_masked": 0.5,
        }
    )


def test_a_term_of_an_absent_video_is_zero_and_trainable():
    odds = torch.randn(2, 2, 4, requires_grad=True)
    nothing = supervision((False, True, 0.0, False), (True, False, 0.0, False))
    answers = two_way_losses(odds)
    total = real_term(answers, nothing) + synthetic_term(answers, nothing) + consistency_term(odds, nothing)
    assert float(total) == 0.0
    total.backward()
    assert not odds.grad.any()


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(SynvitaError, match="normalisation"):
        Objective(normalisation="mean")
