"""Installed versions against the requirements of the distribution."""

from collections.abc import Mapping

from roost.doctor.finding import Finding, Verdict
from roost.doctor.packages import check_packages

REQUIREMENTS = (
    "numpy<3,>=2.4",
    "confluent-kafka<3,>=2.16.1",
    "faiss-cpu==1.15.1 ; extra == 'serving'",
    "torch==2.13.0; extra == 'trainer'",
    "confluent-kafka[avro,schemaregistry]<3,>=2.16.1; extra == 'streams'",
    "pytest>=9; extra == 'dev'",
)


def judged(installed: Mapping[str, str]) -> dict[str, Finding]:
    """Return the findings by check."""
    return {finding.check: finding for finding in check_packages(REQUIREMENTS, installed.get)}


def test_a_release_other_than_asked_for_is_wrong_and_a_missing_extra_is_not() -> None:
    """An index read by another faiss may answer wrongly; a machine that only serves needs no torch."""
    found = judged({"numpy": "2.4.6", "confluent-kafka": "2.16.1", "faiss-cpu": "1.14.0"})
    assert found["packages"].verdict is Verdict.OK
    assert found["packages [serving]"].verdict is Verdict.WRONG
    assert "faiss-cpu 1.14.0 (needs ==1.15.1)" in found["packages [serving]"].sentence
    assert found["packages [trainer]"].verdict is Verdict.NOTE
    assert found["packages [trainer]"].fix == "pip install 'roost[trainer]'"
    assert found["packages [streams]"].verdict is Verdict.OK
    assert "packages [dev]" not in found


def test_limits_are_kept_or_broken_by_number_not_by_text() -> None:
    """2.16 is newer than 2.4, a local part is no other release, and 3 is over the limit."""
    assert judged({"numpy": "2.16", "confluent-kafka": "2.17.0"})["packages"].verdict is Verdict.OK
    assert judged({"numpy": "3.0", "confluent-kafka": "2.17.0"})["packages"].verdict is Verdict.WRONG
    assert judged({"numpy": "2.4", "confluent-kafka": "2.16", "torch": "2.13.0+cu130"})["packages [trainer]"].verdict is Verdict.OK


def test_requirements_are_read_as_pip_reads_them() -> None:
    """A limit that is passed over because of its form would call any release the tested one."""
    needs = ("one~=1.4", "two!=2.1", 'three==3.*; python_version >= "3"', 'four>4; python_version < "3"', "five>=5rc1")

    def sentence(**installed: str) -> str:
        return check_packages(needs, installed.get)[0].sentence

    sound = {"one": "1.9", "two": "2.2", "three": "3.7", "five": "5rc2"}
    assert sentence(**sound) == "one 1.9, two 2.2, three 3.7, five 5rc2"
    for broken in ({"one": "2.0"}, {"two": "2.1"}, {"three": "4.0"}, {"five": "5b1"}):
        assert "not tested with" in sentence(**sound | broken)


def test_the_base_install_must_be_whole() -> None:
    """Without the Kafka client nothing works."""
    assert judged({"numpy": "2.4.6"})["packages"].verdict is Verdict.WRONG


def test_from_its_source_nothing_is_known_of_what_it_needs() -> None:
    """A note, not a failure: a clone is set up by make."""
    assert [finding.verdict for finding in check_packages(None, lambda _: None)] == [Verdict.NOTE]
