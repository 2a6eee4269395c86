"""The vocabulary of a Grok model: text comes back as it was, files are checked, one is fetched whole."""

import asyncio
import ctypes
import gzip
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("sentencepiece")
gguf = pytest.importorskip("gguf")
np = pytest.importorskip("numpy")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from voxpop.cli import program  # noqa: E402
from voxpop.errors import UsageError, VoxpopError  # noqa: E402
from voxpop.simulator.flood import invented  # noqa: E402
from voxpop.weights.formats import fetching  # noqa: E402
from voxpop.weights.formats.fetching import VARIABLE, fetch_tokenizer  # noqa: E402
from voxpop.weights.formats.spm_file import pieces_of  # noqa: E402
from voxpop.weights.formats.tokenizer import GROK_1_SHA256, GROK_1_SIZE, Tokenizer, beside, opened, trained  # noqa: E402
from voxpop.weights.grok import GROK_1, scaled  # noqa: E402

POSTS = [row.text for row in invented()]
MODEL = trained(POSTS, 1000)
SMALL = Tokenizer(MODEL)
HOSTILE = [
    "",
    " ",
    "  two before, one after ",
    "\n",
    "a\n\n\nb\n",
    "\t\tx\r\n",
    "Déjà vu à l'Élysée : « ça ira » — où ?",
    "👩‍👩‍👧‍👦🇫🇷🏳️‍🌈",
    "e\u0301 \u200b\u200d\ufeff\u202e",
    "a\x00b\x1b[0m",
    "[BOS] [PAD] <0x41> <s> <|separator|>",
    "漢字かな한국어العربية",
    "\U0010ffff\ue000",
]


@pytest.fixture(scope="module")
def released() -> Tokenizer:
    """xAI's own file, from a checkout of github.com/xai-org/grok-1."""
    given_ = os.environ.get("VOXPOP_GROK1_REFERENCE", "")
    folder = Path(given_) if Path(given_).is_dir() else Path(given_).parent
    if not given_ or not (folder / "tokenizer.model").is_file():
        pytest.skip("VOXPOP_GROK1_REFERENCE names no checkout of xai-org/grok-1 with its tokenizer.model")
    return opened(folder)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_text_comes_back_as_it_was(text: str) -> None:
    assert SMALL.decode(SMALL.encode(text)) == text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_text_comes_back_from_the_released_vocabulary(released: Tokenizer, text: str) -> None:
    assert released.decode(released.encode(text)) == text


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_comes_back_but_for_the_mark_of_a_space(text: str) -> None:
    assert SMALL.decode(SMALL.encode(text)) == text.replace("\u2581", " ")


def test_a_lone_surrogate_becomes_a_replacement_and_a_pair_a_character() -> None:
    assert SMALL.decode(SMALL.encode("a\ud800b")) == "a\ufffdb"
    assert SMALL.decode(SMALL.encode("\ud83d\ude00")) == "\U0001f600"


def test_no_text_gives_a_control_token() -> None:
    assert not set(SMALL.encode("".join(SMALL.pieces.texts[:4]) * 2)) & {0, 1, 2, 3}


def test_the_vocabulary_is_built_like_the_released_one() -> None:
    pieces = SMALL.pieces
    assert pieces.texts[:6] == ["[PAD]", "[BOS]", "[EOS]", "[UNK]", "\n", "<0x00>"]
    kinds = gguf.TokenType
    wanted = [kinds.CONTROL] * 3 + [kinds.UNKNOWN, kinds.USER_DEFINED] + [kinds.BYTE] * 256
    assert list(pieces_of(MODEL).kinds[:261]) == wanted
    assert pieces.kinds[4] == kinds.NORMAL
    assert set(pieces.kinds[261:]) == {kinds.NORMAL}
    assert (pieces.padding, pieces.bos, pieces.eos, pieces.unknown) == (0, 1, 2, 3)
    assert pieces.add_space_prefix
    assert not pieces.add_bos
    assert list(pieces.scores[261:]) == sorted(pieces.scores[261:], reverse=True)
    assert len(SMALL.encode(POSTS[0])) < len(POSTS[0]) / 2


def test_the_released_vocabulary_is_the_pinned_one(released: Tokenizer) -> None:
    assert released.released
    assert len(released.model) == GROK_1_SIZE
    assert hashlib.sha256(released.model).hexdigest() == GROK_1_SHA256
    released.check(GROK_1)
    pieces = released.pieces
    assert pieces.texts[:5] == ["[PAD]", "[BOS]", "[EOS]", "[UNK]", "\n"]
    counted = [pieces_of(released.model).kinds.count(kind) for kind in range(1, 7)]
    assert counted == [130747, 1, 3, 65, 0, 256]
    assert (pieces.padding, pieces.bos, pieces.eos, pieces.unknown) == (0, 1, 2, 3)
    assert released.encode("Bonjour à tous") == [9029, 49435, 6734, 51838]
    assert not SMALL.released


