"""The text of a file that comes with a question, under its name; bytes that are no text are refused."""

from pathlib import PurePath

from voxpop.errors import FieldError
from voxpop.inert import line, visible

LONGEST = 3_900  # characters: a file is part of what is asked, and bounded as a question is
_TYPES = ("application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml")
_NAMES = (".txt", ".md", ".markdown", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".xml", ".log")


def text_of(data: bytes, name: str = "", kind: str = "") -> str:
    """What a model is told of a file; `kind` is its media type (RFC 6838), empty where its name says it.

    Raises FieldError for what is no text file, not UTF-8, or over LONGEST characters.
    """
    shown = line(PurePath(name).name)[:100] or "a file without a name"
    media = kind.partition(";")[0].strip().lower()
    plain = media.startswith("text/") or media in _TYPES or media == "application/octet-stream"
    if (media and not plain) or (not media and name and PurePath(name).suffix.lower() not in ("", *_NAMES)):
        what = f"The file '{shown}' is no text" + (f" ({line(media)[:60]})." if media else ".")
        raise FieldError(
            "file", what, "Send text: plain, Markdown, CSV, JSON, YAML, TOML or XML.", code="unsupported"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FieldError("file", f"The file '{shown}' is not UTF-8.", "Save it as UTF-8.") from error
    if len(text) > LONGEST:
        what = f"The file '{shown}' has {len(text)} characters."
        raise FieldError("file", what, f"Send at most {LONGEST}, such as the part that matters.", code="too_long")
    return f"The user gives the file {shown}:\n{visible(text)}"
