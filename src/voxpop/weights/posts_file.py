"""Posts from a file: one a line, as it is or as JSON with a `text`; a line of JSON without text is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from voxpop.errors import UsageError

_LONGEST = 1 << 16  # bytes of a line


def posts_in(path: Path) -> Iterator[str]:
    """Each that is not empty, in order; a longer line counts as several. The file's name says whether it is JSON.

    Raises UsageError where a line of JSON has no text.
    """
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
            text = line.decode("utf-8", "replace").strip()
            if text and path.suffix in (".jsonl", ".ndjson"):
                text = _text_of(text, f"{path}, line {number}")
            if text:
                yield text


def _text_of(line: str, where: str) -> str:
    try:
        found: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{where} is no JSON: {error}.", "Mend or remove it.") from error
    text = found.get("text") if isinstance(found, dict) else found
    if not isinstance(text, str):
        raise UsageError(f"{where} has no 'text'.", 'Write {"text": "…"} on each line.')
    return text
