"""Reads tiers and prices from TOML, the shipped file and the operator's own over it; an unknown key is refused."""

import logging
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from datetime import time as clock_time
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

from voxpop.accounts import TICKS
from voxpop.errors import UsageError
from voxpop.tiers import Limit, Measure, Per, Price, Resets, Rollout, Tier, Tiers
from voxpop.times import micros

_TIER = ("title", "weight", "models", "voices", "tools", "as_of_days", "resets", "buckets", "rollout")
_ROLLOUT = ("countries", "share", "accounts", "starts", "meanwhile")
_PRICE = ("prompt", "cached", "completion", "searches", "answer")
_LIMITS = {
    limit.name: limit
    for m in get_args(Measure)
    for p in get_args(Per)
    if (m == "concurrent") == (p == "")
    for limit in (Limit(m, p, 0),)
}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_RESETS = re.compile(r"([01]?\d|2[0-3]):(00|15|30|45)(?: ([A-Za-z0-9_+/-]{1,64}))?")
_MOST = 10**15
_LOOK_S = 0.5
_log = logging.getLogger(__name__)


def load(own: Path | None = None) -> Tiers:
    """The shipped tiers, with those of the operator's file in their place or beside them. Raises UsageError."""
    shipped = resources.files("voxpop").joinpath("tiers.toml").read_text("utf-8")
    return taken(_parsed(own), str(own), parse(shipped)) if own else parse(shipped)


class TierFile:
    """The tiers in force: the operator's file is read again within a second of its change.

    One that cannot be read any more leaves those in force that were, and says so in the log.
    """

    def __init__(self, own: Path | None = None, ticks: Callable[[], float] = time.monotonic) -> None:
        self._own, self._ticks = own, ticks
        self._stamp = self._stamped()
        self._looked = ticks()
        self._tiers = load(own)

    def __call__(self) -> Tiers:
        if self._own and self._ticks() - self._looked >= _LOOK_S:
            self._looked = self._ticks()
            stamp = self._stamped()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._tiers = load(self._own)
                except UsageError as error:
                    _log.warning("The tiers stay as they were: %s", error)
        return self._tiers

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            seen = self._own.stat() if self._own else None
        except OSError:
            return None
        return (seen.st_mtime_ns, seen.st_size, seen.st_ino) if seen else None


def parse(text: str, where: str = "tiers.toml", under: Tiers | None = None) -> Tiers:
    """The tiers of a text, over those `under` it. Raises UsageError for what it does not know."""
    try:
        return taken(tomllib.loads(text), where, under)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"The tiers {where} are not TOML: {error}.", "Mend that line.") from error


def taken(raw: Mapping[str, Any], where: str, under: Tiers | None = None) -> Tiers:
    """What a file says, over the tiers `under` it: a tier or a price replaces the one of its name whole."""
    _keys(raw, ("default", "off", "tier", "price"), where)
    tiers = dict(under.tiers) if under else {}
    for name in _texts(raw.get("off", []), f"off in {where}"):
        if tiers.pop(name, None) is None:
            raise _unknown(name, tiers, f"off in {where}")
    for name, row in _table(raw.get("tier", {}), f"tier in {where}").items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"A tier cannot be named '{name[:60]}' ({where}).", "Use small letters, digits, _, -.")
        tiers[name] = _tier(name, _table(row, f"tier.{name}"), f"tier.{name} in {where}")
    prices = {n: _price(p, f"price.{n} in {where}") for n, p in _table(raw.get("price", {}), where).items()}
    default = _text(raw.get("default", under.default if under else ""), f"default in {where}")
    for name, place in [(default, "default"), *((t.rollout.meanwhile, f"tier.{t.name}") for t in tiers.values())]:
        if name not in tiers and (name or place == "default"):
            raise _unknown(name, tiers, f"{place} in {where}")
    # A price of the operator's goes before every shipped pattern.
    return Tiers(
        tiers, default, {**prices, **{n: p for n, p in (under.prices if under else {}).items() if n not in prices}}
    )


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the tiers {file}: {error.strerror}.", "Check accounts.tiers.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The tiers {file} are not TOML: {error}.", "Mend that line.") from error


