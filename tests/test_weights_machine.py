"""Reading a machine: made-up trees of /proc and /sys, what drivers' tools print, this very one within bounds."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.cores import cores_of
from voxpop.errors import UsageError
from voxpop.weights.planning.machine import GIB, Machine, changed, described, machine_named
from voxpop.weights.planning.machine_reading import (
    amd,
    asked,
    disk_rate,
    instructions,
    memory_of,
    nvidia,
    package_watts,
    read_rate,
    this_machine,
)

NVIDIA = """NVIDIA H100 80GB HBM3, 81559, 700.00
NVIDIA H100 80GB HBM3, 81559, 700.00
"""
AMD = (
    '{"card0": {"VRAM Total Memory (B)": "206141652992", "VRAM Total Used Memory (B)": "297066496",'
    ' "Card Series": "AMD Instinct MI300X OAM", "Card Model": "0x74a1"}, "system": {"Driver version": "6.10.5"}}'
)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def processors(sockets: int, cores: int, threads: int) -> dict[str, str]:
    files = {}
    for number in range(sockets * cores * threads):
        folder = f"sys/devices/system/cpu/cpu{number}/topology"
        core, package = number % (sockets * cores) % cores, number % (sockets * cores) // cores
        files |= {f"{folder}/core_id": f"{core}\n", f"{folder}/physical_package_id": f"{package}\n"}
    return files


def test_cores_are_counted_once_however_many_threads(tmp_path: Path) -> None:
    assert cores_of(tree(tmp_path, processors(2, 6, 2))) == (12, 2)


def test_a_quota_of_a_control_group_counts(tmp_path: Path) -> None:
    assert cores_of(tree(tmp_path, processors(1, 8, 2) | {"sys/fs/cgroup/cpu.max": "250000 100000\n"})) == (3, 1)
    assert cores_of(tree(tmp_path, {"sys/fs/cgroup/cpu.max": "max 100000\n"})) == (8, 1)


def test_this_process_has_no_more_cores_than_it_may_use() -> None:
    assert 1 <= cores_of()[0] <= len(os.sched_getaffinity(0))


def test_memory_is_what_is_available_or_what_the_group_leaves(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemTotal: 65842844 kB\nMemFree: 1 kB\nMemAvailable: 50000000 kB\n"})
    assert memory_of(root) == 51_200_000_000
    tree(root, {"sys/fs/cgroup/memory.max": "8589934592\n", "sys/fs/cgroup/memory.current": "1073741824\n"})
    assert memory_of(root) == 7 * GIB
    tree(root, {"sys/fs/cgroup/memory.max": "max\n"})
    assert memory_of(root) == 51_200_000_000
    old = {"memory.limit_in_bytes": "4294967296\n", "memory.usage_in_bytes": "294967296\n"}
    tree(root, {f"sys/fs/cgroup/memory/{name}": text for name, text in old.items()})
    assert memory_of(root) == 4_000_000_000


def test_instruction_sets(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {"proc/cpuinfo": "model name\t: Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8\n"}
    )
    assert instructions(root) == ("avx2", "avx512", "vnni", "amx")
    assert instructions(tmp_path / "nowhere") == ()


def test_power_of_the_processors(tmp_path: Path) -> None:
    limit = "sys/class/powercap/intel-rapl:{}/constraint_0_power_limit_uw"
    assert package_watts(tree(tmp_path, {limit.format(0): "225000000\n", limit.format(1): "225000000\n"})) == 450


def test_gpus_of_nvidia_and_amd() -> None:
    found = nvidia(lambda command: NVIDIA if command[0] == "nvidia-smi" else "")
    assert [(g.memory, g.rate) for g in found] == [(81559 << 20, 3350e9)] * 2
    (card,) = amd(lambda command: AMD if command[0] == "rocm-smi" else "")
    assert (card.memory, card.rate, card.known) == (206_141_652_992, 5300e9, True)


@given(st.text(), st.text())
def test_what_drivers_print_never_fails_a_plan(one: str, other: str) -> None:
    assert len(nvidia(lambda _: f"{one},{other}\n")) <= 64
    assert amd(lambda _: one) == ()


def test_an_unknown_gpu_is_told_and_taken_for_a_slow_one(tmp_path: Path) -> None:
    def ask(command: Sequence[str]) -> str:
        return "Matrox Mystique, 8192, [N/A]\n" if command[0] == "nvidia-smi" else ""

    found = this_machine(tmp_path, tmp_path, ask, measure=False)
    assert found.gpus[0].rate == 300e9
    assert "Matrox Mystique is not in the table" in found.notes[0]


def test_a_tool_that_hangs_or_fails_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "sometool"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("voxpop.weights.planning.machine_reading._TOOL_S", 0.2)
    for text, said in (("echo here", "here\n"), ("exit 3", ""), ("sleep 20", "")):
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
        began = time.monotonic()
        assert asked(["sometool"]) == said
        assert time.monotonic() - began < 5
    assert asked(["no-such-tool-anywhere"]) == ""


def test_nothing_there_is_no_failure(tmp_path: Path) -> None:
    found = this_machine(tmp_path / "gone", tmp_path / "gone", lambda _: "", measure=False)
    assert (found.memory, found.disk_free, found.rate, found.gpus) == (0, 0, 0.0, ())
    assert found.cores >= 1


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads Linux's files")
def test_this_machine_is_read_within_its_bounds(tmp_path: Path) -> None:
    began = time.monotonic()
    found = this_machine(tmp_path)
    assert time.monotonic() - began < 30
    assert found.memory > 100 << 20
    assert found.measured
    assert 1e8 < found.rate < 1e13
    assert list(tmp_path.iterdir()) == [], "what was written to measure the disk is gone"


def test_more_threads_read_at_least_somewhat() -> None:
    assert read_rate(1, 1 << 30) > 1e8


def test_a_full_or_missing_disk_is_not_measured(tmp_path: Path) -> None:
    assert disk_rate(tmp_path, 1 << 20) == 0.0
    assert disk_rate(tmp_path / "nowhere", 1 << 40) == 0.0


class TestDescribed:
    def test_every_shipped_machine_is_whole(self) -> None:
        for name, machine in described().items():
            assert machine.name == name
            assert min(machine.cores, machine.memory, machine.rate, machine.disk_rate) > 0
            assert all(g.known for g in machine.gpus)
            if machine.price:
                assert machine.price.source
                assert machine.price.date

    def test_a_file_of_ones_own(self, tmp_path: Path) -> None:
        path = tmp_path / "rack.toml"
        path.write_text(
            'cores = 8\nmemory = 32\nrate = 100\ngpu = "rtx3090"\ngpus = 2\n[price]\nhour_usd = [1, 2]\n'
        )
        machine = machine_named(str(path))
        assert (machine.name, machine.cores, machine.memory, len(machine.gpus)) == ("rack", 8, 32 * GIB, 2)
        assert machine.price
        assert machine.price.hour == (0.87, 1.74)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("cores = 8", "lacks memory, rate"),
            ("cores = 8\nmemory = 32\nrate = 1\nspeed = 3", "unknown fields: speed"),
            ('cores = "many"\nmemory = 32\nrate = 1', "wrong kind"),
            ('cores = 8\nmemory = 32\nrate = 1\ngpu = "voodoo"', "no GPU 'voodoo'"),
            ("cores = ", "is no TOML"),
            ("# " + "x" * (1 << 20), "larger than 1 MiB"),
        ],
    )
    def test_a_bad_file_is_refused_with_its_reason(self, tmp_path: Path, text: str, said: str) -> None:
        path = tmp_path / "bad.toml"
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            machine_named(str(path))

    def test_an_unknown_name_lists_the_known(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="epyc-12ch"):
            machine_named("cray-1")
        with pytest.raises(UsageError, match="cannot be read"):
            machine_named(str(tmp_path / "gone.toml"))

    def test_what_a_user_says_replaces_what_was_found(self) -> None:
        machine = changed(
            described()["8xh100"], ram=100, bandwidth=50, gpu="rtx4090x2", disk=1, watts=300, hour=2.0
        )
        assert (machine.memory, machine.rate, machine.disk_rate) == (100 * GIB, 50e9, 1e9)
        assert [g.name for g in machine.gpus] == ["rtx4090"] * 2
        assert machine.total_watts == 300
        assert machine.price
        assert machine.price.hour == (2.0, 2.0)
        assert [g.name for g in changed(machine, gpu="rtx4090").gpus] == ["rtx4090"]
        assert changed(machine, gpu="none").gpus == ()
        for bad in ("voodoo", "h100x65"):
            with pytest.raises(UsageError):
                changed(machine, gpu=bad)
        bought = changed(described()["epyc-12ch"], buy=5000.0).price
        assert isinstance(described()["epyc-12ch"], Machine)
        assert bought
        assert bought.buy == 5000
