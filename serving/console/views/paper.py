"""The page of the paper: its tables and figures from the last results, then whatever else the folder holds. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.console.readings import PaperTables, WrittenTable
from serving.console.views import figures
from serving.console.views.paper_plots import paper_plots
from serving.console.views.plot import Plot

TITLES: Mapping[str, str] = {
    "table1": "Table 1: offline results",
    "table2": "Table 2: online results",
    "fig3": "Figure 3: training on biased data",
    "fig5": "Figure 5: more random negatives",
    "fig6": "Figure 6: popularity weights",
    "continual": "Continual training",
    "gates": "The gates against the A/B test",
}
# of a file that nobody wrote a table for: enough to see what it is
_RAW_ROWS = 12
_FOLDED_ROWS = 24
_HOW_IT_WAS_RUN = ("bench", "machine", "config", "commit", "seed_list", "seeds", "settings")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with its interval, or without one."""

    text: str
    interval: str = ""
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns.

    Attributes:
        numeric: by column, whether it holds numbers.
        left_out: what the file has and the table has not, as a sentence; empty when it has all.
        long: to be folded away, so that what follows it is found.
    """

    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: str = ""
    long: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """One file: its single figures, its tables, and how it was run: machine, configuration, commit."""

    name: str
    title: str
    facts: tuple[tuple[str, str], ...]
    run: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...]

    @property
    def of_paper(self) -> bool:
        """Whether the paper has it."""
        return self.name in TITLES


def results(files: Mapping[str, object], paper: PaperTables) -> tuple[Result, ...]:
    """Return the results, the paper's own first and in its own words; what is no JSON object is left out."""
    found = [_result(name, content, paper) for name, content in files.items() if isinstance(content, dict)]
    order = list(TITLES)
    return tuple(sorted(found, key=lambda result: (order.index(result.name) if result.name in order else len(order), result.name)))


def _result(name: str, content: Mapping[str, object], paper: PaperTables) -> Result:
    written = paper.tables(name, content)
    facts: list[tuple[str, str]] = []
    run: list[tuple[str, str]] = []
    tables: list[Table] = []
    for key, value in content.items():
        rows = _rows(value)
        if rows and key in written:
            tables.append(_written(written[key]))
        elif rows:
            tables.append(_table(key.replace("_", " "), rows))
        elif (text := _scalar(value)) is not None:
            (run if key in _HOW_IT_WAS_RUN else facts).append((key.replace("_", " "), text))
        elif isinstance(value, dict):
            (run if key in _HOW_IT_WAS_RUN else facts).extend(
                (f"{key} {inner}".replace("_", " "), text) for inner, one in value.items() if (text := _scalar(one)) is not None
            )
    return Result(
        name, TITLES.get(name, name.replace("_", " ")), tuple(facts), tuple(run), tuple(tables), paper_plots(name, content)
    )


def _rows(value: object) -> list[Mapping[str, object]]:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return list(value)
    return []


def _written(written: WrittenTable) -> Table:
    """Return a table of texts: columns of figures, their ranges in brackets, and of words."""
    cells = tuple(
        tuple(Cell(text, interval.removesuffix(")"), is_number=_is_figure(text)) for text, _, interval in parted)
        for parted in ([cell.partition(" (") for cell in row] for row in written.rows)
    )
    numeric = tuple(at > 0 and all(row[at].is_number for row in cells) for at in range(len(written.header)))
    return Table(written.caption, tuple(written.header), numeric, cells, long=len(cells) > _FOLDED_ROWS)


def _is_figure(text: str) -> bool:
    return text == figures.MISSING or text.lstrip("+-.")[:1].isdigit()


def _table(caption: str, rows: Sequence[Mapping[str, object]]) -> Table:
    known = {key: any(_scalar(row.get(key)) is not None for row in rows) for row in rows for key in row}
    columns = tuple(key for key, shown in known.items() if shown)
    cells = tuple(tuple(_cell(row, column) for column in columns) for row in rows[:_RAW_ROWS])
    # intervals stand below their figures
    nested = [key.replace("_", " ") for key, shown in known.items() if not shown and key != "ci"]
    left_out = [f"{len(rows) - _RAW_ROWS} more rows"] if len(rows) > _RAW_ROWS else []
    left_out += [f"the lists of {', '.join(nested)}"] if nested else []
    numeric = tuple(all(row[at].is_number or row[at].text == figures.MISSING for row in cells) for at in range(len(columns)))
    names = tuple(column.replace("_", " ") for column in columns)
    return Table(caption, names, numeric, cells, left_out=f"and {' and '.join(left_out)} in the file" if left_out else "")


def _cell(row: Mapping[str, object], column: str) -> Cell:
    value = row.get(column)
    intervals = row.get("ci")
    interval = intervals.get(column) if isinstance(intervals, dict) else None
    shown = ""
    if isinstance(interval, list) and len(interval) == 2 and all(_is_number(bound) for bound in interval):
        shown = f"{figures.number(interval[0])} to {figures.number(interval[1])}"
    return Cell(_scalar(value) or figures.MISSING, shown, _is_number(value))


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return figures.number(value)
    if isinstance(value, str):
        return value[:200]
    # lists of plain numbers, such as seeds
    if isinstance(value, list) and value and len(value) <= 12 and all(_is_number(one) for one in value):
        return ", ".join(figures.number(one) for one in value)
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
