"""What a user does with a tweet that was shown: label, kinds, delays. Decides nothing about what is shown."""

from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Floats, Ints, Labels
from lab.observed.log import CLICK, EXPLICIT_NEGATIVE, FAVORITE, KINDS, REPLY, RETWEET, SHOW_LESS, UNFAVORITE
from lab.world.world import World


@dataclass(frozen=True)
class Reactions:
    """Reactions to n impressions.

    Attributes:
        label: int8 [n]: 1 engaged, 0 not, -1 asked for less of it. P(label = 1) is exactly p: who undoes an engagement is 0.
        impression: int64 [events], index of the impression reacted to.
        kind: int8 [events], index into `log.KINDS`.
        delay_s: float64 [events], after the impression.
    """

    label: Labels
    impression: Ints
    kind: Labels
    delay_s: Floats


def react(world: World, users: Ints, tweets: Ints, times_s: Floats, rng: np.random.Generator) -> Reactions:
    """Draw what users do with tweets shown to them.

    Args:
        world: whose truth decides.
        users, tweets: int64 [n], rows.
        times_s: float64 [n], when each is shown.
        rng: the draw; n impressions always take the same number of draws, so one reaction never shifts another's.
    """
    s, n = world.settings, len(users)
    p = world.probability(users, tweets, times_s)
    engaged = rng.random(n) < p
    readable = world.users.spoken[users, world.tweets.language[tweets]]
    dice = rng.random((n, len(KINDS)))
    favorite = engaged & (dice[:, FAVORITE] < s.favorite_share)
    retweet = engaged & (dice[:, RETWEET] < world.hidden.retweet_share[tweets])
    reply = engaged & (dice[:, REPLY] < s.reply_share)
    click = engaged & ((dice[:, CLICK] < s.click_share) | ~(favorite | retweet | reply))
    undone = ~engaged & readable & (dice[:, UNFAVORITE] < s.undone_share)
    annoyance = np.where(readable, s.show_less_share, s.show_less_unread_share)
    show_less = ~engaged & ~undone & (dice[:, SHOW_LESS] < annoyance)
    label = engaged.astype(np.int8)
    label[show_less] = EXPLICIT_NEGATIVE

    delay = s.delay_median_s * np.exp(s.delay_sigma * rng.standard_normal((n, len(KINDS))))
    # an accidental favorite is taken back within seconds
    delay[:, UNFAVORITE] = delay[:, FAVORITE] + 5 + delay[:, UNFAVORITE] / 10
    happened = np.stack([favorite | undone, retweet, reply, click, undone, show_less], axis=1)
    impression, kind = np.nonzero(happened)
    return Reactions(label, impression, kind.astype(np.int8), delay[impression, kind])
