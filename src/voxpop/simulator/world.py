"""An invented election night of six hours, the same for the same seed; no person, party or place in it exists."""

from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from voxpop.simulator.crowd import DECLARED, END, POLLS_CLOSE, Crowd, seconds
from voxpop.simulator.night_cast import CAST
from voxpop.simulator.night_facts import FACTS, Fact
from voxpop.simulator.night_plot import PLOT, Step
from voxpop.simulator.records import WorldEvent, did, post_record, rkey

__all__ = ["AUTHORITIES", "DECLARED", "END", "FACTS", "POLLS_CLOSE", "Account", "Fact", "WorldEvent", "authorities"]
__all__ += ["accounts", "handle_at", "keys", "night", "reactions", "rest_of_time"]


class Account(NamedTuple):
    """Who owns a DID. Roles: authority, press, service, reporter, candidate, party, impostor, parody, citizen.

    `bio` is what the account says of itself; `label` and `verified` are its network's words.
    """

    did: str
    handle: str
    name: str
    role: str
    bio: str = ""
    label: str = ""
    verified: str = "none"


@lru_cache(maxsize=4)
def _night(seed: int) -> tuple[WorldEvent, ...]:
    plot = _plot()
    return tuple(sorted(plot + Crowd(seed).night(plot), key=attrgetter("at", "rkey", "did", "op")))


def night(seed: int = 7) -> list[WorldEvent]:
    """All that happens, in order of time."""
    return list(_night(seed))


def reactions(seed: int = 7) -> list[WorldEvent]:
    """The night's likes and reposts, in order of time."""
    posts = [event for event in _night(seed) if event.op == "create"]
    return sorted(Crowd(seed).reactions(posts), key=attrgetter("at", "rkey"))


def rest_of_time(seed: int, hour: int) -> list[WorldEvent]:
    """The chatter of the n-th hour after the night (from 0): a post every twelve seconds, no news."""
    return Crowd(seed * 1009 + hour + 1).chatter(END + hour * 3600, 3600, 300)


def accounts(seed: int = 7) -> dict[str, Account]:
    """Everybody by DID, with the handle of the night's beginning."""
    return dict(_accounts(seed))


@lru_cache(maxsize=4)
def _accounts(seed: int) -> dict[str, Account]:
    cast = {did(key): _account(key) for key in CAST}
    crowd = {d: Account(d, handle, name, "citizen") for d, (handle, name, _) in Crowd(seed).people.items()}
    return cast | crowd


def authorities(*roles: str) -> tuple[Account, ...]:
    """Accounts that may be believed for what they are; by default the commission and the press."""
    wanted = roles or ("authority", "press")
    return tuple(_account(key) for key, a in CAST.items() if a.role in wanted)


def _account(key: str) -> Account:
    actor = CAST[key]
    verified = "valid" if actor.role in ("authority", "press", "candidate") else "none"
    return Account(did(key), actor.handle, actor.name, actor.role, actor.bio, actor.label, verified)


AUTHORITIES = authorities()


def keys(seed: int = 7) -> dict[str, WorldEvent]:
    """The plot's posts by the keys that `FACTS` name."""
    return {event.key: event for event in _night(seed) if event.key and event.op == "create"}


def handle_at(account: str, at: float, seed: int = 7) -> str:
    """The handle of a DID at that moment of the night; empty for nobody."""
    known = _accounts(seed).get(account)
    handle = known.handle if known else ""
    for event in _renames(seed):
        if event.did == account and event.at <= at:
            handle = event.handle
    return handle


@lru_cache(maxsize=4)
def _renames(seed: int) -> tuple[WorldEvent, ...]:
    return tuple(event for event in _night(seed) if event.op == "identity" and event.handle)


def _plot() -> list[WorldEvent]:
    events: list[WorldEvent] = []
    posts: dict[str, WorldEvent] = {}
    roots: dict[str, WorldEvent] = {}
    for serial, step in enumerate(PLOT):
        event = _step(step, serial, posts, roots)
        events.append(event)
        if step["op"] == "post":
            posts[step["key"] or event.rkey] = event
            if parent := step.get("reply"):
                roots[step["key"]] = roots.get(parent, posts[parent])
    return events


def _step(step: Step, serial: int, posts: dict[str, WorldEvent], roots: dict[str, WorldEvent]) -> WorldEvent:
    at, op = seconds(step["at"]), step["op"]
    if op in ("edit", "delete"):
        old = posts[step["key"]]
        if op == "delete":
            return WorldEvent(at, "delete", old.did, rkey=old.rkey, key=old.key)
        record = (old.record or {}) | {"text": step["text"]}
        return WorldEvent(at, "update", old.did, rkey=old.rkey, record=record, key=old.key)
    who = did(step["who"])
    if op == "gone":
        return WorldEvent(at, "account", who, status=step["status"])
    if op == "rename":
        return WorldEvent(at, "identity", who, handle=step["handle"])
    reply, quote = step.get("reply", ""), step.get("quote", "")
    record = post_record(
        step["text"],
        step.get("lang", "en"),
        parent=posts[reply] if reply else None,
        root=roots.get(reply),
        quote=posts[quote] if quote else None,
        card=step.get("card", ()),
        alt=step.get("alt", ()),
        video=step.get("video", ""),
    )
    return WorldEvent(at, "create", who, rkey=rkey(at, serial), record=record, key=step["key"])
