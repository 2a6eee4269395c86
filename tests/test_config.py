"""The config: what overrides what, and what refuses to start."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from voxpop.config import Config, load, settings
from voxpop.errors import UsageError


def written(folder: Path, text: str) -> Path:
    (folder / "voxpop.toml").write_text(text, "utf-8")
    return folder / "voxpop.toml"


def test_the_environment_overrides_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, '[server]\nport = 9000\n[sources]\nuse = ["bluesky", "replay:a,b.jsonl"]\n')
    config = load(file, {"VOXPOP_SERVER_PORT": "9001", "VOXPOP_STORAGE_COMMIT_S": "2", "PATH": "/bin"})
    assert (config.server.port, config.server.host) == (9001, "127.0.0.1")
    assert config.sources.use == ("bluesky", "replay:a,b.jsonl")
    assert config.storage.commit_s == 2.0
    config = load(None, {"VOXPOP_SOURCES_USE": "simulated, bluesky,", "VOXPOP_ENGINE_PULL": "False"})
    assert (config.sources.use, config.engine.pull) == (("simulated", "bluesky"), False)
    assert load(None, {}) == Config()


def test_secrets_and_addresses_are_no_settings() -> None:
    names = ("VOXPOP_OPENAI_KEY", "VOXPOP_HUB", "VOXPOP_CHROMIUM", "VOXPOP_CONFIG", "VOXPOP_GROK1_TOKENIZER_URL")
    config = load(None, dict.fromkeys(names, "secret"))
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"VOXPOP_SERVER_PROT": "1"}, "Unknown setting 'server.prot'. Did you mean 'server.port'?"),
        ({"VOXPOP_PORT": "1"}, "Did you mean 'server.port'?"),
        ({"VOXPOP_": "1"}, "Unknown setting"),
        ({"VOXPOP_SERVER_PORT": "x"}, "'server.port' cannot be 'x'. Give a value of type int."),
        ({"VOXPOP_SERVER_PORT": "70000"}, "Give a number from 0 to 65535."),
        ({"VOXPOP_SERVER_PORT": "-1"}, "Give a number from 0 to 65535."),
        ({"VOXPOP_STORAGE_COMMIT_S": "0"}, "Give a number from 0.05 to 1e+09."),
        ({"VOXPOP_STORAGE_COMMIT_S": "nan"}, "cannot be 'nan'"),
        ({"VOXPOP_ENGINE_PULL": "perhaps"}, "Give a value of type bool."),
    ],
)
def test_a_wrong_variable_refuses_to_start(environment: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(None, environment)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1\n", "Did you mean 'server.port'?"),
        ("[sever]\nport = 1\n", "Did you mean 'server.port'?"),
        ("port = 1\n", "'port' in "),
        ("[server\n", "is not TOML"),
        ("[server]\nport = true\n", "cannot be True"),
        ("[server]\nport = 80.5\n", "Give a value of type int."),
        ("[server]\nhost = 7\n", "Give a value of type str."),
        ("[sources]\nuse = 7\n", "Give a value of type list."),
        ("[sources]\nuse = {a = 1}\n", "Give a value of type list."),
        ("[engine]\npull = 1\n", "Give a value of type bool."),
        ("[storage]\ncommit_s = inf\n", "cannot be inf"),
    ],
)
def test_a_wrong_file_refuses_to_start(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, text), {})
    assert said in str(caught.value)
    assert caught.value.cure


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read the config"):
        load(tmp_path / "none.toml", {})


def test_nothing_can_change_it_and_every_setting_is_told() -> None:
    config: Any = Config()
    with pytest.raises(FrozenInstanceError):
        config.server.port = 1
    rows = settings()
    assert all(
        doc.endswith(".") and env == f"VOXPOP_{name.replace('.', '_')}".upper() for name, env, _, doc in rows
    )
    assert len({name for name, *_ in rows}) == len(rows)


def test_the_data_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data/home")
    assert Config().data == Path("/data/home/voxpop")
    assert load(None, {"VOXPOP_STORAGE_DATA": "/elsewhere"}).data == Path("/elsewhere")
