"""The planner: sizes beside published ones, placements that add up, what more memory or a bigger batch may do."""

import json
import re
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.errors import UsageError
from voxpop.weights import mixes
from voxpop.weights.grok import GROK_1, Grok, scaled
from voxpop.weights.planning.advising import (
    Budget,
    Work,
    affordable,
    best,
    budget_of,
    ceiling,
    cheapest,
    hourly,
    row,
    rows,
)
from voxpop.weights.planning.machine import GIB, Gpu, Machine, Price, described, gpu_named
from voxpop.weights.planning.placing import (
    CEILING,
    Case,
    Step,
    cache_bytes,
    calibration,
    core_rate,
    gpu_room,
    place,
    seconds,
    shares,
    token_bytes,
    token_flops,
    touched,
)
from voxpop.weights.planning.programs import Program, command, programs
from voxpop.weights.planning.sizes import Format, expert_types, format_named, formats, published_size, sizes

GGUF = [f for f in formats() if f.kind == "gguf"]
LLAMA = programs()[0]
SERVER = described()["epyc-12ch"]
models = st.builds(scaled, st.integers(1, 8), st.integers(1, 64))
gguf = st.sampled_from(GGUF)
batches = st.sampled_from([1, 2, 8, 64])
contexts = st.sampled_from([128, 1024, 8192])


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """Disk slower than memory, memory slower than a GPU's: as they are sold."""
    rate = draw(st.integers(20, 1200)) * 1e9
    several = draw(st.integers(0, 8))
    gpu = Gpu("any", draw(st.integers(8, 200)) * GIB, rate * draw(st.floats(1, 20)), 1e14)
    return Machine(
        name="any",
        cores=draw(st.integers(1, 192)),
        sockets=draw(st.integers(1, 2)),
        memory=draw(st.integers(1, 1024)) * GIB,
        rate=rate,
        measured=draw(st.booleans()),
        gpus=(gpu,) * several,
        disk_rate=draw(st.floats(0.1, 10)) * 1e9,
    )


def speed(model: Grok, stored: Format, machine: Machine, batch: int = 1, context: int = 1024) -> float:
    return row(model, stored, LLAMA, machine, Work((batch,), context)).one.generate.expected


class TestSizes:
    @pytest.mark.parametrize("stored", [f for f in formats() if f.published], ids=lambda f: f.name)
    def test_published_files_are_met_within_two_per_mille(self, stored: Format) -> None:
        assert stored.published
        assert published_size(GROK_1, stored) == pytest.approx(stored.published, rel=2e-3)

    def test_the_released_int8_to_the_byte_of_its_files(self) -> None:
        taken = sizes(GROK_1, format_named("int8"))
        assert taken.file == 318_239_694_848
        assert taken.file / 1e9 == pytest.approx(318.24, abs=0.005)

    @pytest.mark.parametrize("stored", [f for f in GGUF if f.ours], ids=lambda f: f.name)
    def test_a_mix_of_ours_weighs_what_the_quantiser_says(self, stored: Format) -> None:
        for model in (GROK_1, scaled(1, 5), scaled(2, 9)):
            said = mixes.size_of(model, mixes.mix(stored.name)).bytes
            assert 0 <= sizes(model, stored).file - said <= 6_100_000

    @pytest.mark.parametrize("stored", formats(), ids=lambda f: f.name)
    def test_shares_of_types_are_whole(self, stored: Format) -> None:
        assert sum(expert_types(GROK_1, stored).values()) == pytest.approx(1)

    def test_a_token_touches_what_the_model_says(self) -> None:
        taken = sizes(GROK_1, format_named("bf16"))
        norms = sum(s.parameters for s in GROK_1.specs.values() if s.kind in ("norm", "router"))
        assert token_bytes(GROK_1, taken) == pytest.approx(2 * GROK_1.active + 2 * norms, rel=1e-9)
        assert token_bytes(GROK_1, taken) / taken.file == pytest.approx(0.2653, abs=2e-4)

    def test_cache_and_arithmetic_of_a_token(self) -> None:
        assert cache_bytes(GROK_1) == 262_144
        assert token_flops(GROK_1) / 1e9 == pytest.approx(167.5, abs=0.1)

    def test_experts_that_a_batch_touches(self) -> None:
        assert touched(GROK_1, 1) == pytest.approx(2 / 8)
        assert 1 - touched(GROK_1, 8) == pytest.approx(0.10, abs=0.001)
        assert 1 - touched(GROK_1, 16) == pytest.approx(0.01, abs=0.001)

    def test_an_unknown_format_is_named(self) -> None:
        assert format_named("q4_k_m").name == "Q4_K_M"
        with pytest.raises(UsageError, match="no format 'Q5'"):
            format_named("Q5")


