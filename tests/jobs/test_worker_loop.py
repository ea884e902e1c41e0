"""What a worker loop tells about claims that a worker's own thread ends while it looks at them."""

from synvita_data.jobs.worker import Controls, WorkerLoop


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
    loop = WorkerLoop(None, None, {}, (), Controls(), lambda event: None)
    loop._claims = [EndedBetweenTwoLooks(f"key {looks}", looks) for looks in range(4)]
    told = [key for _ in range(10) for key, _ in loop._ended()]
    assert sorted(told) == [f"key {looks}" for looks in range(4)]
    assert loop._claims == []
