"""The overview from readings: what comes in, how fresh, how far behind; and what is missing is said, never guessed."""

from dataclasses import replace

from schemas.positions import Place
from schemas.records.control import Stage
from serving.console.readings import BrokerReading, DeadLetters, Delays, Moment, NodeReading, SampledDelays
from serving.console.views.overview import Overview, default_surface, lags, overview, series
from tests.console_fakes import HOME, LIVE, NOW_MS, controller, embedder, moment, node, reading, rollout, stage


def figure(view: Overview, label: str) -> tuple[str, str, str]:
    """Return a headline figure's value, unit and tone."""
    found = next(one for one in view.figures if one.label == label)
    return found.value, found.unit, found.tone


def test_a_healthy_deployment_shows_its_figures_over_the_last_minute() -> None:
    """The numbers an operator reads from afar, each worked out by hand."""
    earlier = moment(at_ms=NOW_MS - 10_000, tweets_end=60, nodes=[reading(queries=0)])
    view = overview([earlier, moment()], HOME)
    assert figure(view, "Events in") == ("4.0", "/s", ""), "40 tweets in 10 s"
    assert figure(view, "Query") == ("10", "ms", "")
    assert figure(view, "Candidates live")[0] == "40"
    assert figure(view, "Largest lag") == ("10", "records", ""), "the tweets' end is 100, the embedder is at 90"
    assert figure(view, "Nodes ready") == ("1", "of 1", "good")
    assert figure(view, "Dead letters") == ("2", "", "warn")
    assert view.troubles == ()
    assert [(bar.label, bar.count) for bar in view.languages] == [("ja", 20), ("ar", 15), ("unknown", 5)]
    assert [bar.label for bar in view.ages] == ["1 h", "older"]
    assert [bar.count for bar in view.tiers[0].tiers] == [5, 30, 20]


def test_a_flood_of_dead_letters_is_shown_as_at_least_so_many() -> None:
    """Only the newest of each topic are counted: an operator who reads 10,000 takes it for all there are."""
    for kept, shown in (
        (DeadLetters(10_000, at_least=True), ("10,000+", "", "warn")),
        (DeadLetters(0, at_least=True), ("0+", "", "warn")),
        (DeadLetters(0), ("0", "", "")),
    ):
        assert figure(overview([replace(moment(), dead_letters=kept)], HOME), "Dead letters") == shown


def test_before_the_first_reading_there_is_nothing_and_no_error() -> None:
    """The page is open before the broker answers."""
    assert overview([], HOME).at_ms is None


def test_lag_is_the_readers_distance_from_the_end_by_partition_and_never_negative() -> None:
    """The end is asked for a moment before what was committed: a reader may be past it."""
    embed = dict[Place, int | None]({("tweets", 0): 130, ("engagements", 0): None})
    label = dict[Place, int | None]({("engagements", 0): 3})
    lag = lags(
        moment(beats=[embedder(end=50), node(applied=48), node(name="n2", applied=50)], committed={"embed": embed, "label": label}),
        HOME,
    )
    assert lag.sources == ("embed tweets", "embed engagements", "label engagements")
    assert lag.nodes == ("n1", "n2")
    assert [(row.sources, row.nodes) for row in lag.rows] == [((0, 7, 4), (2, 0))]


def test_a_role_that_stands_still_is_a_trouble_whether_or_not_it_sends_heartbeats() -> None:
    """The labeler sends none: stopped under traffic, thousands of records waited and the page said that all was well."""
    earlier = moment(at_ms=NOW_MS - 10_000)
    hung = {"embed": {("tweets", 0): 90, ("engagements", 0): 7}, "label": {("engagements", 0): 7}}
    view = overview([earlier, moment(tweets_end=300, committed=hung)], HOME)
    assert figure(view, "Largest lag") == ("210", "records", "")
    assert view.troubles == ("`roost embed` stands still, or is not running: 210 records wait in tweets/0, none was taken in 10 s",)
    slow = {"label": {("engagements", 0): 2}}
    moments = [moment(at_ms=NOW_MS - 10_000, committed=slow), moment(committed=slow)]
    (trouble,) = overview(moments, HOME).troubles
    assert trouble.startswith("`roost label` stands still")
    assert "5 records wait in engagements/0" in trouble
    assert overview(moments[1:], HOME).troubles == (), "of one reading nothing is known"
    marker = {"label": {("engagements", 0): 6}}
    assert overview([moment(at_ms=NOW_MS - 10_000, committed=marker), moment(committed=marker)], HOME).troubles == ()


def test_silent_instances_count_as_gone_and_the_page_says_what_to_start() -> None:
    """A heartbeat of yesterday in a compacted topic must not look like a node."""
    old = NOW_MS - 10_000
    view = overview([moment(beats=[embedder(at_ms=old), node(at_ms=old)], nodes=[])], HOME)
    assert view.nodes == ()
    assert view.lag.nodes == ()
    assert any("roost serve" in sentence for sentence in view.troubles)
    assert any("roost embed" in sentence for sentence in view.troubles)


