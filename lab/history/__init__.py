"""What happened in a deployment, judged afterwards from its topics and the answers that clients kept."""

from lab.history.recorded import Entry, History, Observed, read_history
from lab.history.rescoring import AnswerChecker
from lab.history.verdict import Verdict, judge

__all__ = ["AnswerChecker", "Entry", "History", "Observed", "Verdict", "judge", "read_history"]
