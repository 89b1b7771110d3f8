"""MovieLens rows as records: films are candidates, people users, ratings impressions, four stars and more engagements."""

from collections.abc import Callable, Iterator

from lab.replay.movielens import Movie, MovieLens, Person, Rating
from schemas.records.candidates import MAX_TOPICS, UNDETERMINED, Tweet
from schemas.records.feedback import Engagement, EngagementKind, Impression
from schemas.records.users import User

SURFACE = "movies"
LIKED_STARS = 4.0
REQUEST_PREFIX = "ml-"
"""Of the request ids of replayed ratings, and of no other."""
# the age groups of MovieLens-1M, each by its youngest
_AGE_GROUPS = (1, 18, 25, 35, 45, 50, 56)

Event = Tweet | User | Impression | Engagement
# from a rating's place in the order and its Unix time in seconds to the event time in Unix milliseconds
EventTime = Callable[[int, int], int]


def candidate_id(movie_id: int) -> str:
    """Return the candidate id of a film."""
    return f"t:ml-{movie_id}"


def user_id(person_id: int) -> str:
    """Return the user id of a person."""
    return f"ml-{person_id}"


def event_times_at(speed: float, *, start_ms: int, first_s: int) -> EventTime:
    """Return the rule that lets the first rating happen at `start_ms` and `speed` seconds of data pass in one.

    Args:
        speed: above 0.
        start_ms: Unix milliseconds.
        first_s: Unix time of the first rating, in seconds.
    """
    return lambda _place, time_s: start_ms + round((time_s - first_s) * 1000 / speed)


def event_times_before(now_ms: int, *, count: int) -> EventTime:
    """Return the rule that puts `count` ratings a millisecond apart, the last one just before `now_ms`."""
    return lambda place, _time_s: now_ms - count + place


def events(data: MovieLens, event_time: EventTime, *, count: int | None = None) -> Iterator[Event]:
    """Yield the records of the first `count` ratings (all by default) in their real order.

    A film and a person come just before their first rating, with its event time. A person's ratings keep their order in event
    time, even where many fall into one millisecond: each comes at least a millisecond after the last.
    """
    known: set[str] = set()
    latest_ms: dict[int, int] = {}
    positions: dict[str, int] = {}
    for place, rating in enumerate(data.ratings[:count]):
        when_ms = max(event_time(place, rating.time_s), latest_ms.get(rating.person_id, -1) + 1)
        latest_ms[rating.person_id] = when_ms
        if candidate_id(rating.movie_id) not in known:
            known.add(candidate_id(rating.movie_id))
            yield tweet(data.movies[rating.movie_id], when_ms, source_time_ms=rating.time_s * 1000)
        if user_id(rating.person_id) not in known:
            known.add(user_id(rating.person_id))
            yield user(data.people[rating.person_id], when_ms, source_time_ms=rating.time_s * 1000)
        # what somebody rated in the same second was on one page
        request_id = f"{REQUEST_PREFIX}{rating.person_id}-{rating.time_s}"
        position = positions[request_id] = positions.get(request_id, -1) + 1
        yield from _feedback(rating, when_ms, request_id, position)


def tweet(movie: Movie, event_time_ms: int, *, source_time_ms: int) -> Tweet:
    """Return a film as a candidate of the surface `movies`; its genres are its topics."""
    return Tweet(
        candidate_id=candidate_id(movie.movie_id),
        event_time_ms=event_time_ms,
        sequence=0,
        author_id="",
        created_ms=event_time_ms,
        language=UNDETERMINED,
        topics=movie.genres[:MAX_TOPICS],
        text=movie.text,
        source_time_ms=source_time_ms,
    )


def user(person: Person, event_time_ms: int, *, source_time_ms: int) -> User:
    """Return a person as a user whose interests are gender, age group and occupation."""
    age = max((group for group in _AGE_GROUPS if group <= person.age), default=_AGE_GROUPS[0])
    return User(
        user_id=user_id(person.person_id),
        event_time_ms=event_time_ms,
        sequence=0,
        interests=(f"gender:{person.gender.lower()}", f"age:{age}", f"occupation:{person.occupation}"),
        source_time_ms=source_time_ms,
    )


def _feedback(rating: Rating, event_time_ms: int, request_id: str, position: int) -> Iterator[Impression | Engagement]:
    source_time_ms = rating.time_s * 1000
    yield Impression(
        request_id=request_id,
        candidate_id=candidate_id(rating.movie_id),
        user_id=user_id(rating.person_id),
        surface=SURFACE,
        position=position,
        event_time_ms=event_time_ms,
        source_time_ms=source_time_ms,
    )
    if rating.stars >= LIKED_STARS:
        yield Engagement(
            event_id=f"{request_id}-{rating.movie_id}",
            user_id=user_id(rating.person_id),
            candidate_id=candidate_id(rating.movie_id),
            kind=EngagementKind.FAVORITE,
            event_time_ms=event_time_ms,
            request_id=request_id,
            source_time_ms=source_time_ms,
        )
