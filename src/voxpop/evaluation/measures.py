"""What a suite measures: a value against its goal, how sure it is, and every miss by name; values only, no I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal, NamedTuple

Unit = Literal["share", "count", "s", "ms"]
SAMPLE = 25  # questions a suite where a model answers and no number is given
_Z = 1.959964  # of a 95 % interval


class Miss(NamedTuple):
    """One case that failed: the id of its question, why, and what was said (a user's own folder only)."""

    id: str
    why: str
    said: str = ""


class Goal(NamedTuple):
    """A bound that a value must keep."""

    sign: Literal["<=", ">="]
    value: float

    def held(self, value: float) -> bool:
        return value <= self.value if self.sign == "<=" else value >= self.value


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a suite. `name` is `suite.figure`; `unit` says what `value` counts.

    `low` and `high` are the ends of the 95 % interval (Wilson's score interval) of the share of `n` cases that
    counted; None where the figure is no share. `told` says in a sentence how it was judged. `table` holds figures
    by kind (rows of a name, how many counted, of how many), `series` numbers to be drawn.
    """

    name: str
    title: str
    value: float | None
    n: int
    goal: Goal | None = None
    unit: Unit = "share"
    low: float | None = None
    high: float | None = None
    misses: tuple[Miss, ...] = ()
    told: str = ""
    table: tuple[tuple[str, int, int], ...] = ()
    series: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)

    @property
    def held(self) -> bool | None:
        """Whether the goal is kept; None without a goal or a value."""
        return None if self.goal is None or self.value is None else self.goal.held(self.value)

    def json(self, *, said: bool = True) -> dict[str, Any]:
        """As `report.json` has it; without `said` no word of a post or an answer is in it."""
        return {
            "name": self.name,
            "title": self.title,
            "value": self.value,
            "unit": self.unit,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "goal": self.goal and f"{self.goal.sign} {self.goal.value:g}",
            "held": self.held,
            "told": self.told,
            "table": [list(row) for row in self.table],
            "series": {name: [list(p) for p in points] for name, points in self.series.items()},
            "misses": [m._asdict() if said else {"id": m.id, "why": m.why} for m in self.misses],
        }


def wilson(counted: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); (0, 1) of nothing."""
    if not n:
        return 0.0, 1.0
    share, z2 = counted / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def share(name: str, title: str, counted: int, n: int, goal: Goal | None = None, **more: Any) -> Measure:
    """A measure of how many of `n` counted; without a value where there was no case."""
    low, high = wilson(counted, n)
    value = round(counted / n, 4) if n else None
    return Measure(name, title, value, n, goal, "share", round(low, 4), round(high, 4), **more)


def count(name: str, title: str, misses: Sequence[Miss], n: int, goal: Goal | None = None, **more: Any) -> Measure:
    """A measure of how many cases of `n` missed; its interval is that of their share."""
    low, high = wilson(len(misses), n)
    value = len(misses) if n else None
    return Measure(
        name, title, value, n, goal, "count", round(low, 4), round(high, 4), misses=tuple(misses), **more
    )


def timed(
    name: str, title: str, values: Iterable[float], goal: Goal | None = None, *, worst: bool = False, **more: Any
) -> Measure:
    """A measure of times, in ms: their median, or the longest. The times themselves are its series."""
    ordered = sorted(values)
    value = None if not ordered else round(ordered[-1] if worst else ordered[len(ordered) // 2], 3)
    series = {"times": [[v] for v in ordered]}
    return Measure(name, title, value, len(ordered), goal, more.pop("unit", "ms"), series=series, **more)


def tabled(cases: Iterable[tuple[str, bool]]) -> tuple[tuple[str, int, int], ...]:
    """Rows of a kind, how many of it counted, and how many there were; kinds in the order of their coming."""
    rows: dict[str, list[int]] = {}
    for kind, counted in cases:
        row = rows.setdefault(kind, [0, 0])
        row[0] += counted
        row[1] += 1
    return tuple((kind, counted, n) for kind, (counted, n) in rows.items())


@dataclass(frozen=True, slots=True)
class Report:
    """All measures of one run. `skipped`: suites that could not run, and why. `engine`: its name and facts."""

    engine: Mapping[str, str]
    measures: tuple[Measure, ...]
    skipped: Mapping[str, str]
    made_at: str
    took_s: float
    seed: int
    sample: int | None
    version: str

    @property
    def missed(self) -> tuple[Measure, ...]:
        """The measures whose goal is not kept."""
        return tuple(m for m in self.measures if m.held is False)

    def json(self, *, said: bool = True) -> dict[str, Any]:
        """As `report.json` has it."""
        return {
            "voxpop": self.version,
            "engine": dict(self.engine),
            "made_at": self.made_at,
            "took_s": round(self.took_s, 1),
            "seed": self.seed,
            "sample": self.sample,
            "held": not self.missed,
            "measures": [m.json(said=said) for m in self.measures],
            "skipped": dict(self.skipped),
        }
