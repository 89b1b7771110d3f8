"""Trainings as operators run them: settings that were turned, and data that was wrong. Trains none.

Settings are those that `trainer.recipes` takes, each moved from the schedule's own by as much as somebody would try; damages are
those that logs, joins and encoders really suffer, trained on with the schedule's recipe.
"""

from dataclasses import dataclass, replace
from typing import Literal

from lab.paper.continual.study import NAIVE, SCHEDULE
from lab.paper.gate_study import damage
from lab.paper.gate_study.damage import Damage, sound
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.recipes import FinetuneConfig, PretrainConfig

Group = Literal["setting", "damage"]

_IMPLICIT = Negatives("implicit")
# of a tweet when it is served: half of them have fewer engagements
_POPULAR_T = 10.0


@dataclass(frozen=True, slots=True)
class Variant:
    """One training.

    Attributes:
        name: what is different from the schedule's.
        config: of a fine-tune of the live towers, or of a pre-training of new ones.
        then: a fine-tune of those; none by default.
        data: what it is trained and judged on.
        group: whether it is its settings or its data that differ.
    """

    name: str
    config: FinetuneConfig | PretrainConfig = SCHEDULE
    then: FinetuneConfig | None = None
    data: Damage = sound
    group: Group = "setting"


def _random_only(negatives: Negatives, *, learning_rate: float = SCHEDULE.learning_rate) -> FinetuneConfig:
    return replace(SCHEDULE, objective=Objective(negatives=negatives), replay=0.0, learning_rate=learning_rate)


def _damaged(name: str, data: Damage) -> Variant:
    return Variant(name, data=data, group="damage")


_RATE = SCHEDULE.learning_rate
_NAIVE = NAIVE.tuning or FinetuneConfig()
_SETTINGS = (
    Variant("the schedule's own"),
    Variant("learning rate / 3", replace(SCHEDULE, learning_rate=_RATE / 3)),
    Variant("learning rate x 3", replace(SCHEDULE, learning_rate=3 * _RATE)),
    Variant("learning rate x 10", replace(SCHEDULE, learning_rate=10 * _RATE)),
    Variant("3 epochs", replace(SCHEDULE, epochs=3)),
    Variant("learning rate x 3, 3 epochs", replace(SCHEDULE, learning_rate=3 * _RATE, epochs=3)),
    Variant("no replay: the paper's recipe", replace(SCHEDULE, replay=0.0)),
    Variant("no replay, 3 epochs", replace(SCHEDULE, replay=0.0, epochs=3)),
    Variant("replay x 1/4", replace(SCHEDULE, replay=SCHEDULE.replay / 4)),
    Variant("replay x 4", replace(SCHEDULE, replay=4 * SCHEDULE.replay)),
    Variant("replay x 16", replace(SCHEDULE, replay=16 * SCHEDULE.replay)),
    Variant("replay x 16, learning rate x 3", replace(SCHEDULE, replay=16 * SCHEDULE.replay, learning_rate=3 * _RATE)),
    Variant("replay x 16, 3 epochs", replace(SCHEDULE, replay=16 * SCHEDULE.replay, epochs=3)),
    Variant("replay of 64 negatives a positive", replace(SCHEDULE, replay_negatives=Negatives("uniform", 64))),
    Variant("replay of served candidates", replace(SCHEDULE, replay_negatives=Negatives("frequency", 16))),
    Variant("replay in the batch", replace(SCHEDULE, replay_negatives=Negatives("in_batch"))),
    Variant("random negatives alone", _random_only(SCHEDULE.replay_negatives)),
    Variant("random negatives alone, learning rate x 3", _random_only(SCHEDULE.replay_negatives, learning_rate=3 * _RATE)),
    Variant("in-batch negatives alone, learning rate x 3", _random_only(Negatives("in_batch"), learning_rate=3 * _RATE)),
    Variant("triplet loss", replace(SCHEDULE, objective=Objective(loss="triplet", negatives=_IMPLICIT))),
    Variant("sampled softmax", replace(SCHEDULE, objective=Objective(loss="sampled_softmax"), replay=0.0)),
    Variant("popularity weights", replace(SCHEDULE, objective=Objective(negatives=_IMPLICIT, popularity_t=_POPULAR_T))),
    Variant("embeddings frozen", replace(SCHEDULE, frozen="embeddings")),
    Variant("from scratch", PretrainConfig()),
    Variant("from scratch, one epoch", PretrainConfig(epochs=1)),
    Variant("from scratch, then the schedule's own", PretrainConfig(), then=SCHEDULE),
    Variant("naive: implicit negatives alone at the pre-training's learning rate", _NAIVE),
)
_DAMAGES = (
    _damaged("trained on yesterday again", damage.stale),
    _damaged("a fifth of the window", damage.part(0.2)),
    _damaged("labels of the largest language turned round", damage.flipped(0, all_of_it=True)),
    _damaged("the same in the training alone", damage.flipped(0, all_of_it=False)),
    _damaged("labels of the fourth language turned round", damage.flipped(3, all_of_it=True)),
    _damaged("three labels in ten turned round", damage.mislabelled(0.3, all_of_it=True)),
    _damaged("half of the engagements lost", damage.unjoined(0.5)),
    _damaged("nine in ten engagements lost", damage.unjoined(0.9)),
    _damaged("one language alone", damage.one_language(0, all_of_it=True)),
    _damaged("one language alone in the training", damage.one_language(0, all_of_it=False)),
    _damaged("candidates' language missing", damage.zeroed("candidate", "language", all_of_it=True)),
    _damaged("users' languages missing in the training", damage.zeroed("query", "languages", all_of_it=False)),
    _damaged("favorite counters missing in the training", damage.zeroed("candidate", "favorites", all_of_it=False)),
    _damaged("candidates joined wrongly, four in ten", damage.wrong_candidate(0.4)),
)
VARIANTS = (*_SETTINGS, *_DAMAGES, _damaged("counters as of the evening", damage.late_counters))
