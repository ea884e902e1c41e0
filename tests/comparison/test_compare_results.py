"""Two results compared: every form against its own metric, and what must be refused."""

import functools
import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_annotations import (
    VIDEOCON_HEADER,
    ssv2_pairs,
    write_csv,
    write_questions,
    write_ssv2,
    write_statements,
)
from typer.testing import CliRunner

from synvita_data.annotations import find_form, read_annotations
from synvita_data.annotations.units import ScoredRows
from synvita_data.annotations.videos import tied_together
from synvita_data.cli import app
from synvita_data.comparison.compare import compare, compare_results
from synvita_data.errors import SchemaError, ScoreError, SourceError
from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc
from synvita_data.evaluate_metrics.group_score.group import group_score
from synvita_data.evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy
from synvita_data.evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy
from synvita_data.evaluate_metrics.retrieval_map.ranking import retrieval_map
from synvita_data.evaluation.results import make_result, measure, write_result
from synvita_data.evaluation.scored import read_scored
from synvita_data.tasks import get_task, task_of_file

# --- annotations of every form -----------------------------------------------------------------------


def entailment(folder):
    rows = [
        (
            f"tempo/videos/{video}.mp4",
            "tempo",
            f"real {video} {pair // 2}",
            f"contrast {video} {pair}",
            "",
            "test",
            kind,
        )
        for video in range(6)
        for pair, kind in enumerate(("action", "flip", "action")[: 1 + video % 3])
    ]
    return get_task("videocon-llm"), write_csv(folder / "videocon_llm_entailment.csv", rows, VIDEOCON_HEADER)


def retrieval(folder):
    return get_task("ssv2-temporal"), write_ssv2(
        folder / "eval_ssv2_temporal.csv", ssv2_pairs(videos=9, positives=3)
    )


def choice(folder):
    write_questions(folder / "nextqa-atphard.csv")
    return get_task("atp-hard"), write_statements(folder / "nextqa-atphard-statements.csv")


def own(folder, form, header, rows):
    path = write_csv(folder / f"my-{form.replace('_', '-')}.csv", rows, header)
    return task_of_file(path, form), path


def yes_no(folder):
    rows = [
        (f"v{video}.mp4", f"is it {colour}?", "yes" if (video + place) % 2 else "no", f"{video}-{colour}")
        for video in range(5)
        for place, colour in enumerate(("red", "blue", "green")[: 2 + video % 2])
    ]
    return own(folder, "yes_no", ("video", "question", "answer", "id"), rows)


def pairs(folder):
    """Pairs of one video, and one of two videos."""
    rows = [
        (f"v{video}.mp4", f"is it {colour}?", answer, f"pair-{video}-{colour[0]}", f"{video}-{colour}")
        for video in range(4)
        for colour, answer in (("red", "yes"), ("rosy", "no"), ("blue", "no"), ("brown", "yes"))
    ]
    rows += [
        ("v2.mp4", "is it dark?", "yes", "across", "x1"),
        ("v3.mp4", "is it dark?", "no", "across", "x2"),
    ]
    return own(folder, "pairs", ("video", "question", "answer", "pair", "id"), rows)


def groups(folder):
    rows = [
        (f"v{group}{side}.mp4", f"caption {group}{side}", f"g{group}") for group in range(7) for side in "ab"
    ]
    return own(folder, "groups", ("video", "caption", "group"), rows)


FORMS = (entailment, retrieval, choice, yes_no, pairs, groups)


def scores_of(annotations, seed, kind="log_odds"):
    """A score for each text of a video, few different ones so that there are ties, better than chance."""
    generator = np.random.default_rng(seed)
    of_text = generator.integers(-3, 4, int(annotations.pair.max()) + 1)
    truth = np.zeros(len(of_text))
    truth[annotations.pair] = annotations.label
    scores = (of_text + 2 * truth)[annotations.pair] / 2
    return 1 / (1 + np.exp(-scores)) if kind == "probability" else scores


def write(out, task, annotations, name, scores, kind="log_odds", **more):
    result = make_result(
        task=task,
        annotations=annotations,
        metrics=measure(task, annotations, scores, kind, partial=bool(np.isnan(scores).any()), resamples=0),
        model={"name": name, "revision": "1", "kind": kind, "prompt": None, "settings": {}},
        scores=scores,
        frames=None,
        run={},
        notes={},
        **more,
    )
    return write_result(out, result, annotations, scores, kind)


