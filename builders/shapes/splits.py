"""Pairs of version 2 of the world: which concepts training may call true, and which pairs only tests have.

An *unseen* concept (a colour, a shape or an action) is in no true caption of training; there it occurs in contrast
captions only. In the tests it is in true captions, and the contrast removes it: a model that has learnt "purple means
No" fails there. Besides, a quarter of all captions, chosen by a digest, is kept for the tests as true captions, so that
no seed of training shares a true caption with any seed of a test.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from synvita_data.errors import SourceError, choose

from .grammar import caption
from .noise import check_share
from .pixels import seed_of
from .scenes import ACTIONS, COLOURS, SHAPES, Scene, contrast, draw_scene

UNSEEN = ("purple", "star", "moves up")
# Which misalignment's contrasts change a concept of this kind.
_CHANGED_BY = {
    **dict.fromkeys(COLOURS, "attribute"),
    **dict.fromkeys(SHAPES, "object"),
    **dict.fromkeys(ACTIONS, "action"),
}
CONCEPTS = tuple(_CHANGED_BY)
KEPT = 4  # one caption of so many is kept for tests
_TRIES = 5000


@dataclass(frozen=True, slots=True)
class Split:
    """Which concepts training names in contrast captions only.

    Attributes:
        unseen: of CONCEPTS; () for none.
        share: of the contrast captions whose misalignment could name one of them, how many do.

    Raises:
        SourceError: an unknown concept, or one twice; a share outside [0, 1]; a share of 0, with which an unseen
            concept would be in neither captions nor contrast captions; too few seen concepts to make true captions.
    """

    unseen: tuple[str, ...] = ()
    share: float = 0.5

    def __post_init__(self) -> None:
        for concept in self.unseen:
            choose(
                concept,
                CONCEPTS,
                "concept",
                error=SourceError,
                fix="Name colours, shapes or actions of the grammar",
            )
        if len(set(self.unseen)) < len(self.unseen):
            raise SourceError("a concept is named twice", found=" + ".join(self.unseen))
        check_share(self.share, "the share of contrast captions that name an unseen concept")
        if self.unseen and not self.share:
            raise SourceError(
                "an impossible split: a concept in neither captions nor contrast captions of training",
                found=f"share=0 with {', '.join(self.unseen)} unseen",
                expected="a share above 0",
            )
        for kind, known in (("colours", COLOURS), ("shapes", SHAPES), ("actions", ACTIONS)):
            seen = [each for each in known if each not in self.unseen]
            if len(seen) < 2:
                raise SourceError(
                    "an impossible split: too little is left for the true captions of training",
                    found=f"{kind} seen: {', '.join(seen) or 'none'}",
                    expected=f"at least two {kind} that are not unseen",
                )

    @property
    def carriers(self) -> frozenset[str]:
        """Misalignments whose contrast captions can bring in an unseen concept."""
        kinds = {_CHANGED_BY[concept] for concept in self.unseen}
        return frozenset({*kinds, "hallucination"} if kinds else ())

    @property
    def removers(self) -> tuple[str, ...]:
        """Misalignments whose contrast captions can take an unseen concept away, in a fixed order."""
        return tuple(sorted({_CHANGED_BY[concept] for concept in self.unseen}))

    def named(self, scene: Scene) -> tuple[str, ...]:
        """The unseen concepts that a scene's caption names."""
        found = concepts(scene)
        return tuple(concept for concept in self.unseen if concept in found)

    # -- drawing ------------------------------------------------------------------------------------------

    def draw_train(self, misalignment: str, rng: random.Random) -> tuple[Scene, Scene]:
        """A scene and its contrast, as training has them."""
        bears = misalignment in self.carriers and rng.random() < self.share

        def fits(scene: Scene, claimed: Scene) -> bool:
            return not self.named(scene) and bool(self.named(claimed)) == bears and not kept_for_tests(scene)

        return self._draw(misalignment, rng, fits, "training")

    def draw_like_train(self, misalignment: str, rng: random.Random) -> tuple[Scene, Scene]:
        """The same, of captions that training does not have."""
        bears = misalignment in self.carriers and rng.random() < self.share

        def fits(scene: Scene, claimed: Scene) -> bool:
            return not self.named(scene) and bool(self.named(claimed)) == bears and kept_for_tests(scene)

        return self._draw(misalignment, rng, fits, "pairs like training's")

    def draw_unseen(self, misalignment: str, rng: random.Random) -> tuple[Scene, Scene]:
        """A scene whose caption names an unseen concept, and a contrast that does not."""

        def fits(scene: Scene, claimed: Scene) -> bool:
            return bool(self.named(scene)) and not self.named(claimed)

        return self._draw(misalignment, rng, fits, "unseen concepts")

    def draw_free(self, misalignment: str, rng: random.Random) -> tuple[Scene, Scene]:
        """A scene and a contrast that name no unseen concept, of captions that training does not have."""

        def fits(scene: Scene, claimed: Scene) -> bool:
            return not self.named(scene) and not self.named(claimed) and kept_for_tests(scene)

        return self._draw(misalignment, rng, fits, "seen concepts")

    def _draw(
        self,
        misalignment: str,
        rng: random.Random,
        fits: Callable[[Scene, Scene], bool],
        what: str,
    ) -> tuple[Scene, Scene]:
        for _ in range(_TRIES):
            scene = draw_scene(misalignment, rng)
            claimed = contrast(scene, misalignment, rng)
            if fits(scene, claimed):
                return scene, claimed
        raise SourceError(
            f"an impossible split: no pair of {what} was found in {_TRIES:,} tries",
            found=f"misalignment {misalignment}, unseen: {', '.join(self.unseen) or 'none'}",
            fix="Leave more concepts seen",
        )


def concepts(scene: Scene) -> frozenset[str]:
    """The colours, shapes and actions that a scene's caption names."""
    return frozenset(each for actor in scene.actors for each in (actor.colour, actor.shape, *actor.actions))


def kept_for_tests(scene: Scene) -> bool:
    """Whether the caption of `scene` is a true caption of tests only."""
    return seed_of("kept for tests", caption(scene)) % KEPT == 0
