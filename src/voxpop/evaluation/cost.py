"""What verification costs: its share of the time of the answers that this run asked for."""

from voxpop.evaluation import facts
from voxpop.evaluation.bench import Bench
from voxpop.evaluation.measures import Goal, Measure, timed

_GOAL = Goal("<=", 0.15)


async def run(bench: Bench) -> list[Measure]:
    """The share over all answers that showed a sentence, and the times of the answers; other suites' asks count."""
    if not bench.times:
        await facts.answers(bench)
    shown = [t for t in bench.times if t.first is not None]
    total, verify = sum(t.total for t in shown), sum(t.verify for t in shown)
    value = round(verify / total, 4) if total else None
    return [
        Measure(
            "cost.verification",
            "verification's share of the answer's time",
            value,
            len(shown),
            _GOAL,
            told="time in the spans `verify` against the whole time of each answer that showed a sentence",
        ),
        timed("cost.verify", "verification of one answer, median", [t.verify for t in shown]),
        timed("cost.first", "first sentence, median", [t.first for t in shown if t.first is not None]),
        timed("cost.total", "whole answer, median", [t.total for t in bench.times]),
    ]