def two(tmp_path, form, *, kinds=("log_odds", "log_odds")):
    """Annotations of a form and two results."""
    task, path = form(tmp_path)
    annotations = read_annotations(task, path)
    for name, seed, kind in (("one", 1, kinds[0]), ("two", 2, kinds[1])):
        write(tmp_path / "r", task, annotations, name, scores_of(annotations, seed, kind), kind)
    return task, annotations, path


def compared(tmp_path, **how):
    return compare("one", "two", results=tmp_path / "r", **{"resamples": 100, **how}).tasks[0]


# --- every form, against its own metric on repeated rows ---------------------------------------------


def unit_ids(form, annotations):
    """object [N]: what is drawn, said a second time."""
    if form is retrieval:
        return annotations.text_id
    if form is groups:
        return annotations.group
    if form is pairs:  # the pair across makes one of two videos
        return np.array(["both" if video[-1] in "23" else video for video in annotations.video_id], object)
    return annotations.video_id


def metric_of(form, a, scores, rows, copy):
    """The main metric of rows that may repeat, each with the number of its copy."""

    def named(column):
        return [f"{column[row]}#{number}" for row, number in zip(rows, copy, strict=True)]

    scores, labels = scores[rows], a.label[rows]
    if form is entailment:
        return entailment_auc(
            scores, labels, named(a.video_id), texts=named(a.text_id), kind="log_odds", resamples=0
        )["auc"]["value"]
    if form is retrieval:
        return retrieval_map(scores, labels, named(a.text_id), a.video_id[rows], resamples=0)["map"]["value"]
    if form is choice:
        return multiple_choice_accuracy(scores, labels, named(a.group), resamples=0)["accuracy"]["value"]
    if form is groups:
        place = np.where(a.label == 1, a.option, 1 - a.option)
        return group_score(scores, place[rows], a.option[rows], named(a.group), resamples=0)["group"]["value"]
    tied = named(a.minimal_pair) if form is pairs else None
    found = minimal_pair_accuracy(scores, labels, named(a.group), tied, kind="log_odds", resamples=0)
    return found["pair_accuracy" if form is pairs else "accuracy"]["value"]


@pytest.mark.parametrize("form", FORMS)
def test_units_of_every_form_give_its_metric(form, tmp_path):
    task, a, _ = two(tmp_path, form)
    scores, ids = scores_of(a, 1), unit_ids(form, a)
    rows = ScoredRows(a.video_id, a.text_id, a.label, np.ones(len(a), bool), True, a)
    found = find_form(task).units(rows, scores, "log_odds")
    assert len(found.ids) == len(set(ids))
    # As results have them.
    record = measure(task, a, scores, "log_odds", resamples=0)
    whole = found.weighted(np.ones((1, len(found.ids)), np.int64))[0]
    for name, value in zip(found.names, whole, strict=True):
        assert 100 * value == pytest.approx(record[name]["value"], abs=1e-9), name
    assert task.main_score in found.names
    # And drawn, as the metric has them of rows that repeat.
    generator = np.random.default_rng(0)
    for _ in range(20):
        weights = np.bincount(generator.integers(0, len(found.ids), len(found.ids)), minlength=len(found.ids))
        times = dict(
            zip(sorted(set(ids), key=lambda each: first_of(found, each, ids, form, a)), weights, strict=True)
        )
        taken = [(row, number) for row in range(len(a)) for number in range(times[ids[row]])]
        expected = metric_of(form, a, scores, *map(list, zip(*taken, strict=True)))
        value = found.weighted(weights[None])[0][found.names.index(task.main_score)]
        assert 100 * value == pytest.approx(expected, abs=1e-9)


def first_of(found, each, ids, form, a):
    """Place of a unit among those found: a set of videos has the name of its first."""
    return found.ids.index(min(a.video_id[ids == each]) if form is pairs else each)


