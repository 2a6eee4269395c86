"""The tables of docs/grok-1.md, from the planner and the published figures; it measures nothing.

`python -m voxpop.docs` writes them, and a test says when the page is behind.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from voxpop.weights.grok import GROK_1
from voxpop.weights.planning import asked as plan_making
from voxpop.weights.planning.advising import Budget, Row, Work, best, ceiling, hourly, row, rows
from voxpop.weights.planning.machine import Machine, described
from voxpop.weights.planning.placing import (
    CEILING,
    PROMPT_TOKENS,
    Case,
    Step,
    cache_bytes,
    calibration,
    place,
    seconds,
    token_bytes,
    touched,
)
from voxpop.weights.planning.programs import Program, programs
from voxpop.weights.planning.published import Computed, Figure, computed, others, published
from voxpop.weights.planning.sizes import format_named, formats, published_size, sizes
from voxpop.weights.planning.text import answer, figure, span

LLAMA, SGLANG = programs()[0], programs()[1]
_SHOWN = [
    *("epyc-8ch-ddr4", "epyc-12ch", "2x-epyc-12ch", "epyc-12ch-4090", "epyc-12ch-h100"),
    *("m3-ultra-256", "m3-ultra-512", "2xh100", "4xh100", "8xh100", "8xmi300x"),
]


def tables() -> dict[str, str]:
    """Every table of the page, by the name of its marks."""
    return {
        "sizes": size_table(),
        "machines": machine_table(),
        "batching": batching_table(),
        "caching": caching_table(),
        "published": published_table(),
        "computed": computed_table(),
        "others": other_table(),
        "error": error_table(),
        "defects": defect_table(),
    }


def example() -> str:
    """What README.md shows: the answer for one described machine."""
    command = "voxpop weights plan --machine epyc-12ch --min-speed 3 --eur-per-hour 1.5"
    made = plan_making.made("grok-1", plan_making.Asked(machine="epyc-12ch", min_speed=3.0, eur_per_hour=1.5))
    return f"```\n$ {command}\n{answer(made)}\n```"


def size_table() -> str:
    """Files: ours, and others'."""
    found = []
    for each in formats():
        taken = sizes(GROK_1, each)
        theirs = f"{each.published / 1e9:.1f}" if each.published else ""
        same = published_size(GROK_1, each)
        off = f"{same / 1e9:.1f} ({same / each.published - 1:+.2%})" if each.published else ""
        least = (taken.file + 8192 * cache_bytes(GROK_1)) / 0.95
        found.append(
            (
                each.name,
                _gb(taken.file),
                f"{8 * taken.file / GROK_1.parameters:.2f}",
                theirs,
                off,
                _gb(least),
                each.loss,
            )
        )
    head = (
        "format",
        "GB",
        "bits a weight",
        "published GB",
        "computed for it",
        "memory with 8,192 tokens, GB",
        "lost",
    )
    return _table(head, found)


def machine_table() -> str:
    """What each machine does best, with at least one token a second."""
    found = []
    for name in _SHOWN:
        machine, work = described()[name], Work()
        taken = best(rows(GROK_1, formats(), programs(), machine, work), machine, Budget(speed=1.0))
        if taken:
            found.append((f"`{name}`", taken.stored.name, taken.program.name, *_speeds(taken)))
    head = ("machine", "format", "program", "1 at once", "8 at once", "64 at once", "prompt", "EUR/Mtok, 1", "64")
    return _table(head, found)


def batching_table() -> str:
    """What a batch does to bytes, speed and cost of fp8 on eight H100, and of Q4_K_M on one EPYC."""
    counts = (1, 2, 4, 8, 16, 32, 64, 128)
    work = Work(counts, 2048)
    big = row(GROK_1, format_named("fp8"), SGLANG, described()["8xh100"], work)
    small = row(GROK_1, format_named("Q4_K_M"), LLAMA, described()["epyc-12ch"], work)
    taken = sizes(GROK_1, format_named("fp8"))
    found = [
        (
            str(count),
            f"{8 * touched(GROK_1, count):.1f} of 8",
            figure(token_bytes(GROK_1, taken, count) / count / 1e9),
            figure(one.generate.expected),
            figure(one.million.expected) if one.million else "",
            figure(other.generate.expected),
        )
        for count, one, other in zip(counts, big.estimates, small.estimates, strict=True)
    ]
    head = (
        "at once",
        "experts touched",
        "GB read a token, fp8",
        "8xh100 fp8, tok/s",
        "EUR/Mtok",
        "epyc-12ch Q4_K_M, tok/s",
    )
    return _table(head, found)


def caching_table() -> str:
    """What holding a share of the experts on an H100 does, the rest copied to it, or computed where it lies."""
    taken, found = sizes(GROK_1, format_named("Q4_K_M")), []
    experts = taken.layers * taken.experts
    for share in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0):
        missed = experts * touched(GROK_1, 1) * (1 - share) / 1e9
        copied, there = missing(share)
        found.append(
            (f"{share:.0%}", _gb(taken.dense + experts * share), figure(missed), figure(copied), figure(there))
        )
    head = (
        "experts on the GPU",
        "GB of GPU",
        "GB missed a token",
        "missed ones copied, tok/s",
        "computed where they lie",
    )
    return _table(head, found)


