"""Windows of the examples topic: exact offsets, the highest revision, and no example lost between two windows."""

from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.records.feedback import Example, Label
from tests.tiny_world import tiny_world
from trainer.data.cache import read_cache, write_cache
from trainer.data.windows import CorpusAt, LoggedExample, Window, fold, next_offsets

EXAMPLE = tiny_world(users=3, tweets=5, impressions=1).examples[0]


def example(name: str, revision: int = 0, label: Label = Label.IMPLICIT_NEGATIVE) -> Example:
    """Return an example with this id."""
    return replace(EXAMPLE, example_id=name, revision=revision, label=label)


def test_the_highest_revision_of_an_example_counts() -> None:
    """An engagement after emission turns a negative into a positive, and an undo turns it back."""
    folded = fold([example("a"), example("b"), example("a", 2, Label.POSITIVE), example("a", 1)])
    assert [(one.example_id, one.revision) for one in folded] == [("a", 2), ("b", 0)]
    assert folded[0].label is Label.POSITIVE


def test_of_two_equal_revisions_the_last_counts_where_the_first_stood(tmp_path: Path) -> None:
    """A labeler killed before its state is written joins once more, with what came meanwhile, and corrects only the last."""
    examples = (example("a"), example("b"), example("a", 0, Label.POSITIVE), example("b"))
    window = Window(tuple(LoggedExample(0, offset, one) for offset, one in enumerate(examples)), {0: (0, 4)})
    write_cache(tmp_path / "kept", EXAMPLE.surface, window, CorpusAt([]))
    for one in (window, read_cache(tmp_path / "kept", EXAMPLE.surface)[0]):
        found = [(example.example_id, example.label) for example in one.examples()]
        assert found == [("a", Label.POSITIVE), ("b", Label.IMPLICIT_NEGATIVE)]


# on a busy machine the first draw alone may take a second
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=12), st.randoms())
def test_order_and_duplicates_change_nothing(revisions: list[tuple[str, int]], random: object) -> None:
    """The labeler delivers at least once."""
    examples = [example(name, revision) for name, revision in revisions]
    expected = {one.example_id: one.revision for one in fold(examples)}
    shuffled = examples * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {one.example_id: one.revision for one in fold(shuffled)} == expected


def test_a_split_is_exact_and_the_next_window_begins_with_what_was_held_out() -> None:
    """Five examples a partition, two fifths of them held out: [0, 8) trains, and the next window starts at 8."""
    logged = tuple(LoggedExample(p, offset, example(f"{p}/{offset}")) for p in (0, 3) for offset in (0, 5, 7, 8, 9))
    older, newer = Window(logged, {0: (0, 10), 3: (0, 10)}).split(0.4)
    assert [(entry.partition, entry.offset) for entry in newer.logged] == [(0, 8), (0, 9), (3, 8), (3, 9)]
    assert older.manifest_offsets() == {"0": (0, 8), "3": (0, 8)}
    assert next_offsets(older.manifest_offsets()) == {0: 8, 3: 8}
    assert newer.offsets == {0: (8, 10), 3: (8, 10)}
    assert len(older.logged) + len(newer.logged) == len(logged)


def test_an_example_that_is_trained_on_is_not_evaluated_again_by_its_correction(tmp_path: Path) -> None:
    """A late engagement: the model has seen this user and candidate, and the figures would be of what it remembers."""
    logged = tuple(LoggedExample(0, n, example(str(n))) for n in range(8))
    late = (LoggedExample(0, 8, example("2", 1, Label.POSITIVE)), LoggedExample(0, 9, example("7", 1, Label.POSITIVE)))
    window = Window(logged + late, {0: (0, 10)})
    write_cache(tmp_path / "kept", EXAMPLE.surface, window, CorpusAt([]))
    kept, _ = read_cache(tmp_path / "kept", EXAMPLE.surface)
    for one in (window, kept):
        older, newer = one.split(0.4)
        assert [found.example_id for found in older.examples()] == ["0", "1", "2", "3", "4", "5"]
        assert [(found.example_id, found.revision) for found in newer.examples()] == [("6", 0), ("7", 1)]
        assert next_offsets(newer.manifest_offsets()) == {0: 10}


def test_a_correction_of_what_stands_before_a_window_can_be_left_out_of_it(tmp_path: Path) -> None:
    """A bundle is measured on what came since: of a late engagement it remembers that there was none."""
    late = ("before", 1), ("a", 0), ("b", 0), ("a", 1), ("before", 2), ("b", 0)
    window = Window(tuple(LoggedExample(0, n, example(*one)) for n, one in enumerate(late, 7)), {0: (7, 13)})
    write_cache(tmp_path / "kept", EXAMPLE.surface, window, CorpusAt([]))
    kept, _ = read_cache(tmp_path / "kept", EXAMPLE.surface)
    for one in (window, kept):
        assert [(n.example_id, n.revision) for n in one.begun_within().examples()] == [("a", 1), ("b", 0)]
        assert one.begun_within().offsets == {0: (7, 13)}


def test_a_surface_that_has_just_begun_is_split_by_its_own_examples() -> None:
    """A thousand records of other surfaces, then its first ten: by offsets all ten would be held out, and none trained on."""
    logged = tuple(LoggedExample(0, 1_000 + n, example(str(n))) for n in range(10))
    older, newer = Window(logged, {0: (0, 1_010), 1: (0, 50)}).split(0.2)
    assert (len(older.logged), len(newer.logged)) == (8, 2)
    assert older.offsets == {0: (0, 1_008), 1: (0, 50)}
    assert newer.offsets == {0: (1_008, 1_010), 1: (50, 50)}


def test_an_arm_s_window_holds_its_own_examples_and_the_offsets_of_all() -> None:
    """The other arm's are looked at and left out: the next window begins where this one ended. No bundle, nobody's."""
    ours, theirs = "a" * 16, "b" * 16
    bundles = [ours, theirs, None, ours, theirs, ours, ours, theirs]
    logged = tuple(LoggedExample(0, n, replace(example(str(n)), bundle=bundle)) for n, bundle in enumerate(bundles))
    window = Window(logged, {0: (0, 8), 1: (3, 3)}, 2).of_arm(ours)
    assert [entry.offset for entry in window.logged] == [0, 3, 5, 6]
    assert (window.offsets, window.skipped, window.served_by) == ({0: (0, 8), 1: (3, 3)}, 2, ours)
    older, newer = window.split(0.25)
    assert [entry.offset for entry in older.logged] == [0, 3, 5]
    assert (older.offsets[0], newer.offsets[0]) == ((0, 6), (6, 8)), "by the arm's own examples"
    assert (older.served_by, newer.served_by, older.between({"0": (0, 4)}).served_by) == (ours, ours, ours)


def test_an_empty_window_splits_into_two_empty_ones() -> None:
    """A partition nobody's user hashes to is normal."""
    older, newer = Window((), {0: (4, 4)}).split(0.2)
    assert older.examples() == newer.examples() == []
    assert older.offsets == newer.offsets == {0: (4, 4)}