@pytest.mark.parametrize("form", FORMS)
def test_results_of_every_form_are_compared(form, tmp_path):
    task, annotations, path = two(tmp_path, form)
    found = compared(tmp_path, tasks=[task], annotations=path)
    records = [json.loads((tmp_path / f"r/{name}/{task.name}.json").read_text()) for name in ("one", "two")]
    values = [record["main_score"]["value"] for record in records]
    assert [found.main.a, found.main.b] == pytest.approx(values)
    assert found.main.difference == pytest.approx(values[0] - values[1], abs=1e-9)
    assert found.main.low <= found.main.difference <= found.main.high
    assert found.won.won + found.won.tied + found.won.lost > 1
    assert (found.mcnemar is not None) == (form in (choice, yes_no, pairs))
    assert found.compared == found.texts == annotations.counts()["pairs"]
    assert next(iter(found.metrics)) == task.main_score == found.metric
    # The other way round, and with itself.
    other = compare(
        "two", "one", results=tmp_path / "r", tasks=[task], annotations=path, resamples=100
    ).tasks[0]
    assert (other.main.difference, other.main.p) == (
        pytest.approx(-found.main.difference, abs=1e-9),
        found.main.p,
    )
    assert (other.won.won, other.won.lost) == (found.won.lost, found.won.won)
    same = compare("one", "one", results=tmp_path / "r", tasks=[task], annotations=path, resamples=100).tasks[
        0
    ]
    assert (same.main.difference, same.main.p, same.won.share) == (0, 1, 50)


def test_a_main_score_of_the_users_choice(tmp_path):
    task, path = yes_no(tmp_path)
    task = replace(task, main_score="auc")
    _, annotations, _ = two(tmp_path, lambda folder: (task, path))
    found = compared(tmp_path, tasks=[task], annotations=path)
    aucs = [
        measure(task, annotations, scores_of(annotations, seed), "log_odds", resamples=0)["auc"]["value"]
        for seed in (1, 2)
    ]
    assert [found.main.a, found.main.b] == pytest.approx(aucs)
    assert found.main.low <= found.main.difference <= found.main.high


@pytest.mark.parametrize("form", [entailment, retrieval])
def test_tables_alone_give_the_same_difference(form, tmp_path):
    _, _, path = two(tmp_path, form)
    alone, whole = compared(tmp_path), compared(tmp_path, annotations=path)
    assert alone.main == whole.main
    assert alone.unit == whole.unit
    assert (alone.item, whole.item) == (("video", "pair") if form is entailment else ("caption", "caption"))


@pytest.mark.parametrize("form", [choice, groups])
def test_what_tables_do_not_tell_is_asked_for(form, tmp_path):
    task, _, _ = two(tmp_path, form)
    with pytest.raises(ScoreError, match=r"they do not say which texts.*--annotations"):
        compared(tmp_path, tasks=[task])


def test_the_breakdown_is_that_of_the_results(tmp_path):
    task, _, path = two(tmp_path, entailment)
    found = compared(tmp_path, annotations=path)
    records = [json.loads((tmp_path / f"r/{name}/{task.name}.json").read_text()) for name in ("one", "two")]
    expected = {
        kind: [record["metrics"]["groups"]["misalignment"][kind]["auc"]["value"] for record in records]
        for kind in ("action", "flip")
    }
    assert {kind: [line.a, line.b] for kind, line in found.breakdown["misalignment"].items()} == {
        kind: pytest.approx(values) for kind, values in expected.items()
    }
    assert set(found.metrics) == {"auc", "paired_accuracy", "strict_accuracy"}


def test_scores_of_two_kinds_are_compared(tmp_path):
    """Log-odds and the same as probabilities rank alike; a similarity has no strict accuracy."""
    task, path = entailment(tmp_path)
    annotations = read_annotations(task, path)
    for name, kind in (("one", "log_odds"), ("two", "probability"), ("three", "similarity")):
        scores = scores_of(annotations, 1, "probability" if kind == "probability" else "log_odds")
        write(tmp_path / "r", task, annotations, name, scores, kind)
    found = compared(tmp_path, annotations=path)
    assert found.main.difference == 0
    assert found.main.p == 1
    assert found.notes == ("another kind of score: log_odds; probability",)
    third = compare("one", "three", results=tmp_path / "r", annotations=path, resamples=100).tasks[0]
    assert set(third.metrics) == {"auc", "paired_accuracy"}


def test_videos_that_pairs_tie_together():
    found = tied_together([["b", "a"], ["c", "d"], ["d", "b"], ["e", "e"], ["f"]])
    assert found == {"a": "a", "b": "a", "c": "a", "d": "a", "e": "e", "f": "f"}


# --- which results -----------------------------------------------------------------------------------