class TestPlacing:
    @given(models, gguf, machines(), st.integers(1, 600_000), st.booleans())
    @settings(max_examples=200, deadline=None)
    def test_places_add_up_to_the_file_and_hold_no_more_than_there_is(
        self, model: Grok, stored: Format, machine: Machine, tokens: int, gpu: bool
    ) -> None:
        case = Case(model, stored, machine, "layers")
        placed = place(case, tokens, gpu=gpu)
        if placed.lacking:
            assert placed.lacking > 0
            return
        assert placed.gpu + placed.memory + placed.disk == case.sizes.file
        assert placed.gpu_cache + placed.memory_cache == cache_bytes(model) * tokens
        assert placed.gpu + placed.gpu_cache <= max(0, gpu_room(machine, "layers"))
        assert placed.memory + placed.memory_cache <= machine.memory
        assert 0 <= placed.expert_layers <= placed.gpu_layers <= model.layers
        assert min(placed.gpu, placed.memory, placed.disk) >= 0

    def test_only_experts_lie_on_the_disk(self) -> None:
        case = Case(GROK_1, format_named("Q4_K_M"), replace(SERVER, memory=10 * GIB), "layers")
        assert 0 < place(case, 1000).disk <= case.sizes.layers * case.sizes.experts
        assert place(replace(case, machine=replace(SERVER, memory=4 * GIB)), 1000).lacking > 0

    def test_tensors_are_split_wholly_or_not(self) -> None:
        case = Case(GROK_1, format_named("fp8"), described()["8xh100"], "tensors")
        assert place(case, 8192).gpu == case.sizes.file
        assert place(replace(case, stored=format_named("bf16")), 8192).lacking > 10e9

    def test_a_mac_shares_its_memory(self) -> None:
        case = Case(GROK_1, format_named("Q8_0"), described()["m3-ultra-512"], "layers")
        placed = place(case, 500_000)
        assert placed.gpu + placed.gpu_cache + placed.memory + placed.memory_cache <= 512 * GIB * 0.95


class TestSpeed:
    @given(models, gguf, machines(), batches, contexts, st.floats(1, 4))
    @settings(max_examples=150, deadline=None)
    def test_more_of_anything_is_never_slower(
        self, model: Grok, stored: Format, machine: Machine, batch: int, context: int, more: float
    ) -> None:
        before = speed(model, stored, machine, batch, context) * (1 - 1e-9)
        assert speed(model, stored, replace(machine, memory=int(machine.memory * more)), batch, context) >= before
        assert speed(model, stored, replace(machine, disk_rate=machine.disk_rate * more), batch, context) >= before
        assert speed(model, stored, replace(machine, cores=int(machine.cores * more)), batch, context) >= before
        gpus = tuple(replace(g, memory=int(g.memory * more)) for g in machine.gpus)
        assert speed(model, stored, replace(machine, gpus=gpus), batch, context) >= before

    @given(models, gguf, machines(), contexts)
    @settings(max_examples=100, deadline=None)
    def test_a_conversation_alone_is_never_slower_than_among_others(
        self, model: Grok, stored: Format, machine: Machine, context: int
    ) -> None:
        found = row(model, stored, LLAMA, machine, Work((1, 2, 8, 64), context)).estimates
        each = [e.generate.expected / e.batch for e in found if not e.placed.lacking]
        assert all(a >= b * (1 - 1e-9) for a, b in pairwise(each))

    @given(gguf, machines())
    @settings(max_examples=100, deadline=None)
    def test_low_expected_and_high_are_in_that_order_and_below_the_ceiling(
        self, stored: Format, machine: Machine
    ) -> None:
        found = row(GROK_1, stored, LLAMA, machine, Work((1,), 1024))
        if found.one.placed.lacking:
            assert found.one.generate.high == found.ceiling * 0
            return
        for band in (found.one.generate, found.one.prompt):
            assert 0 < band.low <= band.expected <= band.high
        assert found.one.generate.high <= found.ceiling * 1.0001

    def test_batches_make_it_cheap_where_memory_bounds_it(self) -> None:
        found = row(GROK_1, format_named("fp8"), programs()[1], described()["8xh100"], Work())
        one, eight, many = (e.million.expected for e in found.estimates if e.million)
        assert one > 2 * eight > 8 * many

    def test_a_step_takes_as_long_as_its_bytes(self) -> None:
        case = Case(GROK_1, format_named("Q4_K_M"), SERVER, "layers")
        taken = seconds(case, place(case, 1), Step(1, 0, 1), CEILING)
        assert taken["memory"] == pytest.approx(token_bytes(GROK_1, case.sizes) / SERVER.rate)
        assert taken["gpu"] == taken["disk"] == 0

    def test_several_gpus_are_faster_only_where_they_work_at_once(self) -> None:
        one_by_one = Case(GROK_1, format_named("Q8_0"), described()["8xh100"], "layers")
        at_once = replace(one_by_one, split="tensors")
        slow, fast = (sum(seconds(c, place(c, 1), Step(1, 0, 1), CEILING).values()) for c in (one_by_one, at_once))
        assert slow == pytest.approx(8 * fast)

    def test_no_program_computes_fp8_on_a_processor(self) -> None:
        assert core_rate({"FP8": 1.0}, SERVER, 1) == 1.0

    def test_what_is_measured_is_trusted_more_than_what_is_rated(self) -> None:
        _, rated, _ = shares(SERVER)
        _, measured, _ = shares(replace(SERVER, measured=True))
        assert rated.memory < measured.memory <= 1
        assert shares(described()["2x-epyc-12ch"])[1].memory < rated.memory


