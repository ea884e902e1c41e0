"""`benchmarks/training_step.py --small` runs: its sides agree before any is timed, and every figure is printed."""

import re

FIGURES = (
    r"a triplet's step, faster than eight plain forwards \(token ratio [\d.]+\): [\d.e+]+ x \(goal >= [\d.]+\)",
    r"a triplet's step, faster than the released way \(full logits\): [\d.e+]+ x",
    r"the same where both have the vision tower's features already: [\d.e+]+ x \(goal >= [\d.]+\)",
    r"peak memory against plain: [\d.,e+-]+ % \(goal <= 40\)",
    r"peak memory against the released way: [\d.,e+-]+ %",
)


def test_the_small_benchmark_prints_every_figure(repo_root, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    import training_step

    training_step.on_cpu(small=True, rounds=1)
    printed = capsys.readouterr().out
    for figure in FIGURES:
        assert re.search(figure, printed), figure
    import measure

    padding = re.search(r"padding and hidden tokens: ([\d.]+) % \(goal <= 5\) ok", printed)
    assert padding or not (measure.VIDEOCON / "triplets.csv").is_file()


def test_without_real_captions_fixed_ones_serve(repo_root, monkeypatch, tmp_path):
    """Their shared parts are what the package's own rule finds."""
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    import measure
    import training_step

    monkeypatch.setattr(measure, "VIDEOCON", tmp_path)
    assert training_step.real_pairs() == []
    assert training_step.fixed_texts() == training_step.texts_of(training_step.FIXED)
