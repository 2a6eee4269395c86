"""How a source fares: when it is behind and when it is only quiet, what it spends, and the same as metrics."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from voxpop.health import of
from voxpop.ingest import BATCH, Progress
from voxpop.meters import METERS
from voxpop.posts import Spent
from voxpop.sources.spending import Budget
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

NOW = 1_800_000_000 * MICROS


class Stub:
    name, network, simulated, state = "x", "x", False, "connected to x"

    def __init__(self) -> None:
        self.dropped = Counter({"connection lost": 4, "no text": 1})

    def events(self, after: str | None) -> Any:
        raise AssertionError


class PaidStub(Stub):
    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget("x", monthly_usd=20, price_usd=0.005, clock=lambda: NOW / MICROS)


def progress(lag_s: float, *, speed: float, waiting: int = 0, quiet_s: float = 0) -> Progress:
    newest, then = NOW - int(lag_s * MICROS), time.monotonic() - quiet_s
    made = Progress("x", "x", False, events=5, posts=3, newest=newest, waiting=waiting, shed=Counter(engaged=7))
    made.pace.extend([(then - 2, newest - int(2 * speed * MICROS)), (then, newest)])
    return made


@pytest.mark.parametrize(
    ("made", "behind"),
    [
        ({"lag_s": 720, "speed": 8}, 720.0),
        ({"lag_s": 720, "speed": 1, "waiting": BATCH}, 720.0),
        ({"lag_s": 720, "speed": 1}, 0.0),  # a slow feed, up to date
        ({"lag_s": 720, "speed": 8, "quiet_s": 30}, 0.0),
        ({"lag_s": 2, "speed": 8}, 0.0),
    ],
)
def test_behind_is_not_quiet(made: dict[str, Any], behind: float) -> None:
    assert of(Stub(), progress(**made), NOW).behind_s == behind
    assert of(Stub(), Progress("x", "x", False), NOW).behind_s is None


def test_a_recording_is_neither_late_nor_behind_and_has_a_rate() -> None:
    source, made = Stub(), progress(720, speed=8)
    source.network = "replay"
    made.recent.append((int(time.monotonic()), 7))
    found = of(source, made, NOW)
    assert (found.lag_s, found.behind_s, found.posts_per_minute) == (None, None, 7)


async def test_the_samples_are_known_metrics_with_their_labels(tmp_path: Path) -> None:
    labels, source = {m.name: m.labels for m in METERS}, PaidStub()
    async with LocalStore(tmp_path) as store:
        await store.apply("x", [Spent(NOW, 250, 1_250_000)])
        await source.budget.open(store)
    health = of(source, progress(720, speed=8), NOW)
    samples = list(health.samples())
    assert all(len(labels[name]) == len(given) for name, given, _ in samples)
    told = {(name, *given): value for name, given, value in samples}
    assert told["voxpop_spend_usd", "x"] == 1.25
    assert told["voxpop_budget_usd", "x"] == 20.0
    assert told["voxpop_reconnects", "x"] == 4
    assert told["voxpop_shed", "x", "engaged"] == 7
    assert told["voxpop_behind_seconds", "x"] == 720
    assert told["voxpop_source_up", "x"] == 1
    month = time.strftime("%Y-%m", time.gmtime(NOW / MICROS))
    assert health.json()["spend"] == {"reads": 250, "usd": 1.25, "budget_usd": 20.0, "month": month}
    assert of(Stub(), progress(1, speed=1), NOW).json()["spend"] is None
