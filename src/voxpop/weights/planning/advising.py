"""What a machine can do with a model, format by format, at what price, and which one to take: a pure step.

It knows no machine but those that it is given, and measures nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from voxpop.errors import UsageError
from voxpop.weights.grok import Grok
from voxpop.weights.planning.machine import Machine
from voxpop.weights.planning.placing import (
    CEILING,
    PROMPT_TOKENS,
    Case,
    Placement,
    Step,
    place,
    seconds,
    shares,
)
from voxpop.weights.planning.programs import Program
from voxpop.weights.planning.sizes import Format

_HOURS = 3 * 365.25 * 24  # what was bought is paid off in three years
SLOWEST = 0.5  # tokens a second below which nobody would call it running


@dataclass(frozen=True, slots=True)
class Band:
    """A quantity as low, expected and high."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of the machine: conversations at once, tokens of context of each."""

    batches: tuple[int, ...] = (1, 8, 64)
    context: int = 8192
    kwh: float = 0.25


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that it may cost (EUR an hour, a million tokens, or once), the least speed (tokens a second)."""

    hour: float = inf
    million: float = inf
    buy: float = inf
    speed: float = SLOWEST

    @property
    def spends(self) -> bool:
        """Whether there is a bound of money."""
        return min(self.hour, self.million, self.buy) < inf


@dataclass(frozen=True, slots=True)
class Estimate:
    """So many conversations at once: tokens a second of all together, of a prompt, EUR a million tokens (or None).

    `by`: what takes the most time: gpu, memory or disk. `placed.lacking` says that it cannot run.
    """

    batch: int
    placed: Placement
    generate: Band
    prompt: Band
    by: str
    million: Band | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A format under a program: its file in bytes, `ceiling` tokens a second if the memory were all used."""

    stored: Format
    program: Program
    file: int
    ceiling: float
    estimates: tuple[Estimate, ...]

    @property
    def one(self) -> Estimate:
        """The first batch that was asked for, one conversation as a rule."""
        return self.estimates[0]

    @property
    def runs(self) -> bool:
        """Fits without the disk, and is not too slow to be called running."""
        return self.one.placed.fast and self.one.generate.expected >= SLOWEST


def row(model: Grok, stored: Format, program: Program, machine: Machine, work: Work) -> Row:
    """All estimates of a format under a program."""
    case = Case(model, stored, machine, program.split)
    estimates = tuple(_estimate(case, batch, work) for batch in work.batches)
    return Row(stored, program, case.sizes.file, ceiling(case), estimates)


def ceiling(case: Case) -> float:
    """Tokens a second at batch 1 and no context if every byte came at the rated speed of where it lies."""
    placed = place(case, 1)
    if placed.lacking:
        return 0.0
    aggregated = replace(case, split="tensors") if placed.expert_layers == case.sizes.layers else case
    return 1 / max(1e-12, sum(seconds(aggregated, placed, Step(1, 0, 1), CEILING).values()))


def rows(
    model: Grok, formats: Sequence[Format], programs: Sequence[Program], machine: Machine, work: Work
) -> list[Row]:
    """A row for each format and program that reads it; programs that need GPUs only where there are some."""
    return [
        row(model, stored, program, machine, work)
        for stored in formats
        for program in programs
        if stored.kind in program.reads and _may(program, machine)
    ]


def _may(program: Program, machine: Machine) -> bool:
    return not program.needs_gpu or (bool(machine.gpus) and not machine.unified)


def best(found: Sequence[Row], machine: Machine, budget: Budget) -> Row | None:
    """The best quality that runs, is within the budget and fast enough; of several the fastest."""
    within = [
        each
        for each in found
        if each.runs
        and each.program.serves
        and each.one.generate.expected >= budget.speed
        and affordable(each, machine, budget)
    ]
    return min(within, key=lambda each: (each.stored.rank, -each.one.generate.expected), default=None)


