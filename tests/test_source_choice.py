"""What a config names is opened: files told apart, nothing twice, nothing invented beside what is real."""

from dataclasses import replace
from pathlib import Path

import pytest

from voxpop.config import Config
from voxpop.errors import UsageError, VoxpopError
from voxpop.source_choice import opened, x_rules
from voxpop.sources.x_api import TOKEN


def using(*specs: str) -> Config:
    return replace(Config(), sources=replace(Config().sources, use=specs))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    made = [tmp_path / name / "rows.jsonl" for name in ("a/day", "b/day", "c")]
    for path in made:
        path.parent.mkdir(parents=True)
        path.touch()
    return [f"replay:{path}" for path in made]


async def test_files_of_one_name_are_told_apart_by_their_paths(files: list[str]) -> None:
    async with opened(using(*files[:2])) as sources:
        assert [s.name for s in sources] == ["replay:a/day/rows.jsonl", "replay:b/day/rows.jsonl"]
    async with opened(using(files[0], files[2])) as sources:
        assert [s.name for s in sources] == ["replay:day/rows.jsonl", "replay:c/rows.jsonl"]
    async with opened(using(files[0])) as sources:
        assert [s.name for s in sources] == ["replay:rows.jsonl"]
    with pytest.raises(UsageError, match=r"'replay:rows\.jsonl' is named twice"):
        async with opened(using(files[0], files[0])):
            pass


async def test_invented_posts_are_refused_beside_real_ones(files: list[str]) -> None:
    with pytest.raises(UsageError, match=r"'simulated' is invented and 'replay:rows\.jsonl' is not.*--data"):
        async with opened(using(files[0], "simulated")):
            pass


async def test_x_that_cannot_be_reached_did_not_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "t")
    config = Config()
    config = replace(config, x=replace(config.x, host="http://127.0.0.1:9", rules=("cats",)))
    with pytest.raises(VoxpopError, match=r"127\.0\.0\.1:9 cannot be reached"):
        await x_rules(config, apply=False)