def _tier(name: str, row: Mapping[str, Any], where: str) -> Tier:
    _keys(row, _TIER, where)
    patterns = {k: _texts(row[k], f"{k} of {where}") for k in ("models", "voices", "tools") if k in row}
    depth = row.get("as_of_days")
    return Tier(
        name,
        _text(row.get("title", name), f"title of {where}"),
        weight=_number(row.get("weight", 1.0), f"weight of {where}", 0.01, 1000),
        as_of_days=None if depth is None else _number(depth, f"as_of_days of {where}", 0, 1e6),
        resets=_resets(row.get("resets", "00:00 UTC"), f"resets of {where}"),
        buckets={
            n: _bucket(_table(b, f"buckets.{n} of {where}"), f"buckets.{n} of {where}")
            for n, b in _table(row.get("buckets", {}), f"buckets of {where}").items()
        },
        rollout=_rollout(_table(row.get("rollout", {}), f"rollout of {where}"), f"rollout of {where}"),
        **patterns,
    )


def _bucket(row: Mapping[str, Any], where: str) -> tuple[Limit, ...]:
    _keys(row, _LIMITS, where)
    return tuple(
        Limit(known.measure, known.per, int(_number(row[name], f"{name} of {where}", 0, _MOST, whole=True)))
        for name, known in _LIMITS.items()
        if name in row
    )


def _rollout(row: Mapping[str, Any], where: str) -> Rollout:
    _keys(row, _ROLLOUT, where)
    countries = _texts(row.get("countries", []), f"countries of {where}")
    for country in countries:
        if not re.fullmatch(r"[A-Za-z]{2}", country):
            raise UsageError(f"'{country[:60]}' in {where} is no country.", "Give two letters, such as FR.")
    return Rollout(
        countries=frozenset(c.upper() for c in countries),
        share=_number(row.get("share", 1.0), f"share of {where}", 0, 1),
        accounts=frozenset(_texts(row.get("accounts", []), f"accounts of {where}")),
        starts=_moment(row["starts"], f"starts of {where}") if "starts" in row else None,
        meanwhile=_text(row.get("meanwhile", ""), f"meanwhile of {where}"),
    )


def _price(row: Any, where: str) -> Price:
    """US dollars of a million tokens, a thousand searches, one answer, in whole ticks."""
    _keys(_table(row, where), _PRICE, where)
    given = {k: round(_number(v, f"{k} of {where}", 0, 1e6) * TICKS) for k, v in row.items()}
    return Price(**({"cached": given["prompt"]} if "prompt" in given else {}) | given)


def _resets(value: Any, where: str) -> Resets | None:
    if value == "slides":
        return None
    found = _RESETS.fullmatch(value) if isinstance(value, str) else None
    if found:
        try:
            ZoneInfo(found[3] or "UTC")
            return Resets(int(found[1]), int(found[2]), found[3] or "UTC")
        except (ValueError, OSError, LookupError):
            pass  # no such zone
    cure = "Give 'slides', or a quarter of an hour and a zone, such as '04:00 Europe/Paris'."
    raise UsageError(f"The {where} cannot be {str(value)[:60]!r}.", cure)


def _moment(value: Any, where: str) -> int:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, clock_time(), UTC)
    try:
        return micros(value.isoformat() if isinstance(value, datetime) else _text(value, where))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"The {where} is no time.", "Give such as 2026-12-01T09:00:00Z.") from error


def _number(value: Any, where: str, low: float, high: float, *, whole: bool = False) -> float:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise UsageError(f"The {where} cannot be {str(value)[:60]!r}.", f"Give {kind} from {low:g} to {high:g}.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise UsageError(f"The {where} cannot be {str(value)[:60]!r}.", "Give a short text.")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError(f"The {where} cannot be {str(value)[:60]!r}.", "Give a list of texts.")
    return tuple(_text(item, where) for item in value)


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"The {where} cannot be {str(value)[:60]!r}.", "Give a table of settings.")
    return value


def _keys(row: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in row:
        if key not in (names := list(known)):
            raise _unknown(key, names, where)


def _unknown(name: str, known: Iterable[str], where: str) -> UsageError:
    close = get_close_matches(name, names := list(known), 1, 0.5)
    cure = f"Did you mean '{close[0]}'?" if close else f"Known are: {', '.join(names)}."
    return UsageError(f"Unknown '{name[:60]}' in {where}.", cure, code="unknown_setting")
