"""A plan as a page of text for people, at most 120 columns, the answer first; it decides nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import wrap

from voxpop.weights.grok import Grok
from voxpop.weights.planning.advising import Band, Budget, Estimate, Row, Work, hourly
from voxpop.weights.planning.machine import GIB, Machine
from voxpop.weights.planning.placing import cache_bytes, calibration, shares
from voxpop.weights.planning.programs import Program, command, making, programs, released

Elsewhere = tuple[Machine, Row] | None
_WIDE = 116


@dataclass(frozen=True, slots=True)
class Plan:
    """All that was found out: rows of this machine, the one to take, and where else it would run."""

    name: str
    model: Grok
    machine: Machine
    work: Work
    budget: Budget
    rows: tuple[Row, ...]
    best: Row | None
    priced: Elsewhere = None
    unpriced: Elsewhere = None


def answer(plan: Plan) -> str:
    """The answer, the table and the commands, without other programs and defects."""
    parts = [_prose(verdict(plan)), _table(plan), steps(plan)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def page(plan: Plan) -> str:
    """The whole page."""
    parts = [_prose(verdict(plan)), _prose(_given(plan), " " * 9), _table(plan)]
    parts += [steps(plan), _how(plan), _prose(_sure(plan))]
    return "\n\n".join("\n".join(part) for part in parts if part)


def verdict(plan: Plan) -> list[str]:
    """The answer in plain words: yes with which format, or no, why, and what could."""
    if plan.best:
        one = plan.best.one
        text = (
            f"Yes: {plan.name} runs on {plan.machine.name} as {plan.best.stored.name} under"
            f" {plan.best.program.name}, about {figure(one.generate.expected)} tokens a second for"
            f" {_conversations(one.batch)} ({span(one.generate)}), prompts at {figure(one.prompt.expected)};"
            f" quality lost: {plan.best.stored.loss}.{_million_words(plan.best)}"
        )
        return [text, *_why_not_better(plan), *_disk(plan, plan.best)]
    return [*_no(plan), *_elsewhere(plan)]


def _no(plan: Plan) -> Iterator[str]:
    small = min((r for r in plan.rows if not r.program.needs_gpu), key=lambda r: r.file, default=None)
    whom = plan.machine.name
    if small is None:
        yield f"No: no program that is known here runs {plan.name} on {whom}."
        return
    have = f"{_gb(plan.machine.memory)} GB of memory" + (
        f" and {_gb(sum(g.memory for g in plan.machine.gpus))} GB on GPUs"
        if plan.machine.gpus and not plan.machine.unified
        else ""
    )
    if any(r.runs for r in plan.rows):
        yield f"No: {plan.name} runs on {whom}, but no format keeps what you asked for ({_asked(plan.budget)})."
        known = hourly(plan.machine, plan.work.kwh)
        if plan.budget.spends and known is None:
            yield "The price of this machine is not known: give --eur-per-hour or --price-eur."
        return
    one = small.one
    need = small.file + cache_bytes(plan.model) * plan.work.context
    reason = f"its smallest file ({small.stored.name}, {_gb(small.file)} GB) with its cache needs"
    if one.placed.fast:
        yield f"No: {whom} would make {figure(one.generate.expected)} tokens a second of {plan.name} at best."
        return
    yield f"No: {whom} cannot run {plan.name}, because {reason} {_gb(need / 0.95)} GB, and there are {have}."
    if not one.placed.lacking and one.generate.expected > 0:
        yield (
            f"Read from the disk for every token it would make one token in {figure(1 / one.generate.expected)} s"
            f" ({figure(1 / one.generate.high)} to {figure(1 / one.generate.low)} s)."
        )


def _elsewhere(plan: Plan) -> Iterator[str]:
    if plan.priced:
        machine, row = plan.priced
        cost = hourly(machine, plan.work.kwh)
        price = machine.price
        said = f" ({price.source}; {price.date})" if price else ""
        yield (
            f"The cheapest described machine with a known price that can: {machine.name} ({machine.about}):"
            f" {row.stored.name}, about {figure(row.one.generate.expected)} tokens a second,"
            f" {_money(cost)} EUR an hour{said}."
        )
    if plan.unpriced:
        machine, row = plan.unpriced
        yield (
            f"The smallest whose price is not known here: {machine.name} ({machine.about}): {row.stored.name},"
            f" about {figure(row.one.generate.expected)} tokens a second."
        )
    if not plan.priced and not plan.unpriced:
        yield "None of the described machines does what you asked for."


def _why_not_better(plan: Plan) -> Iterator[str]:
    best = plan.best
    better = [r for r in plan.rows if best and r.stored.rank < best.stored.rank and r.program.serves]
    names = dict.fromkeys(r.stored.name for r in better if not r.one.placed.fast)
    if names:
        yield f"Better formats do not fit in memory: {', '.join(names)}."
    slow = dict.fromkeys(r.stored.name for r in better if r.one.placed.fast and r.stored.name not in names)
    if slow:
        yield f"Better formats that fit are too slow or too dear for what you asked: {', '.join(slow)}."


def _disk(plan: Plan, row: Row) -> Iterator[str]:
    source = released(row.stored) if making(plan.name, row.stored) else 0
    if 0 < plan.machine.disk_free < row.file + source:
        more = f", and the release that it is made of {_gb(source)}" if source else ""
        yield f"Its disk has {_gb(plan.machine.disk_free)} GB free: the file takes {_gb(row.file)}{more}."


def _given(plan: Plan) -> list[str]:
    machine, model = plan.machine, plan.model
    sure = "measured" if machine.measured else "computed from its channels"
    gpus = ", ".join(
        dict.fromkeys(f"{machine.gpus.count(g)} x {g.name} ({_gb(g.memory)} GB)" for g in machine.gpus)
    )
    watts = f", {figure(machine.total_watts)} W" if machine.total_watts else ""
    lines = [
        f"machine  {machine.about}: {machine.cores} cores ({', '.join(machine.instructions)}),"
        f" {_gb(machine.memory)} GB ({machine.memory / GIB:.0f} GiB) of memory, read at"
        f" {_gb(machine.rate)} GB/s ({sure}), {gpus or 'no GPU'}, disk {_gb(machine.disk_free)} GB free,"
        f" {_gb(machine.disk_rate)} GB/s{watts}",
        f"model    {plan.name}: {model.parameters / 1e9:.1f} billion weights, a token touches"
        f" {model.active / 1e9:.1f} billion of them; {cache_bytes(model):,} bytes of cache a token,"
        f" {plan.work.context:,} tokens of context in each conversation",
    ]
    price = machine.price
    if price:
        cost = _money(hourly(machine, plan.work.kwh))
        lines.append(
            f"price    {cost} EUR an hour ({price.source}{', ' + price.date if price.date else ''};"
            " EUR 0.87 a dollar is assumed; what was bought is spread over 3 years of work day and night)"
        )
    return [*lines, *machine.notes]


def _table(plan: Plan) -> list[str]:
    batches = plan.work.batches
    title = " ".join(f"{f'{b} at once':>16}" for b in batches)
    head = f"{'format':<8} {'program':<10} {'GB':>4} {'bits':>5}  {'lies in (GB)':<19} "
    lines = [
        "Generated tokens a second of all conversations together, expected (low-high); a prompt's tokens a second:",
        "",
        f"{head}{title} {'prompt':>6} {'EUR/Mtok':>8}",
    ]
    for row in (r for r in plan.rows if not r.one.placed.lacking):
        mark = "*" if row is plan.best else " "
        cells = " ".join(f"{_cell(e):>16}" for e in row.estimates)
        last = row.estimates[-1]
        euro = figure(last.million.expected) if last.million else "-"
        bits = 8 * row.file / plan.model.parameters
        lines.append(
            f"{row.stored.name:<8}{mark}{row.program.name:<10} {_gb(row.file):>4} {bits:>5.2f}"
            f"  {_where(row.one):<19} {cells} {figure(row.one.prompt.expected):>6} {euro:>8}"
        )
    star = "* the one to take. " if plan.best else ""
    lines.append(
        f"{star}Lies in: with {batches[0]} at once. EUR a million tokens: with {batches[-1]}; - where unknown."
    )
    out = [
        f"{r.stored.name} under {r.program.name} ({_gb(r.one.placed.lacking)} GB are missing)" for r in _out(plan)
    ]
    return lines + _prose([f"Do not fit: {', '.join(out)}."] if out else [])


def _out(plan: Plan) -> list[Row]:
    return [row for row in plan.rows if row.one.placed.lacking]


def steps(plan: Plan) -> list[str]:
    """The commands from nothing to an answer in the format to take; none where its program fetches the weights."""
    row = plan.best
    made = making(plan.name, row.stored) if row else ()
    if not row or not made:
        return []
    file = f"{plan.name}-{row.stored.name}.gguf"
    size = (
        f"{_gb(row.file)} GB"
        if released(row.stored) == 0
        else f"{_gb(released(row.stored))} GB, then {_gb(row.file)}"
    )
    return [
        f"From nothing to {row.stored.name} ({size} of disk; Apache-2.0; what is cut goes on by the same command):",
        *(f"  {line}" for line in (*made, *_commands(plan, row))),
        f"  voxpop up --engine local --model {file}    # instead: voxpop's page, on the processors alone",
    ]


def _commands(plan: Plan, row: Row) -> list[str]:
    """What serves the first number of conversations, and what the last where that is another."""
    name = plan.name if plan.name.startswith(("grok", "scaled")) else "model"
    able = [e for e in dict.fromkeys((row.estimates[0], row.estimates[-1])) if e.placed.fast]
    found = {
        command(row.program, name, row.stored, plan.machine, e.placed, (e.batch, plan.work.context)): e.batch
        for e in able
    }
    return [f"{line}    # {_conversations(batch)}" if len(found) > 1 else line for line, batch in found.items()]


def _conversations(batch: int) -> str:
    return "one conversation" if batch == 1 else f"{batch} conversations at once"


def _how(plan: Plan) -> list[str]:
    if not plan.best:
        return []
    row = plan.best
    lines = _prose([f"{row.stored.name}: {where_words(plan, row)}"])
    for each in programs():
        able = [r for r in plan.rows if r.program is each and r.one.placed.fast]
        fit = min(able, key=lambda r: _liked(r, row), default=None)
        lines += ["", f"{each.name} ({each.tried}):"]
        if fit is row and steps(plan):
            lines.append("  the commands above")
        elif fit:
            lines += [f"  {line}" for line in _commands(plan, fit)]
        else:
            lines.append(f"  not able here: {_unable(each, plan)}")
        lines += _prose((f"  - {defect}" for defect in each.defects), "    ")
    return lines


def _liked(row: Row, best: Row) -> tuple[bool, int, float]:
    return row.stored is not best.stored, row.stored.rank, -row.one.generate.expected


def where_words(plan: Plan, row: Row) -> str:
    """Which layers and experts lie where, in words."""
    placed, layers = row.one.placed, plan.model.layers
    if placed.lacking:
        return f"does not fit: {_gb(placed.lacking)} GB are missing."
    parts = []
    if placed.gpu_layers:
        parts.append(f"attention and cache of {placed.gpu_layers} of {layers} layers on the GPU")
        parts.append(f"experts of {placed.expert_layers} of {layers} layers on the GPU")
    if placed.expert_layers < layers:
        parts.append(f"experts of {layers - placed.expert_layers} layers in memory, computed by the processor")
    if placed.disk:
        parts.append(f"{_gb(placed.disk)} GB of them read from the disk again and again")
    return "; ".join(parts) + "."


def _sure(plan: Plan) -> list[str]:
    found = calibration()["error"]["sets"]
    _, at, _ = shares(plan.machine)
    lines = [
        f"Expected is {at.memory:.0%} of the memory's rate"
        + (f" and {at.gpu_memory:.0%} of the GPUs'" if plan.machine.gpus else "")
        + ", or the arithmetic of the cores where that takes longer; low and high are what to be ready for."
    ]
    for each in found:
        lines.append(
            f"Held beside {each['runs']} runs of llama.cpp on one core ({each['what']}): off by"
            f" {each['median']:.0%} at the median, {each['worst']:.0%} at worst."
        )
    lines.append(
        "Never measured: the whole Grok-1, any GPU, SGLang, vLLM. docs/grok-1.md: beside what others measured."
    )
    return lines


def _unable(program: Program, plan: Plan) -> str:
    if not program.reads:
        return "it has no Grok-1"
    if not plan.machine.gpus or plan.machine.unified:
        return "it needs GPUs of NVIDIA or AMD that hold the whole model"
    lacking = min((r.one.placed.lacking for r in plan.rows if r.program is program), default=0)
    return f"the GPUs lack {_gb(lacking)} GB" if lacking else "none of its formats fits"


def _asked(budget: Budget) -> str:
    words = [f"{figure(budget.speed)} tokens a second and more"]
    for value, unit in (
        (budget.hour, "EUR an hour"),
        (budget.million, "EUR a million tokens"),
        (budget.buy, "EUR"),
    ):
        if value != float("inf"):
            words.append(f"at most {figure(value)} {unit}")
    return ", ".join(words)


def _million_words(row: Row) -> str:
    one, last = row.estimates[0], row.estimates[-1]
    if not one.million:
        return ""
    text = f" A million tokens cost {figure(one.million.expected)} EUR ({span(one.million)}) at that"
    if last.million and last is not one:
        text += f", {figure(last.million.expected)} with {last.batch} conversations at once"
    return f"{text}."


def _where(one: Estimate) -> str:
    placed = one.placed
    named = (("GPU", placed.gpu), ("RAM", placed.memory), ("disk", placed.disk))
    return " + ".join(f"{name} {size / 1e9:.0f}" for name, size in named if size)


def _cell(estimate: Estimate) -> str:
    if estimate.placed.lacking:
        return "does not fit"
    return f"{figure(estimate.generate.expected)} ({span(estimate.generate)})"


def span(band: Band) -> str:
    """From low to high."""
    return f"{figure(band.low)}-{figure(band.high)}"


def _money(cost: tuple[float, float] | None) -> str:
    if cost is None:
        return "?"
    low, high = (f"{c:.2f}" for c in cost)
    return low if low == high else f"{low}-{high}"


def _gb(size: float) -> str:
    return figure(size / 1e9)


def figure(value: float) -> str:
    """Three figures at most, never in powers."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _prose(lines: Iterable[str], indent: str = "") -> list[str]:
    return [part for line in lines for part in wrap(line, _WIDE, subsequent_indent=indent, break_on_hyphens=False)]
