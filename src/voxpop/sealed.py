"""One value that rests on posts, shut under their texts; it cannot be opened once a single one is gone or changed.

For whatever is stored of an answer outside the kept answers: a response, a deferred answer, a batch's result, a
stream that may be resumed. A value that rests on no post is not shut. It keeps no text of a post and no key.
"""

import json
import secrets
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from voxpop.errors import VoxpopError
from voxpop.posts import Post
from voxpop.sealing import SALT, seal, secret, unseal

_HEAD = struct.Struct(f"<B{SALT}sI")  # format, salt, bytes of ids
_FORMAT = 1
_MOST = 1 << 26


@dataclass(frozen=True, slots=True)
class Shut:
    """`data` is closed under the texts of the posts `ids`; without ids it lies open (but compressed)."""

    salt: bytes
    ids: tuple[str, ...]
    data: bytes

    def pack(self) -> bytes:
        """One blob for a column or a file; `unpack` reads it."""
        ids = json.dumps(self.ids).encode()
        return _HEAD.pack(_FORMAT, self.salt, len(ids)) + ids + self.data

    @classmethod
    def unpack(cls, blob: bytes) -> "Shut":
        """What `pack` wrote. Raises VoxpopError (`damaged`) for anything else."""
        try:
            version, salt, size = _HEAD.unpack_from(blob)
            ids = json.loads(blob[_HEAD.size : _HEAD.size + size])
        except (struct.error, ValueError, RecursionError) as error:
            raise _damaged() from error
        if version != _FORMAT or not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise _damaged()
        return cls(salt, tuple(ids), blob[_HEAD.size + size :])


def shut(data: bytes, posts: Iterable[Post]) -> Shut:
    """`data`, which rests on these posts. A post that is given with two texts can never be opened again."""
    resting = tuple({(p.id, p.text, p.witnessed_at): p for p in posts}.values())
    salt, small = secrets.token_bytes(SALT), zlib.compress(data, 1)
    closed = seal(salt, 0, (secret(salt, p) for p in resting), small) if resting else small
    return Shut(salt, tuple(p.id for p in resting), closed)


def opened(value: Shut, posts: Iterable[Post], *, most: int = _MOST) -> bytes | None:
    """What was shut; None where one of its posts is not among `posts`, or has another text now.

    `posts` may be more than those, in any order. Raises VoxpopError (`damaged`) where no post is at fault, or it
    has more than `most` bytes: a stranger may have sent it.
    """
    small = value.data
    if value.ids:
        held = {p.id: p for p in posts}
        if any(id_ not in held for id_ in value.ids):
            return None
        unsealed = unseal(value.salt, 0, (secret(value.salt, held[id_]) for id_ in value.ids), small)
        if unsealed is None:
            return None
        small = unsealed
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(small, most)
    except zlib.error as error:
        raise _damaged() from error
    if not reader.eof or reader.unused_data:
        raise _damaged()
    return data


def _damaged() -> VoxpopError:
    return VoxpopError("A stored value was changed or damaged.", "Remove it, and ask anew.", code="damaged")
