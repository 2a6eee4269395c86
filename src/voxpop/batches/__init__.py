"""Batches of requests that are answered later: what one is; values, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voxpop.accounts import Account

OPEN = ("validating", "in_progress", "cancelling")
OVER = ("succeeded", "failed", "cancelled")  # of a request
KEPT_S = 30 * 86_400
WINDOW_S = 86_400
MOST = 50_000  # requests of one batch


@dataclass(frozen=True, slots=True)
class Wish:
    """One request as it is given: `endpoint` such as `/v1/chat/completions`, `body` as that takes it."""

    custom_id: str
    endpoint: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Line:
    """One request as it stands; `result` is None while there is none, or it is `withdrawn`: a post is gone."""

    batch: str
    n: int
    custom_id: str
    endpoint: str
    state: str
    status: int
    request_id: str
    created_at: int
    ended_at: int | None
    body: bytes
    result: bytes | None = None
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands; times in seconds of UTC, `counts` of its requests by state."""

    id: str
    owner: str
    account: Account
    name: str
    endpoint: str
    input_file: str
    meta: Mapping[str, Any]
    status: str
    times: Mapping[str, int]
    created_at: int
    expires_at: int
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many requests it has."""
        return sum(self.counts.values())