def affordable(row: Row, machine: Machine, budget: Budget) -> bool:
    """Whether every bound of money is kept; one whose price is not known keeps none."""
    if not budget.spends:
        return True
    price = machine.price
    cheapest = min((e.million.expected for e in row.estimates if e.million), default=inf)
    hour = price.hour[0] if price and price.hour else inf
    once = price.buy if price and price.buy is not None else inf
    return (
        (budget.hour == inf or hour <= budget.hour)
        and (budget.buy == inf or once <= budget.buy)
        and (budget.million == inf or cheapest <= budget.million)
    )


def hourly(machine: Machine, kwh: float) -> tuple[float, float] | None:
    """EUR an hour, from and to: rent, or what was paid spread over three years, and the power for it."""
    if machine.price is None:
        return None
    if machine.price.hour:
        return machine.price.hour
    if machine.price.buy is None:
        return None
    total = machine.price.buy / _HOURS + machine.total_watts / 1000 * kwh
    return total, total


def budget_of(texts: Sequence[str], speed: float | None) -> Budget:
    """A budget as a user writes it: `5/h`, `20/Mtok`, `9000`; raises UsageError."""
    bounds: dict[str, float] = {}
    for text in texts:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:EUR|€)?\s*(/h|/Mtok)?", text.strip(), re.IGNORECASE)
        if not found:
            raise UsageError(
                f"{text!r} is no budget.", "Write EUR an hour as 5/h, a million tokens as 20/Mtok, once as 9000."
            )
        bounds[{"/h": "hour", "/mtok": "million"}.get((found[2] or "").lower(), "buy")] = float(found[1])
    return Budget(**bounds, speed=SLOWEST if speed is None else speed)


def cheapest(
    model: Grok,
    formats: Sequence[Format],
    programs: Sequence[Program],
    machines: Mapping[str, Machine],
    work: Work,
    budget: Budget,
) -> tuple[tuple[Machine, Row] | None, tuple[Machine, Row] | None]:
    """Of the described machines the cheapest that can, and the one with the least memory whose price is unknown."""
    priced: list[tuple[float, Machine, Row]] = []
    unpriced: list[tuple[float, Machine, Row]] = []
    for machine in machines.values():
        hour = hourly(machine, work.kwh)
        bound = budget if hour else replace(budget, hour=inf, million=inf, buy=inf)
        if found := best(rows(model, formats, programs, machine, work), machine, bound):
            cost = hour[0] if hour else float(machine.memory + sum(g.memory for g in machine.gpus))
            (priced if hour else unpriced).append((cost, machine, found))
    first = min(priced, key=lambda x: x[0], default=None)
    second = min(unpriced, key=lambda x: x[0], default=None)
    return first and first[1:], second and second[1:]


def _estimate(case: Case, batch: int, work: Work) -> Estimate:
    """The faster of with and without the GPUs: one that is slower than memory is better left alone."""
    placements = [place(case, batch * work.context, gpu=gpu) for gpu in (True, False)]
    able = [p for p in placements if not p.lacking]
    if not able:
        none = Band(0.0, 0.0, 0.0)
        return Estimate(batch, min(placements, key=lambda p: p.lacking), none, none, "")
    step, tokens = Step(batch, work.context, batch), min(PROMPT_TOKENS, work.context)
    _, expected, _ = all_shares = shares(case.machine)
    placed = min(able, key=lambda p: sum(seconds(case, p, step, expected).values()))
    times = seconds(case, placed, step, expected)
    speed = Band(*(batch / sum(seconds(case, placed, step, at).values()) for at in all_shares))
    reading = Step(tokens, work.context // 2, 1)
    prompt = Band(*(tokens / sum(seconds(case, placed, reading, at).values()) for at in all_shares))
    by = max(times, key=lambda where: times[where])
    return Estimate(batch, placed, speed, prompt, by, _million(case.machine, speed, work))


def _million(machine: Machine, speed: Band, work: Work) -> Band | None:
    hour = hourly(machine, work.kwh)
    if hour is None or not speed.low:
        return None
    per = 1e6 / 3600
    return Band(hour[0] / speed.high * per, sum(hour) / 2 / speed.expected * per, hour[1] / speed.low * per)
