"""Ask the same question twenty times, half of them of a store filled anew: same status, same citations."""

from collections import Counter
from collections.abc import Sequence

from voxpop.evaluation.bench import Bench
from voxpop.evaluation.measures import Goal, Measure, Miss, share
from voxpop.simulator import world

ASKS = 20
_MOMENTS = (
    7_800.0,
    13_200.0,
    15_180.0,
    20_220.0,
    21_000.0,
)  # polls close, claims, an impostor, projections, the end


async def run(bench: Bench) -> list[Measure]:
    """Of all repeats, how many have the status and the citations that most of them have."""
    kinds = ("undeclared", "contested", "answerable")
    facts = sorted({f.question for f in world.FACTS if f.kind in kinds})
    # A sample bounds the asks, not the questions: each of these is asked twenty times.
    most = 20 if bench.sample is None else max(2, bench.sample // ASKS)
    return [await repeated(bench, bench.some([(at, q) for at in _MOMENTS for q in facts], most))]


async def repeated(bench: Bench, wanted: Sequence[tuple[float, str]]) -> Measure:
    """Questions at seconds of the night, each asked twenty times of two stores in turn."""
    night, same = await bench.night(), 0
    misses: list[Miss] = []
    done = 0
    for at in sorted({at for at, _ in wanted}):
        questions = [q for moment, q in wanted if moment == at]
        async with bench.fresh_night(at) as one, bench.fresh_night(at) as other:
            both = [bench.assistant(store) for store in (one, other)]
            for question in bench.steps(questions, done, len(wanted)):
                done += 1
                told = [await bench.ask(both[n % 2], question, question, night.moment(at)) for n in range(ASKS)]
                counts = Counter((t.status, t.cited) for t in told)
                [((status, _), most)] = counts.most_common(1)
                same += most
                if most < ASKS:
                    misses.append(Miss(f"{at / 60:.0f} min: {question}", f"{len(counts)} answers", status))
    title = f"same question, {ASKS} asks: same status and citations"
    return share("agreement.same", title, same, ASKS * done, Goal(">=", 1.0), misses=tuple(misses))
