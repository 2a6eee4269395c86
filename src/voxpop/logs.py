"""How voxpop writes its log, as text or as JSON lines; no line holds a key, a question or the text of a post.

Our own messages are written without them. A stranger's message is cut to its first line, and of an exception only
the kind and the places are told, since its words may quote what somebody wrote. Secrets are masked.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from voxpop.errors import UsageError

Say = Callable[[str], None]
FORMATS = ("text", "json")
SECRETS = ("VOXPOP_X_TOKEN", "VOXPOP_MASTODON_TOKENS", "VOXPOP_OPENAI_KEY")
_FIELDS = ("source", "retry_s", "posts", "events", "took_s")
_LONGEST = 2000
_SHORTEST_SECRET = 6
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=%-]+|((?:access_)?token|key|secret|password)=[^\s&\"']+")
_MASK = "***"


def begin(form: str, secrets: Iterable[str] = ()) -> Say:
    """Write the log to the standard error in this form; what it gives says a line of the program's own.

    `secrets` are masked; those that the environment holds are, always. Raises UsageError for an unknown form.
    """
    if form not in FORMATS:
        raise UsageError(f"A log cannot be written as {form!r}.", f"Set watching.log to {' or '.join(FORMATS)}.")
    hidden = {*secrets, *(part for name in SECRETS for part in re.split(r"[,\s=]+", os.environ.get(name, "")))}
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter((Json if form == "json" else Text)(sorted(hidden, key=len, reverse=True)))
    ours = logging.getLogger("voxpop")
    for logger in (logging.getLogger(), ours):
        logger.handlers[:] = [out]
    ours.propagate = False
    ours.setLevel(logging.INFO)
    return ours.info


class _Careful(logging.Formatter):
    """What both forms leave out."""

    def __init__(self, secrets: list[str]) -> None:
        super().__init__()
        self._secrets = [s for s in secrets if len(s) >= _SHORTEST_SECRET]

    def message(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if not _is_ours(record):
            text = text.partition("\n")[0]
        return self.masked(text[:_LONGEST])

    def masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return _BEARER.sub(_MASK, text)

    def fault(self, record: logging.LogRecord) -> str:
        """The kind of the exception and the places that it passed, without its words."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return ""
        kinds: list[str] = []
        cause: BaseException | None = error
        while cause is not None and len(kinds) < 8:
            kinds.append(type(cause).__qualname__)
            cause = cause.__cause__ or cause.__context__
        return "".join(traceback.format_tb(error.__traceback__)) + " from ".join(kinds)


class Text(_Careful):
    """Lines for people: what the program and its sources say, and the rest after its level and its logger."""

    def format(self, record: logging.LogRecord) -> str:
        said, fault = self.message(record), self.fault(record)
        if hasattr(record, "source"):
            said = f"{record.source}: {said}"
        elif record.name != "voxpop":
            said = f"{_time(record)} {record.levelname.lower()} {record.name}: {said}"
        return f"{said}\n{fault}" if fault else said


class Json(_Careful):
    """One JSON object a line: `time` (RFC 3339), `level`, `logger`, `message`, and what is known beside it."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
            **{name: getattr(record, name) for name in _FIELDS if hasattr(record, name)},
        }
        if fault := self.fault(record):
            row["fault"] = fault
        return orjson.dumps(row, default=str).decode()


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == "voxpop"


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
