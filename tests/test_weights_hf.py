"""Grok in safetensors: three layouts, each written and read back exactly, by us and by the format's own library."""

import json
import re
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

np = pytest.importorskip("numpy")
pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")
pytest.importorskip("safetensors")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from voxpop.cli import program  # noqa: E402
from voxpop.errors import UsageError, VoxpopError  # noqa: E402
from voxpop.simulator.flood import invented  # noqa: E402
from voxpop.weights.formats.hf import FolderSink, FolderSource, stored_shape  # noqa: E402
from voxpop.weights.formats.layouts import HPCAI, KEYFAN, LAYOUTS, LMZHENG, Layout, grok_of  # noqa: E402
from voxpop.weights.formats.safetensors_file import SafetensorsFile  # noqa: E402
from voxpop.weights.formats.tokenizer import trained  # noqa: E402
from voxpop.weights.grok import GROK_1, Grok  # noqa: E402
from voxpop.weights.random_weights import random_weights  # noqa: E402
from voxpop.weights.tensors import Held, Quantised, bfloat16, float32  # noqa: E402

TINY = Grok(
    layers=3,
    width=64,
    heads=4,
    kv_heads=2,
    head_width=16,
    feed_forward=96,
    experts=4,
    vocabulary=80,
    context=32,
    embedding_scale=8.0,
    attention_scale=0.25,
)
WEIGHTS = random_weights(TINY)
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))


def written(folder: Path, layout: Layout, dtype: str = "F32", source: Held = WEIGHTS, **options: int) -> Path:
    sink = FolderSink(folder, layout, source.shape, dtype, **options)
    for name in source.shape.specs:
        sink.write(name, source.read(name))
    sink.close()
    return folder


def tensors(folder: Path) -> dict[str, "torch.Tensor"]:
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


@every_layout
@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 100_000, 20_000])
def test_what_is_written_in_float32_is_read_back_bit_by_bit(
    tmp_path: Path, layout: Layout, shard_bytes: int
) -> None:
    folder = written(tmp_path / "grok", layout, shard_bytes=shard_bytes)
    assert (len(list(folder.glob("*.safetensors"))) == 1) == (shard_bytes > 1_000_000)
    source = FolderSource(folder)
    assert source.shape == TINY
    assert source.layout is layout
    for name, spec in TINY.specs.items():
        found = source.read(name)
        assert found.shape == spec.shape
        assert np.array_equal(found, float32(WEIGHTS.read(name))), name


@every_layout
def test_bfloat16_is_the_nearest_and_exact_where_it_can_be(tmp_path: Path, layout: Layout) -> None:
    first = FolderSource(written(tmp_path / "a", layout, "BF16"))
    for name, spec in TINY.specs.items():
        wanted = float32(WEIGHTS.read(name))
        exact = spec.kind in ("norm", "router")
        assert np.array_equal(float32(first.read(name)), wanted if exact else wanted.astype(bfloat16)), name
    again = {name: first.read(name) for name in TINY.specs}
    second = FolderSource(written(tmp_path / "b", layout, "BF16", Held(TINY, again)))
    assert all(np.array_equal(second.read(name), value) for name, value in again.items())
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        tmp_path / "b" / "model.safetensors"
    ).read_bytes()


def test_float16_keeps_eleven_bits_and_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    source = FolderSource(written(tmp_path / "a", KEYFAN, "F16"))
    for name in TINY.specs:
        assert np.allclose(float32(source.read(name)), float32(WEIGHTS.read(name)), rtol=2**-11, atol=2**-24)
    sink = FolderSink(tmp_path / "b", KEYFAN, TINY, "F16")
    with pytest.raises(VoxpopError, match="that float16 cannot hold"):
        sink.write("embedding", np.full((80, 64), 70_000, np.float32))


