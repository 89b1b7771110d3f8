"""Every topic that a deployment must have by now: the standing ones, and those of the bundles in use. Creates and alters none."""

from collections.abc import Mapping

from confluent_kafka.admin import AdminClient

from schemas.records.control import Rollout
from schemas.rollout import STREAMING
from schemas.surfaces import Surfaces
from schemas.topics import ROLLOUTS, Topic, embeddings_topic, standard_topics
from schemas.wire.admin import partition_counts
from streams.controller.client import RolloutClient


def rollouts_at(admin: AdminClient, bootstrap: str) -> dict[str, Rollout]:
    """Return the rollout of each surface that has one; none while the topic that holds them does not exist."""
    if ROLLOUTS not in partition_counts(admin):
        return {}
    with RolloutClient(bootstrap) as client:
        return client.states()


def topics_in_use(states: Mapping[str, Rollout], surfaces: Surfaces, partitions: int) -> tuple[Topic, ...]:
    """Return the topics, as the contracts ask for them.

    Args:
        states: the rollout by surface; one of another surfaces file is passed over.
        partitions: of every topic keyed by candidate or by user.
    """
    return (
        *standard_topics(partitions),
        *(
            embeddings_topic(entry.bundle, surfaces[name], partitions)
            for name, state in states.items()
            if name in surfaces
            for entry in state.in_stage(*STREAMING)
        ),
    )
