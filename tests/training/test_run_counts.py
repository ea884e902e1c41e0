"""Counts of a whole run, over processes."""

import json
from dataclasses import replace

from forked import run_as_ranks

from synvita_data.captions import Text
from synvita_data.training.data.dataset import counts_of_run, read_quarantine, unreadable_among
from synvita_data.training.data.selection import SelectedRow

TEXTS = (Text("a dog"), Text("a cat"), Text("a dog"), Text("a cat"))
BOTH = SelectedRow(0, "r0", "p0", TEXTS, 0.25, True, None, True, True, None, None)
TRIPLETS = [
    BOTH,
    replace(BOTH, number=1, synthetic=False, weight=0.0),  # only L_real
    replace(BOTH, number=4, takes_real=False),  # its pair had L_real; the real video serves L_scr
]
STARTED = {"rows": 5, "unreadable_real": 0, "unreadable_synthetic": 0, "replaced": 0}


def quarantine(path, *videos):
    path.write_text("".join(json.dumps({"dataset_row": row, "video": kind}) + "\n" for row, kind in videos))
    return path


def test_a_triplet_is_replaced_where_nothing_is_left_of_it():
    assert unreadable_among(TRIPLETS, set()) == (0, 0, 0)
    assert unreadable_among(TRIPLETS, {(0, "real")}) == (1, 0, 0)
    assert unreadable_among(TRIPLETS, {(0, "real"), (0, "synthetic")}) == (1, 1, 1)
    assert unreadable_among(TRIPLETS, {(1, "real")}) == (1, 0, 1)
    assert unreadable_among(TRIPLETS, {(4, "synthetic")}) == (0, 1, 1)
    assert unreadable_among(TRIPLETS, {(4, "real"), (2, "real"), (1, "synthetic")}) == (1, 0, 0)


def test_a_torn_line_names_no_video(tmp_path):
    path = quarantine(tmp_path / "q.jsonl", (1, "real"), (1, "real"), (0, "synthetic"))
    path.write_text(path.read_text() + '[]\n{"dataset_row": 3}\n{"dataset_row": 4, "vid')
    assert read_quarantine(path) == {(1, "real"), (0, "synthetic")}
    assert read_quarantine(tmp_path / "none") == set()


def test_each_row_counts_once_whichever_process_met_it(tmp_path):
    """Also where machines have folders of their own."""
    files = [
        quarantine(tmp_path / "0", (0, "real"), (1, "real")),
        quarantine(tmp_path / "1", (1, "real"), (4, "synthetic")),
    ]

    def count(rank):
        from accelerate import PartialState

        PartialState(cpu=True)
        counts = counts_of_run(STARTED, TRIPLETS, files[rank])
        (tmp_path / f"counts-{rank}").write_text(json.dumps(counts))

    run_as_ranks(count)
    for rank in range(2):
        assert json.loads((tmp_path / f"counts-{rank}").read_text()) == {
            "rows": 5,
            "unreadable_real": 2,
            "unreadable_synthetic": 1,
            "replaced": 2,
        }
