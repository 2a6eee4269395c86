"""Keep the rules of X's filtered stream as the config has them; rules that voxpop did not make are left alone.

X keeps one set of rules for all programs of a project. Ours carry the tag `voxpop`. X refuses a rule that is not
well formed, and says why; the others are kept all the same.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from voxpop.errors import VoxpopError
from voxpop.sources.x_api import Api
from voxpop.sources.x_wire import Problem, problem

TAG = "voxpop"
PATH = "/2/tweets/search/stream/rules"
_MOST_PAGES = 25


class Rule(NamedTuple):
    """A rule as X keeps it."""

    id: str
    value: str
    tag: str = ""


class Difference(NamedTuple):
    """What X keeps against what is wanted: rules to add, rules of ours to delete, those that stay, and others'."""

    add: tuple[str, ...]
    delete: tuple[Rule, ...]
    keep: tuple[Rule, ...]
    others: tuple[Rule, ...]


class Synced(NamedTuple):
    """The difference that was found, and each rule that X refused, with its words."""

    difference: Difference
    refused: dict[str, str]


def compare(kept: Sequence[Rule], wanted: Sequence[str]) -> Difference:
    """What to change. A rule that another program already has is not added: X keeps a value once."""
    rules = tuple(dict.fromkeys(" ".join(w.split()) for w in wanted if w.strip()))
    values = {rule.value for rule in kept}
    ours = [rule for rule in kept if rule.tag == TAG]
    return Difference(
        tuple(rule for rule in rules if rule not in values),
        tuple(rule for rule in ours if rule.value not in rules),
        tuple(rule for rule in kept if rule.value in rules),
        tuple(rule for rule in kept if rule.tag != TAG and rule.value not in rules),
    )


async def rules_of(api: Api) -> list[Rule]:
    """All rules that X keeps for the project. Raises Refused."""
    found: list[Rule] = []
    token = ""
    for _ in range(_MOST_PAGES):
        page = _object(await api.get(PATH, {"pagination_token": token} if token else {}))
        for rule in _listed(page.get("data")):
            if type(rule) is dict and type(rule.get("id")) is str and type(rule.get("value")) is str:
                tag = rule.get("tag")
                found.append(Rule(rule["id"], rule["value"], tag if type(tag) is str else ""))
        meta = page.get("meta")
        token = str(meta.get("next_token") or "") if type(meta) is dict else ""
        if not token:
            break
    return found


async def sync(api: Api, wanted: Sequence[str], *, dry_run: bool = False) -> Synced:
    """Delete what is no longer wanted, add what is missing. A dry run asks X for its verdict and changes nothing.

    Raises Refused where X does not answer, VoxpopError where it refuses every rule.
    """
    difference = compare(await rules_of(api), wanted)
    refused: dict[str, str] = {}
    if difference.add:
        refused = await _add(api, difference.add, dry_run=True)
    good = [rule for rule in difference.add if rule not in refused]
    if refused and not good and not difference.keep:
        said = "; ".join(f"{rule!r}: {why}" for rule, why in refused.items())
        raise VoxpopError(
            f"X takes none of the rules of 'x.rules': {said}.", "Mend them (docs/x.md).", lasting=True
        )
    if not dry_run:
        if difference.delete:
            await _change(api, {"delete": {"ids": [rule.id for rule in difference.delete]}}, dry_run=False)
        if good:
            refused |= await _add(api, good, dry_run=False)
    return Synced(difference, refused)


async def _add(api: Api, rules: Sequence[str], *, dry_run: bool) -> dict[str, str]:
    """Each rule that X refused, with its words."""
    body = {"add": [{"value": rule, "tag": TAG} for rule in rules]}
    errors = await _change(api, body, dry_run=dry_run)
    return {
        error.value: ": ".join(w for w in (error.title, error.detail) if w) or error.kind
        for error in errors
        if error.value and error.kind != "duplicate-rules"
    }


async def _change(api: Api, body: dict[str, Any], *, dry_run: bool) -> list[Problem]:
    status, answer = await api.post(PATH, {"dry_run": "true"} if dry_run else {}, body)
    said = _object(answer)
    errors = [problem(e) for e in _listed(said.get("errors")) if type(e) is dict]
    if status == 400 and not any(e.value for e in errors):
        words = "; ".join(str(e) for e in errors) or str(problem(said))
        raise VoxpopError(f"X refused the rules: {words}.", "See docs/x.md on rules.")
    return errors


def _listed(value: object) -> list[Any]:
    return value if type(value) is list else []


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if type(found) is not dict:
        raise VoxpopError("X's answer about its rules is no JSON object.", "Check the setting 'x.host'.")
    return found
