"""The table of suites, and running them one after another; a suite that cannot run says why and stops no other."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from voxpop.errors import UsageError
from voxpop.evaluation import (
    abstention,
    agreement,
    brought,
    calls,
    cost,
    facts,
    found,
    hostile,
    mirrored,
    refusals,
    rumours,
    support,
    swapped,
)
from voxpop.evaluation.bench import Bench, Skipped
from voxpop.evaluation.measures import Measure

Suite = Callable[[Bench], Awaitable[list[Measure]]]
SUITES: Mapping[str, Suite] = {
    "night": facts.run,
    "calls": calls.run,
    "citations": swapped.run,
    "support": support.run,
    "abstention": abstention.run,
    "retrieval": found.run,
    "rumours": rumours.run,
    "agreement": agreement.run,
    "injections": hostile.run,
    "refusals": refusals.run,
    "mirrored": mirrored.run,
    "questions": brought.run,
    "cost": cost.run,  # the last: it counts what the others asked
}


async def measure(bench: Bench, names: Sequence[str] = ()) -> tuple[list[Measure], dict[str, str]]:
    """What the suites named (none: all) measure; why some did not run. Raises UsageError for an unknown name."""
    if unknown := [n for n in names if n not in SUITES]:
        raise UsageError(f"No suite '{unknown[0]}'.", f"Choose among: {', '.join(SUITES)}.")
    measured: list[Measure] = []
    skipped: dict[str, str] = {}
    for name, run in SUITES.items():
        if names and name not in names:
            continue
        bench.suite = name
        try:
            measured += await run(bench)
        except Skipped as why:
            skipped[name] = str(why)
    return measured, skipped