def test_results_are_files_folders_or_names(tmp_path):
    two(tmp_path, retrieval)
    folder = tmp_path / "r"
    found = [
        compare(a, b, results=folder, resamples=100).tasks
        for a, b in (
            ("one", "two"),
            (folder / "one", str(folder / "two")),
            (folder / "one/ssv2-temporal.json", "two"),
            (folder / "one/ssv2-temporal.json", folder / "two/ssv2-temporal.json"),
        )
    ]
    assert found[0] == found[1] == found[2] == found[3]


def test_tasks_that_both_have_and_holm_over_them(tmp_path):
    two(tmp_path, retrieval)
    task, _, _ = two(tmp_path, entailment)
    extra = choice(tmp_path)
    write(tmp_path / "r", extra[0], a := read_annotations(*extra), "one", scores_of(a, 1))
    found = compare("one", "two", results=tmp_path / "r", resamples=100)
    assert [each.task for each in found.tasks] == ["ssv2-temporal", "videocon-llm"]
    assert found.notes == ("not compared: atp-hard, which only one has",)
    p = [each.main.p for each in found.tasks]
    assert [each.p_holm for each in found.tasks] == pytest.approx(
        [min(1, max((2 if each == min(p) else 1) * each, 2 * min(p))) for each in p]
    )
    only = compare("one", "two", results=tmp_path / "r", tasks=[task], resamples=100)
    assert [each.task for each in only.tasks] == ["videocon-llm"]
    assert only.tasks[0].p_holm == only.tasks[0].main.p
    with pytest.raises(SourceError, match="do not both have"):
        compare("one", "two", results=tmp_path / "r", tasks=[get_task("atp-hard")])


def test_results_that_are_not_there(tmp_path):
    two(tmp_path, retrieval)
    folder = tmp_path / "r"
    with pytest.raises(SourceError, match=r"no such result.*nobody"):
        compare("one", "nobody", results=folder)
    with pytest.raises(SourceError, match=r"holds no result.*one, two"):
        compare(folder, "one", results=folder)
    with pytest.raises(SourceError, match="not a result file"):
        compare(folder / "one/ssv2-temporal.parquet", "two", results=folder)
    (folder / "two/ssv2-temporal.parquet").unlink()
    with pytest.raises(SchemaError, match=r"no score table.*ssv2-temporal\.parquet"):
        compare("one", "two", results=folder)


def test_a_file_of_another_task(tmp_path):
    two(tmp_path, retrieval)
    task, _, path = two(tmp_path, entailment)
    folder = tmp_path / "r"
    with pytest.raises(ScoreError, match="another task"):
        compare(folder / "one/ssv2-temporal.json", folder / "two/videocon-llm.json", results=folder)
    with pytest.raises(SourceError, match=r"one annotation file is of one task.*--task"):
        compare("one", "two", results=folder, annotations=path)
    with pytest.raises(SourceError, match="another task"):
        compare(folder / "one/ssv2-temporal.json", folder / "two/ssv2-temporal.json", tasks=[task])


def test_a_task_of_ones_own(tmp_path):
    task, _, path = two(tmp_path, groups)
    assert compared(tmp_path, annotations=path) == compared(tmp_path, annotations=path, tasks=[task])
    with pytest.raises(ScoreError, match=r"they do not say which texts.*--annotations"):
        compared(tmp_path)
    with pytest.raises(SchemaError, match="not one of ours"):
        compared(tmp_path, annotations=tmp_path)


def test_one_text_a_video_leaves_no_item_to_win(tmp_path):
    rows = [[f"v{video}.mp4", f"a thing moves {video}", video % 2] for video in range(12)]
    form = functools.partial(own, form="entailment", header=["video", "text", "label"], rows=rows)
    _, _, path = two(tmp_path, form)
    for annotations in (path, None):  # the result says enough of a task whose tables tell all
        found = compared(tmp_path, annotations=annotations)
        assert found.main.difference is not None
        assert found.won.share is None
    done = run("one", "two", "--results", tmp_path / "r", "--resamples", "100")
    assert done.exit_code == 0, done.output
    assert "no video can be won" in " ".join(done.stdout.split())


# --- what is refused ---------------------------------------------------------------------------------


