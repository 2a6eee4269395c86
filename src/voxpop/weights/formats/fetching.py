"""Grok-1's tokenizer from xAI's public repository: over https, bounded, checked, whole or not at all."""

import asyncio
import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from voxpop.errors import UsageError, VoxpopError
from voxpop.weights.formats.tokenizer import FILE, GROK_1_SHA256, GROK_1_SIZE

URL = f"https://raw.githubusercontent.com/xai-org/grok-1/main/{FILE}"
VARIABLE = "VOXPOP_GROK1_TOKENIZER_URL"
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_HERE = ("127.0.0.1", "localhost", "::1")


async def fetch_tokenizer(path: Path, url: str | None = None) -> None:
    """Put Grok-1's tokenizer at `path`. `url`: None takes VOXPOP_GROK1_TOKENIZER_URL, else xAI's.

    Raises UsageError where `path` is taken or the URL is not https, VoxpopError where it cannot be had or what came
    is not the released file.
    """
    url = url or os.environ.get(VARIABLE) or URL
    _check(path, url)
    try:
        content = await _got(url)
    except httpx.HTTPError as error:
        raise _unreachable(url, f"{type(error).__name__}: {error}", path) from error
    if content is None or (found := hashlib.sha256(content).hexdigest()) != GROK_1_SHA256:
        said = f"more than {GROK_1_SIZE} bytes" if content is None else f"SHA-256 {found}"
        cure = f"The released file has {GROK_1_SHA256}. Try again, or set {VARIABLE}."
        raise VoxpopError(f"What came from {url} has {said}; it was not kept.", cure, code="wrong_checksum")
    await asyncio.to_thread(_kept, path, content)


def _check(path: Path, url: str) -> None:
    if os.path.lexists(path):
        raise UsageError(f"There is something at {path} already.", "Name another path with --out.")
    where = urlsplit(url)
    if where.scheme != "https" and where.hostname not in _HERE:
        raise UsageError(f"The address '{url}' is not https.", f"Set {VARIABLE} to an https:// URL.")


async def _got(url: str) -> bytes | None:
    """What the address answers with; None where it is more than the tokenizer has."""
    async with (
        httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=True) as client,
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        answer.raise_for_status()
        content = bytearray()
        async for block in answer.aiter_raw():
            content += block
            if len(content) > GROK_1_SIZE:
                return None
        return bytes(content)


def _kept(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(content)
    os.replace(partial, path)


def _unreachable(url: str, reason: str, path: Path) -> VoxpopError:
    cure = f"Check the network, set {VARIABLE}, or put the file at {path} by hand."
    return VoxpopError(f"The tokenizer could not be fetched from {url} ({reason}).", cure, code="unreachable")
