"""Uses the metrics through `evaluate`, in a process of its own (importing it costs 16 s and 900 MB).

    python evaluate_client.py INPUT.json OUTPUT.json

INPUT: a list of [how, name or path, config, columns, options]; `how` is `path` (evaluate.load) or
`installed` (synvita_data.metric). OUTPUT: for each what compute gave at once, by add_batch, from two processes,
and after a refused input, and the numbers of examples run and failed.
"""

import doctest
import json
import multiprocessing
import sys
import tempfile
from pathlib import Path

import evaluate


def load(how, name, config, **options):
    if how == "installed":
        import synvita_data

        return synvita_data.metric(name, config, **options)
    return evaluate.load(name, config, **options)


def one_process(rank, target, columns, options, folder):
    """Half of the rows as one of two processes; rank 0 gathers both halves and writes the result."""
    metric = load(*target, process_id=rank, num_process=2, experiment_id="two", cache_dir=f"{folder}/cache")
    half = len(columns["predictions"]) // 2
    rows = slice(0, half) if rank == 0 else slice(half, None)
    metric.add_batch(**{name: column[rows] for name, column in columns.items()})
    result = metric.compute(**options)
    Path(folder, f"{rank}.json").write_text(json.dumps(result))


def in_two_processes(target, columns, options):
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("fork")
        workers = [
            context.Process(target=one_process, args=(rank, target, columns, options, folder))
            for rank in (0, 1)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in (0, 1)]


def scenario(how, name, config, columns, options):
    metric = load(how, name, config)
    at_once = metric.compute(**columns, **options)
    for start in range(0, len(columns["predictions"]), 7):
        metric.add_batch(**{key: column[start : start + 7] for key, column in columns.items()})
    batched = metric.compute(**options)
    refused = None
    try:
        metric.compute(**columns | {"predictions": [float("nan"), *columns["predictions"][1:]]}, **options)
    except ValueError as error:
        refused = [type(error).__name__, str(error), error.position]
    examples = doctest.DocTestParser().get_doctest(metric.inputs_description, {}, name, None, 0)
    ran = doctest.DocTestRunner().run(examples)
    return {
        "at_once": at_once,
        "batched": batched,
        "two_processes": in_two_processes((how, name, config), columns, options),
        "refused": refused,
        "after_refusal": metric.compute(**columns, **options),
        "examples": [ran.failed, ran.attempted],
        "module_type": metric.module_type,
        "described": all((metric.description, metric.citation, metric.inputs_description)),
    }


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([scenario(*case) for case in cases]))