@every_layout
def test_a_torch_module_of_linear_layers_loads_it(tmp_path: Path, layout: Layout) -> None:
    """nn.Linear computes x @ weight.T: with xAI's [in, out] tensors as x @ weight, both must give the same."""
    stored = tensors(written(tmp_path / "grok", layout))
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    for part in ("query", "key", "out", "router", "gate", "up"):
        weight = float32(WEIGHTS.read(f"layers.2.{part}"))
        for expert, name in enumerate(layout.tensors(f"layers.2.{part}", TINY)):
            one = weight[expert] if weight.ndim == 3 else weight
            linear = torch.nn.Linear(one.shape[0], one.shape[1], bias=False)
            linear.load_state_dict({"weight": stored[name]})
            assert torch.allclose(linear(x), x @ torch.from_numpy(one.copy()), atol=1e-4), name
    assert torch.nn.Embedding.from_pretrained(stored[layout.embedding]).weight.shape == (80, 64)


# By hand from the engines' texts: for each layout where a few canonical tensors lie, [out, in].
KNOWN = {
    "keyfan": {
        "transformer.in_out_embed.weight": ("embedding", None),
        "transformer.rms_norm.weight": ("final_norm", None),
        "transformer.decoder_layer.2.moe.3.linear.weight": ("layers.2.gate", 3),
        "transformer.decoder_layer.2.moe.3.linear_v.weight": ("layers.2.up", 3),
        "transformer.decoder_layer.2.moe.0.linear_1.weight": ("layers.2.down", 0),
        "transformer.decoder_layer.1.multi_head_attention.query.weight": ("layers.1.query", None),
        "transformer.decoder_layer.1.multi_head_attention.linear.weight": ("layers.1.out", None),
        "transformer.decoder_layer.0.router.weight": ("layers.0.router", None),
        "transformer.decoder_layer.0.rms_norm.weight": ("layers.0.attention_norm", None),
        "transformer.decoder_layer.0.rms_norm_1.weight": ("layers.0.attention_out_norm", None),
        "transformer.decoder_layer.0.rms_norm_2.weight": ("layers.0.expert_norm", None),
        "transformer.decoder_layer.0.rms_norm_3.weight": ("layers.0.expert_out_norm", None),
    },
    "hpcai": {
        "model.embed_tokens.weight": ("embedding", None),
        "model.norm.scale": ("final_norm", None),
        "model.layers.2.moe_block.experts.3.linear.weight": ("layers.2.gate", 3),
        "model.layers.2.moe_block.experts.3.linear_v.weight": ("layers.2.up", 3),
        "model.layers.2.moe_block.experts.0.linear_1.weight": ("layers.2.down", 0),
        "model.layers.1.attn.k_proj.weight": ("layers.1.key", None),
        "model.layers.1.attn.o_proj.weight": ("layers.1.out", None),
        "model.layers.0.moe_block.gate.weight": ("layers.0.router", None),
        "model.layers.0.pre_attn_norm.scale": ("layers.0.attention_norm", None),
        "model.layers.0.post_attn_norm.scale": ("layers.0.attention_out_norm", None),
        "model.layers.0.pre_moe_norm.scale": ("layers.0.expert_norm", None),
        "model.layers.0.post_moe_norm.scale": ("layers.0.expert_out_norm", None),
    },
    "lmzheng": {
        "model.embed_tokens.weight": ("embedding", None),
        "lm_head.weight": ("embedding", None),
        "model.norm.weight": ("final_norm", None),
        "model.layers.2.block_sparse_moe.experts.3.w1.weight": ("layers.2.gate", 3),
        "model.layers.2.block_sparse_moe.experts.3.w3.weight": ("layers.2.up", 3),
        "model.layers.2.block_sparse_moe.experts.0.w2.weight": ("layers.2.down", 0),
        "model.layers.1.self_attn.v_proj.weight": ("layers.1.value", None),
        "model.layers.1.self_attn.o_proj.weight": ("layers.1.out", None),
        "model.layers.0.block_sparse_moe.gate.weight": ("layers.0.router", None),
        "model.layers.0.pre_attn_norm.weight": ("layers.0.attention_norm", None),
        "model.layers.0.post_attn_norm.weight": ("layers.0.attention_out_norm", None),
        "model.layers.0.pre_moe_norm.weight": ("layers.0.expert_norm", None),
        "model.layers.0.post_moe_norm.weight": ("layers.0.expert_out_norm", None),
    },
}


