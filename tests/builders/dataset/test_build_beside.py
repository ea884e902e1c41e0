"""A large build works out AUC and figure in a process of its own: the same files, whether it comes up or not."""

import pytest
from small_annotations import write_scored
from test_build import digests

from synvita_data.builders.dataset import BuildOptions, build_dataset, run
from synvita_data.builders.dataset.beside import Beside
from synvita_data.errors import SynvitaError


@pytest.fixture
def started(monkeypatch):
    """The processes that builds started."""
    found = []
    start = Beside.start

    def noted(self):
        start(self)
        found.append(self._process)

    monkeypatch.setattr(Beside, "start", noted)
    return found


@pytest.fixture
def texts(tmp_path):
    """120 pairs of 60 videos with scores, and no video."""
    return write_scored(tmp_path / "inputs", 120, videos=60) | {"config": "tiny"}


@pytest.mark.slow  # the process imports scipy and matplotlib
@pytest.mark.parametrize("lost", [False, True], ids=["of all triplets", "of those that have rows"])
def test_the_same_files_with_and_without_a_process(texts, tmp_path, monkeypatch, started, lost):
    if lost:  # the process has read its captions by then
        scores = texts["vqascores"]
        first = scores.read_text().splitlines()[1]
        scores.write_text(scores.read_text().replace(first, f"{first.rpartition(',')[0]},7.0"))
    alone = build_dataset(BuildOptions(out=tmp_path / "alone", **texts))
    assert alone.record["text_only"]["auc"] is not None
    assert alone.record["text_only"]["pairs"] == 120 - lost
    assert not started
    monkeypatch.setattr(run, "WORTH_A_PROCESS", 1)
    build_dataset(BuildOptions(out=tmp_path / "beside", **texts))
    (process,) = {*started}
    assert process.returncode == 0
    expected = digests(tmp_path / "alone")
    assert any(name.endswith(".png") for name in expected)
    assert digests(tmp_path / "beside") == expected


@pytest.mark.slow
def test_a_build_does_the_work_itself_where_the_process_does_not_come_up(
    texts, tmp_path, monkeypatch, started
):
    build_dataset(BuildOptions(out=tmp_path / "alone", **texts))
    monkeypatch.setattr(run, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr("synvita_data.builders.dataset.beside.sys.executable", "/bin/false")
    build_dataset(BuildOptions(out=tmp_path / "failed", **texts))
    assert started[-1].returncode == 1
    assert digests(tmp_path / "failed") == digests(tmp_path / "alone")


def test_a_build_that_fails_or_has_nothing_to_do_leaves_no_process(texts, tmp_path, monkeypatch, started):
    build_dataset(BuildOptions(out=tmp_path / "out", **texts))
    monkeypatch.setattr(run, "WORTH_A_PROCESS", 1)
    assert build_dataset(BuildOptions(out=tmp_path / "out", **texts)).was_up_to_date
    assert not started
    texts["vqascores"].write_text("row,model,neg_caption_score,caption_score\n900,m,0.5,0.5\n")
    with pytest.raises(SynvitaError, match="does not belong to these triplets"):
        build_dataset(BuildOptions(out=tmp_path / "other", **texts))
    (process,) = started
    assert process.poll() is not None
