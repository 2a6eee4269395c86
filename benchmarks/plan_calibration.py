"""Measures real runs of scaled-down Grok models in llama.cpp, and holds the planner's estimate beside them.

Run: python benchmarks/plan_calibration.py [--rounds 3] [--types Q8_0 Q4_K ...] [--json FILE]

The weights are random: speed does not depend on them. Each model is written, run and removed before the next; each
round runs every number of threads, so that what else the machine does falls on all alike.
"""

import argparse
import ctypes
import json
import tempfile
import threading
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

from voxpop.weights.grok import Grok, scaled
from voxpop.weights.machine_reading import read_rate

VOCABULARY = 8192
TYPES = ["BF16", "Q8_0", "Q6_K", "Q4_K", "IQ4_XS", "IQ3_XXS", "IQ2_XS", "IQ1_S"]
NAMES = {
    "gate": "ffn_gate_exps",
    "up": "ffn_up_exps",
    "down": "ffn_down_exps",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "out": "attn_output",
    "attention_norm": "attn_norm",
    "attention_out_norm": "attn_output_norm",
    "expert_norm": "ffn_norm",
    "expert_out_norm": "layer_output_norm",
    "router": "ffn_gate_inp",
}


def packed(kind: str, shape: tuple[int, ...], luck: np.random.Generator) -> np.ndarray:
    """Random weights [..., rows, columns] in one of ggml's types: 64 rows are packed, and repeated."""
    type_ = gguf.GGMLQuantizationType[kind]
    *many, rows, columns = shape
    few = luck.standard_normal((min(64, rows), columns), dtype=np.float32) * columns**-0.5
    if kind in ("BF16", "F32", "Q8_0"):
        data = gguf.quants.quantize(few, type_).view(np.uint8)
    else:
        library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("*.so"))))
        block, size = gguf.GGML_QUANT_SIZES[type_]
        data = np.zeros((few.shape[0], columns // block * size), np.uint8)
        weights = np.ones(columns, np.float32)
        pointer = ctypes.POINTER(ctypes.c_float)
        library.ggml_quantize_chunk.restype = ctypes.c_size_t
        library.ggml_quantize_chunk(
            ctypes.c_int(type_.value),
            few.ctypes.data_as(pointer),
            data.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(0),
            ctypes.c_int64(few.shape[0]),
            ctypes.c_int64(columns),
            weights.ctypes.data_as(pointer),
        )
    repeats = -(-int(np.prod([*many, rows])) // data.shape[0])
    return np.tile(data, (repeats, 1))[: int(np.prod([*many, rows]))].reshape(*many, rows, -1)


def write(path: Path, model: Grok, kind: str) -> None:
    """A GGUF file of architecture `grok`; attention, experts and embedding are all of one type."""
    luck = np.random.default_rng(0)
    out = gguf.GGUFWriter(path, "grok")
    out.add_block_count(model.layers)
    out.add_context_length(model.context)
    out.add_embedding_length(model.width)
    out.add_feed_forward_length(model.feed_forward)
    out.add_head_count(model.heads)
    out.add_head_count_kv(model.kv_heads)
    out.add_key_length(model.head_width)
    out.add_value_length(model.head_width)
    out.add_expert_count(model.experts)
    out.add_expert_used_count(model.chosen)
    out.add_layer_norm_rms_eps(model.norm_epsilon)
    out.add_rope_freq_base(model.rope_base)
    out.add_rope_dimension_count(model.head_width)
    out.add_float32("grok.embedding_scale", model.embedding_scale)
    out.add_float32("grok.logit_scale", model.output_scale)
    out.add_float32("grok.attention.output_scale", model.attention_scale)
    out.add_float32("grok.attn_logit_softcapping", model.attention_cap)
    out.add_tokenizer_model("llama")
    out.add_token_list(["<unk>", "<s>", "</s>", *(f"▁t{n}" for n in range(3, model.vocabulary))])
    out.add_token_scores([0.0] * model.vocabulary)
    out.add_token_types([2, 3, 3, *([1] * (model.vocabulary - 3))])
    type_ = gguf.GGMLQuantizationType[kind]

    def add(name: str, shape: tuple[int, ...]) -> None:
        out.add_tensor(name, packed(kind, shape, luck), raw_dtype=type_)

    add("token_embd.weight", (model.vocabulary, model.width))
    out.add_tensor("output_norm.weight", np.ones(model.width, np.float32))
    for number in range(model.layers):
        for spec in model.layer(number):
            name = f"blk.{number}.{NAMES[spec.name.rpartition('.')[2]]}.weight"
            if spec.kind == "norm":
                out.add_tensor(name, np.ones(spec.shape, np.float32))
            elif spec.kind == "router":
                values = luck.standard_normal(spec.shape[::-1], dtype=np.float32) * model.width**-0.5
                out.add_tensor(name, values.astype(np.float32))
            else:
                *many, rows, columns = spec.shape
                add(name, (*many, columns, rows))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def server(path: Path, threads: int, slots: int) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 1024 * slots
    params.n_parallel = slots
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.warmup = True
    params.n_gpu_layers = 0
    params.cache_ram_mib = 0
    return xllamacpp.Server(params)


def asked(running: xllamacpp.Server, tokens: list[int], generate: int) -> dict:
    body = {
        "prompt": tokens,
        "n_predict": generate,
        "ignore_eos": True,
        "cache_prompt": False,
        "temperature": 1.0,
        "top_k": 1,
        "stream": False,
    }
    answer = running.handle_completions(body)
    answer = json.loads(answer) if isinstance(answer, str | bytes) else answer
    return answer["timings"]


def measure(running: xllamacpp.Server, slots: int, generate: int, luck: np.random.Generator) -> tuple[float, float]:
    """Tokens a second: prompt of 512 (one sequence), generation (all slots together)."""
    prompts = [luck.integers(3, VOCABULARY, 512 if slots == 1 else 8).tolist() for _ in range(slots)]
    if slots == 1:
        timings = asked(running, prompts[0], 1)
        prompt = timings["prompt_per_second"]
        return prompt, asked(running, prompts[0][:8], generate)["predicted_per_second"]
    results: list[dict] = []
    threads = [threading.Thread(target=lambda p=p: results.append(asked(running, p, generate))) for p in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0.0, sum(r["predicted_per_second"] for r in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--slots", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--size", type=int, default=2)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model = scaled(given.size, given.layers, vocabulary=VOCABULARY, context=8192)
    runs = []
    for kind in given.types:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            write(path, model, kind)
            for slots in given.slots:
                for threads in given.threads:
                    running = server(path, threads, slots)
                    luck = np.random.default_rng(1)
                    prompts, speeds, rates = [], [], []
                    for _ in range(given.rounds):
                        rates.append(read_rate(threads, 4 << 30))
                        prompt, speed = measure(running, slots, given.generate, luck)
                        prompts.append(prompt)
                        speeds.append(speed)
                    del running
                    run = {
                        "type": kind,
                        "size": given.size,
                        "layers": given.layers,
                        "file": path.stat().st_size,
                        "threads": threads,
                        "slots": slots,
                        "rate": [r / 1e9 for r in rates],
                        "prompt": prompts,
                        "generate": speeds,
                    }
                    runs.append(run)
                    print(
                        json.dumps(
                            {k: [round(x, 1) for x in v] if isinstance(v, list) else v for k, v in run.items()}
                        ),
                        flush=True,
                    )
    if given.json:
        given.json.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
