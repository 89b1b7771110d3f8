"""MovieLens-100K as typed rows, read from the files inside the installed `recbole` package. Never imports that package.

GroupLens allows research use and no redistribution, so the files are installed, not committed
(F. M. Harper and J. A. Konstan, The MovieLens Datasets, 2015).
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from schemas.errors import RoostError

NAME = "movielens-100k"
PACKAGE = "recbole"
INSTALL = "pip install --no-deps recbole==1.2.1"
_FOLDER = Path("dataset_example", "ml-100k")
# an unknown release year, and what is not a genre
_NOT_A_GENRE = "unknown"

Row = TypeVar("Row")


class DatasetUnusable(RoostError):
    """The files are not there, or not what they claim to be."""


@dataclass(frozen=True, slots=True)
class Movie:
    """A film. `year` is None where the file gives none; `genres` may be empty."""

    movie_id: int
    title: str
    year: int | None
    genres: tuple[str, ...]

    @property
    def text(self) -> str:
        """The title with its year, as people write it."""
        return self.title if self.year is None else f"{self.title} ({self.year})"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who rates; `gender` is as in the file, `age` in years."""

    person_id: int
    age: int
    gender: str
    occupation: str


@dataclass(frozen=True, slots=True)
class Rating:
    """Stars, 1 to 5, given at a Unix time in seconds."""

    person_id: int
    movie_id: int
    stars: float
    time_s: int


@dataclass(frozen=True, slots=True)
class MovieLens:
    """The data set; `ratings` in order of time, equal times in order of the file."""

    movies: dict[int, Movie]
    people: dict[int, Person]
    ratings: tuple[Rating, ...]

    def liked(self, person_id: int, *, count: int = 10, stars: float = 4.0) -> list[tuple[Movie, Rating]]:
        """Return what somebody gave at least `stars`: the most stars first, then the newest; nothing for a stranger."""
        theirs = [rating for rating in self.ratings if rating.person_id == person_id and rating.stars >= stars]
        theirs.sort(key=lambda rating: (-rating.stars, -rating.time_s, rating.movie_id))
        return [(self.movies[rating.movie_id], rating) for rating in theirs[:count]]


def folder() -> Path:
    """Return the folder of the installed files; raises `DatasetUnusable` that says how to install them."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        files = Path(place) / _FOLDER
        if files.is_dir():
            return files
    raise DatasetUnusable(f"{NAME} is not installed; run `{INSTALL}` in the environment that runs roost")


def load(files: Path | None = None) -> MovieLens:
    """Read the data set.

    Args:
        files: the folder with `ml-100k.item`, `.user` and `.inter`; by default the one in the installed package.

    Raises:
        DatasetUnusable: a file is missing, or a line is not what its header says.
    """
    place = folder() if files is None else files
    movies = {
        movie.movie_id: movie
        for movie in _read(place / "ml-100k.item", ("item_id", "movie_title", "release_year", "class"), _movie)
    }
    people = {
        person.person_id: person for person in _read(place / "ml-100k.user", ("user_id", "age", "gender", "occupation"), _person)
    }
    ratings = sorted(
        _read(place / "ml-100k.inter", ("user_id", "item_id", "rating", "timestamp"), _rating), key=lambda rating: rating.time_s
    )
    for rating in ratings:
        if rating.movie_id not in movies or rating.person_id not in people:
            raise DatasetUnusable(
                f"{place / 'ml-100k.inter'} rates film {rating.movie_id} by person {rating.person_id}, and one of them is in no "
                f"file; install it anew: {INSTALL}"
            )
    return MovieLens(movies, people, tuple(ratings))


def _read(path: Path, wanted: tuple[str, ...], build: Callable[[Sequence[str]], Row]) -> Iterator[Row]:
    """Yield a row for each line. A header names the columns, each with its type behind a colon: `item_id:token`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetUnusable(f"{path} cannot be read ({error.strerror}); install it anew: {INSTALL}") from error
    # the package ships UTF-8; the original release of GroupLens is Latin-1
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    # not splitlines(): a title may hold a character that it takes for the end of a line
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    header = [name.partition(":")[0] for name in lines[0].split("\t")]
    if missing := [name for name in wanted if name not in header]:
        raise DatasetUnusable(f"{path} has columns {header} and lacks {missing}; install it anew: {INSTALL}")
    columns = [header.index(name) for name in wanted]
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        cells = line.split("\t")
        try:
            yield build([cells[column] for column in columns])
        except (IndexError, ValueError) as error:
            raise DatasetUnusable(f"{path} line {number} is {line[:80]!r}: {error}; install it anew: {INSTALL}") from error


def _movie(cells: Sequence[str]) -> Movie:
    movie_id, title, year, genres = cells
    kept = tuple(genre for genre in genres.split() if genre != _NOT_A_GENRE)
    return Movie(int(movie_id), title.strip(), int(year) if year.isdecimal() else None, kept)


def _person(cells: Sequence[str]) -> Person:
    person_id, age, gender, occupation = cells
    return Person(int(person_id), int(age), gender, occupation)


def _rating(cells: Sequence[str]) -> Rating:
    person_id, movie_id, stars, time_s = cells
    return Rating(int(person_id), int(movie_id), float(stars), int(float(time_s)))
