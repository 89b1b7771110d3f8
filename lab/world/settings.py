"""The settings of a simulated world, frozen. Draws nothing."""

from dataclasses import dataclass

from lab.world.vocabulary import LANGUAGES

DAY_S = 86_400.0
HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """Sizes, rates and the coefficients of the engagement probability. Defaults give the world the paper's tables are run on.

    Attributes:
        seed: two worlds with equal settings are equal, whatever was asked of them before.
        languages: how many of `vocabulary.LANGUAGES`, the largest first.
        alive_s: a tweet can be served this long.
        visits_per_user_day: mean over users; active users come more often.
        wrong_language_share: users whose declared languages leave out the one they read best.
        second_language_share: users who read a second language.
        declares_second_share: of those, how many declare it.
        interest_drift_per_day: chance that one of a user's topics is another the next day.
        delete_share: tweets that their author deletes before they expire.
        intercept, w_*: the logit of what a tweet is worth to a user, see `World.probability`.
        willing_mean, willing_sigma: of the logit of a user's willingness to engage at all, normal over users: some do, most never.
        willing_shared: share of its variance that follows from region and interests; the rest is the user's own.
        unread_factor: what is left of an engagement probability when the language is not understood.
        second_language_factor: the same for a language read second best.
        delay_median_s, delay_sigma: log-normal delay from impression to engagement.
        step_s: the production policy sees engagement counts of whole past steps.
    """

    seed: int = 0
    users: int = 3_000
    authors: int = 800
    tweets_per_day: int = 2_500
    languages: int = 10
    regions: int = 16
    topics: int = 40
    alive_s: float = 48 * HOUR_S
    visits_per_user_day: float = 2.5
    tweets_per_visit: int = 8

    wrong_language_share: float = 0.03
    second_language_share: float = 0.65
    declares_second_share: float = 0.3
    interest_drift_per_day: float = 0.08
    delete_share: float = 0.005

    intercept: float = -3.4
    w_topic: float = 8.0
    w_follow: float = 1.0
    w_taste: float = 0.5
    w_quality: float = 1.0
    w_trend: float = 0.4
    w_age_per_h: float = 0.02
    willing_mean: float = -5.5
    willing_sigma: float = 5.0
    willing_shared: float = 0.85
    unread_factor: float = 0.002
    second_language_factor: float = 0.95

    favorite_share: float = 0.7
    reply_share: float = 0.08
    click_share: float = 0.3
    undone_share: float = 0.003
    show_less_share: float = 0.001
    show_less_unread_share: float = 0.01
    delay_median_s: float = 60.0
    delay_sigma: float = 1.5
    step_s: float = HOUR_S

    def __post_init__(self) -> None:
        """Raise `ValueError` for a size that no world can have."""
        if not 1 <= self.languages <= len(LANGUAGES):
            raise ValueError(f"languages must be 1 to {len(LANGUAGES)}, not {self.languages}: vocabulary.py has words for no more")
        for name in ("users", "authors", "tweets_per_day", "regions", "tweets_per_visit"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.topics < 4:
            raise ValueError("topics must be at least 4: a user has that many interests")
        if DAY_S % self.step_s:
            raise ValueError(f"step_s must divide a day, {self.step_s:g} s does not")


# for demos and tests of minutes: most users engage now and then, one impression in six is a positive; the paper's tables need the
# silent majority of the defaults
LIVELY = WorldSettings(willing_mean=1.0, intercept=-3.2)
