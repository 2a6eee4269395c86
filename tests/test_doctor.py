"""The doctor: each broken link is named, with its cure, and the others are still looked at."""

import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from voxpop import doctor
from voxpop.config import Config
from voxpop.doctor import Finding, examine
from voxpop.posts import Author, Post, Upsert
from voxpop.store.local import LocalStore

LINKS = ["network", "source", "disk", "memory", "voices", "model", "port", "index", "records", "tiers"]


def config(folder: Path, **sections: dict[str, object]) -> Config:
    base = replace(
        Config(),
        server=replace(Config().server, port=0),
        storage=replace(Config().storage, data=str(folder)),
        sources=replace(Config().sources, use=("simulated",)),
        engine=replace(Config().engine, use="quote"),
    )
    changed = {name: replace(getattr(base, name), **values) for name, values in sections.items()}
    return replace(base, **changed)


async def found(config: Config) -> dict[str, Finding]:
    findings = await examine(config)
    for finding in findings:
        assert finding.said
        assert bool(finding.cure) == (finding.state != "ok"), finding
    return {f.link: f for f in findings}


async def test_all_is_well(tmp_path: Path) -> None:
    findings = await found(config(tmp_path))
    assert list(findings) == LINKS
    states = {f.state for link, f in findings.items() if link not in ("disk", "memory")}
    assert states == {"ok"}


async def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        hosts = (f"ws://127.0.0.1:{closed.getsockname()[1]}/subscribe",)
        for use, state in (("auto", "warning"), ("bluesky", "broken"), ("replay:x", "ok")):
            sources = {"use": (use,), "bluesky_hosts": hosts, "probe_s": 0.5}
            assert (await found(config(tmp_path, sources=sources)))["network"].state == state


async def test_a_source_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXPOP_X_TOKEN", raising=False)
    with socket.socket() as door, socket.socket() as shut:
        for each in (door, shut):
            each.bind(("127.0.0.1", 0))
        door.listen()
        here, gone = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (door, shut))
        cases = {
            f"rss:{here}/feed": "ok",
            f"rss:{gone}/feed": "warning",
            f"mastodon:{gone}": "warning",
            f"bluesky:{gone.replace('http', 'ws')}": "warning",
            "rss": "broken",
            "x": "broken",
        }
        for spec, state in cases.items():
            finding = (await found(config(tmp_path, sources={"use": (spec,), "probe_s": 0.5})))["source"]
            assert finding.state == state, finding


async def test_a_network_that_answers(tmp_path: Path) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        sources = {"use": ("auto",), "bluesky_hosts": (f"ws://127.0.0.1:{door.getsockname()[1]}",)}
        assert (await found(config(tmp_path, sources=sources)))["network"].state == "ok"


@pytest.mark.parametrize(
    ("sections", "link", "said"),
    [
        ({"sources": {"use": ("replay:none.jsonl",)}}, "source", "none.jsonl"),
        ({"sources": {"use": ("nope",)}}, "source", "nope"),
        ({"answers": {"voice": "opera"}}, "voices", "opera"),
        ({"engine": {"use": "gpt"}}, "model", "gpt"),
        ({"engine": {"use": "openai", "url": "ftp://x"}}, "model", "ftp://x"),
        ({"server": {"port": 99999}}, "port", "99999"),
    ],
)
async def test_the_broken_link_is_named(
    tmp_path: Path, sections: dict[str, dict[str, object]], link: str, said: str
) -> None:
    findings = await found(config(tmp_path, **sections))
    assert [name for name, f in findings.items() if f.state == "broken"] == [link]
    assert said in findings[link].said


async def test_a_port_in_use_a_folder_that_is_a_file_a_voice_that_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "mine.md").write_text("no front matter", "utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        findings = await found(config(tmp_path, server={"port": taken.getsockname()[1]}))
    assert (findings["port"].state, findings["voices"].state) == ("broken", "broken")
    assert "mine" in findings["voices"].said
    (tmp_path / "file").write_text("x")
    findings = await found(config(tmp_path / "file"))
    assert (findings["disk"].state, findings["disk"].cure) == ("broken", "Choose another folder with --data.")


async def test_little_memory_and_disk_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "available_memory", lambda: 1 << 20)
    monkeypatch.setattr(doctor, "_LOW_DISK", 1 << 60)
    findings = await found(config(tmp_path))
    assert (findings["memory"].state, findings["disk"].state) == ("warning", "warning")


async def test_the_index_is_compared_with_the_truth(tmp_path: Path) -> None:
    async with LocalStore(tmp_path) as store:
        await store.apply("s", [Upsert(Post("p:1", "x", Author("a"), "text", 1, 1), "1")])
    assert "1 posts" in (await found(config(tmp_path)))["index"].said
    (tmp_path / "catalog.db").write_bytes(b"not a database" * 1000)
    assert (await found(config(tmp_path)))["index"].state == "broken"


async def test_what_is_wrong_with_accounts_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxpop.config import Accounts, Records
    from voxpop.records import Database

    at = config(tmp_path)
    assert "No accounts yet" in (await found(at))["records"].said
    async with Database.beside(tmp_path):
        pass
    assert (await found(at))["records"].state == "ok"
    with closing(sqlite3.connect(tmp_path / "accounts.db")) as con, con:
        con.execute(
            "DELETE FROM alembic_version WHERE version_num = (SELECT min(version_num) FROM alembic_version)"
        )
    assert (await found(at))["records"].state == "warning"
    with closing(sqlite3.connect(tmp_path / "accounts.db")) as con, con:
        con.execute("INSERT INTO alembic_version VALUES ('of_tomorrow')")
    assert "of_tomorrow" in (await found(at))["records"].said
    (tmp_path / "tiers.toml").write_text("[tiers.x]\nnonsense = 1\n")
    monkeypatch.setenv("VOXPOP_OIDC_SECRET", "x")
    bad = Accounts(
        tiers=str(tmp_path / "tiers.toml"),
        limits_url="redis://:secret@127.0.0.1:1",
        oidc_issuer="http://127.0.0.1:1",
        oidc_client="us",
    )
    away = Records(url="postgresql+psycopg://voxpop:secret@127.0.0.1:1/none")
    findings = await found(replace(at, accounts=bad, records=away))
    for link in ("records", "tiers", "limits", "sign-in"):
        assert findings[link].state == "broken", link
        assert findings[link].cure
        assert "secret" not in findings[link].said
