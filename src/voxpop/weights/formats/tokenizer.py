"""Text as tokens of a Grok model and back: the released SentencePiece vocabulary, or one trained on posts.

It opens only files that `spm_file` found well-formed, and guesses no vocabulary: what is absent is said with where
to get it.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import sentencepiece

from voxpop.errors import UsageError, VoxpopError
from voxpop.regular import regular
from voxpop.weights.formats.gguf_keys import Pieces
from voxpop.weights.formats.spm_file import SIZE_MAX, pieces_of
from voxpop.weights.grok import Grok

FILE, TEMPLATE = "tokenizer.model", "chat_template.jinja"
_TEMPLATE_MOST = 1 << 16  # bytes
# The file `tokenizer.model` of github.com/xai-org/grok-1 (Apache-2.0): its size in bytes and its SHA-256.
GROK_1_SIZE = 2_229_219
GROK_1_SHA256 = "5c69d7cbad192fa2c9d14e2a77fbfdc11597c68907b043ddb0260e3d28eddd7f"
_NORMAL, _DEFINED = 1, 4  # kinds of pieces
_SPECIAL = ("[PAD]", "[BOS]", "[EOS]", "[UNK]")
_SMALLEST = len(_SPECIAL) + 1 + 256  # the line break and the bytes


class Tokenizer:
    """A vocabulary: `model` are the bytes of its file, `pieces` what a GGUF file says of it.

    There a symbol that its makers defined is a normal piece, as llama.cpp's own converter has it: behind a defined
    one llama.cpp begins as a new text, with a space, so that each digit or line break would spoil the next token.
    Raises VoxpopError where the bytes are no SentencePiece model.
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        found = pieces_of(model)
        self.pieces: Pieces = replace(found, kinds=[_NORMAL if kind == _DEFINED else kind for kind in found.kinds])
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, ValueError) as error:
            said = f"SentencePiece does not load this model: {error}."
            raise VoxpopError(said, "Fetch the file again.", code="bad_tokenizer") from error

    @property
    def size(self) -> int:
        """How many pieces it has."""
        return len(self.pieces.texts)

    @property
    def released(self) -> bool:
        """Whether it is the one that xAI released with Grok-1."""
        return hashlib.sha256(self.model).hexdigest() == GROK_1_SHA256

    def encode(self, text: str) -> list[int]:
        """Its tokens, without a mark of begin or end, as xAI's runner feeds them. A lone surrogate becomes U+FFFD.

        `decode` gives the text back, but for U+2581, which SentencePiece takes for a space.
        """
        return list(self._processor.encode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens. Raises VoxpopError for a number that is no token."""
        if wrong := [token for token in tokens if not 0 <= token < self.size]:
            said = f"There is no token {wrong[0]}; there are {self.size}, from 0."
            raise VoxpopError(said, "Take the tokenizer of this model.", code="bad_tokenizer")
        return str(self._processor.decode(list(tokens)))

    def check(self, shape: Grok) -> None:
        """Raises VoxpopError where the model has another number of tokens: it was made with another vocabulary."""
        if shape.vocabulary != self.size:
            said = f"The tokenizer has {self.size} pieces, the model {shape.vocabulary} tokens."
            raise VoxpopError(said, "Give the tokenizer that the model was made with.", code="bad_tokenizer")


def beside(checkpoint: Path) -> Path | None:
    """The tokenizer that lies with a checkpoint: in its folder, the one above, or `checkpoints` there."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    above = folder.resolve().parent
    places = (folder, above, above / "checkpoints")
    return next((place / FILE for place in places if (place / FILE).is_file()), None)


def template_beside(tokenizer: Path) -> str:
    """The template of chats that lies with a tokenizer, or "". Raises VoxpopError for one that is too long."""
    path = tokenizer.with_name(TEMPLATE)
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        text = file.read(_TEMPLATE_MOST + 1)
    if len(text) > _TEMPLATE_MOST:
        raise VoxpopError(f"{path} has more than {_TEMPLATE_MOST} bytes.", "Remove it.", code="bad_tokenizer")
    return text.decode("utf-8", "replace")


def opened(checkpoint: Path, path: Path | None = None) -> Tokenizer:
    """The tokenizer at `path`, else the one beside the checkpoint. Raises VoxpopError that says where to get it."""
    found = path or beside(checkpoint)
    if found is None:
        said = f"There is no {FILE} beside {checkpoint}."
        cure = f"Fetch Grok-1's with: voxpop weights tokenizer --out {checkpoint / FILE}"
        raise VoxpopError(said, cure, code="no_tokenizer")
    try:
        with regular(found) as file:
            model = file.read(SIZE_MAX + 1)
    except OSError as error:
        said = f"The tokenizer {found} cannot be read: {error.strerror}."
        raise VoxpopError(said, "Check the path.", code="no_tokenizer") from error
    return Tokenizer(model)


def trained(texts: Iterable[str], size: int) -> bytes:
    """The file of a vocabulary of `size` pieces trained on texts: the same for the same texts everywhere.

    Built as Grok-1's: byte pairs, the same special tokens in the same places, a line break as token 4, bytes for
    what is in no piece, text not changed. Raises UsageError where the texts do not give so many pieces.
    """
    if size < _SMALLEST:
        raise UsageError(f"A vocabulary of {size} is too small.", f"Take {_SMALLEST} or more.")
    file = io.BytesIO()
    pad, bos, eos, unknown = _SPECIAL
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            model_type="bpe",
            vocab_size=size,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            pad_piece=pad,
            bos_piece=bos,
            eos_piece=eos,
            unk_piece=unknown,
            unk_surface=unknown,
            user_defined_symbols=["\n"],
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            byte_fallback=True,
            character_coverage=0.9995,
            max_sentence_length=1 << 16,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, ValueError) as error:
        said = f"SentencePiece makes no vocabulary of {size} pieces from these texts: {error}."
        raise UsageError(said, "Take another size, or other texts.") from error
    return file.getvalue()
