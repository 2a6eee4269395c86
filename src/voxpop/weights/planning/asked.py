"""A plan from what a user asked for: finds the model's shape, reads or looks up the machine, and asks the steps."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError
from voxpop.weights.grok import GROK_1, Grok, scaled
from voxpop.weights.planning.advising import Row, Work, best, budget_of, cheapest, hourly, rows
from voxpop.weights.planning.machine import changed, described, machine_named
from voxpop.weights.planning.machine_reading import this_machine
from voxpop.weights.planning.placing import cache_bytes, calibration
from voxpop.weights.planning.programs import command, programs
from voxpop.weights.planning.sizes import format_named, formats
from voxpop.weights.planning.text import Plan, steps, verdict


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `voxpop weights plan`."""

    machine: str | None = None
    ram: float | None = None
    bandwidth: float | None = None
    gpu: str | None = None
    disk: float | None = None
    watts: float | None = None
    eur_per_hour: float | None = None
    price_eur: float | None = None
    eur_per_kwh: float = 0.25
    tokens: int | None = None
    batch: tuple[int, ...] = ()
    only: tuple[str, ...] = ()
    budget: tuple[str, ...] = ()
    min_speed: float | None = None


def made(model: str, asked: Asked) -> Plan:
    """The plan; takes about four seconds where this machine is measured. Raises UsageError."""
    name, shape = shape_of(model)
    budget = budget_of(asked.budget, asked.min_speed)
    chosen = tuple(format_named(each) for each in asked.only) or formats()
    machine = changed(
        machine_named(asked.machine) if asked.machine else this_machine(Path.cwd()),
        ram=asked.ram,
        bandwidth=asked.bandwidth,
        gpu=asked.gpu,
        disk=asked.disk,
        watts=asked.watts,
        hour=asked.eur_per_hour,
        buy=asked.price_eur,
    )
    work = Work(asked.batch or (1, 8, 64), asked.tokens or shape.context, asked.eur_per_kwh)
    found = tuple(rows(shape, chosen, programs(), machine, work))
    take = best(found, machine, budget)
    priced, unpriced = (None, None) if take else cheapest(shape, chosen, programs(), described(), work, budget)
    return Plan(name, shape, machine, work, budget, found, take, priced, unpriced)


def shape_of(model: str) -> tuple[str, Grok]:
    """A member of the family by name (`grok-1`, `scaled-2`, `scaled-2:12`) or by a checkpoint's path."""
    if model == "grok-1":
        return model, GROK_1
    if found := re.fullmatch(r"scaled-([1-8])(?::(\d{1,3}))?", model):
        return model, scaled(int(found[1]), max(1, int(found[2] or 12)))
    path = Path(model)
    if not path.exists():
        raise UsageError(
            f"There is no model {model!r}.", "Take grok-1, scaled-1 to scaled-8, or a checkpoint's path."
        )
    from voxpop.weights.formats.opening import opened

    return path.name, opened(path).shape


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values: bytes, bytes a second, tokens a second, EUR."""
    return {
        "model": {
            "name": plan.name,
            "parameters": plan.model.parameters,
            "active": plan.model.active,
            "cache_bytes_per_token": cache_bytes(plan.model),
        },
        "machine": {**asdict(plan.machine), "eur_per_hour": hourly(plan.machine, plan.work.kwh)},
        "context": plan.work.context,
        "verdict": verdict(plan),
        "best": plan.best and _row(plan, plan.best),
        "steps": [line.strip() for line in steps(plan)[1:]],
        "rows": [_row(plan, row) for row in plan.rows],
        "elsewhere": [
            {"machine": found[0].name, "format": found[1].stored.name, "priced": found is plan.priced}
            for found in (plan.priced, plan.unpriced)
            if found
        ],
        "programs": [asdict(each) for each in programs()],
        "calibration": _finite(calibration()),
    }


def _row(plan: Plan, row: Row) -> dict[str, Any]:
    return {
        "format": row.stored.name,
        "program": row.program.name,
        "file": row.file,
        "published": row.stored.published,
        "loss": row.stored.loss,
        "ceiling": row.ceiling,
        "command": ""
        if row.one.placed.lacking
        else command(
            row.program, plan.name, row.stored, plan.machine, row.one.placed, (row.one.batch, plan.work.context)
        ),
        "estimates": [asdict(each) for each in row.estimates],
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return value if not isinstance(value, float) or isfinite(value) else None
