"""How the lines are run that keep a deployment going: its roles, letters, schemas, traces, people, and what was lost."""

import time
from collections.abc import Callable

from schemas.codec import encode
from schemas.records.candidates import Tweet
from schemas.topics import ROLLOUTS, TWEETS, USER_STATES
from schemas.wire.admin import delete_topics
from tests.integration.guides.site import HOME, PATIENCE_S, Site
from tests.integration.guides.step import ERASURE, OPERATORS, REGISTRIES, RUNBOOK, TRACING, TRAINING, Step, broker, in_stage
from tests.integration.waiting import until
from tests.streams_kit import read_all

ROLES = (
    Step(OPERATORS, "roost topics create"),
    Step(OPERATORS, "roost embed", ready="folds", stays="embed"),
    Step(OPERATORS, "roost label", ready="start", stays="label"),
    Step(OPERATORS, "roost control", ready="start", stays="control"),
    Step(OPERATORS, "roost serve", ready="answers at", stays="serve"),
    Step(OPERATORS, "roost train schedule --rollout auto", ready="waiting"),
    Step(
        TRAINING,
        "ROOST_FINETUNE_LOSS=sampled_softmax ROOST_FINETUNE_NEGATIVES=uniform roost train schedule",
        ready="waiting",
    ),
    Step(TRAINING, "ROOST_TRAIN_RECIPE=ensemble roost train schedule", ready="waiting"),
    Step(TRAINING, "ROOST_TRAIN_SERVED_BY=parent roost train schedule", ready="waiting"),
)


def _letter(attempts: int) -> Callable[[Site], None]:
    def wait(site: Site) -> None:
        until(lambda: [one.attempts for one in site.letters()] == [attempts], what=f"a letter that was tried {attempts} times")

    return wait


def _entry(site: Site) -> str:
    (letter,) = site.letters()
    return letter.record_key.decode()


LETTERS = (
    Step(RUNBOOK, "roost dlq replay tweets --error UnknownSchema --dry-run", before=_letter(1), says="UnknownSchema"),
    Step(RUNBOOK, "roost dlq replay tweets --error UnknownSchema", before=_letter(1), says="UnknownSchema"),
    Step(
        RUNBOOK,
        "roost dlq replay --entry tweets/2/1042",
        before=_letter(2),
        instead={"tweets/2/1042": _entry},
        says="UnknownSchema",
        after=_letter(3),
    ),
)
APICURIO = "http://127.0.0.1:8081/apis/ccompat/v7"
_AT_REGISTRY = {APICURIO: lambda site: site.schema_registry_url}
SCHEMAS = (
    Step(OPERATORS, f"roost schemas register --registry {APICURIO}", instead=_AT_REGISTRY),
    Step(OPERATORS, f"roost schemas check --registry {APICURIO}", instead=_AT_REGISTRY),
    Step(REGISTRIES, f"roost schemas register --registry {APICURIO}", instead=_AT_REGISTRY),
)
_TRACED = "ROOST_TRACING=true OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 roost"
_AT_COLLECTOR = {"http://collector:4318": lambda site: site.collector.url}


def _traced(site: Site) -> None:
    """Publish a tweet that carries a trace, and wait for the spans of those that it came to."""
    # what it reads before is a replay, of which it makes no spans
    until(site.ready, what="the node is ready", timeout_s=PATIENCE_S)
    now_ms, trace = time.time_ns() // 1_000_000, "5f" * 16
    tweet = encode(Tweet("t:traced", now_ms, 0, "a:7", now_ms))
    site.send(TWEETS, b"t:traced", tweet, traceparent=f"00-{trace}-{'7a' * 8}-01".encode())
    wanted = {"process tweets", "insert"}
    until(
        lambda: wanted <= {span.name for span in tuple(site.collector.spans) if span.trace == trace},
        what=f"spans {wanted} of a tweet's trace",
        timeout_s=PATIENCE_S,
    )


TRACES = (
    Step(
        TRACING,
        f"{_TRACED} embed",
        before=lambda site: site.stop("embed"),
        instead=_AT_COLLECTOR,
        ready="folds",
        stays="embed",
    ),
    Step(
        TRACING,
        f"{_TRACED} serve",
        before=lambda site: site.stop("serve"),
        instead=_AT_COLLECTOR,
        ready="answers at",
        stays="serve",
        after=_traced,
    ),
)
PEOPLE = (
    # what is left at once is what the broker has until its own time: the search finds it
    Step(OPERATORS, "roost users delete u:42 --author a:42 --dry-run", says="would erase user u:42"),
    Step(OPERATORS, "roost users delete u:42 --author a:42", types="y\n"),
    Step(OPERATORS, "roost users traces u:42 --check", exits=1, says="users"),
    Step(ERASURE, "roost users delete u:42", types="y\n"),
    Step(ERASURE, "roost users delete u:42 --author a:42 --yes"),
    Step(ERASURE, "roost authors takedown a:42 --dry-run", says="would erase"),
    Step(ERASURE, "roost users traces u:42", says="users"),
    Step(ERASURE, "roost authors traces a:42 --check --json", exits=1, says='"tweets"'),
)


def _without_states(site: Site) -> None:
    """Lose the topic, and stop the labeler."""
    site.stop("label")
    delete_topics(site.admin, [USER_STATES])


def _labeler_forgotten(site: Site) -> None:
    def members() -> int:
        (future,) = site.admin.describe_consumer_groups(["labeler-and-user-state"]).values()
        return len(future.result(30).members)

    until(lambda: members() == 0, what="the labeler's session is over", timeout_s=PATIENCE_S)


def _states_again(site: Site) -> None:
    site.start("label", "roost label")
    until(
        lambda: b"ann" in {record.key for record in read_all(site.bootstrap, USER_STATES)},
        what="the state of who was known before",
        timeout_s=PATIENCE_S,
    )


def _without_rollouts(site: Site) -> None:
    """Lose the topic: the two that write by its offsets end."""
    delete_topics(site.admin, [ROLLOUTS])


def _started_again(site: Site) -> None:
    for name, ready in (("embed", "folds"), ("control", "start")):
        site.ended(name, exits=1)
        site.start(name, f"roost {name}")
        site.hear(name, ready)


def _answered(site: Site) -> None:
    def bundle() -> object:
        return site.answers(HOME, user_id="ann", k=1).json().get("bundle")

    until(lambda: bundle() == site.bundles["triplet"], what="the node answers from it")


LOST = (
    Step(RUNBOOK, "roost topics create", before=_without_states),
    Step(
        RUNBOOK,
        "kafka-consumer-groups.sh --bootstrap-server HOST:PORT --group labeler-and-user-state"
        " --topic users --topic user-events --reset-offsets --to-earliest --execute",
        before=_labeler_forgotten,
        instead={"HOST:PORT": broker},
        says=r"labeler-and-user-state +user-events +0 +0",
        after=_states_again,
    ),
    Step(RUNBOOK, "roost topics create", before=_without_rollouts, after=_started_again),
    Step(RUNBOOK, "roost rollout start BUNDLE --surface home-timeline", bundle="triplet"),
    Step(
        RUNBOOK,
        "roost rollout promote BUNDLE --surface home-timeline",
        before=in_stage(HOME, "triplet", "ready"),
        bundle="triplet",
        after=_answered,
    ),
    Step(RUNBOOK, "roost doctor", says="nothing is wrong"),
)