def test_other_annotations(tmp_path):
    _, annotations, _ = two(tmp_path, retrieval)
    other = write_ssv2(tmp_path / "other.csv", ssv2_pairs(videos=12, positives=4))
    task = get_task("ssv2-temporal")
    with pytest.raises(ScoreError, match=f"other annotations than these.*revision {annotations.revision}"):
        compared(tmp_path, annotations=other)
    larger = read_annotations(task, other)
    write(tmp_path / "r", task, larger, "two", scores_of(larger, 2))
    with pytest.raises(
        ScoreError, match=f"another revision of the annotations.*{annotations.revision}.*{larger.revision}"
    ):
        compared(tmp_path)


def test_another_control(tmp_path):
    task, annotations, _ = two(tmp_path, retrieval)
    for name in ("one", "two"):
        write(tmp_path / "r", task, annotations, name, scores_of(annotations, 3), control="frame")
    folder = tmp_path / "r"
    with pytest.raises(ScoreError, match=r"another control.*none.*frame.*another model"):
        compare(folder / "one/ssv2-temporal.json", folder / "two/ssv2-temporal@frame.json", resamples=100)
    # Under the same control they are compared, beside the results proper.
    found = compare("one", "two", results=folder, resamples=100)
    assert [(each.task, each.control) for each in found.tasks] == [
        ("ssv2-temporal", None),
        ("ssv2-temporal", "frame"),
    ]


@pytest.mark.parametrize("form", [entailment, pairs])
def test_results_without_a_text_in_common(form, tmp_path):
    task, annotations, path = two(tmp_path, form)
    videos = sorted(set(annotations.video.tolist()))
    for name, own in (("one", videos[::2]), ("two", videos[1::2])):
        scores = np.where(np.isin(annotations.video, own), scores_of(annotations, 1), np.nan)
        (tmp_path / f"r/{name}/{task.name}.json").unlink()
        write(tmp_path / "r", task, annotations, name, scores)
    for given in (path, None) if form is entailment else (path,):
        with pytest.raises(ScoreError, match="no text in common"):
            compared(tmp_path, annotations=given, partial=True)


def test_a_result_and_its_own_control(tmp_path):
    """The gap of the leaderboard, with an interval of the paired bootstrap."""
    task, annotations, _ = two(tmp_path, retrieval)
    write(tmp_path / "r", task, annotations, "one", scores_of(annotations, 3), control="frame")
    write(tmp_path / "r", task, annotations, "one", scores_of(annotations, 4), control="text")
    own, frame, text = (tmp_path / f"r/one/ssv2-temporal{end}.json" for end in ("", "@frame", "@text"))
    found = compare(own, frame, resamples=200)
    assert (found.a, found.b) == ("one", "one under the control frame")
    (gap,) = found.tasks
    assert (gap.control, gap.a["control"], gap.b["control"], gap.notes) == (None, None, "frame", ())
    scores = [read_scored(path).result.main_score["value"] for path in (own, frame)]
    assert gap.main.difference == pytest.approx(scores[0] - scores[1])
    assert gap.main.low <= gap.main.difference <= gap.main.high
    # The other way round, and two controls.
    assert compare(frame, own, resamples=200).tasks[0].main.difference == pytest.approx(-gap.main.difference)
    assert compare(text, frame, resamples=200).a == "one under the control text"
    # A model that was asked in another way has no gap; without its video, frames count for nothing.
    for path, differs in ((frame, True), (text, False)):
        record = json.loads(path.read_text())
        record["frames"] = {"policy": {"count": 4}, "first_video": {}}
        path.write_text(json.dumps(record))
        if differs:
            with pytest.raises(ScoreError, match=r"not of one model asked in one way.*another frame policy"):
                compare(own, path, resamples=200)
        else:
            compare(own, path, resamples=200)
    record["model"]["prompt"] = "question"
    text.write_text(json.dumps(record))
    with pytest.raises(ScoreError, match="another prompt"):
        compare(own, text, resamples=200)