@every_layout
def test_every_tensor_has_the_name_by_which_the_engine_knows_it(tmp_path: Path, layout: Layout) -> None:
    stored = tensors(written(tmp_path / "grok", layout))
    assert len(stored) == 2 + 3 * (9 + 3 * 4) + layout.head
    for name, (canonical, expert) in KNOWN[layout.name].items():
        wanted = float32(WEIGHTS.read(canonical))
        wanted = wanted if expert is None else wanted[expert]
        wanted = wanted.T if canonical.startswith("layers.") else wanted
        assert np.array_equal(stored[name].numpy(), wanted), name


GGUF_NAMES = {
    "gate": "ffn_gate_exps",
    "up": "ffn_up_exps",
    "down": "ffn_down_exps",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "out": "attn_output",
    "router": "ffn_gate_inp",
    "attention_norm": "attn_norm",
    "attention_out_norm": "attn_output_norm",
    "expert_norm": "ffn_norm",
}


@pytest.mark.parametrize("layout", [KEYFAN, LMZHENG], ids=["keyfan", "lmzheng"])
def test_llama_cpps_own_table_maps_the_names_to_the_right_tensors(layout: Layout) -> None:
    """Its converter makes linear, linear_1, linear_v of w1, w2, w3 and drops the expert's number before it asks."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GROK, 64)
    merged = {".w1.": ".linear.", ".w2.": ".linear_1.", ".w3.": ".linear_v."}

    def found(canonical: str) -> str:
        name = layout.tensors(canonical, GROK_1)[0]
        for theirs, linear in merged.items():
            if theirs in name:
                name = f"transformer.decoder_layer.63.moe{linear}weight"
        mapped = table.get_name(re.sub(r"\.moe\.\d+\.", ".moe.", name), (".weight",))
        return (mapped or name).removesuffix(".weight")

    assert found("embedding") == "token_embd"
    assert found("final_norm") == "output_norm"
    assert {part: found(f"layers.63.{part}").removeprefix("blk.63.") for part in GGUF_NAMES} == GGUF_NAMES
    assert found("layers.63.expert_out_norm") in ("blk.63.layer_output_norm", "blk.63.post_ffw_norm")


@every_layout
def test_the_last_tensor_of_a_checkpoint_is_no_expert(tmp_path: Path, layout: Layout) -> None:
    """llama.cpp's converter writes a layer's experts when it meets the next tensor that is none."""
    file = SafetensorsFile(written(tmp_path / "grok", layout) / "model.safetensors")
    assert "expert" not in list(file.entries)[-1]
    assert ".moe." not in list(file.entries)[-1]


@every_layout
def test_the_config_says_every_constant_and_runs_nothing(tmp_path: Path, layout: Layout) -> None:
    folder = written(tmp_path / "grok", layout)
    config = json.loads((folder / "config.json").read_text())
    assert "auto_map" not in config
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
    odd = replace(
        TINY,
        row_groups=4,
        chosen=3,
        context=77,
        embedding_scale=3.25,
        output_scale=0.75,
        attention_scale=0.125,
        attention_cap=20.0,
        norm_epsilon=1e-6,
        rope_base=5000.0,
    )
    assert grok_of(json.loads(json.dumps(layout.config(odd, "BF16")))) == odd
    assert grok_of(layout.config(GROK_1, "BF16")) == GROK_1


def test_the_configs_have_what_their_engines_ask_for() -> None:
    """Each key by name, from the engine's own text; what the key prevents stands beside it."""
    llama, vllm, sglang = (layout.config(GROK_1, "BF16") for layout in (KEYFAN, HPCAI, LMZHENG))
    assert llama["architectures"] == ["GrokForCausalLM"]
    assert llama["num_local_experts"] == 8
    assert vllm["architectures"] == ["Grok1ModelForCausalLM"]
    assert vllm["num_experts"] == 8
    assert vllm["router_logit_softcapping"] == 0.0  # absent: the router is capped at 30
    assert "residual_moe" not in vllm
    assert "moe_intermediate_size" not in vllm  # either makes it a Grok-2
    assert sglang["architectures"] == ["Grok1ForCausalLM"]
    assert sglang["load_presharded_moe"] is False  # absent: files cut for each device are looked for
    for config in (llama, vllm, sglang):
        assert config["attn_output_multiplier"] == 0.08838834764831845
        assert config["embedding_multiplier_scale"] == 78.38367176906169
        assert config["output_multiplier_scale"] == 0.5773502691896257
        assert config["attn_logit_softcapping"] == 30.0
        assert config["head_dim"] == 128
        assert config["tie_word_embeddings"] is (config is not sglang)


