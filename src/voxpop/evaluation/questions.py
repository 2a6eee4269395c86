"""Read a question set that a user brings, TOML or JSONL; one that cannot be asked is refused by its number."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from voxpop.errors import UsageError
from voxpop.times import micros

Expect = Literal["answer", "abstain", "contested"]
_KEYS = {"id", "ask", "as_of", "posts", "expect", "answers", "lang", "authorities", "before"}
_LISTS = ("answers", "authorities", "before")
_CURE = "See docs/evaluation.md for the format."


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a set.

    `posts`: a recording that `replay:` reads. `as_of`: microseconds of UTC, None for the recording's end. `expect`:
    what is due: an answer, none, or one in its authors' names. `answers`: short answers, any of them right.
    `authorities`: accounts that count as authorities beside the configured. `before`: what the user asked first.
    """

    id: str
    ask: str
    posts: Path
    expect: Expect
    as_of: int | None = None
    answers: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


def read(path: Path, data: Path | None = None) -> list[Question]:
    """The questions of a file. Raises UsageError for what is wrong.

    `posts` is looked for in the file's own folder, and by its name alone among the recordings of `data`.
    """
    try:
        if path.suffix == ".toml":
            rows = tomllib.loads(path.read_text("utf-8")).get("question", [])
        else:
            rows = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"Cannot read the questions {path}: {error.strerror}.", "Check the path.") from error
    except (tomllib.TOMLDecodeError, orjson.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The questions {path} are neither TOML nor JSONL: {error}.", _CURE) from error
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"No question is in {path}.", _CURE)
    return [_question(row, number, path, data) for number, row in enumerate(rows, 1)]


def _fault(row: Any) -> str:
    """What is wrong with a row, but for its time and its recording."""
    if not isinstance(row, dict):
        return "is no table"
    if unknown := sorted(row.keys() - _KEYS):
        return f"unknown key '{unknown[0]}'"
    if lacking := [k for k in ("ask", "posts", "expect") if not (isinstance(row.get(k), str) and row[k].strip())]:
        return f"lacks '{lacking[0]}'"
    if row["expect"] not in get_args(Expect):
        return f"cannot expect '{row['expect']}'"
    lists = {key: row.get(key, []) for key in _LISTS}
    bad = [k for k, v in lists.items() if not (isinstance(v, list) and all(isinstance(t, str) for t in v))]
    return f"'{bad[0]}' is no list of texts" if bad else ""


def _question(row: Any, number: int, path: Path, data: Path | None) -> Question:
    def wrong(what: str) -> UsageError:
        return UsageError(f"Question {number} of {path}: {what}.", _CURE)

    if fault := _fault(row):
        raise wrong(fault)
    lists = {key: row.get(key, []) for key in _LISTS}
    try:
        as_of = micros(row["as_of"]) if row.get("as_of") else None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise wrong(f"'as_of' is no time: {row['as_of']!r}") from error
    posts = path.parent / row["posts"]
    if data and not posts.is_file():
        posts = data / "posts" / f"{row['posts']}.jsonl.zst"
    if not posts.is_file():
        raise wrong(f"no recording at {posts}")
    id_ = str(row.get("id") or f"{path.stem}:{number}")
    return Question(id_, row["ask"], posts, row["expect"], as_of, *(tuple(v) for v in lists.values()))
