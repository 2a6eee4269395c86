"""Words as keyed codes: an index holds no text, also where it keeps a removed post's terms until it merges.

The key is this store's own and lies in its catalog. A code is 48 bits of BLAKE2b (RFC 7693): among ten million
words two share one about once in six stores.
"""

from base64 import b64encode
from hashlib import blake2b

_KEPT = 200_000
_BREAK = "|"  # stands between parts, so that no phrase spans them; no word has this code


class Codes(dict[str, str]):
    """The code of each word, 8 characters, the usual ones from memory. A dict, since every word of a post asks."""

    def __init__(self, key: bytes) -> None:
        super().__init__({_BREAK: _BREAK})
        self._key = key

    def __missing__(self, word: str) -> str:
        if len(self) >= _KEPT:
            self.clear()
            self[_BREAK] = _BREAK
        code = b64encode(blake2b(word.encode(), key=self._key, digest_size=6).digest(), b"-_").decode()
        self[word] = code
        return code

    def text(self, text: str) -> str:
        """The codes of words between spaces."""
        return " ".join(map(self.__getitem__, text.split()))
