"""What a user of a replayed data set liked most: for people who judge an answer. No part of any answer."""

from dataclasses import dataclass
from pathlib import Path

from lab.replay.movielens import load
from lab.replay.records import LIKED_STARS, candidate_id, user_id


@dataclass(frozen=True, slots=True)
class Liked:
    """A candidate and the stars it was given."""

    candidate_id: str
    text: str
    stars: float


def liked(user: str, *, count: int = 10, files: Path | None = None) -> list[Liked]:
    """Return what a user rated highest, the most stars first, then the newest; nothing for who is not in the data set.

    Args:
        user: a user id as replayed, such as "ml-42".
        files: see `movielens.load`.

    Raises:
        DatasetUnusable: the files are missing or broken.
    """
    data = load(files)
    person = next((person for person in data.people if user_id(person) == user), None)
    if person is None:
        return []
    favourites = data.liked(person, count=count, stars=LIKED_STARS)
    return [Liked(candidate_id(movie.movie_id), movie.text, rating.stars) for movie, rating in favourites]
