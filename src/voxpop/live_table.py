"""Draw running sources as a table on a terminal, or as plain lines elsewhere; it decides nothing."""

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from voxpop.render import length, plain
from voxpop.text import counted

_GAP = " "
_NAME = 28  # characters of a long name, before other columns get room
_NEXT = re.compile(r"\bnext post (in [\d.]+ \w+)$")
Row = Mapping[str, Any]


class Column(NamedTuple):
    """One column; the larger `rank`, the sooner a narrow terminal goes without it."""

    title: str
    width: int
    rank: int
    cell: Callable[[Row], str]


def rated(before: Row | None, after: Row) -> dict[str, Any]:
    """A status with `events_per_s` and `posts_per_s` of each source and `searches_per_s`; None at first."""
    passed = after["process"]["uptime_s"] - before["process"]["uptime_s"] if before else 0.0
    known = {s["name"]: s for s in before["sources"]} if before else {}

    def rate(old: Row | None, new: Row, name: str) -> float | None:
        return None if old is None or passed <= 0 else round(max(0, new[name] - old[name]) / passed, 1)

    sources = [
        {**s, **{f"{name}_per_s": rate(known.get(s["name"]), s, name) for name in ("events", "posts")}}
        for s in after["sources"]
    ]
    searches = rate(before["process"] if before else None, after["process"], "searches")
    return {**after, "sources": sources, "process": {**after["process"], "searches_per_s": searches}}


def lines(status: Row, width: int) -> list[str]:
    """The table of a rated status: head, a line a source, a line for each that is not well, totals."""
    columns = _fitting(status["sources"], width)
    head = _GAP.join(_fit(c.title, c) for c in columns).rstrip()
    body = [_GAP.join(_fit(c.cell(row), c) for c in columns).rstrip() for row in status["sources"]]
    troubles = [_flat(f"! {row['name']}: {row['state']}") for row in status["sources"] if not row["ok"]]
    return [_cut(line, width) for line in (head, *body, *troubles, _totals(status)) if line]


class Screen:
    """Draws over what it drew before where the stream is a terminal; elsewhere it adds lines, the head once."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._drawn = 0

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live and self._drawn:
            self._write("\x1b[?25h")

    def draw(self, status: Row) -> None:
        """Show a rated status."""
        size = shutil.get_terminal_size((100, 40))
        made = lines(status, size.columns - 1 if self._live else 100)
        if not self._live:
            self._write("".join(f"{line}\n" for line in made[1 if self._drawn else 0 :]))
            self._drawn = 1
            return
        shown = made[: max(1, size.lines - 1)]
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._write(f"\x1b[?25l{back}\x1b[J" + "".join(f"{line}\n" for line in shown))
        self._drawn = len(shown)

    def note(self, text: str) -> None:
        """A line below the table, until it is drawn again; where there is none, a line of the standard error."""
        if self._live and self._drawn:
            self._write(_cut(_flat(text), shutil.get_terminal_size((100, 40)).columns - 1) + "\n")
            self._drawn += 1
        else:
            sys.stderr.write(_flat(text) + "\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def number(value: float | None) -> str:
    """At most five characters: `–`, `7`, `0.4`, `1,203`, `12.3k`, `4.5M`."""
    if value is None:
        return "–"
    if value < 10 and value != int(value):
        return f"{value:.1f}"
    if value < 9_999.5:
        return f"{value:,.0f}"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.99995:
            scaled = value / size
            return f"{scaled:.1f}{unit}" if scaled < 99.95 else f"{scaled:.0f}{unit}"
    raise ValueError(f"{value} is no count.")


def size(count: int | None) -> str:
    """Bytes for people: `812 MB`."""
    if count is None:
        return "–"
    for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= each:
            return f"{count / each:.1f} {unit}" if count < 10 * each else f"{count / each:.0f} {unit}"
    return f"{count} B"


def _state(row: Row) -> str:
    if row["retry_s"] is not None:
        return f"retry in {row['retry_s']:.0f} s"
    if row["ok"] and (wait := _NEXT.search(str(row["state"]))):
        return f"next {wait[1]}"
    first = str(row["state"]).replace(":", " ").replace(",", " ").split()
    return (first[0] if first else "–") if row["ok"] else f"! {' '.join(first)}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} s" if value < 10 else length(value).replace(" days", " d")


def _spent(row: Row) -> str:
    if not (spend := row["spend"]):
        return "–"
    return f"${spend['usd']:.2f}/{spend['budget_usd']:g}"


_COLUMNS = (
    Column("SOURCE", -16, 0, lambda r: r["name"]),
    Column("STATE", -13, 2, _state),
    Column("EVENTS/S", 8, 4, lambda r: number(r["events_per_s"])),
    Column("POSTS/S", 7, 1, lambda r: number(r["posts_per_s"])),
    Column("LAG", 8, 3, lambda r: _seconds(r["lag_s"])),
    Column("BEHIND", 8, 6, lambda r: _seconds(r["behind_s"])),
    Column("QUEUE", 5, 7, lambda r: number(r["queue"])),
    Column("DROPPED", 7, 5, lambda r: number(sum(r["dropped"].values()))),
    Column("SHED", 5, 8, lambda r: number(sum(r["shed"].values()))),
    Column("SPEND", 9, 9, _spent),
)


def _fitting(rows: Sequence[Row], width: int) -> list[Column]:
    columns = [c for c in _COLUMNS if c.title != "SPEND" or any(r["spend"] for r in rows)]
    longest = max((len(row["name"]) for row in rows), default=0)
    columns[0] = columns[0]._replace(width=min(columns[0].width, -min(longest, _NAME)))
    while len(columns) > 1 and sum(abs(c.width) + len(_GAP) for c in columns) - len(_GAP) > width:
        columns.remove(max(columns, key=lambda c: c.rank))
    # What is left over goes to the names.
    spare = max(0, width - sum(abs(c.width) + len(_GAP) for c in columns) + len(_GAP))
    wanted = longest + columns[0].width
    return [columns[0]._replace(width=columns[0].width - max(0, min(spare, wanted))), *columns[1:]]


def _fit(text: str, column: Column) -> str:
    room = abs(column.width)
    text = _cut_within(_flat(text), room) if column.rank == 0 else _cut(_flat(text), room)
    return text.ljust(room) if column.width < 0 else text.rjust(room)


def _flat(text: str) -> str:
    return " ".join(plain(text).split())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _cut_within(name: str, width: int) -> str:
    """Names of one kind begin alike: both ends are kept."""
    first = width // 2
    return name if len(name) <= width else f"{name[:first]}…{name[len(name) - (width - first - 1) :]}"


def _totals(status: Row) -> str:
    store, process = status["store"], status["process"]
    parts = [f"{status['posts']:,} posts"]
    if (partitions := store.get("partitions")) is not None:
        parts.append(counted(partitions, "partition"))
    if (tail := store.get("tail")) is not None:
        parts.append(f"tail {tail:,}")
    if disk := store.get("disk_bytes"):
        parts.append(f"{size(disk)} on disk")
    if (memory := process.get("memory_bytes")) is not None:
        parts.append(f"{size(memory)} memory")
    if (searches := process.get("searches_per_s")) is not None:
        parts.append(f"{number(searches)} searches/s")
    return " · ".join(parts)
