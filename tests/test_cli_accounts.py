"""The commands of accounts: what they print, what they refuse, and that nothing but a new secret is ever shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from voxpop.cli import program


class Commands:
    """The command line over one data folder, in this process."""

    def __init__(self, data: Path) -> None:
        self.data = str(data)

    def __call__(self, *arguments: str, typed: str | None = None, code: int = 0) -> Any:
        done = CliRunner().invoke(program(), [*arguments, "--data", self.data], input=typed)
        assert done.exit_code == code, done.output
        return done

    def json(self, *arguments: str, typed: str | None = None, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", typed=typed, code=code).stdout)


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def test_users_are_added_changed_and_removed(run: Commands) -> None:
    assert "There are no users" in run("users", "list").stdout
    assert run.json("users", "add", "ada", "--email", "ada@example.org")["rank"] == "admin"
    run("teams", "add", "editors", "--tier", "premium")
    bob = run.json("users", "add", "bob", "--team", "editors", "--country", "nz")
    assert (bob["rank"], bob["country"], bob["team"]["tier"]) == ("member", "NZ", "premium")
    assert "tier premium" in run("users", "show", "bob").stdout
    assert run.json("users", "disable", "bob")["disabled"] is True
    assert "DISABLED" in run("users", "list").stdout
    assert run.json("users", "enable", "bob")["disabled"] is False
    assert run.json("users", "tier", "bob", "free")["tier"] == "free"
    assert run.json("users", "change", "bob", "--rank", "admin", "--team", "")["team"] is None
    assert run.json("users", "remove", "ada")["removed"] is True
    assert [u["name"] for u in run.json("users", "list")["users"]] == ["bob"]


def test_a_removal_is_asked_about(run: Commands) -> None:
    run("users", "add", "ada")
    run("users", "add", "bob")
    assert "Nobody was removed" in run("users", "remove", "bob", typed="n\n", code=2).stderr
    run("users", "remove", "bob", typed="y\n")
    assert "No admin would be left" in run("users", "remove", "ada", "--yes", code=2).stderr


def test_a_password_is_read_and_never_shown(run: Commands) -> None:
    run("users", "add", "ada")
    done = run("users", "password", "ada", typed="four good words\n")
    assert "good" not in done.output
    assert run.json("users", "show", "ada")["has_password"] is True
    short = run("users", "password", "ada", typed="short\n", code=2)
    assert "10 to 1000 characters" in short.stderr
    assert "good" not in run("users", "log").stdout


def test_teams_have_members_and_a_tier(run: Commands) -> None:
    run("users", "add", "ada")
    run("teams", "add", "editors")
    members = run.json("teams", "members", "editors", "--add", "ada")["members"]
    assert [m["name"] for m in members] == ["ada"]
    assert "premium" in run("teams", "tier", "editors", "premium").stdout
    assert "has 1 members" in run("teams", "remove", "editors", code=2).stderr
    assert run.json("teams", "members", "editors", "--remove", "ada")["members"] == []
    run("teams", "remove", "editors")
    assert run.json("teams", "list") == {"teams": []}


def test_a_key_is_made_turned_and_revoked(run: Commands) -> None:
    run("users", "add", "ada")
    made = run("keys", "create", "ada", "--name", "laptop", "--endpoint", "chat", "--expires", "90d")
    secret = made.stdout.strip()
    assert "only time" in made.stderr
    row = run.json("keys", "show", secret[:11])
    assert (row["name"], row["endpoints"], row["models"], row["revoked_at"]) == ("laptop", ["chat"], ["*"], None)
    turned = run.json("keys", "rotate", row["id"], "--grace", "1h")
    assert turned["key"] != secret
    assert [bool(s["until"]) for s in turned["secrets"]] == [True, False]
    for shown in (
        run("keys", "list", "ada"),
        run("keys", "list"),
        run("users", "show", "ada"),
        run("users", "log"),
    ):
        assert row["id"] in shown.stdout
        assert secret[12:] not in shown.output
        assert turned["key"][12:] not in shown.output
    assert run.json("keys", "revoke", secret)["revoked_at"]
    assert "is revoked" in run("keys", "rotate", row["id"], code=2).stderr
    acts = [a["act"] for a in run.json("users", "log", "--subject", row["id"])["acts"]]
    assert acts == ["key.revoke", "key.rotate", "key.create"]
    assert all(a["by"].startswith("cli:") for a in run.json("users", "log")["acts"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("users", "show", "eve"), "There is no user 'eve'. See who there is with: voxpop users list"),
        (("keys", "create", "eve"), "There is no user 'eve'."),
        (("keys", "create", "ada", "--expires", "soon"), "--expires cannot be 'soon'."),
        (("keys", "create", "ada", "--endpoint", "Chat It"), "A key cannot be for the endpoint 'Chat It'."),
        (("keys", "revoke", "vx-aaaaaaaa"), "There is no key 'vx-aaaaaaaa'."),
        (("teams", "tier", "none", "premium"), "There is no team 'none'."),
        (("teams", "add", "none", "--tier", "golden"), "There is no tier 'golden'."),
        (("users", "tier", "ada", "golden"), "There is no tier 'golden'."),
        (("users", "add", "eve", "--tier", "golden"), "There is no tier 'golden'."),
        (("users", "add", "eve", "--tier", "local"), "The tier 'local' is for a machine without accounts"),
        (("users", "invite", "--tier", "golden"), "There is no tier 'golden'."),
        (("users", "invite", "--team", "none"), "There is no team 'none'."),
        (("users", "add", "ada"), "The name 'ada' is taken."),
        (("users", "change", "ada", "--rank", "member"), "No admin would be left"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_cure(run: Commands, arguments: tuple[str, ...], said: str) -> None:
    run("users", "add", "ada")
    assert said in run(*arguments, code=2).stderr
    error = run.json(*arguments, code=2)["error"]
    assert said.startswith(error["message"]) or error["message"].startswith(said)
    assert error["cure"]


def test_where_there_is_nothing_the_database_is_named(run: Commands, tmp_path: Path) -> None:
    where = str(tmp_path / "accounts.db")
    for words in (("users", "list"), ("teams", "list"), ("keys", "list")):
        assert f"There are no {words[0]} in {where}" in run(*words).stdout
    refused = run("keys", "create", "ada", code=2).stderr
    assert f"There are no users in {where}; is this the server's data folder?" in refused


def test_the_log_names_who_typed_and_what_ran_it(run: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxpop.cli_users._name_of", lambda _: "voxpop")
    monkeypatch.setenv("SUDO_USER", "ada")
    run("users", "add", "ada")
    assert {a["by"] for a in run.json("users", "log")["acts"]} == {"cli:ada as voxpop"}


def test_an_invitation_is_a_whole_address_where_the_server_has_a_name(
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("users", "invite").stdout.startswith("/#invitation=")
    monkeypatch.setenv("VOXPOP_SERVER_TRUSTED_HOSTS", "voxpop.example.org")
    assert run("users", "invite").stdout.startswith("https://voxpop.example.org/#invitation=")