def llama_tokens(tokenizer: Tokenizer, folder: Path) -> Callable[[str], list[int]]:
    """llama.cpp's own tokenisation, from a GGUF file with this vocabulary; only the vocabulary is loaded."""
    pytest.importorskip("xllamacpp")
    from voxpop.engines.llama_library import library
    from voxpop.weights.formats.gguf_grok import GgufSink
    from voxpop.weights.mixes import mix

    shape = replace(scaled(1, 1, vocabulary=tokenizer.size), width=32, heads=2, kv_heads=1, head_width=16)
    shape = replace(shape, feed_forward=32, experts=2, row_groups=1)
    sink = GgufSink(folder / "grok.gguf", shape, mix("F16"), vocabulary=tokenizer.pieces)
    for name, spec in shape.specs.items():
        sink.write(name, np.zeros(spec.shape, np.float32))
    sink.close()
    llama = library()
    llama.llama_tokenize.restype = ctypes.c_int32
    params = llama.llama_model_default_params()
    params.vocab_only = 1
    loaded = llama.llama_model_load_from_file(os.fsencode(folder / "grok.gguf"), params)
    vocabulary = ctypes.c_void_p(llama.llama_model_get_vocab(loaded))

    def tokens(text: str) -> list[int]:
        data = text.encode()
        room = (ctypes.c_int32 * (len(data) + 16))()
        count = llama.llama_tokenize(vocabulary, data, len(data), room, len(room), ctypes.c_bool(False), False)
        return list(room[:count])

    return tokens


def test_llama_cpp_makes_the_same_tokens_of_every_post(tmp_path: Path) -> None:
    tokens = llama_tokens(SMALL, tmp_path)
    assert [text for text in [*POSTS, *HOSTILE] if tokens(text) != SMALL.encode(text)] == []


def test_llama_cpp_makes_the_tokens_of_the_released_vocabulary(released: Tokenizer, tmp_path: Path) -> None:
    """But for the makers' own marks, such as <|separator|>, which it takes for text."""
    tokens = llama_tokens(released, tmp_path)
    texts = [text for text in [*POSTS, *HOSTILE] if "<|" not in text]
    assert [text for text in texts if tokens(text) != released.encode(text)] == []


def test_the_parsed_pieces_are_those_of_the_library() -> None:
    library = SMALL._processor
    assert SMALL.size == library.vocab_size()
    assert list(SMALL.pieces.texts) == [library.id_to_piece(i) for i in range(1000)]
    assert list(SMALL.pieces.scores) == [library.get_score(i) for i in range(1000)]
    assert [kind == 6 for kind in SMALL.pieces.kinds] == [library.is_byte(i) for i in range(1000)]
    assert [kind == 3 for kind in SMALL.pieces.kinds] == [library.is_control(i) for i in range(1000)]


def test_the_same_posts_give_the_same_file() -> None:
    assert trained(iter(POSTS), 1000) == MODEL
    assert trained(POSTS[:-100], 1000) != MODEL


def test_a_size_that_the_texts_do_not_give_is_refused() -> None:
    with pytest.raises(UsageError, match="261 or more"):
        trained(POSTS, 260)
    with pytest.raises(UsageError, match="no vocabulary of 90000 pieces"):
        trained(POSTS[:50], 90_000)


def test_a_model_of_another_vocabulary_is_refused() -> None:
    SMALL.check(scaled(1, vocabulary=1000))
    with pytest.raises(VoxpopError, match="1000 pieces, the model 131072 tokens"):
        SMALL.check(GROK_1)
    with pytest.raises(VoxpopError, match="no token 1000"):
        SMALL.decode([4, 1000])
    with pytest.raises(VoxpopError, match="no token -1"):
        SMALL.decode([-1])


@pytest.mark.parametrize(
    "place", ["grok/ckpt-0/tokenizer.model", "grok/tokenizer.model", "grok/checkpoints/tokenizer.model"]
)
def test_it_is_found_beside_the_checkpoint(tmp_path: Path, place: str) -> None:
    checkpoint = tmp_path / "grok" / "ckpt-0"
    checkpoint.mkdir(parents=True)
    assert beside(checkpoint) is None
    with pytest.raises(VoxpopError, match="voxpop weights tokenizer --out"):
        opened(checkpoint)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(MODEL)
    assert opened(checkpoint).size == 1000
    with pytest.raises(VoxpopError, match="cannot be read"):
        opened(checkpoint, tmp_path / "absent")


