"""`benchmarks/questions.py --small` runs: its sides agree before any is timed, and every figure is printed."""

import re

FIGURE = r"{} questions of {} options, faster than one forward {} \(token ratio [\d.]+\): [\d.e+-]+ x \(goal >= [\d.]+\)"


def test_the_small_benchmark_prints_every_figure(repo_root, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    import questions

    questions.on_cpu(small=True, rounds=1)
    printed = capsys.readouterr().out
    for shape in ((4, 4), (5, 3)):
        for side in ("an option", "a question"):
            assert re.search(FIGURE.format(*shape, side), printed), (shape, side)


def test_questions_list_their_options_under_letters(repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    import questions

    made = questions.asked(4, 3)
    assert [[text.question.place for text in own] for own in made] == [[0, 1, 2]] * 4
    assert len({own[0].question.words for own in made}) == 4
    for own in made:
        assert len({(text.question.words, text.question.answers) for text in own}) == 1
        assert re.fullmatch(
            r"(\w+ ){9}\w+\? A\. (\w+ ?){4} B\. (\w+ ?){5} C\. (\w+ ?){6}\. Answer .*", own[0].question.words
        )
