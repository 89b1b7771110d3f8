"""How a live index is tiered. Frozen numbers with measured defaults; no behaviour."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CellsConfig:
    """Codes grouped into k-means cells, of which a query scans the nearest."""

    group_from_rows: int = 150_000
    """From this many live rows on scanning some cells costs less than scanning all codes."""
    rows_per_cell: int = 500
    regroup_share: float = 0.5
    """Rows are grouped anew, by centroids of that moment, when so many settled after the last grouping was begun, as a share of the
    live ones: the data drift, and a row that died leaves its cell no other way.
    """
    chunk_rows: int = 4_096
    fetch_per_hit: float = 2.0
    """Codes fetched of the first cells for each hit wanted, before the exact re-rank."""
    fetch_per_hit_further: float = 0.5
    """As above, in each round of cells further off."""
    first_cells: int = 24
    """Cells asked first, with as many behind them; then as many again, twice as many, and so on, while what the last of them gave
    still enters the best.
    """
    entering_share: float = 0.02
    """What they give still enters while it is more than this share of the best. Clusters too small for cells of their own lie
    scattered over cells of others, some far from a query beside them: at .05 the least language found could be .94.
    """
    judged_hits: int = 50
    """Of so many of the best at least: that of ten none came from the next cells says little of those beyond."""
    rows_per_hit: float = 20.0
    """First cells hold so many rows at least for each hit wanted of those that match."""


@dataclass(frozen=True, slots=True)
class CompressedConfig:
    """The 4-bit product-quantised tier, scanned and re-ranked in fp32. Half a byte a dimension."""

    train_from_rows: int = 8_192
    """Below this the exact scan is both cheaper and exact, and a codebook would be learned from too little."""
    train_sample_rows: int = 10_000
    look_share: float = 0.25
    """Whether the codebook still fits is looked at when so many of the live rows settled since the last look, as a share."""
    most_lost: float = 0.015
    """It is learned anew where codes lose more than this of the rows' variance. One of the rows themselves loses .0088 of what the
    benchmarks write, drift makes .0095 of it; from .025 on answers of ten lack some. The first rows may be of one topic, and what
    those teach loses .57 of all others. Codes in cells get a codebook with each grouping.
    """
    chunk_rows: int = 4_096
    """Rows recoded in one step."""
    fetch_per_hit: float = 2.0
    """Codes fetched for each hit wanted, before the exact re-rank."""
    fetch_at_least: int = 128
    wider_from_rows: int = 100_000
    """From this many rows on, 1.5 times as many codes are fetched: more rows lie within one quantisation error."""
    drop_dead_above: float = 0.15
    scan_us_per_row: float = 0.0022
    cells: CellsConfig | None = field(default_factory=CellsConfig)
    """None scans all codes whatever the size."""


@dataclass(frozen=True, slots=True)
class GraphConfig:
    """The HNSW tier: one sealed graph over the settled rows, filled in chunks beside the queries, published whole."""

    build_from_rows: int = 2_048
    """Fewer settled rows than this are not worth a graph."""
    pays_from_hits: int = 200
    """With codes, no graph is built before a walk for so many hits costs less than their scan: at some 600,000 live rows by the
    costs below. Before that a graph is built over and over, for more than half of what upserts cost, and hardly ever walked.
    0 builds it whatever it costs. Of codes in cells none is built: scanning a few cells costs less at any size.
    """
    rebuild_share: float = 0.75
    rebuild_rows_at_most: int = 400_000
    """A new graph is due when this share of the live rows, but no more than so many, settled after the last one was begun."""
    leave_oldest_share: float = 0.5
    leave_oldest_at_most: int = 32_768
    """The oldest rows, this share but no more, stay compressed: they expire before a graph of them pays, so in a sliding window
    each row is inserted once and the graph holds hardly any dead rows.
    """
    links: int = 16
    """hnswlib's M."""
    construction_breadth: int = 100
    """hnswlib's ef_construction."""
    hurried_links: int = 12
    hurried_construction_breadth: int = 60
    """Used while the builder is behind: a cheaper graph, never slower queries."""
    hurry_share: float = 1.25
    chunk_rows: int = 1_024
    drop_below_live_share: float = 0.2
    """A graph with fewer live rows than this share costs more than it saves, and is dropped until the next one."""
    breadth_per_hit: float = 3.0
    """Nodes kept while walking, for each hit the graph is expected to give; recall grows with it, and falls as rows grow. At
    600,000 rows it finds .989 of the true 200, and codes .997 at 1.6 times the cost; at 270,000 codes find more at .7 times.
    """
    breadth_slack: int = 400
    walk_us_per_breadth: float = 0.7
    """Cost of one node kept, at 50,000 rows; it grows with the fourth root of the rows. Only ratios to the scans matter."""

    def left_out(self, rows: int) -> int:
        """How many of so many rows, the oldest, no graph takes while there are codes of them."""
        return min(int(self.leave_oldest_share * rows), self.leave_oldest_at_most)

    def walk_us(self, breadth: float, rows: int) -> float:
        """Cost of a walk that keeps `breadth` nodes in a graph of so many rows."""
        return self.walk_us_per_breadth * float((rows / 50_000) ** 0.25) * breadth

    def pays(self, live: int, codes: CompressedConfig) -> bool:
        """Whether the graph of so many live rows would be walked, or the codes of what it holds scanned at less cost."""
        rows = live - self.left_out(live)
        walk_us = self.walk_us(self.breadth_per_hit * self.pays_from_hits + self.breadth_slack, rows)
        return self.pays_from_hits == 0 or walk_us < codes.scan_us_per_row * rows


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Which tiers exist and how large the exact one may grow. The default has all of them, each where it pays.

    `compressed=None` and `graph=None` switch a tier off; with both off every search is an exact scan.
    """

    fresh_rows: int = 2_048
    """Rows that may wait in the exactly scanned tier before the builder settles them."""
    fresh_rows_at_most: int = 16_384
    """At this many the writing thread settles them itself: the exact scan is bounded even with a starved builder."""
    compressed: CompressedConfig | None = field(default_factory=CompressedConfig)
    graph: GraphConfig | None = field(default_factory=GraphConfig)
    exact_us_per_row: float = 0.015
    """Cost of scoring one row in fp32: decides when scanning a small corpus is cheaper than walking its graph."""
    compact_dead_share: float = 0.5
    """The arena is rewritten, and its memory returned, once this share of its rows is dead."""
    compact_from_rows: int = 16_384
    compact_after_s: float = 86_400.0
    """It is rewritten so long after a row died whatever its share: what somebody had erased does not stay in memory."""
    background: bool = True
    """Whether a builder thread runs. Without one the owner calls `maintain()`: tests and bulk loads do."""
    builder_pause_s: float = 0.05
    builder_yields: bool = True
    """Whether the builder runs only on idle processor time. Off, it keeps its share of a busy machine, at the queries' cost."""
    seed: int = 17

    def __post_init__(self) -> None:
        if not 0 < self.fresh_rows <= self.fresh_rows_at_most:
            raise ValueError("fresh_rows must be above 0 and at most fresh_rows_at_most")


COMPRESSED_ONLY = IndexConfig(graph=None)
GRAPH_ONLY = IndexConfig(compressed=None)
EXACT_ONLY = IndexConfig(compressed=None, graph=None)

TIERS: dict[str, IndexConfig] = {
    "all": IndexConfig(),
    "codes": IndexConfig(compressed=CompressedConfig(cells=None), graph=None),
    "codes-and-graph": IndexConfig(compressed=CompressedConfig(cells=None)),
    "graph": GRAPH_ONLY,
    "exact": EXACT_ONLY,
}
"""By the names that operators and benchmarks know them by."""