@pytest.mark.parametrize("form", [entailment, retrieval, choice])
def test_other_texts_are_compared_where_both_have_them_if_asked(form, tmp_path):
    task, annotations, path = two(tmp_path, form)
    scores = scores_of(annotations, 2)
    gone = annotations.video == annotations.video[0]
    scores[gone] = np.nan
    (tmp_path / f"r/two/{task.name}.json").unlink()
    write(tmp_path / "r", task, annotations, "two", scores)
    with pytest.raises(ScoreError, match=r"scored different texts.*--partial"):
        compared(tmp_path, annotations=path)
    found = compared(tmp_path, annotations=path, partial=True)
    texts = annotations.counts()["pairs"]
    without = len(np.unique(annotations.pair[~gone]))
    assert (found.texts_a, found.texts_b, found.compared, found.texts) == (texts, without, without, texts)
    assert found.notes == (f"compared on {without} of {texts} texts ({texts} and {without} were scored)",)
    both = [np.where(gone, np.nan, scores_of(annotations, seed)) for seed in (1, 2)]
    expected = [
        measure(task, annotations, each, "log_odds", partial=True, resamples=0)[task.main_score]["value"]
        for each in both
    ]
    assert [found.main.a, found.main.b] == pytest.approx(expected)
    if form is not choice:
        assert compared(tmp_path, partial=True).main == found.main
        with pytest.raises(ScoreError, match=r"scored different texts.*--partial"):
            compared(tmp_path)
    # Two trials of the same texts are compared without being asked.
    write(tmp_path / "r", task, annotations, "three", both[0])
    trials = compare("three", "two", results=tmp_path / "r", annotations=path, resamples=100).tasks[0]
    assert trials.main == found.main


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("coverage", "k", "27"),
        ("coverage", "n", None),
        ("main_score", "value", "15.5"),
        ("model", "kind", ...),
        ("task", "annotations", ...),
    ],
)
def test_a_result_that_lacks_something(part, name, value, tmp_path):
    two(tmp_path, retrieval)
    path = tmp_path / "r/two/ssv2-temporal.json"
    record = json.loads(path.read_text())
    record[part][name] = value
    if value is ...:
        del record[part][name]
    path.write_text(json.dumps(record))
    with pytest.raises(SchemaError, match="not a result file") as caught:
        compared(tmp_path)
    assert caught.value.file == str(path)


def changed_table(path, **columns):
    import pyarrow as pa

    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array(values, table.column(name).type))
    pq.write_table(table, path)


def test_a_table_that_is_not_that_of_its_result(tmp_path):
    _, annotations, path = two(tmp_path, retrieval)
    place = tmp_path / "r/two/ssv2-temporal.parquet"
    kept = place.read_bytes()
    # Of another model, of another task, with a kind or revision that the result does not name.
    shutil.copy(tmp_path / "r/one/ssv2-temporal.parquet", place)
    for given in (None, path):
        with pytest.raises(SchemaError, match=r"does not belong to its result.*map") as caught:
            compared(tmp_path, annotations=given)
        assert caught.value.file == str(place)
    place.write_bytes(kept)
    changed_table(place, task=["ssv2-events"] * len(annotations))
    with pytest.raises(SchemaError, match=r"not belong.*Found: task ssv2-events.*ssv2-temporal"):
        compared(tmp_path)
    place.write_bytes(kept)
    for key in ("kind", "annotations"):
        table = pq.read_table(place)
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, key.encode(): "other"}), place)
        with pytest.raises(SchemaError, match=f"not belong.*Found: {key} other"):
            compared(tmp_path)
        place.write_bytes(kept)
    # With fewer rows than the result counts.
    pq.write_table(pq.read_table(place).slice(1), place)
    for partial in (False, True):
        with pytest.raises(SchemaError, match=r"does not belong to its result.*26 texts.*27 texts"):
            compared(tmp_path, partial=partial)
    place.write_bytes(b"PAR1")
    with pytest.raises(SchemaError, match=r"ssv2-temporal.parquet"):
        compared(tmp_path)


def test_cells_that_cannot_be_used(tmp_path):
    _, annotations, _ = two(tmp_path, retrieval)
    place = tmp_path / "r/two/ssv2-temporal.parquet"
    kept, labels = place.read_bytes(), annotations.label.tolist()
    scores = pq.read_table(place)["score"].to_pylist()
    for columns, words in (
        ({"score": [*scores[:4], float("nan"), *scores[5:]]}, "row 4: a score cannot be used"),
        ({"score": [*scores[:4], None, *scores[5:]]}, "row 4: a score cannot be used"),
        ({"label": [*labels[:2], 7, *labels[3:]]}, r"row 2: a label cannot be used\. Found: 7"),
        ({"label": [1 - labels[0], *labels[1:]]}, "other labels"),
        ({"video_id": [None, *annotations.video_id[1:]]}, "row 0: video_id is empty"),
    ):
        changed_table(place, **columns)
        with pytest.raises(SchemaError, match=words):
            compared(tmp_path)
        place.write_bytes(kept)


