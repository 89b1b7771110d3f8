"""Where a fine-tune's window begins: behind all that was trained on before, whatever became of it. Reads no topic."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.bundle import Bundle, read_bundle
from schemas.errors import BrokerUnavailable, BundleError, BundlesUnavailable
from schemas.records.control import Rollout, Stage
from schemas.registry.place import RegistryPlace
from trainer.data.windows import next_offsets

log = logging.getLogger(__name__)

# a bundle that was tried and is not live has learned from its examples, and nobody wanted what came of it. A rejected one no node
# could load, which says nothing of its examples
_TRIED = (Stage.ABORTED, Stage.DRAINING, Stage.RETIRED)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What is not trained on again while a bundle is live.

    Attributes:
        parent: the bundle; None says nothing of any.
        offsets: where windows begin, by partition.
        examples: how many lie between those that the bundle was trained on and there.
        topic_id: of the topic that they are offsets of; None where nobody knows.
    """

    parent: str | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)
    examples: int = 0
    topic_id: str | None = None


class Kept(Protocol):
    """Keeps what was refused last, so that it outlasts the process."""

    def passed_over(self) -> PassedOver:
        """Return what was kept last; nothing where nothing was."""
        ...

    def pass_over(self, passed_over: PassedOver) -> None:
        """Keep it; raises `BrokerUnavailable` where it cannot be."""
        ...


class WindowStart:
    """One surface's. A window that grew with every refusal would forget more each time, and be refused for good."""

    def __init__(self, surface: str, kept: Kept, registry: RegistryPlace, *, topic_of: Callable[[Bundle], str | None]) -> None:
        """Look at nothing yet.

        Args:
            topic_of: tells the id of the topic that a bundle's offsets are of; None where nobody knows.
        """
        self._surface = surface
        self._kept = kept
        self._registry = registry
        self._topic_of = topic_of
        self._refused: PassedOver | None = None
        self._tried: Sequence[PassedOver] = ()
        self._tried_at: tuple[int, str] | None = None

    def of(self, parent: Bundle | None, state: Rollout, *, topic_id: str | None = None) -> PassedOver:
        """Return where a window begins: behind what the parent was trained on, what was refused of it, and what was tried.

        Args:
            topic_id: of the examples topic; what is said of another one says nothing. None where nobody knows.

        Raises:
            BrokerUnavailable: what was kept cannot be read.
            BundlesUnavailable: the registry does not tell what was tried.
        """
        if parent is None:
            return PassedOver()
        if self._refused is None:
            self._refused = self._kept.passed_over()
        if self._tried_at != (state.revision, parent.id):
            self._tried = [self._learned_by(entry.bundle) for entry in state.bundles if entry.state in _TRIED]
            self._tried_at = state.revision, parent.id
        own = PassedOver(parent.id, next_offsets(parent.manifest.examples), topic_id=self._topic_of(parent))
        further = [one for one in (self._refused, *self._tried) if one.parent == parent.id]
        of_topic = [one for one in (own, *further) if topic_id is None or one.topic_id in (None, topic_id)]
        return max(of_topic, key=lambda one: one.examples, default=PassedOver(parent.id, topic_id=topic_id))

    def refuse(
        self, before: PassedOver, offsets: Mapping[str, tuple[int, int]], examples: int, *, topic_id: str | None
    ) -> PassedOver:
        """Begin the next window where it would begin had this one been accepted, and return what is passed over by then."""
        self._refused = PassedOver(before.parent, next_offsets(offsets), before.examples + examples, topic_id)
        try:
            self._kept.pass_over(self._refused)
        except BrokerUnavailable as error:
            log.warning("%s: what is passed over is forgotten at a restart: %s", self._surface, error)
        return self._refused

    def _learned_by(self, bundle: str) -> PassedOver:
        try:
            learned = read_bundle(self._registry, self._surface, bundle)
        except BundlesUnavailable:
            raise
        except BundleError:
            # deleted since
            return PassedOver()
        manifest = learned.manifest
        examples = sum(int(manifest.metrics.get(name, 0)) for name in ("passed_over_examples", "train_examples"))
        return PassedOver(manifest.parent, next_offsets(manifest.examples), examples, self._topic_of(learned))
