"""The tones in which voxpop speaks, read from Markdown files; a voice adds manner, never a fact."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import yaml

from voxpop.errors import UsageError, VoxpopError

SITUATIONS = (
    "nothing_found",
    "not_said",
    "not_declared",
    "disagree",
    "flood",
    "one_voice",
    "stale",
    "breaking",
    "plain",
    "greeting",
    "no_model",
)


@dataclass(frozen=True, slots=True)
class Voice:
    """A tone: the instruction for a model, and lines by language and situation that work without one."""

    name: str
    title: str
    instruction: str
    lines: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def line(self, situation: str, lang: str, salt: str) -> str:
        """A line for a situation in a language (English where the voice lacks it); the same salt, the same line."""
        spoken = self.lines.get(lang) or self.lines.get("en", {})
        choices = spoken.get(situation, ())
        return choices[zlib.crc32(salt.encode()) % len(choices)] if choices else ""


class _Readable(Protocol):
    @property
    def name(self) -> str: ...

    def read_text(self, encoding: str) -> str: ...


def load(folder: Path | None = None) -> dict[str, Voice]:
    """The voices that ship with voxpop, then those of a user's folder (`*.md`), which may replace them."""
    shipped = [f for f in resources.files("voxpop").joinpath("voices").iterdir() if f.name.endswith(".md")]
    own = sorted(folder.glob("*.md")) if folder and folder.is_dir() else []
    voices = [parse(f.name.removesuffix(".md"), _read(f)) for f in [*shipped, *own]]
    return {v.name: v for v in sorted(voices, key=lambda v: v.name != "regular")}


def _read(file: _Readable) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise VoxpopError(f"The voice file {file.name} is not UTF-8.", "Save it as UTF-8.") from error


def parse(name: str, text: str) -> Voice:
    """A voice from Markdown with YAML front matter (`title`, `lines`); the body is the instruction.

    Raises VoxpopError where the file does not have that form.
    """
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    try:
        front = yaml.safe_load(head) if text.startswith("---\n") else None
    except yaml.YAMLError as error:
        raise VoxpopError(f"The voice '{name}' has bad front matter: {error}.", "Mend its YAML.") from error
    if not isinstance(front, dict) or not body.strip():
        cure = "Begin the file with '---', a title, lines by language, '---', then the instruction."
        raise VoxpopError(f"The voice '{name}' has no front matter or no instruction.", cure)
    if unknown := set(map(str, front)) - {"title", "lines"}:
        raise VoxpopError(f"The voice '{name}' has an unknown field '{min(unknown)}'.", "Fields are: title, lines.")
    return Voice(name, str(front.get("title", name)), body.strip(), _lines(name, front.get("lines") or {}))


def choose(voices: Mapping[str, Voice], name: str) -> Voice:
    """The voice of that name; raises UsageError that lists the known ones."""
    if name not in voices:
        raise UsageError(f"No voice '{name}'.", f"Choose one of: {', '.join(voices)}.", code="unknown_voice")
    return voices[name]


def _lines(name: str, raw: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    cure = "Write 'lines:', under it a language such as 'en:', under that 'situation: text' or a list of texts."
    if not isinstance(raw, dict) or not all(isinstance(spoken, dict) for spoken in raw.values()):
        raise VoxpopError(f"The lines of the voice '{name}' are not by language and situation.", cure)
    lines: dict[str, dict[str, tuple[str, ...]]] = {}
    for lang, spoken in raw.items():
        if unknown := set(map(str, spoken)) - set(SITUATIONS):
            known = f"Situations are: {', '.join(SITUATIONS)}."
            raise VoxpopError(f"The voice '{name}' has lines for an unknown situation '{min(unknown)}'.", known)
        lines[str(lang)] = {k: _choices(name, k, v, cure) for k, v in spoken.items()}
    return lines


def _choices(name: str, situation: str, raw: Any, cure: str) -> tuple[str, ...]:
    choices = (raw,) if isinstance(raw, str) else tuple(raw) if isinstance(raw, list) else (None,)
    if not all(isinstance(c, str) for c in choices):
        raise VoxpopError(f"The voice '{name}' has something else than text for '{situation}'.", cure)
    return choices