def test_two_scores_of_a_text(tmp_path):
    _, annotations, _ = two(tmp_path, retrieval)
    place = tmp_path / "r/two/ssv2-temporal.parquet"
    import pyarrow as pa

    table = pq.read_table(place)
    further = table.slice(0, 1).set_column(6, "score", pa.array([99.0]))
    pq.write_table(pa.concat_tables([table, further]).replace_schema_metadata(table.schema.metadata), place)
    with pytest.raises(ScoreError, match=f"row {len(annotations)}: .*two different scores.*--join strict"):
        compared(tmp_path)
    # What the result says of them is enough.
    path = tmp_path / "r/two/ssv2-temporal.json"
    record = json.loads(path.read_text())
    record["score_file"] = {"join": "official", "texts_with_several_scores": 1, "groups_left_out": 1}
    path.write_text(json.dumps(record))
    with pytest.raises(ScoreError, match="joined as the official scripts do"):
        compared(tmp_path)


def test_options_that_were_scored_in_another_way(tmp_path):
    _, _, path = two(tmp_path, choice)
    place = tmp_path / "r/two/atp-hard.json"
    record = json.loads(place.read_text())
    record["task"]["scored_as"] = "letter"
    place.write_text(json.dumps(record))
    with pytest.raises(ScoreError, match=r"another way of scoring options.*none.*letter"):
        compared(tmp_path, annotations=path)


def test_a_form_without_units(tmp_path, monkeypatch):
    task, _, _ = two(tmp_path, retrieval)
    sides = [read_scored(tmp_path / f"r/{name}/ssv2-temporal.json") for name in ("one", "two")]
    form = replace(find_form(task), units=None)
    monkeypatch.setattr("synvita_data.comparison.compare.find_form", lambda task: form)
    with pytest.raises(ScoreError, match="form retrieval cannot be compared"):
        compare_results(*sides, task)


@pytest.mark.parametrize("name", ["value", "low", "high"])
def test_a_score_that_is_no_number(tmp_path, name):
    two(tmp_path, retrieval)
    place = tmp_path / "r/two/ssv2-temporal.json"
    record = json.loads(place.read_text())
    record["main_score"][name] = "high"
    place.write_text(json.dumps(record))
    with pytest.raises(SchemaError, match=r"not a result file.*'high'"):
        read_scored(place)


# --- the command -------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], env={"COLUMNS": "100"})


def test_the_command_prints_a_table_json_and_a_plot(tmp_path):
    two(tmp_path, retrieval)
    two(tmp_path, choice)
    folder, plot = tmp_path / "r", tmp_path / "d.png"
    more = ("--results", folder, "--annotations", tmp_path, "--resamples", "200")
    done = run("one", "two", *more, "--plot", plot, "--json", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "c.json").read_text())
    assert [task["task"] for task in record["tasks"]] == ["atp-hard", "ssv2-temporal"]
    first = record["tasks"][0]
    for text in (
        "A one   B two",
        "p (Holm)",
        f"{first['main']['difference']:+.2f}",
        f"{first['won']['share']:.1f}%",
        "McNemar's exact test p",
        "takes questions of one video for independent",
    ):
        assert text in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    before = plot.read_bytes()
    assert run("one", "two", *more, "--plot", plot).exit_code == 0
    assert plot.read_bytes() == before
    printed = run("one", "two", *more, "--json", "-")
    assert json.loads(printed.stdout) == record
    assert str(tmp_path) not in printed.stdout


def test_the_command_refuses_other_plots(tmp_path):
    done = run("one", "two", "--plot", tmp_path / "d.svg")
    assert done.exit_code != 0
    assert "PNG" in str(done.exception)


def test_names_cannot_obey_the_terminal(tmp_path):
    two(tmp_path, retrieval)
    path = tmp_path / "r/two/ssv2-temporal.json"
    record = json.loads(path.read_text())
    record["model"]["name"] = "\x1b[31m$x^2$ [bold]two"
    path.write_text(json.dumps(record))
    done = run("one", "two", "--results", tmp_path / "r", "--resamples", "100", "--plot", tmp_path / "d.png")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.stdout
    assert "[bold]two" in done.stdout
