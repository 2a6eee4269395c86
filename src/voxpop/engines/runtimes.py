"""Open a GGUF file in the runtime that suits it; it refuses a file for which this machine has no memory.

OpenVINO reads a prompt faster, but only of the few architectures that `openvino_graph` can say; llama.cpp takes the
others, from the file as it is.
"""

import glob
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from voxpop.engines import llama_session
from voxpop.engines.gguf_file import Card, GgufFile, Shape
from voxpop.engines.llama_trial import tried
from voxpop.engines.llamacpp import LlamaModel
from voxpop.engines.sessions import MOST_KEPT, Session
from voxpop.errors import VoxpopError

_PIECE_WORK = 64_000_000_000  # weights times tokens: about a tenth of a second of two cores
_MIXTURE_PIECE = 64  # tokens that between them go through every expert: fewer read the same weights for less
_DIGESTED = 2 << 30  # bytes of file that are read for a SHA-256 at every start
_AT_ONCE = 2  # contexts whose keys and values may be held by all seats together
_LARGE, _LARGE_SEATS = 20 << 30, 4  # from this size on a place of Grok-1's own costs 2 GiB a seat
_PART = re.compile(r"(.*)-00001-of-(\d{5})\.gguf")
_HALF = 2  # bytes of a key's or value's number


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a runtime: threads (0: every physical core), tokens of context, requests at once.

    `room` is the memory in bytes that may be taken, 0 unknown; `progress` is told the share that is loaded, `warn`
    what the operator should know.
    """

    threads: int = 0
    context: int = 8192
    seats: int = 8
    room: int = 0
    progress: Callable[[float], None] = lambda share: None
    warn: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True)
class Runtime:
    """A model that runs: `held` tokens at most by all sessions together, `piece` tokens of a prompt a step."""

    card: Card
    sessions: list[Session]
    context: int
    held: int
    piece: int
    digest: str


def opened(path: Path, wish: Wish) -> Runtime:
    """Load the file at `path`. Slow: seconds for a small one. Raises VoxpopError where it cannot be run here."""
    from voxpop.engines.openvino_graph import ARCHITECTURES, is_converted

    card = None if is_converted(path) else GgufFile(path).card()
    if card is None or card.shape.architecture in ARCHITECTURES:
        return _in_openvino(path, wish)
    return _in_llamacpp(path, card, wish)


def memory(shape: Shape, held: int) -> int:
    """Bytes of the keys and values of `held` tokens, in half precision."""
    return 2 * _HALF * held * shape.layers * shape.kv_heads * shape.head_width


def _in_openvino(path: Path, wish: Wish) -> Runtime:
    from voxpop.engines.openvino_graph import converted, digest, group
    from voxpop.engines.openvino_session import Compiled

    folder = converted(path)
    card = Card.read(folder / "card.json")
    compiled = Compiled(folder / "model.xml", threads=wish.threads, group=group(card.shape))
    context = min(wish.context, card.shape.context)
    sessions = [compiled.session() for _ in range(wish.seats)]
    piece = _piece((folder / "model.bin").stat().st_size)
    return Runtime(card, sessions, context, _AT_ONCE * context, piece, digest(path))


def _in_llamacpp(path: Path, card: Card, wish: Wish) -> Runtime:
    context = min(wish.context, card.shape.context)
    size = _size(path)
    seats = min(wish.seats, _LARGE_SEATS) if size > _LARGE else wish.seats
    _fits(path, size, memory(card.shape, seats * context + MOST_KEPT), wish)
    tried(path)
    model = LlamaModel(path, context=context, sequences=seats, threads=wish.threads, progress=wish.progress)
    mixed = card.shape.experts > 1
    piece = max(_piece(model.parameters * card.shape.chosen // card.shape.experts), _MIXTURE_PIECE * mixed)
    return Runtime(card, llama_session.sessions(model, seats), context, seats * context, piece, _digest(path))


def _size(path: Path) -> int:
    """Bytes of the file, with all its parts where it is the first of some."""
    first = _PART.fullmatch(path.name)
    parts = path.parent.glob(f"{glob.escape(first[1])}-?????-of-{first[2]}.gguf") if first else [path]
    return sum(part.stat().st_size for part in parts)


def _fits(path: Path, file: int, keys: int, wish: Wish) -> None:
    """Raises VoxpopError where the keys and values alone have no room; warns where the file would be read again."""
    if not wish.room or keys + file <= wish.room:
        return
    needs = f"{_gb(file)} for its file and {_gb(keys)} for keys and values"
    said = f"'{path.name}' needs {needs}; {_gb(wish.room)} are free"
    cure = "See 'voxpop weights plan' for a smaller format or another machine."
    if keys > wish.room:
        raise VoxpopError(f"{said}.", cure, code="no_memory")
    wish.warn(f"{said}: what does not fit is read from the disk again for every token, which is very slow. {cure}")


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _digest(path: Path) -> str:
    if _size(path) > _DIGESTED or _PART.fullmatch(path.name):
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _piece(weights: int) -> int:
    """Tokens of a prompt a step: as many as are read in about a tenth of a second, a power of two of 16 to 256."""
    fit = _PIECE_WORK // max(weights, 1)
    return max(16, min(256, 1 << max(fit, 1).bit_length() - 1))
