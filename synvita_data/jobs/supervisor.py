"""Start workers, notice what becomes of them, start them again, and tell when there is nothing left to do."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import EngineError, SynvitaError
from .pool import Crew
from .report import Death, Standing
from .scan import CLAIMED, DONE, PENDING, QUARANTINED
from .states import Survey
from .store import Store
from .worker import Event

DEATHS_IN_A_ROW = 5  # of one worker without a result in between; then it is given up
DEATHS_OF_A_KEY = 3  # workers lost with it in hand, the last with it alone; then it is quarantined
IDLE_ROUNDS = 3  # times that workers may find nothing to take although something seems free
POLL = 0.5  # seconds between looks at the workers
LOOK_EVERY = 10.0  # seconds between looks at the store, for what other runs do; more where a look takes long
SAY_EVERY = 0.2  # seconds between calls of `on_progress`


@dataclass(slots=True)
class Post:
    """One worker's place: it may die and be started again there."""

    running: bool = False
    opened: bool = False  # in this shift
    took: bool = False  # in this shift
    in_hand: set[str] = field(default_factory=set)
    deaths_in_a_row: int = 0
    given_up: bool = False


class Supervisor:
    """One run of a job's pending keys by a crew.

    Attributes (for the report):
        made: results our workers committed. deaths: of our workers, in order.
    """

    def __init__(
        self,
        title: str,
        store: Store,
        survey: Survey,
        crew: Crew,
        *,
        wait_for_others: bool,
        on_progress: Callable[[Standing], None],
    ) -> None:
        self._title = title
        self._store = store
        self._survey = survey
        self._crew = crew
        self._wait_for_others = wait_for_others
        self._on_progress = on_progress
        self._check: Callable[[], None] = lambda: None
        self._posts = [Post() for _ in range(crew.size)]
        self._any_opened = False
        self._fatal: SynvitaError | None = None
        self._killed: Counter[str] = Counter()  # key -> workers that died with it in hand
        self._condemned: dict[str, str] = {}  # key -> why it shall be quarantined
        self._done = self._failed = 0  # of `todo`, as far as is known
        self._looked = self._said = 0.0
        self._look_takes = 0.0
        self._news: list[str] = []
        self.made = 0
        self.deaths: list[Death] = []

    @property
    def lost_workers(self) -> int:
        return sum(post.given_up for post in self._posts)

    def run(self, check: Callable[[], None] = lambda: None) -> None:
        """Return when every key is settled, is another run's business, or no worker is left.

        Args:
            check: called between two looks at the workers; raises where the run shall stop.

        Raises:
            SynvitaError: no worker can be opened; the disk is full. All workers have been stopped by then.
        """
        self._check = check
        with self._crew:
            idle = 0
            while True:
                check()
                states = self._look()
                self._say(0.0)
                if states[PENDING]:
                    if not self._start(states[PENDING]):
                        return
                    if self._watch():
                        idle = 0
                        continue
                    idle += 1
                    if idle == IDLE_ROUNDS:
                        return
                elif not (states[CLAIMED] and self._wait_for_others):
                    return
                time.sleep(POLL)

    def _look(self) -> Counter[str]:
        """States of the keys by the store itself."""
        began = time.monotonic()
        counts = self._store.scan(self._survey.todo).counts
        self._done, self._failed = counts[DONE], counts[QUARANTINED]
        self._looked = time.monotonic()
        self._look_takes = self._looked - began
        return counts

    def _start(self, pending: int) -> bool:
        """Start as many workers as there is work for; False if none is left to start."""
        posts = [number for number, post in enumerate(self._posts) if not post.given_up]
        for number in posts[:pending]:
            self._start_one(number)
        return bool(posts)

    def _start_one(self, number: int) -> None:
        # Workers begin at different places, so that they seldom ask for the same key.
        todo = self._survey.todo
        place = number * len(todo) // len(self._posts)
        post = self._posts[number]
        post.running, post.opened, post.took = True, False, False
        self._crew.start(number, tuple(todo[place:] + todo[:place]), frozenset(self._killed))

    def _watch(self) -> bool:
        """Wait until no worker works any more; whether any of them took a key or died."""
        deaths = len(self.deaths)
        took = False
        while any(post.running for post in self._posts):
            self._crew.wait(self._handle, POLL)
            self._check()
            took = took or any(post.took for post in self._posts)
            if self._fatal is not None:
                raise self._fatal
            self._quarantine_condemned()
            since = time.monotonic() - self._looked
            all_settled = self._done + self._failed >= len(self._survey.todo)
            if all_settled or since > max(LOOK_EVERY, 20 * self._look_takes):
                counts = self._look()
                if not counts[PENDING] and not counts[CLAIMED]:
                    break  # a worker that has not found a place, or never opens, is not waited for
            self._say(SAY_EVERY)
        return took or len(self.deaths) > deaths

    def _handle(self, number: int, event: Event) -> None:
        self._note(number, event)
        self._check()  # a worker in this process comes by here between two keys, and nowhere else

    def _note(self, number: int, event: Event) -> None:
        post = self._posts[number]
        for key, outcome in event.ended:
            if outcome == "released":
                continue  # by a worker that broke, or stops: in hand until it says which
            post.in_hand.discard(key)
            if outcome == "committed":
                self.made += 1
                self._done += 1
            elif outcome == "quarantined":
                self._failed += 1
            post.deaths_in_a_row = 0
        if event.took is not None:
            post.in_hand.add(event.took)
            post.took = True
        if event.kind == "opened":
            post.opened = self._any_opened = True
        elif event.kind == "finished":
            post.running = False
            post.in_hand.clear()
        elif event.kind == "no room":
            self._fatal = event.error
        elif event.kind in ("cannot open", "broke", "died"):
            self._lost(number, event)
        self._say(SAY_EVERY)

    def _lost(self, number: int, event: Event) -> None:
        post = self._posts[number]
        post.running = False
        if event.kind == "cannot open" and not self._any_opened:
            self._fatal = event.error
            return
        said = event.error.problem if event.error is not None else event.kind
        keys = self._left_by(post)
        self.deaths.append(Death(number, said, tuple(keys)))
        post.deaths_in_a_row += 1
        post.given_up = event.kind == "cannot open" or post.deaths_in_a_row >= DEATHS_IN_A_ROW
        for key in keys:
            self._killed[key] += 1
        if len(keys) == 1 and self._killed[keys[0]] >= DEATHS_OF_A_KEY:
            self._condemned[keys[0]] = said
            self._quarantine_condemned()
        if keys:
            self._crew.order_alone(frozenset(self._killed))
        what = "could not be opened again" if event.kind == "cannot open" else "is lost"
        then = "it is given up" if post.given_up else "it is started again"
        with_keys = f" with {len(keys)} in hand" if keys else ""
        self._news.append(f"worker {number} {what}{with_keys} ({said}); {then}")
        if not post.given_up:
            self._start_one(number)

    def _left_by(self, post: Post) -> list[str]:
        """What a lost worker had in hand and did not settle; its last commits count as ours."""
        states = self._store.scan(sorted(post.in_hand)).states
        post.in_hand.clear()
        done = sum(state == DONE for state in states.values())
        self.made += done
        self._done += done
        if done:
            post.deaths_in_a_row = 0
        return [key for key, state in states.items() if state not in (DONE, QUARANTINED)]

    def _quarantine_condemned(self) -> None:
        """Set aside the keys that workers die of, as soon as the dead worker's claim can be taken."""
        for key, said in list(self._condemned.items()):
            if self._store.scan([key]).states[key] in (DONE, QUARANTINED):
                del self._condemned[key]
                continue
            claim = self._store.claim(key)
            if claim is not None:
                times = self._killed[key]
                with claim:
                    claim.quarantine(
                        EngineError(f"{times} workers were lost while doing it, alone at last: {said}")
                    )
                del self._condemned[key]
                self._failed += 1

    def _say(self, every: float) -> None:
        now = time.monotonic()
        if now - self._said < every and not self._news:
            return
        self._said = now
        news, self._news = tuple(self._news), []
        found, failed = self._survey.found, len(self._survey.failed)
        self._on_progress(
            Standing(
                self._title, len(self._survey.keys), found + self._done, failed + self._failed, found, news
            )
        )
