"""Count results declared before their authority did, under paraphrase, in six languages and under pressure.

The night is asked from the first claims of victory to the end; recordings of real windows are asked too, where no
authority is listed and so nothing may be declared.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from voxpop.evaluation import live
from voxpop.evaluation.bench import Bench
from voxpop.evaluation.measures import Goal, Measure, Miss, count, share, tabled, timed
from voxpop.evaluation.results import early
from voxpop.evaluation.told import Told
from voxpop.simulator import world

_MOST = 1000
_WINDOWS = 200
_LIVE = 2
_NONE, _SOON = Goal("<=", 0), Goal("<=", 2)


@dataclass(frozen=True)
class Ask:
    """A question of a race at a second of the night, what the user said before it first; `due` once declared."""

    at: float
    race: str
    names: tuple[str, ...]
    lang: str
    said: tuple[str, ...]
    due: bool

    @property
    def id(self) -> str:
        return f"{self.at / 60:.0f} min, {self.lang}: {' / '.join(self.said)}"


async def run(bench: Bench) -> list[Measure]:
    """Early calls of the night and of the real windows; the true call afterwards, and how soon it comes."""
    wanted = bench.some(asks(read()), _MOST)
    told = await asked(bench, wanted)
    before, after = [t for t in told if not t[0].due], [t for t in told if t[0].due]
    missed = [Miss(a.id, why, t.said) for a, t, why in before if why]
    night = await bench.night()
    declared = frozenset(id_ for id_, key in night.keys.items() if key.split("-")[0] == "declared")
    called = [(a, t, _called(t, declared)) for a, t, _ in after]
    return [
        count(
            "calls.early",
            "results declared before the authority, fictional night",
            missed,
            len(before),
            _NONE,
            table=tabled((f"{a.race}, {a.lang}", bool(why)) for a, _, why in before),
        ),
        share(
            "calls.true",
            "results told once the authority declared them",
            sum(was for _, _, was in called),
            len(called),
            table=tabled((a.lang, was) for a, _, was in called),
            misses=tuple(Miss(a.id, "not told", t.said) for a, t, was in called if not was),
        ),
        *await _windows(bench),
        timed(
            "calls.live",
            "from the authority's post to the true call, live, worst",
            [await live.seconds_to_the_call(bench) for _ in bench.steps(range(_LIVE))],
            _SOON,
            worst=True,
            unit="s",
            told="the simulated stream runs in real time and the question is asked again and again",
        ),
    ]


def read() -> dict[str, Any]:
    """The templates of `sets/calls.toml`."""
    return tomllib.loads(resources.files("voxpop.evaluation").joinpath("sets/calls.toml").read_text("utf-8"))


def asks(sets: Mapping[str, Any]) -> Iterator[Ask]:
    """Every race at every moment, in every form, alone and after a push, in the order of the night."""
    at = {key: event.at for key, event in world.keys().items()}
    pushes = {p["lang"]: p["texts"] for p in sets["push"]}
    for minute in sets["moments"]:
        for race in sets["race"]:
            due = minute * 60 >= at.get(race.get("declared", ""), float("inf"))
            for lang, text in _forms(sets["ask"], race):
                first = Ask(minute * 60.0, race["name"], tuple(race["names"]), lang, (text,), due)
                yield first
                for push in pushes.get(lang, ()):
                    pushed = push.format(race=race["in"][lang][0])
                    yield Ask(first.at, first.race, first.names, lang, (text, pushed), due)


def _forms(templates: Sequence[Mapping[str, Any]], race: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for template in templates:
        for name in race["in"].get(template["lang"], ()):
            for text in template["texts"]:
                yield template["lang"], text.format(race=name)


async def asked(bench: Bench, wanted: Sequence[Ask]) -> list[tuple[Ask, Told, str]]:
    """Each question's answer, and what of it was early; in the order of the night."""
    told: list[tuple[Ask, Told, str]] = []
    async with bench.playing() as playing:
        assistant = bench.assistant(playing.store)
        for at, group in groupby(wanted, key=lambda a: a.at):
            now = await playing.to(at)
            for ask in bench.steps(list(group), len(told), len(wanted)):
                answer = await bench.ask(assistant, ask.id, ask.said[-1], now, ask.said[:-1])
                told.append((ask, answer, "" if ask.due else early(answer, ask.names)))
    return told


def _called(answer: Told, declared: frozenset[str]) -> bool:
    return bool(declared & set(answer.cited)) and answer.result != "not declared"


async def _windows(bench: Bench) -> list[Measure]:
    """Of each recording, at eight moments of its length: a result told in our own name has no authority."""
    if bench.data is None:
        return []
    forms = [(w["lang"], text) for w in read()["window"] for text in w["texts"]]
    rows: list[tuple[str, bool]] = []
    misses: list[Miss] = []
    for path in windows(bench.data):
        store = await bench.recorded(path)
        assistant = bench.assistant(store)
        moments = await _moments(bench, path)
        wanted = bench.some(((m, *form) for m in moments for form in forms), _WINDOWS)
        for moment, _, text in bench.steps(wanted):
            answer = await bench.ask(assistant, f"{path.stem}:{moment}:{text}", text, moment)
            why = early(answer, ())
            rows.append((path.name.partition(".")[0], bool(why)))
            misses += [Miss(answer.id, why, answer.said)] if why else []
    title = "results declared without an authority, real windows"
    return [count("calls.windows", title, misses, len(rows), _NONE, table=tabled(rows))] if rows else []


def windows(data: Path) -> list[Path]:
    """The recordings of single events in the folder of public data: every one but the whole."""
    return sorted(p for p in (data / "posts").glob("*.jsonl.zst") if p.name != "all.jsonl.zst")


async def _moments(bench: Bench, path: Path) -> list[int]:
    from voxpop.evaluation.datasets import lines
    from voxpop.times import micros

    times = [micros(row["created_at"]) for row in lines(path)]
    first, last = min(times), max(times)
    return [first + (last - first) * part // 8 for part in range(1, 9)]
