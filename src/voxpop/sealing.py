"""Close bytes under the texts of posts: who lacks one of the texts cannot open them, and no key is kept anywhere.

Of each post a secret is made, HMAC-SHA256 (RFC 2104) under the answer's own salt, of its text and of the moment in
which that text was witnessed; the key of a seal is derived from the secrets of all posts that it rests on by
HKDF-SHA256 (RFC 5869), and closes it with ChaCha20-Poly1305 (RFC 8439). The moment, in microseconds, leaves a store
together with the text: without it a text of two words would be guessed soon.
"""

import hmac
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from voxpop.posts import Post

SALT = 16  # bytes
_ONCE = bytes(12)  # each key closes one thing only, so that its nonce may be the same


def secret(salt: bytes, post: Post) -> bytes:
    """32 bytes that only who has the post's text can make."""
    said = post.text.encode("utf-8", "surrogatepass")
    return hmac.digest(salt, post.witnessed_at.to_bytes(8, "big", signed=True) + said, "sha256")


def seal(salt: bytes, place: int, secrets: Iterable[bytes], plain: bytes) -> bytes:
    """`plain`, closed. `place` says which of an answer's seals it is; no two may have the same."""
    return _cipher(salt, place, secrets).encrypt(_ONCE, plain, None)


def unseal(salt: bytes, place: int, secrets: Iterable[bytes], sealed: bytes) -> bytes | None:
    """What was closed; None where a secret is another one or a byte was changed."""
    try:
        return _cipher(salt, place, secrets).decrypt(_ONCE, sealed, None)
    except InvalidTag:
        return None


def _cipher(salt: bytes, place: int, secrets: Iterable[bytes]) -> ChaCha20Poly1305:
    info = b"voxpop answer %d" % place
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt, info).derive(b"".join(secrets)))