# What the reference page of the project computed by hand: 1 / (file * 0.2653 / rate), bytes uniform.
CEILINGS = [
    ("Q8_0", "epyc-12ch", 5.2),
    ("Q4_K_M", "epyc-12ch", 9.0),
    ("IQ4_XS", "epyc-12ch", 10.3),
    ("IQ3_XS", "epyc-12ch", 13.3),
    ("Q4_K_M", "threadripper-3955wx-256", 4.0),
    ("Q4_K_M", "2x-epyc-12ch", 22.6),
    ("Q8_0", "m3-ultra-512", 9.2),
    ("Q4_K_M", "m3-ultra-256", 16.1),
    ("Q8_0", "8xh100", 300),
    ("Q4_K_M", "8xh100", 525),
    ("Q4_K_M", "epyc-12ch-4090", 9.8),
    ("Q4_K_M", "epyc-12ch-h100", 14.2),
    ("IQ3_XS", "epyc-12ch-h100", 27),
]


@pytest.mark.parametrize(("stored", "machine", "expected"), CEILINGS)
def test_ceilings_are_those_computed_by_hand(stored: str, machine: str, expected: float) -> None:
    found = ceiling(Case(GROK_1, format_named(stored), described()[machine], "layers"))
    assert found == pytest.approx(expected, rel=0.16 if "h100" in machine and "epyc" in machine else 0.05)


def test_the_stated_error_is_that_of_the_stored_runs() -> None:
    pytest.importorskip("xllamacpp", reason="the extra voxpop[weights] is not installed")
    folder = Path(__file__).parents[1] / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are not beside the tests")
    spec = spec_from_file_location("plan_calibration", folder / "plan_calibration.py")
    assert spec
    assert spec.loader
    bench = module_from_spec(spec)
    spec.loader.exec_module(bench)
    stored = json.loads((folder / "plan_calibration.json").read_text("utf-8"))["sets"]
    for found, said in zip(stored, calibration()["error"]["sets"], strict=True):
        runs, median, worst = bench.errors(found)
        assert (found["what"], runs) == (said["what"], said["runs"])
        assert (median, worst) == pytest.approx((said["median"], said["worst"]), abs=0.005)


