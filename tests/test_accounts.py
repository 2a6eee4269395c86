"""Users, teams, keys and the log of what admins did, on SQLite and on PostgreSQL."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from conftest import environment
from voxpop.accounts import Denied, audit, keys, passwords, people, secret
from voxpop.accounts.audit import By
from voxpop.accounts.keys import Scopes
from voxpop.accounts.people import Wish
from voxpop.accounts.tables import Act, Key, Secret, User
from voxpop.errors import UsageError, VoxpopError
from voxpop.records import Base, Database

S = 1_000_000
NOW = 1_800_000_000 * S
BY = By("cli:test", NOW)


def root(session: Session, name: str = "root") -> User:
    return people.add_user(session, BY, Wish(name=name))


def known(session: Session, clear: str, now: int = NOW) -> keys.Known:
    given = secret.read(clear)
    assert given
    return keys.known(session, given, now)


def acts(session: Session) -> list[str]:
    return [a.act for a in reversed(audit.acts(session))]


class TestPeople:
    async def test_the_first_user_is_an_admin_and_the_next_a_member(self, database: Database) -> None:
        def work(session: Session) -> list[str]:
            with pytest.raises(UsageError, match="first user cannot be a member"):
                people.add_user(session, BY, Wish(name="ada", rank="member"))
            return [root(session, name).rank for name in ("ada", "bob")]

        assert await database.run(work) == ["admin", "member"]

    async def test_a_user_is_found_by_id_name_and_address_however_it_is_written(self, database: Database) -> None:
        def work(session: Session) -> None:
            ada = people.add_user(session, BY, Wish(name="Ada  Löv", email="Ada@Example.org"))
            for who in (ada.id, "ada löv", "ADA LÖV", " Ada Löv ", "ada@example.ORG"):
                assert people.user(session, who) is ada
            for taken in (Wish(name="ａｄａ löv"), Wish(name="b", email="ADA@example.org")):
                with pytest.raises(UsageError, match="is taken") as caught:
                    people.add_user(session, BY, taken)
                assert caught.value.code == "taken"
            for nobody in ("eve", "", "%", "_", "\0", "a" * 1000, "ada@example.org\0"):
                with pytest.raises(UsageError, match="There is no user"):
                    people.user(session, nobody)

        await database.run(work)

    @pytest.mark.parametrize(
        "wish",
        [
            Wish(name=""),
            Wish(name="a@b"),
            Wish(name="-x"),
            Wish(name="a\ab"),
            Wish(name="a\0"),
            Wish(name="x" * 65),
            Wish(name="ok", email="nobody"),
            Wish(name="ok", email="a@b\0"),
            Wish(name="ok", rank="owner"),
            Wish(name="ok", country="Avalon"),
            Wish(name="ok", tier="Two Words"),
            Wish(name="ok", team="none such"),
        ],
    )
    async def test_what_cannot_be_is_refused_with_a_cure(self, tmp_path: Path, wish: Wish) -> None:
        async with Database.beside(tmp_path) as database:
            with pytest.raises(UsageError) as caught:
                await database.run(lambda s: people.add_user(s, BY, wish))
            assert caught.value.cure
            assert await database.run(people.count_users) == 0
            assert await database.run(acts) == []

    async def test_an_admin_always_remains(self, database: Database) -> None:
        await database.run(lambda s: (root(s, "ada"), root(s, "bob")))
        for last in (Wish(disabled=True), Wish(rank="member")):
            with pytest.raises(UsageError, match="No admin would be left"):
                await database.run(lambda s, w=last: people.change_user(s, BY, people.user(s, "ada"), w))
        with pytest.raises(UsageError, match="No admin would be left"):
            await database.run(lambda s: people.remove_user(s, BY, people.user(s, "ada")))
        await database.run(lambda s: people.change_user(s, BY, people.user(s, "bob"), Wish(rank="admin")))

        async def remove(who: str) -> bool:
            try:
                await database.run(lambda s: people.remove_user(s, BY, people.user(s, who)))
            except UsageError:
                return False
            return True

        assert sorted(await asyncio.gather(remove("ada"), remove("bob"))) == [False, True]  # also at one moment
        assert await database.run(people.count_users) == 1

    async def test_a_team_gives_its_tier_to_who_has_none(self, database: Database) -> None:
        def work(session: Session) -> None:
            people.add_team(session, BY, "Editors", "premium")
            ada = people.add_user(session, BY, Wish(name="ada", team="editors", country="nz"))
            made, clear = keys.create(session, BY, ada, "k", Scopes())
            account = known(session, clear).account
            assert (account.tier, account.country, account.team, account.key) == (
                "premium",
                "NZ",
                ada.team_id,
                made.id,
            )
            assert keys.account_of(ada).tier == "premium"
            people.change_user(session, BY, ada, Wish(tier="own"))
            assert known(session, clear).account.tier == keys.account_of(ada).tier == "own"
            with pytest.raises(UsageError, match="has 1 members"):
                people.remove_team(session, BY, people.team(session, "Editors"))
            people.change_user(session, BY, ada, Wish(team=""))
            people.remove_team(session, BY, people.team(session, "Editors"))
            assert people.teams(session) == []

        await database.run(work)


@pytest.mark.usefixtures("cheap_hashes")
class TestAudit:
    async def test_each_act_is_one_line_and_holds_no_secret(self, database: Database) -> None:
        def work(session: Session) -> tuple[list[str], str]:
            ada = people.add_user(session, BY, Wish(name="ada", password=passwords.hashed("four good words")))
            team = people.add_team(session, BY, "t")
            people.change_team(session, BY, team, tier="x")
            people.change_user(session, BY, ada, Wish(password=passwords.hashed("five good words")))
            made, one = keys.create(session, BY, ada, "k", Scopes())
            two = keys.rotate(session, BY, made)
            keys.revoke(session, BY, made)
            keys.revoke(session, BY, made)  # changes nothing, so is no act
            bob = people.add_user(session, BY, Wish(name="bob"))
            people.remove_user(session, BY, bob)
            people.remove_team(session, BY, team)
            session.flush()
            said = json.dumps([[a.by, a.subject, a.details] for a in audit.acts(session)])
            for told in (one, two, one[12:], two[12:], "good words", "argon2"):
                assert told not in said
            assert all(a.at == NOW and a.by == "cli:test" and a.subject for a in audit.acts(session))
            return acts(session), said

        done, said = await database.run(work)
        assert done == [
            "user.add", "team.add", "team.change", "user.change", "key.create", "key.rotate", "key.revoke",
            "user.add", "user.remove", "team.remove",
        ]  # fmt: skip
        assert '"password": "set"' in said

    async def test_no_statement_changes_or_removes_a_line(self, database: Database) -> None:
        await database.run(root)
        row = "(id, at, by, act, subject, details) VALUES (1, 0, 'x', 'x', 'x', '{}')"
        own = f"REPLACE INTO audit_log {row}" if database.is_sqlite else "TRUNCATE audit_log"
        for statement in ("UPDATE audit_log SET by = 'nobody'", "DELETE FROM audit_log", own):
            with pytest.raises(VoxpopError, match="append-only"):
                await database.run(lambda s, q=statement: s.execute(text(q)))
        assert await database.run(acts) == ["user.add"]

    async def test_an_act_that_fails_leaves_no_line(self, database: Database) -> None:
        def work(session: Session) -> None:
            root(session)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await database.run(work)
        assert await database.run(acts) == []

    async def test_it_is_read_backwards_a_page_at_a_time(self, database: Database) -> None:
        def work(session: Session) -> None:
            names = [f"u{n}" for n in range(5)]
            made = [root(session, name) for name in names]
            session.flush()
            first = audit.acts(session, limit=2)
            assert [a.details["name"] for a in first] == ["u4", "u3"]
            assert [a.details["name"] for a in audit.acts(session, before=first[-1].id)] == ["u2", "u1", "u0"]
            assert [a.subject for a in audit.acts(session, subject=made[1].id)] == [made[1].id]

        await database.run(work)


class TestKeys:
    async def test_a_secret_is_shown_once_and_only_its_hash_is_anywhere(self, tmp_path: Path) -> None:
        async with Database.beside(tmp_path) as database:
            clear = await database.run(lambda s: keys.create(s, BY, root(s), "k", Scopes())[1])
            assert secret.read(clear)
            row = await database.run(lambda s: s.scalars(select(Secret)).one())
            assert (row.prefix, row.hash) == (clear[3:11], secret.digest(clear))
        found = [p for p in tmp_path.iterdir() if clear[12:].encode() in p.read_bytes()]
        assert found == []
        assert (tmp_path / "accounts.db").stat().st_mode & 0o077 == 0

    async def test_only_the_whole_secret_opens(self, database: Database) -> None:
        def work(session: Session) -> None:
            ada, other = root(session), root(session, "bob")
            (_, one), (_, two) = (keys.create(session, BY, u, "k", Scopes()) for u in (ada, other))
            assert known(session, one).account.id == ada.id
            assert known(session, two).account.id == other.id
            for wrong in (one[:11] + two[11:], two[:11] + one[11:], f"vx-aaaaaaaa{one[11:]}"):
                with pytest.raises(Denied, match="not known"):
                    known(session, wrong)

        await database.run(work)
        for form in ("", "any", "vx-", "x" * 4000, "vx-aaaaaaaa-" + "é" * 43, "vx-aaaaaaaa-" + "a" * 44):
            assert secret.read(form) is None

    async def test_no_key_makes_turns_or_ends_a_wider_one(self, database: Database) -> None:
        def work(session: Session) -> None:
            ada = root(session)
            own, _ = keys.create(session, BY, ada, "own", Scopes(endpoints=["chat", "keys"], expires_at=NOW + S))
            wide, _ = keys.create(session, BY, ada, "wide", Scopes())
            for scopes in (
                Scopes(expires_at=NOW + S),
                Scopes(endpoints=["chat", "files"], expires_at=NOW + S),
                Scopes(endpoints=["chat"]),
                Scopes(endpoints=["chat"], expires_at=NOW + S + 1),
            ):
                with pytest.raises(Denied) as caught:
                    keys.create(session, BY, ada, "k", scopes, within=own.id)
                assert caught.value.code == "forbidden"
            for act in (keys.rotate, keys.revoke):
                with pytest.raises(Denied):
                    act(session, BY, wide, within=own.id)
            keys.create(session, BY, ada, "k", Scopes(endpoints=["chat"], expires_at=NOW + S), within=own.id)
            with pytest.raises(Denied, match="gone"):
                keys.revoke(session, BY, wide, within="key_gone")
            assert [k.name for k in keys.keys(session, ada)].count("k") == 1

        await database.run(work)

    async def test_a_key_is_found_by_its_prefix_and_no_error_repeats_a_secret(self, database: Database) -> None:
        def work(session: Session) -> None:
            ada, bob = root(session), root(session, "bob")
            made, clear = keys.create(session, BY, ada, "k", Scopes())
            assert all(keys.key(session, w) is made for w in (made.id, clear[:11], clear[3:11], clear))
            for which, owner in (("vx-aaaaaaaa-" + clear[12:], ""), (clear, bob.id), ("\0", ""), ("", "")):
                with pytest.raises(UsageError, match="There is no key") as caught:
                    keys.key(session, which, owner)
                assert clear[12:20] not in str(caught.value)

        await database.run(work)

    async def test_what_cannot_be_a_scope_is_refused(self, tmp_path: Path) -> None:
        async with Database.beside(tmp_path) as database:
            await database.run(root)
            for wrong in (
                Scopes(models=[]), Scopes(models=["a b"]), Scopes(endpoints=["Chat"]), Scopes(expires_at=NOW),
                Scopes(models=["m"] * 51),
            ):  # fmt: skip
                with pytest.raises(UsageError):
                    await database.run(lambda s, w=wrong: keys.create(s, BY, people.user(s, "root"), "k", w))

    async def test_a_user_has_so_many_keys_and_no_more(self, tmp_path: Path) -> None:
        def work(session: Session) -> None:
            ada = root(session)
            made = [keys.create(session, BY, ada, f"{n}", Scopes())[0] for n in range(100)]
            with pytest.raises(UsageError, match="has 100 keys"):
                keys.create(session, BY, ada, "one more", Scopes())
            keys.revoke(session, BY, made[0])
            keys.create(session, BY, ada, "one more", Scopes())

        async with Database.beside(tmp_path) as database:
            await database.run(work)

    async def test_when_it_was_used_is_noted_to_the_minute(self, database: Database) -> None:
        def work(session: Session) -> None:
            made, clear = keys.create(session, BY, root(session), "k", Scopes())
            for at in (NOW + 61 * S, NOW + 119 * S, NOW):  # a clock that goes back takes nothing back
                keys.used(session, made.id, at)
            assert known(session, clear).used_at == NOW + 60 * S

        await database.run(work)


class KeyMachine(RuleBasedStateMachine):
    """Whatever is done in whatever order, a secret opens exactly while it should."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        engine = create_engine("sqlite://")
        Base.metadata.create_all(engine)
        self.session, self.now = Session(engine), NOW
        self.owner = root(self.session)
        self.until: dict[str, dict[str, float]] = {}  # of each key's secrets, when each ends
        self.ends: dict[str, float] = {}

    @property
    def by(self) -> By:
        return By("test", self.now)

    @initialize(target=made)
    def begin(self) -> Any:
        return self.create(None)

    @rule(target=made, lasts_s=st.none() | st.integers(1, 100))
    def create(self, lasts_s: int | None) -> Any:
        ends = None if lasts_s is None else self.now + lasts_s * S
        made, clear = keys.create(self.session, self.by, self.owner, "k", Scopes(expires_at=ends))
        self.until[made.id] = {clear: float("inf")}
        self.ends[made.id] = float("inf") if ends is None else ends
        return made.id

    @rule(id_=made, grace_s=st.sampled_from([0, 0, 0.5, 30, 80]))
    def rotate(self, id_: str, grace_s: float) -> None:
        key = keys.key(self.session, id_)
        try:
            clear = keys.rotate(self.session, self.by, key, grace_s=grace_s)
        except UsageError:
            assert self.ends[id_] == 0  # revoked
            return
        ends = self.now + grace_s * S
        held = {c: 0 if min(u, ends) <= self.now else min(u, ends) for c, u in self.until[id_].items()}
        self.until[id_] = held | {clear: float("inf")}

    @rule(id_=made)
    def revoke(self, id_: str) -> None:
        keys.revoke(self.session, self.by, keys.key(self.session, id_))
        self.ends[id_] = 0

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.now += seconds * S

    @rule(back=st.integers(1, 60))
    def the_clock_goes_back(self, back: int) -> None:
        self.now -= back * S

    @rule(disabled=st.booleans())
    def disable(self, disabled: bool) -> None:
        self.owner.disabled = disabled
        self.session.flush()

    @invariant()
    def each_opens_while_it_should(self) -> None:
        for id_, held in self.until.items():
            for clear, until in held.items():
                opens = self.now < min(until, self.ends[id_]) and not self.owner.disabled
                try:
                    found = known(self.session, clear, self.now)
                except Denied:
                    assert not opens, f"{id_} should open"
                else:
                    assert opens, f"{id_} should not open"
                    assert found.account.key == id_

    def teardown(self) -> None:
        self.session.close()