def missing(share: float) -> tuple[float, float]:
    """Tokens a second of Q4_K_M at rated speeds, a share of the experts on an H100: the rest copied, computed."""
    machine, taken = described()["epyc-12ch-h100"], sizes(GROK_1, format_named("Q4_K_M"))
    each = taken.layers * taken.experts * touched(GROK_1, 1)
    on_gpu = (taken.dense + each * share) / machine.gpus[0].rate
    return 1 / (on_gpu + each * (1 - share) / machine.link), 1 / (on_gpu + each * (1 - share) / machine.rate)


def published_table() -> str:
    """Others' measurements beside the plan."""
    found = []
    for each in published():
        said, low, expected, high = _beside(each)
        ratio = f"{expected / each.value:.2f}" if expected else "does not fit"
        band = (
            f"{figure(expected)} ({figure(low)}-{figure(high)})" if low else figure(expected) if expected else "-"
        )
        found.append((f"{each.what} ({each.source})", said, band, ratio, each.why))
    return _table(("published", "figure", "the plan", "plan / published", "why it is off"), found)


def computed_table() -> str:
    """The arithmetic by hand beside the planner's, with every share at 100 %."""
    found = []
    for each in computed():
        for name, value in each.values.items():
            ours = by_formula(each, name)
            found.append((f"`{each.machine}`", each.what, name, figure(value), figure(ours), f"{ours / value:.2f}"))
    return _table(("machine", "what", "of", "by hand", "planner", "ratio"), found)


def by_formula(each: Computed, name: str) -> float:
    """What the planner says of what was computed by hand: tokens a second, or EUR a million tokens."""
    machine = described()[each.machine]
    if each.kind == "cost":
        low, high = hourly(machine, 0.0) or (0.0, 0.0)
        return (low if each.what.endswith("cheapest") else high) / float(name.partition(" ")[0]) / 3600 * 1e6
    case = Case(GROK_1, format_named(name), machine, "layers")
    if each.kind == "prompt":
        whole = replace(case, split="tensors")
        step = Step(PROMPT_TOKENS, 0, 1)
        taken_s = seconds(whole, place(whole, 1), step, replace(CEILING, gpu_compute=0.3))
        return PROMPT_TOKENS / sum(taken_s.values())
    if each.kind == "ceiling":
        split = "tensors" if name == "int8" else "layers"
        return ceiling(replace(case, split=split))  # type: ignore[arg-type]
    placed, step = place(case, 1), Step(1, 0, 1)
    if each.kind == "streamed":
        streamed = replace(case, machine=replace(machine, disk_rate=each.rate))
        return 1 / seconds(streamed, placed, step, replace(CEILING, cached=0.0))["disk"]
    taken = case.sizes
    missed = (taken.layers - placed.expert_layers) * taken.experts * touched(GROK_1, 1)
    return 1 / (missed / each.rate + seconds(case, placed, step, CEILING)["gpu"])


def other_table() -> str:
    """Other models' speeds as a share of what memory allows."""
    found = [
        (
            f"{each.what} ({each.source})",
            figure(each.bytes * each.value / 1e9),
            figure(each.rate / 1e9) if each.rate else "not known",
            f"{each.bytes * each.value / each.rate:.0%}" if each.rate else "",
        )
        for each in others()
    ]
    return _table(("published", "GB/s that it read", "GB/s rated", "share"), found)


def error_table() -> str:
    """How far the estimates were off where they could be measured."""
    found = [
        (each["what"], str(each["runs"]), f"{each['median']:.0%}", f"{each['worst']:.0%}")
        for each in calibration()["error"]["sets"]
    ]
    return _table(("runs of llama.cpp on one core", "number", "median error", "worst"), found)


def defect_table() -> str:
    """What each program does otherwise than xAI's code."""
    found = [(r.name, _reads(r), r.tried, "<br>".join(r.defects), r.source) for r in programs()]
    return _table(("program", "formats", "tried", "known defects for this model", "source"), found)


def _reads(program: Program) -> str:
    return ", ".join(f.name for f in formats() if f.kind in program.reads) or "none"


def _speeds(taken: Row) -> Iterable[str]:
    one, last = taken.estimates[0], taken.estimates[-1]
    for each in taken.estimates:
        yield f"{figure(each.generate.expected)} ({span(each.generate)})" if not each.placed.lacking else "-"
    yield figure(one.prompt.expected)
    yield figure(one.million.expected) if one.million else "no price"
    yield figure(last.million.expected) if last.million else "no price"


def _beside(each: Figure) -> tuple[str, float, float, float]:
    machine, stored = described()[each.machine], format_named(each.format)
    program = next(r for r in programs() if stored.kind in r.reads)
    found = row(GROK_1, stored, program, machine, Work((1,), each.context)).one
    if each.kind in ("generate", "prompt"):
        band = found.generate if each.kind == "generate" else found.prompt
        return f"{figure(each.value)} tok/s", band.low, band.expected, band.high
    if each.kind == "memory":
        whole = published_size(GROK_1, stored) + each.context * cache_bytes(GROK_1)
        return f"{each.value} GB", 0, whole / 1e9, 0
    share = 0.0 if found.placed.lacking else _share(machine, found.placed.gpu + found.placed.gpu_cache)
    return f"{figure(each.value)} GB a GPU", 0, share, 0


def _share(machine: Machine, whole: int) -> float:
    return whole / len(machine.gpus) / 1e9


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f}"


def _table(head: Sequence[str], found: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *found]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
