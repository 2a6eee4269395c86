"""SIGKILL at any moment: what was acknowledged is there, nothing is doubled, and the rest follows (invariant 1).

`make chaos` kills 200 times; VOXPOP_KILLS says how often.
"""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from chaos_lives import KILLS, WHILE_OPENING, Lives

EVERY = 10
REST = 2000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_killed_at_any_moment_it_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    progress = []
    with Lives(tmp_path / "store", seed=20261121) as lives:
        for kill in range(1, KILLS + 1):
            assert lives.live(until=10**9, killed=True) == -signal.SIGKILL, lives.failures
            closely = kill % EVERY == 0
            if closely or lives.luck.random() > WHILE_OPENING:
                asyncio.run(lives.look(closely=closely))
                progress.append(lives.truth.seen)
        assert len(set(progress)) > len(progress) / 2, "most lives were too short to prove anything"
        end = lives.acknowledged + REST
        assert lives.live(until=end, killed=False) == 0, lives.failures
        asyncio.run(lives.look(closely=True))
        assert lives.truth.seen == end
        assert not list(lives.readable_but_removed())