class TestAdvising:
    def test_it_takes_the_best_quality_and_of_equals_the_fastest(self) -> None:
        machine = described()["8xh100"]
        found = rows(GROK_1, formats(), programs(), machine, Work())
        taken = best(found, machine, Budget())
        assert taken
        assert (taken.stored.name, taken.program.name) == ("fp8", "SGLang")
        slower = best(found, machine, Budget(speed=150))
        assert slower is None or slower.one.generate.expected >= 150

    def test_a_demonstration_is_never_advised(self) -> None:
        machine = described()["8xa100"]
        found = rows(GROK_1, [format_named("int8")], programs(), machine, Work())
        assert found
        assert found[0].one.placed.fast
        assert best(found, machine, Budget()) is None

    def test_a_budget_bounds_rent_purchase_and_tokens(self) -> None:
        machine = described()["8xh100"]
        found = row(GROK_1, format_named("fp8"), programs()[1], machine, Work())
        assert affordable(found, machine, Budget(hour=18))
        assert not affordable(found, machine, Budget(hour=17))
        assert affordable(found, machine, Budget(million=10))
        assert not affordable(found, machine, Budget(million=1))
        assert not affordable(found, machine, Budget(buy=1e6))
        assert not affordable(found, replace(machine, price=None), Budget(hour=1e6))
        assert affordable(found, replace(machine, price=None), Budget())

    def test_what_was_bought_is_paid_off_in_three_years_with_its_power(self) -> None:
        machine = replace(SERVER, watts=1000, price=Price(buy=26_298.0))
        assert hourly(machine, 0.25) == pytest.approx((1.25, 1.25))
        assert hourly(replace(machine, price=None), 0.25) is None

    def test_the_cheapest_that_can(self) -> None:
        priced, unpriced = cheapest(GROK_1, formats(), programs(), described(), Work((1,)), Budget())
        assert priced
        assert unpriced
        assert hourly(unpriced[0], 0.25) is None
        cost = hourly(priced[0], 0.25)
        assert cost
        dearer, _ = cheapest(GROK_1, formats(), programs(), described(), Work((1,)), Budget(hour=cost[0] / 2))
        assert dearer is None

    @pytest.mark.parametrize(
        ("text", "bound", "value"),
        [("5/h", "hour", 5), ("20/Mtok", "million", 20), ("9000", "buy", 9000), ("1.5 EUR/h", "hour", 1.5)],
    )
    def test_a_budget_is_read(self, text: str, bound: str, value: float) -> None:
        assert getattr(budget_of([text], None), bound) == value

    @given(st.text(max_size=12))
    def test_anything_else_is_refused_with_the_cure(self, text: str) -> None:
        if re.fullmatch(r"\d+(\.\d+)?\s*(EUR|€)?\s*(/h|/mtok)?", text.strip(), re.IGNORECASE):
            assert budget_of([text], None).spends
            return
        with pytest.raises(UsageError, match="5/h"):
            budget_of([text], None)

    @pytest.mark.parametrize("machine", described().values(), ids=lambda m: m.name)
    def test_every_row_has_a_command_that_names_its_parts(self, machine: Machine) -> None:
        for each in rows(GROK_1, formats(), programs(), machine, Work((1,))):
            placed = each.one.placed
            if placed.lacking:
                continue
            text = command(each.program, "grok-1", each.stored, machine, placed, (4, 2048))
            assert text
            if each.program is LLAMA:
                assert f"grok-1-{each.stored.name}.gguf -c 8192 -np 4" in text
                assert ("--n-cpu-moe" in text) == (0 < placed.gpu_layers > placed.expert_layers)
            elif each.program.serves:
                assert f" {len(machine.gpus)} " in text

    def test_every_program_tells_its_defects(self) -> None:
        by_name: dict[str, Program] = {r.name: r for r in programs()}
        assert set(by_name) == {"llama.cpp", "SGLang", "vLLM", "xAI's code", "KTransformers"}
        assert all(r.defects and r.source for r in by_name.values())
        assert "capped at 30" in by_name["SGLang"].defects[0]
        assert "capped at 30" in by_name["vLLM"].defects[0]
        assert by_name["KTransformers"].reads == ()


def test_a_gpu_is_known_by_what_its_driver_calls_it() -> None:
    assert gpu_named("NVIDIA H100 80GB HBM3").rate == 3350e9
    assert gpu_named("NVIDIA H100 PCIe").rate == 2000e9
    assert gpu_named("NVIDIA A100-SXM4-40GB").memory == 40 * GIB
    assert gpu_named("NVIDIA L40S").rate == 864e9
    assert gpu_named("NVIDIA GeForce RTX 4090").watts == 450
    assert gpu_named("Apple M3 Ultra", 7).memory == 7
    assert not gpu_named("Voodoo 2").known
