"""What a shift tells about claims that a worker's own thread ends while it looks at them."""

from synvita_data.jobs.worker import Orders, Shift


class EndedBetweenTwoLooks:
    """A claim whose worker commits it right after the first look."""

    def __init__(self, key, looks):
        self.key = key
        self._looks = looks

    @property
    def outcome(self):
        self._looks -= 1
        return "open" if self._looks >= 0 else "committed"


def test_each_claim_is_told_of_once_whenever_it_ends():
    shift = Shift(None, None, {}, (), Orders(), lambda event: None)
    shift._in_hand = [EndedBetweenTwoLooks(f"key {looks}", looks) for looks in range(4)]
    told = [key for _ in range(10) for key, _ in shift._ended()]
    assert sorted(told) == [f"key {looks}" for looks in range(4)]
    assert shift._in_hand == []
