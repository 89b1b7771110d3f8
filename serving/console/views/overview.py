"""The overview: what comes in, how fresh answers are, how far behind anything is, what the corpus holds. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.groups import EMBED, LABEL, sentence_of, standing, waiting
from schemas.positions import Place
from schemas.surfaces import Surface, Surfaces
from schemas.topics import ENGAGEMENTS
from serving.console.histogram import Histogram
from serving.console.readings import INPUTS, NEW_SECONDS, QUERY_SECONDS, DeadLetters, Heartbeat, Moment, NodeReading
from serving.console.views import figures
from serving.console.views.freshness import Stage, freshness_stages, refreshed_stage
from serving.console.views.layout import Bar, Figure, bars
from serving.console.views.recall import RecallAudit, recall_audit
from serving.console.views.recent import histogram_since, window

RECENT_S = 60.0
RATE_S = 10.0
_LANGUAGES = 10
_LAG_IS_FINE = 1_000


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How many records each reader has yet to read of one partition; None where a reader says nothing."""

    partition: int
    sources: tuple[int | None, ...]
    nodes: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Lag:
    """The table: what the write path's roles read, each by its role and topic, then nodes."""

    sources: tuple[str, ...]
    nodes: tuple[str, ...]
    rows: tuple[PartitionLag, ...]

    @property
    def largest(self) -> int | None:
        """The largest lag of all; None when nothing is known."""
        known = [value for row in self.rows for value in (*row.sources, *row.nodes) if value is not None]
        return max(known, default=None)


@dataclass(frozen=True, slots=True)
class Tiers:
    """The index of one bundle on one node, in rows by tier."""

    node: str
    bundle: str
    stage: str
    live: int
    tiers: tuple[Bar, ...]
    debt: int
    memory: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node: ready, or why not."""

    name: str
    url: str
    ready: bool
    sentence: str
    users: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page shows of one surface. Empty tuples and None where nothing is known yet."""

    surface: str
    at_ms: int | None
    troubles: tuple[str, ...]
    figures: tuple[Figure, ...]
    stages: tuple[Stage, ...]
    refreshed: Stage | None
    lag: Lag
    languages: tuple[Bar, ...]
    ages: tuple[Bar, ...]
    live: int | None
    recall: RecallAudit | None
    tiers: tuple[Tiers, ...]
    nodes: tuple[NodeLine, ...]


def overview(moments: Sequence[Moment], surface: Surface) -> Overview:
    """Return the page of a surface from the readings of the last minutes, oldest first; there may be none yet."""
    now = moments[-1] if moments else None
    if now is None:
        return Overview(surface.name, None, (), (), (), None, Lag((), (), ()), (), (), None, None, (), ())
    stats = next((node.stats[surface.name] for node in now.nodes if surface.name in node.stats), None)
    recent = window(moments, RECENT_S)
    lag = lags(now, surface)
    recall = recall_audit(now.nodes, surface.name)
    languages = list(stats.languages.items()) if stats else []
    others = sum(count for _, count in languages[_LANGUAGES:])
    rest = [("other", others)] if others else []
    return Overview(
        surface=surface.name,
        at_ms=now.at_ms,
        troubles=(*_troubles(now), *_standing_still(moments)),
        figures=_figures(moments, surface.name, lag=lag, recall=recall, live=None if stats is None else stats.live),
        stages=freshness_stages(recent, surface.name),
        refreshed=refreshed_stage(recent, surface.name),
        lag=lag,
        languages=bars([(name or "unknown", count) for name, count in languages[:_LANGUAGES]] + rest),
        ages=bars([(_age_label(age.to_s), age.count) for age in stats.ages] if stats else []),
        live=None if stats is None else stats.live,
        recall=recall,
        tiers=tuple(_tiers(now.nodes, surface.name)),
        nodes=tuple(_node_line(beat, now) for beat in now.live_nodes()),
    )


def default_surface(surfaces: Surfaces, moments: Sequence[Moment]) -> str:
    """Return the first surface with a live bundle, else the first of the file."""
    states = moments[-1].broker.states if moments else {}
    live = [name for name in surfaces if name in states and states[name].live is not None]
    return live[0] if live else next(iter(surfaces))