def test_published_configs_of_grok_1_are_read() -> None:
    """Keys and values as SGLang's CI and TensorRT-LLM have them: one lacks the multiplier, one base and head."""
    both = {
        "embedding_multiplier_scale": 78.38367176906169,
        "output_multiplier_scale": 0.5773502691896257,
        "vocab_size": 131072,
        "hidden_size": 6144,
        "intermediate_size": 32768,
        "max_position_embeddings": 8192,
        "num_experts_per_tok": 2,
        "num_attention_heads": 48,
        "num_hidden_layers": 64,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
    }
    sglang = {**both, "num_local_experts": 8, "head_dim": 128, "rope_theta": 10000.0, "model_type": "mixtral"}
    trt = {**both, "num_experts": 8, "attn_output_multiplier": 0.08838834764831845, "max_attn_value": 30.0}
    assert grok_of(sglang) == replace(GROK_1, attention_scale=128**-0.5)
    assert grok_of(trt) == GROK_1


def test_grok_1s_own_shards_hold_at_most_five_gigabytes(tmp_path: Path) -> None:
    """Sparse files: the whole plan of the 631 GB, its index and every header, without the weights."""
    sink = FolderSink(tmp_path / "grok-1", LMZHENG, GROK_1)
    part = tmp_path / "grok-1.part"
    shards = sorted(part.glob("model-*.safetensors"))
    assert shards[0].name == f"model-00001-of-{len(shards):05}.safetensors"
    assert all(shard.stat().st_size <= 5_000_000_000 + (1 << 16) for shard in shards)
    total = sum(entry.stop - entry.start for shard in shards for entry in SafetensorsFile(shard).entries.values())
    small = sum(s.parameters for s in GROK_1.specs.values() if s.kind in ("norm", "router"))
    assert total == 2 * (315_684_820_992 - small) + 4 * small + 2 * 131072 * 6144
    assert sink.done() == {}
    with pytest.raises(VoxpopError, match=r"770 tensors .* are not written"):
        sink.close()


def test_a_view_is_given_and_nothing_copied(tmp_path: Path) -> None:
    source = FolderSource(written(tmp_path / "grok", HPCAI))
    for name in ("embedding", "layers.1.query", "layers.1.gate", "layers.2.down", "final_norm"):
        found = source.read(name)
        assert not found.flags.owndata
        assert not found.flags.writeable


