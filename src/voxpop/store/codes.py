"""Words as keyed codes: an index holds no text, also where it keeps a removed post's terms until it merges.

The key is this store's own and lies in its catalog. A code is 48 bits of BLAKE2b (RFC 7693): among ten million
words two share one about once in six stores.
"""

from base64 import b64encode
from hashlib import blake2b

_KEPT = 200_000
_BREAK = "|"  # stands between parts, so that no phrase spans them; no word has this code


class Codes:
    """Writes words as codes, the usual ones from memory."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {_BREAK: _BREAK}

    def __call__(self, word: str) -> str:
        """The code of one word: 8 characters."""
        code = self._known.get(word)
        if code is None:
            if len(self._known) >= _KEPT:
                self._known = {_BREAK: _BREAK}
            code = b64encode(blake2b(word.encode(), key=self._key, digest_size=6).digest(), b"-_").decode()
            self._known[word] = code
        return code

    def text(self, text: str) -> str:
        """The codes of words between spaces."""
        return " ".join(map(self, text.split()))