TestKeyMachine = KeyMachine.TestCase
TestKeyMachine.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)

_CREATES = """
import asyncio, sys
from voxpop.accounts import keys, people
from voxpop.accounts.audit import By
from voxpop.accounts.keys import Scopes
from voxpop.records import Database

async def main():
    async with Database(sys.argv[1]) as database:
        def work(session):
            made, clear = keys.create(session, By("kill", 1), people.user(session, "root"), "k", Scopes())
            keys.rotate(session, By("kill", 2), made, grace_s=60)
            keys.revoke(session, By("kill", 3), made)
            return clear
        while True:
            print(await database.run(work), flush=True)
asyncio.run(main())
"""


async def test_a_kill_amid_the_making_of_keys_leaves_nothing_half(database_url: str) -> None:
    async with Database(database_url) as database:
        await database.run(root)
    shown = []
    for _ in range(3):
        command = [sys.executable, "-c", _CREATES, database_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as child:
            assert child.stdout
            shown += [child.stdout.readline().strip() for _ in range(3)]
            time.sleep(random.random() * 0.05)
            child.kill()

    def whole(session: Session) -> int:
        for made in session.scalars(select(Key)):
            assert (len(made.secrets), made.revoked_at) == (2, 3)
            said = session.scalars(select(Act.act).where(Act.subject == made.id).order_by(Act.id)).all()
            assert said == ["key.create", "key.rotate", "key.revoke"]
        orphans = select(Secret.prefix).where(Secret.key_id.not_in(select(Key.id)))
        assert session.scalars(orphans).all() == []
        assert all(session.get(Secret, clear[3:11]) for clear in shown)  # what was shown is kept
        return len(session.scalars(select(Key)).all())

    async with Database(database_url) as database:
        assert await database.run(whole) >= len(shown) == 9


@pytest.mark.usefixtures("cheap_hashes")
def test_a_password_is_hashed_compared_and_bounded() -> None:
    kept = passwords.hashed("four good words")
    assert kept.startswith("$argon2id$")
    assert "good" not in kept
    assert kept != passwords.hashed("four good words")
    assert passwords.matches(kept, "four good words")
    for wrong in ("four good wordS", "", "x" * 5000):
        assert not passwords.matches(kept, wrong)
    assert not passwords.matches("", "nobody has this password")
    assert not passwords.matches("no hash", "four good words")
    for bad in ("short", "x" * 1001):
        with pytest.raises(UsageError) as caught:
            passwords.hashed(bad)
        assert bad not in str(caught.value)


def fastest(work: Callable[[], object], times: int = 3) -> float:
    def each() -> Iterator[float]:
        for _ in range(times):
            began = time.perf_counter()
            work()
            yield time.perf_counter() - began

    return min(each())


def test_a_user_who_does_not_exist_takes_as_long_as_one_who_does() -> None:
    kept = passwords.hashed("four good words")
    passwords.matches("", "warm")
    there, nobody = (fastest(lambda k=k: passwords.matches(k, "wrong words")) for k in (kept, ""))
    assert 0.4 < there / nobody < 2.5
