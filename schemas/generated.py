"""Python source put together a line at a time and compiled to one function. Knows no schema.

Readers and writers of records are generated, as `dataclasses` generates `__init__`: a function made for one schema has no call for
each field, which is half of what writing a record field by field costs, and three tenths of reading it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_INDENT = "    "


class Source:
    """The body of a function. Every line is made here or by the caller: no value from outside ever becomes source."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        """Begin an empty body; `names` are what its lines may refer to."""
        self._names = dict(names)
        self._lines: list[str] = []
        self._depth = 1
        self._fresh = 0

    def line(self, text: str) -> None:
        """Add a line."""
        self._lines.append(_INDENT * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add a line that ends in a colon; what is added inside belongs to it."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def variable(self) -> str:
        """Return the name of a variable that no line has."""
        self._fresh += 1
        return f"v{self._fresh}"

    def constant(self, value: Any) -> str:
        """Return a name by which lines may refer to a value."""
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def function(self, name: str, *arguments: str) -> Callable[..., Any]:
        """Return the function of these lines."""
        text = "\n".join((f"def {name}({', '.join(arguments)}):", *self._lines))
        namespace = dict(self._names)
        exec(compile(text, f"<generated {name}>", "exec"), namespace)  # noqa: S102  made of our own schemas: see the class
        made: Callable[..., Any] = namespace[name]
        return made
