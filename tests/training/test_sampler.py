"""Every triplet once an epoch, on whatever number of processes, in the same steps."""

from hypothesis import given
from hypothesis import strategies as st

from synvita_data.training.data.sampler import CollateRows, Filler, Rows, TripletSampler


def orders(length, batch, processes, **options):
    return [TripletSampler(length, batch, rank=r, processes=processes, **options) for r in range(processes)]


@given(
    length=st.integers(1, 40),
    batch=st.integers(1, 5),
    processes=st.integers(1, 4),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_each_once_and_equally_many_batches(length, batch, processes, epoch, shuffle):
    ranks = orders(length, batch, processes, seed=7, shuffle=shuffle)
    for order in ranks:
        order.set_epoch(epoch)
    batches = [list(order) for order in ranks]
    assert (
        {len(own) for own in batches}
        == {len(order) for order in ranks}
        == {-(-length // (batch * processes))}
    )
    real = [index for own in batches for some in own for index in some if index >= 0]
    assert sorted(real) == list(range(length))
    for own in batches:
        for some in own:
            assert 1 <= len(some) <= batch
            fillers = [index for index in some if index < 0]
            assert not fillers or some == fillers
            assert all(0 <= -1 - index < length for index in fillers)
    last = [len([index for index in own[-1] if index >= 0]) for own in batches]
    assert max(last) - min(last) <= 1
    if not shuffle:
        assert sorted(real[: batch * processes]) == sorted(real)[: batch * processes] or len(batches[0]) > 1


@given(length=st.integers(1, 40), shuffle=st.booleans(), epoch=st.integers(0, 3))
def test_the_same_steps_on_one_two_and_four_processes(length, shuffle, epoch):
    """8 triplets a step: 8 x 1, 2 processes x 4, 4 x 2."""
    steps = []
    for processes, batch in ((1, 8), (2, 4), (4, 2), (8, 1)):
        ranks = orders(length, batch, processes, seed=3, shuffle=shuffle)
        for order in ranks:
            order.set_epoch(epoch)
        rounds = zip(*ranks, strict=True)
        steps.append([sorted(i for own in everyone for i in own if i >= 0) for everyone in rounds])
    one_by_one = TripletSampler(length, 1, seed=3, shuffle=shuffle)
    one_by_one.set_epoch(epoch)
    accumulated = [index for (index,) in one_by_one]
    steps.append([sorted(accumulated[k : k + 8]) for k in range(0, length, 8)])
    assert all(other == steps[0] for other in steps)


def test_epochs_and_seeds_have_orders_of_their_own():
    order = TripletSampler(20, 4, seed=1)
    first = list(order)
    assert list(order) == first
    order.set_epoch(1)
    assert list(order) != first
    assert list(TripletSampler(20, 4, seed=5)) != first
    assert next(iter(TripletSampler(20, 4, shuffle=False))) == [0, 1, 2, 3]


def test_a_last_round_that_is_not_full_can_be_left_out():
    ranks = orders(11, 2, 2, shuffle=False, drop_last=True)
    assert [list(order) for order in ranks] == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]
    assert len(TripletSampler(3, 4, drop_last=True)) == 0


def test_fillers_say_so():
    rows = Rows(["a", "b", "c"])
    collate = CollateRows(lambda rows: {"triplets": list(rows)})
    assert len(rows) == 3
    assert isinstance(rows[-3], Filler)
    assert collate([rows[1], rows[2]]) == {"triplets": ["b", "c"], "filler": False}
    assert collate([rows[-3]]) == {"triplets": ["c"], "filler": True}