def lags(moment: Moment, surface: Surface) -> Lag:
    """Return how far the roles are behind what they read, by what they committed, and the nodes behind the embedder, by partition.

    A topic written in transactions holds markers that nobody reads: there the lag may stand at one a partition.
    """
    state = moment.broker.states.get(surface.name)
    live = None if state is None else state.live
    ends, committed = moment.broker.ends, moment.broker.committed
    read = [(EMBED, topic) for topic in (surface.candidate_topic, ENGAGEMENTS)] + [(LABEL, topic) for topic in LABEL.topics]
    sources = [(reader.role, topic) for reader, topic in read if reader.role in committed and topic in ends]
    # the newest report of a partition counts: after a rebalance two embedders may name it
    reports = {e.partition: e for beat in moment.live_embedders() for e in beat.status.progress if e.bundle == live}
    nodes = moment.live_nodes()
    applied = [{entry.partition: entry.applied for entry in beat.status.progress if entry.bundle == live} for beat in nodes]
    rows = []
    for partition in sorted({*reports, *(partition for _, topic in sources for partition in ends[topic])}):
        behind = (_behind(ends[topic].get(partition), committed[role].get((topic, partition), 0) or 0) for role, topic in sources)
        end = reports[partition].embeddings_end if partition in reports else None
        of_nodes = (_behind(end, node.get(partition)) for node in applied)
        rows.append(PartitionLag(partition, tuple(behind), tuple(of_nodes)))
    names = tuple(f"{role} {topic}" for role, topic in sources)
    return Lag(names, tuple(_short(beat.status.instance) for beat in nodes), tuple(rows))


def event_rates(moments: Sequence[Moment]) -> dict[str, list[float | None]]:
    """Return by input topic the events a second between each moment and the one before; None where either is unknown."""
    topics = [topic for topic in INPUTS if any(topic in moment.broker.ends for moment in moments)]
    pairs = list(pairwise(moments))
    return {topic: [None, *(_rate(earlier, later, topic) for earlier, later in pairs)] for topic in topics}


def _figures(
    moments: Sequence[Moment], surface: str, *, lag: Lag, recall: RecallAudit | None, live: int | None
) -> tuple[Figure, ...]:
    now = moments[-1]
    recent = window(moments, RECENT_S)
    queries, fresh = histogram_since(recent, QUERY_SECONDS, surface), histogram_since(recent, NEW_SECONDS, surface)
    seconds = (recent[-1].at_ms - recent[0].at_ms) / 1000
    rated = window(moments, RATE_S)
    rates = [_rate(rated[0], rated[-1], topic) for topic in INPUTS]
    known = [rate for rate in rates if rate is not None]
    ready = sum(node.health is not None and node.health.ready for node in now.nodes)
    largest = lag.largest
    return (
        Figure("Events in", figures.rate(sum(known) if known else None), "/s", "all inputs, last 10 s"),
        Figure(
            "Freshness",
            *_timed(fresh, 0.5),
            f"new to retrievable; p99 {_p99(fresh)}" if fresh.total else "nothing new in the last minute",
        ),
        Figure("Query", *_timed(queries, 0.5), _queries_note(queries, seconds)),
        _recall_figure(recall),
        Figure("Candidates live", figures.count(live), "", "the live bundle's index"),
        Figure(
            "Largest lag",
            figures.count(largest),
            "records",
            "of any partition",
            "warn" if (largest or 0) > _LAG_IS_FINE else "",
        ),
        Figure(
            "Nodes ready", f"{ready}", f"of {len(now.nodes)}", "", "warn" if ready < len(now.nodes) or not now.nodes else "good"
        ),
        _dead_letters_figure(now.dead_letters),
    )


def _dead_letters_figure(dead: DeadLetters | None) -> Figure:
    if dead is None:
        return Figure("Dead letters", figures.MISSING, "", "kept for `roost dlq`")
    counted = f"{figures.count(dead.count)}{'+' if dead.at_least else ''}"
    return Figure("Dead letters", counted, "", "kept for `roost dlq`", "warn" if dead.count or dead.at_least else "")


def _recall_figure(recall: RecallAudit | None) -> Figure:
    if recall is None:
        return Figure("Recall", figures.MISSING, "", "no query audited yet")
    found, bounds = figures.share(recall.whole.recall), recall.whole.bounds
    if bounds is None:
        return Figure("Recall", found, "", f"{recall.whole.queries} of {recall.needed} queries audited")
    return Figure("Recall", found, "", f"at least {figures.share(bounds.lower)}, audited live", bounds.tone)


def _queries_note(queries: Histogram, seconds: float) -> str:
    if not queries.total or not seconds:
        return "no queries in the last minute"
    return f"p99 {_p99(queries)}, {figures.rate(queries.total / seconds)} a second"


def _timed(histogram: Histogram, part: float) -> tuple[str, str]:
    value, _, unit = figures.milliseconds(_ms(histogram.quantile(part))).partition(" ")
    return value, unit


def _p99(histogram: Histogram) -> str:
    return figures.milliseconds(_ms(histogram.quantile(0.99)))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _rate(earlier: Moment, later: Moment, topic: str) -> float | None:
    before, after = earlier.broker.ends.get(topic), later.broker.ends.get(topic)
    seconds = (later.at_ms - earlier.at_ms) / 1000
    if before is None or after is None or seconds <= 0:
        return None
    # of a partition that nobody told of then, all that it holds would be new
    return sum(max(0, after[partition] - before[partition]) for partition in after.keys() & before.keys()) / seconds