def test_a_gguf_file_has_its_tokenizer_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(MODEL)
    (tmp_path / "grok.gguf").write_bytes(b"")
    assert beside(tmp_path / "grok.gguf") == tmp_path / "tokenizer.model"


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


PIECE = field(1, field(1, b"a"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (b"", "0 bytes that do not begin"),
        (b"GGUF" + bytes(100), "do not begin with a piece"),
        (MODEL[:-1], "behind the end|does not end|loads? this model"),
        (PIECE + field(1, field(1, b"")), "without a text"),
        (PIECE + field(1, field(1, b"\xff")), "no UTF-8"),
        (PIECE + field(1, field(1, b"b") + b"\x18\x09"), "of the kind 9"),
        (PIECE + field(1, field(1, b"b") + b"\x18" + b"\xff" * 11), "does not end"),
        (PIECE + PIECE, "one of them twice"),
        (PIECE + field(2, b"\xc8\x02\x07"), "special token 7 among 1"),
        (PIECE + field(3, field(2, b"rules")), "rules that change the text"),
        (PIECE + field(5, field(2, b"rules")), "rules that change the text"),
        (PIECE + b"\x0f", "behind the end"),
        (PIECE + field(1, field(1, b"b")) + field(1, field(1, b"c")), "SentencePiece does not load"),
    ],
)
def test_what_is_no_sentencepiece_model_is_refused(model: bytes, said: str) -> None:
    with pytest.raises(VoxpopError, match=said):
        Tokenizer(model)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, len(MODEL) - 1), junk=st.binary(min_size=1, max_size=12), end=st.integers(1, len(MODEL)))
def test_no_damage_ends_in_anything_but_a_clear_error(at: int, junk: bytes, end: int) -> None:
    for spoiled in (MODEL[:at] + junk + MODEL[at + len(junk) :], MODEL[:end], b"\x0a" + junk):
        with suppress(VoxpopError):
            assert len(pieces_of(spoiled).texts) > 0
        with suppress(VoxpopError):
            assert Tokenizer(spoiled).size > 0


@asynccontextmanager
async def serving(body: bytes, status: str = "200 OK", headers: str = "") -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n".encode() + body)
        with suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/tokenizer.model"


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small vocabulary stands for the released one, which the tests have not."""
    monkeypatch.setattr(fetching, "GROK_1_SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(fetching, "GROK_1_SIZE", len(MODEL))


@pytest.mark.usefixtures("pinned")
async def test_it_is_fetched_whole_and_never_over_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "tokenizer.model"
    async with serving(MODEL) as url:
        monkeypatch.setenv(VARIABLE, url)
        await fetch_tokenizer(path)
        assert path.read_bytes() == MODEL
        with pytest.raises(UsageError, match="something at"):
            await fetch_tokenizer(path)
    assert [file.name for file in path.parent.iterdir()] == ["tokenizer.model"]


@pytest.mark.usefixtures("pinned")
@pytest.mark.parametrize(
    ("body", "status", "headers", "said"),
    [
        (MODEL[:-1] + b"x", "200 OK", "", "SHA-256"),
        (MODEL[:-9], "200 OK", "", "SHA-256"),
        (MODEL + b"x", "200 OK", "", "more than 13981 bytes"),
        (gzip.compress(MODEL), "200 OK", "Content-Encoding: gzip\r\n", "SHA-256"),
        (MODEL[:-9], "200 OK", f"Content-Length: {len(MODEL)}\r\n", "could not be fetched"),
        (b"", "404 Not Found", "", "could not be fetched"),
    ],
)
async def test_what_is_not_the_released_file_is_not_kept(
    tmp_path: Path, body: bytes, status: str, headers: str, said: str
) -> None:
    async with serving(body, status, headers) as url:
        with pytest.raises(VoxpopError, match=said):
            await fetch_tokenizer(tmp_path / "tokenizer.model", url)
    assert list(tmp_path.iterdir()) == []


async def test_only_https_is_asked_beyond_this_machine(tmp_path: Path) -> None:
    for url in ("http://example.org/tokenizer.model", "ftp://127.0.0.2/x", "file:///etc/passwd"):
        with pytest.raises(UsageError, match="not https"):
            await fetch_tokenizer(tmp_path / "t", url)


def test_the_command_says_what_hinders_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:9/tokenizer.model")
    result = CliRunner().invoke(program(), ["weights", "tokenizer", "--out", str(tmp_path / "t"), "--json"])
    assert result.exit_code == 1
    assert "could not be fetched" in result.output
    assert VARIABLE in result.output
