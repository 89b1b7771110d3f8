"""The judgement over a recorded history, as Jepsen's checkers give it: afterwards, from what was seen outside. Reads no topic.

Model: Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (VLDB 2020): a checker that
shares nothing with the system but the records it left.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from lab.history.answer_rules import answer_violations
from lab.history.log_rules import Violation, chains, log_violations
from lab.history.recorded import History

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at, and every broken rule found."""

    revisions: int
    commands: int
    answers: int
    violations: tuple[Violation, ...]

    @property
    def sound(self) -> bool:
        """Whether no rule was broken."""
        return not self.violations

    def as_data(self) -> dict[str, Any]:
        """Return it as plain JSON data; of many violations the first ten in full."""
        return {
            "revisions": self.revisions,
            "commands": self.commands,
            "answers": self.answers,
            "violations": len(self.violations),
            "rules_broken": dict(Counter(violation.rule for violation in self.violations)),
            "first_violations": [f"{violation.rule}: {violation.what}" for violation in self.violations[:_SHOWN]],
        }

    def sentence(self) -> str:
        """Return the verdict for people."""
        looked_at = f"{self.revisions:,} revisions, {self.commands:,} commands and {self.answers:,} answers"
        if self.sound:
            return f"the checker read {looked_at} and found no rule broken"
        return f"the checker read {looked_at} and found {len(self.violations):,} rules broken, first: {self.violations[0].what}"


def judge(history: History) -> Verdict:
    """Return the verdict over a history; one without a single record is a violation too, for it proves nothing."""
    counted = chains(history.entries)
    found = [Violation("unreadable", what) for what in history.unreadable]
    if not counted:
        found.append(Violation("nothing recorded", "the log of rollouts is empty: there is nothing to judge"))
    found += log_violations(history.entries, history.commands)
    found += answer_violations(counted, history.answers)
    revisions = sum(len(chain.entries) for chain in counted.values())
    return Verdict(revisions, len(history.commands), len(history.answers), tuple(found))