def _behind(end: int | None, position: int | None) -> int | None:
    # the end was asked for before the report came: the reader may be past it
    return None if end is None or position is None else max(0, end - position)


def _troubles(moment: Moment) -> tuple[str, ...]:
    found = [moment.broker.trouble] if moment.broker.trouble else []
    if not moment.live_nodes():
        found.append("no serving node has been heard of for 10 s; `roost serve` starts one")
    if not moment.live_embedders():
        found.append("no embedder has been heard of for 10 s; `roost embed` starts one")
    if not moment.live_controllers():
        found.append("no controller has been heard of for 10 s; `roost control` starts one")
    found += [node.trouble for node in moment.nodes if node.trouble]
    for node in moment.nodes:
        for bundle in (bundle for surface in node.health.surfaces for bundle in surface.bundles) if node.health else ():
            found += [*bundle.alarms, *(f"bundle {bundle.bundle}: {alarm}" for alarm in bundle.index_alarms.values())]
    found += [
        f"embedder {_short(beat.status.instance)}: {error}" for beat in moment.live_embedders() for error in beat.status.errors
    ]
    return tuple(dict.fromkeys(found))


def _standing_still(moments: Sequence[Moment]) -> Iterable[str]:
    """Yield a sentence for each role that takes nothing of a partition in which records wait; not every role sends heartbeats."""
    earlier, now = window(moments, RATE_S)[0], moments[-1]
    apart_s = (now.at_ms - earlier.at_ms) / 1000
    if apart_s < RATE_S:
        return
    ends, ends_now = _places(earlier), _places(now)
    for role, committed in now.broker.committed.items():
        before = earlier.broker.committed.get(role, {})
        after = {place: offset for place, offset in committed.items() if place in before.keys() & ends.keys() & ends_now.keys()}
        # one may be the marker of a transaction, which nobody reads
        stuck = {place for place, count in standing(before, after, ends).items() if count > 1}
        if stuck:
            still = waiting({place: after[place] for place in stuck}, ends_now)
            yield f"`roost {role}` stands still, or is not running: {sentence_of(still, round(apart_s))}"


def _places(moment: Moment) -> dict[Place, int]:
    return {(topic, partition): end for topic, ends in moment.broker.ends.items() for partition, end in ends.items()}


def _tiers(nodes: Iterable[NodeReading], surface: str) -> Iterable[Tiers]:
    for node in nodes:
        for of_surface in node.health.surfaces if node.health else ():
            for bundle in of_surface.bundles if of_surface.surface == surface else ():
                stats = bundle.index
                if stats is None:
                    continue
                settled = {"fresh": stats.fresh_rows, "compressed": stats.compressed_rows, "graph": stats.graph_rows}
                yield Tiers(
                    node=_short(node.instance),
                    bundle=bundle.bundle,
                    stage=bundle.stage,
                    live=stats.live,
                    tiers=bars(list(settled.items())),
                    debt=stats.merge_debt_rows,
                    memory=figures.size(stats.memory_bytes),
                    fault=stats.builder_fault,
                )


def _node_line(beat: Heartbeat, moment: Moment) -> NodeLine:
    reading = next((node for node in moment.nodes if node.instance == beat.status.instance), None)
    health = None if reading is None else reading.health
    if health is None:
        sentence = (reading.trouble if reading is not None else None) or "not asked yet"
    else:
        sentence = health.reasons[0] if health.reasons else "answers queries"
    users = None if health is None else health.users
    return NodeLine(_short(beat.status.instance), beat.status.url, health is not None and health.ready, sentence, users)


def _short(instance: str) -> str:
    return instance.partition(":")[2] or instance


def _age_label(to_s: float | None) -> str:
    return "older" if to_s is None else figures.duration(to_s, digits=1)


def series(moments: Sequence[Moment], surface: str) -> Mapping[str, object]:
    """Return what the charts draw, as plain JSON: times in Unix seconds, events a second, milliseconds."""
    step = 5
    spans = [moments[max(0, at - step) : at + 1] for at in range(len(moments))]

    def quantiles(metric: str) -> dict[str, list[float | None]]:
        added = [histogram_since(span, metric, surface) for span in spans]
        return {name: [_ms(one.quantile(part)) for one in added] for name, part in (("p50", 0.5), ("p99", 0.99))}

    return {
        "at_s": [moment.at_ms / 1000 for moment in moments],
        "events": event_rates(moments),
        "query_ms": quantiles(QUERY_SECONDS),
        "fresh_ms": quantiles(NEW_SECONDS),
    }