def interleaved(folder: Path, layout: Layout) -> None:
    """A folder as another writer leaves it: tensors in the order of their names, in two files by an index."""
    found = tensors(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(found)
    home = {name: f"model-0000{1 + (i >= len(names) // 2)}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(home.values()):
        save_file({name: found[name] for name in names if home[name] == file}, folder / file)
    index = {"metadata": {"total_size": 1}, "weight_map": home}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@every_layout
def test_files_of_another_writer_are_read_whatever_their_order(tmp_path: Path, layout: Layout) -> None:
    folder = written(tmp_path / "grok", layout)
    interleaved(folder, layout)
    source = FolderSource(folder)
    assert all(np.array_equal(source.read(name), float32(WEIGHTS.read(name))) for name in TINY.specs)


def cut_for_devices(folder: Path, devices: int, common: bool) -> None:
    """As SGLang's grok.py names the files: w1 and w3 by rows, w2 by columns; the rest in one file, or in each."""
    found = tensors(folder)
    (folder / "model.safetensors").unlink()
    shared = {name: value for name, value in found.items() if ".experts." not in name}
    if common:
        save_file(shared, folder / "pytorch_model-00000-TP-common.safetensors")
    for device in range(devices):
        mine = {} if common else dict(shared)
        for name, value in found.items():
            if ".experts." in name:
                mine[name] = value.chunk(devices, 1 if ".w2." in name else 0)[device].contiguous()
        save_file(mine, folder / f"pytorch_model-00001-TP-{device:03}.safetensors")


@pytest.mark.parametrize("common", [True, False], ids=["common", "copies"])
def test_a_checkpoint_that_is_cut_for_devices_is_put_together(tmp_path: Path, common: bool) -> None:
    folder = written(tmp_path / "grok", LMZHENG)
    cut_for_devices(folder, 4, common)
    source = FolderSource(folder)
    assert all(np.array_equal(source.read(name), float32(WEIGHTS.read(name))) for name in TINY.specs)
    (folder / "pytorch_model-00001-TP-002.safetensors").unlink()
    with pytest.raises(VoxpopError, match=r"w1.weight' in .* is .* this model needs \(96, 64\)"):
        FolderSource(folder)


def test_copies_that_differ_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "grok", LMZHENG)
    found = tensors(folder)
    found["lm_head.weight"][70, 3] += 1
    save_file(found, folder / "model.safetensors")
    with pytest.raises(VoxpopError, match=r"'lm_head.weight' differs"):
        FolderSource(folder).read("embedding")


def test_a_cut_run_is_gone_on_with(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", KEYFAN, shard_bytes=50_000)
    names = list(TINY.specs)
    sink = FolderSink(tmp_path / "grok", KEYFAN, TINY, "F32", 50_000)
    sums = {name: sink.write(name, WEIGHTS.read(name)) for name in names[:7]}
    with (tmp_path / "grok.part" / "written.jsonl").open("a") as journal:
        journal.write('["layers.0.qu')  # what a crash leaves
    with pytest.raises(VoxpopError, match="cannot be read"):
        FolderSource(tmp_path / "grok.part")
    again = FolderSink(tmp_path / "grok", KEYFAN, TINY, "F32", 50_000)
    assert again.done() == sums
    for name in names[7:]:
        again.write(name, WEIGHTS.read(name))
    again.close()
    assert {path.name for path in whole.iterdir()} == {path.name for path in (tmp_path / "grok").iterdir()}
    assert all(path.read_bytes() == (tmp_path / "grok" / path.name).read_bytes() for path in whole.iterdir())
    with pytest.raises(UsageError, match="exists"):
        FolderSink(tmp_path / "grok", KEYFAN, TINY)


def test_a_run_for_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    FolderSink(tmp_path / "grok", KEYFAN, TINY, "F32").write("final_norm", WEIGHTS.read("final_norm"))
    for layout, dtype, shape in (
        (HPCAI, "F32", TINY),
        (KEYFAN, "BF16", TINY),
        (KEYFAN, "F32", replace(TINY, context=9)),
    ):
        with pytest.raises(UsageError, match="begun for another"):
            FolderSink(tmp_path / "grok", layout, shape, dtype)


def test_the_tokenizer_goes_with_a_conversion(tmp_path: Path) -> None:
    """The command, from one layout to another: the engines want tokenizer.model in the folder."""
    shape = replace(TINY, vocabulary=700)
    source = written(tmp_path / "keyfan", KEYFAN, source=random_weights(shape))
    (source / "tokenizer.model").write_bytes(trained([row.text for row in invented()], 700))
    command = ["weights", "convert", str(source), str(tmp_path / "hpcai"), "--to", "hpcai", "--type", "f32"]
    result = CliRunner().invoke(program(), command)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "hpcai" / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
    made, given = FolderSource(tmp_path / "hpcai"), FolderSource(source)
    assert made.layout is HPCAI
    assert all(np.array_equal(made.read(name), given.read(name)) for name in shape.specs)


def test_a_tensor_of_another_size_is_not_written(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "grok", KEYFAN, TINY, "F32")
    with pytest.raises(VoxpopError, match="another number"):
        sink.write("layers.0.query", np.zeros((64, 63), np.float32))
    assert sink.done() == {}
    with pytest.raises(UsageError, match="no 'F8'"):
        FolderSink(tmp_path / "other", KEYFAN, TINY, "F8")
    with pytest.raises(UsageError, match="needs that"):
        FolderSink(tmp_path / "other", KEYFAN, replace(TINY, width=80), "F32")


def header_of(file: Path) -> tuple[dict[str, dict[str, object]], bytes]:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(file: Path, header: object, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


ROUTER = "transformer.decoder_layer.1.router.weight"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (None, "lacks the tensor"),
        ({"dtype": "F8_E4M3"}, "is of type 'F8_E4M3'; voxpop reads F32, F16, BF16"),
        ({"dtype": "F16"}, "takes another number"),
        ({"shape": [64, 4]}, r"this model needs \(4, 64\), \[out, in\]"),
        ({"shape": [float("nan"), 64]}, "NaN is no number"),
        ({"shape": [4.0, 64]}, "no usable type"),
        ({"shape": [True, 256]}, "no usable type"),
        ({"shape": [-4, -64]}, "no usable type"),
        ({"shape": [1 << 70, 64]}, "no usable type"),
        ({"shape": "4x64"}, "no usable type"),
        ({"data_offsets": [0]}, "no usable type"),
        ({"data_offsets": [8, 1032]}, "begins at byte"),
    ],
)
def test_a_damaged_header_says_what_is_wrong(tmp_path: Path, row: dict[str, object] | None, said: str) -> None:
    folder = written(tmp_path / "grok", KEYFAN)
    header, data = header_of(folder / "model.safetensors")
    if row is None:
        header["transformer.decoder_layer.1.other"] = header.pop(ROUTER)
    else:
        header[ROUTER].update(row)
    with_header(folder / "model.safetensors", header, data)
    with pytest.raises(VoxpopError, match=said):
        FolderSource(folder)


def test_a_cut_a_padded_and_an_endless_file_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "grok", KEYFAN)
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for data, said in (
        (whole[:-1], "cut or padded"),
        (whole + b"\0", "cut or padded"),
        (whole[:100], "cut, or no safetensors"),
        (whole[:5], "cut, or no safetensors"),
        (b"\xff" * 8 + whole[8:], "cut, or no safetensors"),
        (struct.pack("<Q", 3) + b"[1]", "not a JSON object"),
        (struct.pack("<Q", 20) + b'{"a":{},"a":{}}     ', "a name stands twice"),
    ):
        file.write_bytes(data)
        with pytest.raises(VoxpopError, match=said):
            FolderSource(folder)
    with file.open("wb") as sparse:
        sparse.write(struct.pack("<Q", 1 << 30))
        sparse.truncate(1 << 31)
    with pytest.raises(VoxpopError, match="more than the 16777216 that voxpop reads"):
        FolderSource(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_hidden_layers": 4}, "lacks the tensor"),
        ({"num_hidden_layers": 10**7}, "too few for the model"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_hidden_layers": 2}, "tensors that Grok-1 has not"),
        ({"hidden_size": None}, "'None' for hidden_size"),
        ({"num_local_experts": "8"}, "num_local_experts|num_experts"),
        ({"embedding_multiplier_scale": None}, "embedding_multiplier_scale"),
        ({"output_multiplier_scale": 1e400}, "output_multiplier_scale"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps"),
        ({"rope_theta": True}, "rope_theta"),
        ({"num_key_value_heads": 3}, "do not fit one another"),
        ({"residual_moe": True}, "no Grok-1"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    folder = written(tmp_path / "grok", KEYFAN)
    config = {**json.loads((folder / "config.json").read_text()), **change}
    (folder / "config.json").write_text(json.dumps(config).replace("Infinity", "1e999"))
    with pytest.raises(VoxpopError, match=said):
        FolderSource(folder)


def test_an_index_names_files_of_its_own_folder_only(tmp_path: Path) -> None:
    folder = written(tmp_path / "grok", KEYFAN, shard_bytes=100_000)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for name in ("../grok/x.safetensors", "/etc/passwd", 7, "model.bin"):
        wrong = {**index["weight_map"], ROUTER: name}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(VoxpopError, match="names no files of its folder"):
            FolderSource(folder)
    home = index["weight_map"].pop(ROUTER)
    for mapped in (index["weight_map"], {**index["weight_map"], ROUTER: home, "more": home}):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": mapped}))
        with pytest.raises(VoxpopError, match="differ on"):
            FolderSource(folder)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "grok", KEYFAN)
    (folder / "model.safetensors").rename(folder / "pytorch_model-00001-of-00001.bin")
    with pytest.raises(VoxpopError, match="pickles"):
        FolderSource(folder)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("fuzz") / "grok", KEYFAN)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
ROW = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "I8"]) | JSON,
        "shape": st.lists(st.integers(-2, 1 << 66), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(-2, 1 << 66), max_size=3) | JSON,
    },
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=ROW, start=st.binary(max_size=40), junk=st.binary(max_size=64), at=st.integers(0, 4000))
def test_no_damage_ends_in_anything_but_a_clear_error(
    fuzzed: Path,
    tmp_path_factory: pytest.TempPathFactory,
    row: dict[str, object],
    start: bytes,
    junk: bytes,
    at: int,
) -> None:
    file = fuzzed / "model.safetensors"
    whole = file.read_bytes()
    header, data = header_of(file)
    try:
        for spoiled in (
            lambda: with_header(file, {**header, ROUTER: {**header[ROUTER], **row}}, data),
            lambda: file.write_bytes(start + whole[len(start) :]),
            lambda: file.write_bytes(whole[:at] + junk + whole[at + len(junk) :]),
            lambda: with_header(file, junk, start),
        ):
            spoiled()
            with suppress(VoxpopError):
                source = FolderSource(fuzzed)
                assert all(source.read(name).shape == spec.shape for name, spec in TINY.specs.items())
    finally:
        file.write_bytes(whole)


@settings(max_examples=150, deadline=None)
@given(config=st.dictionaries(st.sampled_from(sorted(KEYFAN.config(TINY, "F32"))) | st.text(max_size=5), JSON))
def test_no_config_ends_in_anything_but_a_clear_error(config: dict[str, object]) -> None:
    known = KEYFAN.config(TINY, "F32")
    for tried in (config, {**known, **config}):
        with suppress(VoxpopError):
            assert grok_of(tried).layers > 0


def test_the_shape_in_a_file_is_that_of_a_linear_layer() -> None:
    assert stored_shape(GROK_1.specs["layers.0.down"]) == (6144, 32768)
    assert stored_shape(GROK_1.specs["layers.0.key"]) == (1024, 6144)
    assert stored_shape(GROK_1.specs["embedding"]) == (131072, 6144)


def test_int8_with_one_and_with_eight_groups_comes_out_the_same(tmp_path: Path) -> None:
    quantised = [t for name in TINY.specs if isinstance(t := WEIGHTS.read(name), Quantised)]
    assert {tensor.scales.shape[-2] for tensor in quantised} == {1, 8}
