"""The model that we make says what its GGUF says: compared with the same transformer written in numpy."""

from pathlib import Path

import numpy as np
import pytest

gguf = pytest.importorskip("gguf", reason="the extra voxpop[local] is not installed")
pytest.importorskip("openvino", reason="the extra voxpop[local] is not installed")

from voxpop.engines.openvino_graph import converted  # noqa: E402
from voxpop.engines.openvino_session import Compiled  # noqa: E402
from voxpop.engines.vocabulary import _byte_of_character  # noqa: E402
from voxpop.errors import VoxpopError  # noqa: E402

LAYERS, WIDTH, HEADS, KV, HEAD, WIDE, BASE, EPSILON = 2, 64, 4, 2, 32, 96, 1e4, 1e-6
Tensors = dict[str, np.ndarray]


def tensors(architecture: str) -> Tensors:
    draw = np.random.default_rng(7)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return draw.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)

    made = {"token_embd.weight": matrix(258, WIDTH), "output_norm.weight": np.ones(WIDTH, np.float32)}
    for at in (f"blk.{n}." for n in range(LAYERS)):
        sizes = {"attn_q": (HEADS * HEAD, WIDTH), "attn_k": (KV * HEAD, WIDTH), "attn_v": (KV * HEAD, WIDTH)}
        sizes |= {"attn_output": (WIDTH, HEADS * HEAD), "ffn_gate": (WIDE, WIDTH), "ffn_up": (WIDE, WIDTH)}
        sizes |= {"ffn_down": (WIDTH, WIDE)}
        made |= {f"{at}{name}.weight": matrix(*size) for name, size in sizes.items()}
        norms = {"attn_norm": WIDTH, "ffn_norm": WIDTH}
        if architecture == "qwen3":
            norms |= {"attn_q_norm": HEAD, "attn_k_norm": HEAD}
        made |= {f"{at}{n}.weight": draw.uniform(0.5, 1.5, size).astype(np.float32) for n, size in norms.items()}
        if architecture == "qwen2":
            biases = ("attn_q", "attn_k", "attn_v")
            made |= {f"{at}{n}.bias": draw.normal(0, 0.3, sizes[n][0]).astype(np.float32) for n in biases}
    return made


def write(path: Path, architecture: str, pre: str = "qwen2") -> Tensors:
    made = tensors(architecture)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_key_length(HEAD)
    writer.add_feed_forward_length(WIDE)
    writer.add_context_length(128)
    writer.add_rope_freq_base(BASE)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*_byte_of_character(), "ab", "<|im_end|>"])
    writer.add_token_types([1] * 257 + [3])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(257)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}")
    for name, value in made.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made


def expected(made: Tensors, architecture: str, tokens: list[int]) -> np.ndarray:
    """Logits of every token."""
    count = len(tokens)
    angles = np.arange(count)[:, None] / BASE ** (np.arange(0, HEAD, 2) / HEAD)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * made[name + ".weight"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ made[name + ".weight"].T + made.get(name + ".bias", 0.0)

    def turned(x: np.ndarray) -> np.ndarray:
        pairs = (
            x.reshape(count, -1, HEAD // 2, 2) if architecture == "llama" else x.reshape(count, -1, 2, HEAD // 2)
        )
        a, b = (pairs[..., 0], pairs[..., 1]) if architecture == "llama" else (pairs[..., 0, :], pairs[..., 1, :])
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    x = made["token_embd.weight"][tokens]
    unseen = np.triu(np.full((count, count), -np.inf), 1)
    for at in (f"blk.{n}." for n in range(LAYERS)):
        y = norm(x, at + "attn_norm")
        q, k, v = (linear(y, f"{at}attn_{n}").reshape(count, -1, HEAD) for n in "qkv")
        if architecture == "qwen3":
            q, k = norm(q, at + "attn_q_norm"), norm(k, at + "attn_k_norm")
        q, k = turned(q), turned(k).repeat(HEADS // KV, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / HEAD**0.5 + unseen
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        odds /= odds.sum(-1, keepdims=True)
        seen = np.einsum("hqk,khd->qhd", odds, v.repeat(HEADS // KV, 1)).reshape(count, -1)
        x = x + linear(seen, at + "attn_output")
        y = norm(x, at + "ffn_norm")
        gate = linear(y, at + "ffn_gate")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(y, at + "ffn_up"), at + "ffn_down")
    return norm(x, "output_norm") @ made["token_embd.weight"].T


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_logits_are_those_of_the_file(tmp_path: Path, architecture: str) -> None:
    made = write(tmp_path / "m.gguf", architecture)
    tokens = [int(t) for t in np.random.default_rng(1).integers(0, 256, 40)]
    right = expected(made, architecture, tokens)
    session = Compiled(converted(tmp_path / "m.gguf") / "model.xml", group=32).session()
    pieces = [session.feed(tokens[:25], 25).copy()]
    wrong = session.feed([1, 2, 3], 3)
    assert not np.array_equal(wrong[0], right[25])
    session.take_back(3)
    pieces.append(session.feed(tokens[25:], 15).copy())
    found = np.concatenate(pieces)
    alike = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(found, right, strict=True)]
    assert min(alike) > 0.995
    session.keep_beginning()
    assert session.begin([*tokens, 9]) == 40
    assert session.begin([5] * 40) == 0


def test_a_model_is_made_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write(path, "qwen2")
    made = converted(path) / "model.bin"
    first = made.stat().st_mtime_ns
    assert (converted(path) / "model.bin").stat().st_mtime_ns == first
    path.unlink()
    write(path, "qwen3")
    assert (converted(path) / "model.bin").stat().st_mtime_ns != first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.gguf", "m.openvino"]


@pytest.mark.parametrize(
    ("architecture", "pre", "said"), [("gemma", "qwen2", "gemma"), ("llama", "odd", "gpt2/odd")]
)
def test_what_is_not_known_is_refused_before_the_work(
    tmp_path: Path, architecture: str, pre: str, said: str
) -> None:
    write(tmp_path / "m.gguf", architecture, pre)
    with pytest.raises(VoxpopError, match=said):
        converted(tmp_path / "m.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]
