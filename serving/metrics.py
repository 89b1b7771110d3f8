"""What the node measures of itself, in Prometheus' conventions. Serves nothing; see `serving.http`."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.registry import Collector

from serving.query.users import KnownUser

_QUERY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0)
_FRESHNESS_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
# from what the pipeline takes to how long users stay away
_ENGAGEMENT_BUCKETS_S = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0)


class NodeMetrics:
    """The node's counters and histograms, in a registry of their own: two nodes in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # memory and CPU
        ProcessCollector(registry=self.registry)
        self.retrieve_seconds = Histogram(
            "roost_retrieve_seconds",
            "Time to answer a retrieval, from the parsed request to the encoded answer.",
            ["surface"],
            buckets=_QUERY_BUCKETS_S,
            registry=self.registry,
        )
        self.refusals = Counter("roost_retrieve_refused", "Retrievals without an answer.", ["error"], registry=self.registry)
        self.cold = Counter("roost_retrieve_cold", "Answers for users never seen.", ["surface"], registry=self.registry)
        self.publish_to_retrievable_seconds = Histogram(
            "roost_publish_to_retrievable_seconds",
            "From the broker's append time of a candidate's newest source record to its row in the live bundle's index.",
            ["surface"],
            buckets=_FRESHNESS_BUCKETS_S,
            registry=self.registry,
        )
        self.new_to_retrievable_seconds = Histogram(
            "roost_new_to_retrievable_seconds",
            "From the broker's append time of a candidate's first record to its row: without those whose counters changed.",
            ["surface"],
            buckets=_FRESHNESS_BUCKETS_S,
            registry=self.registry,
        )
        self.publish_to_found_seconds = Histogram(
            "roost_publish_to_found_seconds",
            "From the broker's append time of a new candidate to a query that found it: one a second, by its own vector.",
            ["surface"],
            buckets=_FRESHNESS_BUCKETS_S,
            registry=self.registry,
        )
        self.not_found = Counter(
            "roost_new_not_found", "New candidates that such a query did not find. An alarm.", ["surface"], registry=self.registry
        )
        self.engagement_to_state_seconds = Histogram(
            "roost_engagement_to_state_seconds",
            "From a user's engagement, by its event time, to this node holding a user state with it. Noted when the user asks.",
            buckets=_ENGAGEMENT_BUCKETS_S,
            registry=self.registry,
        )
        self.engagement_to_answer_seconds = Histogram(
            "roost_engagement_to_answer_seconds",
            "From a user's engagement, by its event time, to the first answer from here that reflects it; the user's pause counts.",
            ["surface"],
            buckets=_ENGAGEMENT_BUCKETS_S,
            registry=self.registry,
        )
        self.rows_applied = Counter(
            "roost_embeddings_applied", "Embedding records put in force.", ["surface", "bundle"], registry=self.registry
        )
        self.bad_embeddings = Counter(
            "roost_embeddings_bad", "Embedding records refused. An alarm.", ["surface", "bundle"], registry=self.registry
        )
        self.skipped = Counter(
            "roost_records_skipped", "Undecodable records of other topics, left to their owner.", ["topic"], registry=self.registry
        )

    def add(self, collector: Collector) -> None:
        """Register what is read only when somebody scrapes."""
        self.registry.register(collector)

    def forget(self, surface: str, bundle: str) -> None:
        """End the series of a bundle that left: rollouts come and go, and a scrape must not grow with them."""
        for metric in (self.rows_applied, self.bad_embeddings):
            metric.remove(surface, bundle)

    def retrievable(self, surface: str, ages_s: Sequence[float], *, new: Iterable[int]) -> None:
        """Note how old records were when they became retrievable; `new` are the positions of those the index had not held."""
        of_all, of_new = self.publish_to_retrievable_seconds.labels(surface), self.new_to_retrievable_seconds.labels(surface)
        for age_s in ages_s:
            of_all.observe(age_s)
        for position in new:
            of_new.observe(ages_s[position])

    def probed(self, surface: str, found_after_s: float | None) -> None:
        """Note how old a new candidate was when a query found it; None when none did."""
        if found_after_s is None:
            self.not_found.labels(surface).inc()
        else:
            self.publish_to_found_seconds.labels(surface).observe(found_after_s)

    def reflected(self, surface: str, user: KnownUser, answered_ms: int) -> None:
        """Note the first answer that reflects a user's newest engagement, given at `answered_ms`, Unix milliseconds."""
        # a phone's clock may be ahead of ours
        self.engagement_to_answer_seconds.labels(surface).observe(max(answered_ms - user.engaged_ms, 0) / 1000)
        if user.held_from_ms is not None:
            self.engagement_to_state_seconds.observe(max(user.held_from_ms - user.engaged_ms, 0) / 1000)
