"""Measure how the checks tell a true citation from a wrong one: citations swapped on purpose, and true ones."""

from voxpop.evaluation import citations
from voxpop.evaluation.bench import Bench
from voxpop.evaluation.measures import Goal, Measure, Miss, share, tabled

_SWAP = "other post"


async def run(bench: Bench) -> list[Measure]:
    """Of wrong pairs how many are caught, of true ones how many withheld. No engine has a part in it."""
    judged = [(pair, citations.judge(pair)) for pair in bench.steps(citations.pairs())]
    swaps = [(pair, verdict.shown) for pair, verdict in judged if pair.kind == _SWAP]
    true = [(pair, verdict.shown) for pair, verdict in judged if pair.true]
    shown = [pair.true for pair, verdict in judged if verdict.shown]
    withheld = [pair for pair, was in true if not was]
    return [
        share(
            "citations.caught",
            "citations swapped on purpose that are caught",
            sum(not was for _, was in swaps),
            len(swaps),
            Goal(">=", 0.98),
            misses=tuple(Miss(f"{p.kind}: {p.text[:60]}", "shown", p.passage.post.text) for p, was in swaps if was),
        ),
        share(
            "citations.withheld",
            "true sentences withheld beside them",
            len(withheld),
            len(true),
            Goal("<=", 0.03),
            misses=tuple(Miss(f"{p.kind}: {p.text[:60]}", "withheld", p.passage.post.text) for p in withheld),
        ),
        share("citations.precision", "sentences shown that their post carries", sum(shown), len(shown)),
        share(
            "citations.edits",
            "wrong sentences refused, of every kind",
            sum(not v.shown for p, v in judged if not p.true),
            sum(not p.true for p, _ in judged),
            table=tabled((p.kind, not v.shown) for p, v in judged if not p.true),
        ),
    ]