def test_what_a_node_doubts_of_its_index_and_what_an_embedder_reports_is_a_trouble() -> None:
    """The doctor and the status call both wrong; the page that is looked at first showed none."""
    whole = reading()
    assert whole.health is not None
    (surface,) = whole.health.surfaces
    doubted = replace(surface.bundles[0], index_alarms={"recall": "its recall is short"})
    ill = replace(whole, health=replace(whole.health, surfaces=(replace(surface, bundles=(doubted,)),)))
    complaining = replace(embedder(), status=replace(embedder().status, errors=(f"{LIVE}: 3 candidates get no vector",)))
    view = overview([moment(beats=[complaining, node(), controller()], nodes=[ill])], HOME)
    assert view.troubles == (f"bundle {LIVE}: its recall is short", f"embedder 0: {LIVE}: 3 candidates get no vector")


def test_a_partition_that_is_told_of_again_is_no_burst_of_events() -> None:
    """While its broker was away nobody knew its end."""
    before = moment(at_ms=NOW_MS - 10_000)
    after = moment()
    ends = {**after.broker.ends, "tweets": {0: 120, 1: 1_000_000}}
    before = replace(before, broker=replace(before.broker, ends={**before.broker.ends, "tweets": {0: 100}}))
    view = overview([before, replace(after, broker=replace(after.broker, ends=ends))], HOME)
    assert figure(view, "Events in")[0] == "2.0"


def test_a_node_that_does_not_answer_is_listed_with_the_reason_beside_the_others() -> None:
    """Half a deployment is shown as half a deployment."""
    down = NodeReading("node:n2", "http://x", "http://x does not answer (ConnectError)")
    view = overview([moment(beats=[embedder(), node(), node(name="n2")], nodes=[reading(), down])], HOME)
    assert [(line.name, line.ready) for line in view.nodes] == [("n1", True), ("n2", False)]
    assert "does not answer" in view.nodes[1].sentence
    assert figure(view, "Nodes ready") == ("1", "of 2", "warn")


def test_an_unready_node_says_its_first_reason() -> None:
    """A red dot without a reason sends the operator to the logs."""
    view = overview([moment(nodes=[reading(reasons=("home: replaying",))])], HOME)
    assert (view.nodes[0].ready, view.nodes[0].sentence) == (False, "home: replaying")


def test_the_waterfall_follows_a_new_candidate_from_stage_to_stage() -> None:
    """Each bar begins where the one before ended, on one scale; counters that changed are told apart: they wait on purpose."""
    view = overview([moment(at_ms=NOW_MS - 2_000, nodes=[reading(queries=0)]), moment()], HOME)
    assert [one.name for one in view.stages] == ["Published", "Decoded", "Embedded", "Inserted", "Retrievable"]
    decoded, embedded, inserted, retrievable = view.stages[1:]
    assert (decoded.p50_ms, decoded.p99_ms) == (11, 11)
    assert decoded.start == 0.0
    assert (embedded.start, inserted.start) == (decoded.end, min(embedded.end, inserted.end))
    assert retrievable.start == inserted.end
    assert all(0 <= one.start <= one.end <= one.tail <= 1 for one in view.stages)
    assert view.refreshed is not None
    assert view.refreshed.p50_ms == 410


def test_a_node_that_has_just_come_counts_from_its_first_reading() -> None:
    """Its histograms hold its whole life: taken as one minute's they would show a storm of queries."""
    before = moment(at_ms=NOW_MS - 4_000, beats=[embedder()], nodes=[])
    first = moment(at_ms=NOW_MS - 2_000, nodes=[reading(queries=1_000)])
    assert figure(overview([before, first], HOME), "Query")[0] == "–"
    assert figure(overview([before, first, moment(nodes=[reading(queries=1_100)])], HOME), "Query") == ("10", "ms", "")


def test_stages_without_a_value_are_left_out() -> None:
    """Nothing measured is not the same as 0 ms."""
    quiet = moment(delays={HOME.name: SampledDelays(Delays(), Delays())}, nodes=[reading(queries=0)])
    view = overview([quiet, quiet], HOME)
    assert view.stages == ()
    assert view.refreshed is None


def test_a_broker_that_is_away_is_a_sentence_and_the_rest_stays() -> None:
    """The last known rollouts are better than an empty page."""
    away = Moment(NOW_MS, BrokerReading("the broker at b:1 does not answer (timed out)"))
    view = overview([moment(at_ms=NOW_MS - 2_000), away], HOME)
    assert "does not answer" in view.troubles[0]
    assert (figure(view, "Events in")[0], figure(view, "Dead letters")[0]) == ("–", "–"), "unknown is not none"


def test_series_have_one_value_a_moment_and_gaps_where_nothing_is_known() -> None:
    """A chart that drew 0 for unknown would show an outage that never was."""
    gap = replace(moment(at_ms=NOW_MS - 2_000), broker=BrokerReading("away"))
    data = series([moment(at_ms=NOW_MS - 4_000, tweets_end=50), gap, moment(tweets_end=70)], HOME.name)
    assert data["at_s"] == [NOW_MS / 1000 - 4, NOW_MS / 1000 - 2, NOW_MS / 1000]
    assert data["events"] == {"tweets": [None, None, None], "engagements": [None, None, None]}
    assert data["query_ms"]["p50"] == [None, None, None]  # type: ignore[index]


def test_the_page_opens_on_the_surface_that_is_live() -> None:
    """Shipped files name surfaces that nobody uses."""
    surfaces = {"first": replace(HOME, name="first"), HOME.name: HOME}
    assert default_surface(surfaces, [moment(rollout(stage(LIVE, Stage.LIVE)))]) == HOME.name
    assert default_surface(surfaces, []) == "first"
