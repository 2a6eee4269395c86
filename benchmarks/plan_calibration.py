"""Measures real runs of scaled-down Grok models in llama.cpp, and holds the planner's estimate beside them.

Run: python benchmarks/plan_calibration.py [--rounds 3] [--models 2:3 1:8] [--types Q8_0 Q4_K ...] [--json FILE]

One thread, and its processor time, not the clock's: so that other work on the machine falls out, but for what it
takes of memory and caches. The weights are random: speed does not depend on them. A round runs everything once; a
model is written, run and removed before the next. `--from FILE` tells stored runs again.
"""

import argparse
import ctypes
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

from voxpop.weights.grok import Grok, scaled
from voxpop.weights.planning.machine import Machine
from voxpop.weights.planning.placing import Case, Step, place, seconds, shares, token_flops
from voxpop.weights.planning.sizes import Format

VOCABULARY, GENERATED = 8192, 24
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


def server(path: Path, slots: int) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 640 * max(1, slots) if slots == 1 else 128 * slots
    params.n_parallel = slots
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.warmup = True
    params.n_gpu_layers = 0
    params.cache_ram_mib = 0
    return xllamacpp.Server(params)


def spent(running: xllamacpp.Server, prompts: list[list[int]], generate: int) -> float:
    """Seconds of processor time for all prompts at once, each going on for so many tokens."""

    def ask(tokens: list[int]) -> None:
        body = {"prompt": tokens, "n_predict": generate, "ignore_eos": True, "cache_prompt": False, "top_k": 1}
        running.handle_completions({**body, "stream": False})

    threads = [threading.Thread(target=ask, args=(tokens,)) for tokens in prompts]
    began = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.process_time() - began


def reading() -> float:
    """Bytes a second of processor time that one core reads from memory: memchr over 256 MiB, the best of four."""
    size = 256 << 20
    find = ctypes.CDLL(None).memchr
    find.argtypes, find.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t), ctypes.c_void_p
    part = (ctypes.c_char * size)()
    ctypes.memset(part, 1, size)
    taken = []
    for _ in range(4):
        began = time.thread_time()
        find(part, 2, size)
        taken.append(time.thread_time() - began)
    return size / min(taken)


def measured(path: Path, slots: int, luck: np.random.Generator) -> dict[str, float]:
    """Tokens a second of one core: of a prompt of 512, and generated by all slots together."""
    running = server(path, slots)
    prompts = [luck.integers(3, VOCABULARY, 8).tolist() for _ in range(slots)]
    found = {"generate": GENERATED * slots / (spent(running, prompts, GENERATED + 4) - spent(running, prompts, 4))}
    if slots == 1:
        found["prompt"] = 512 / spent(running, [luck.integers(3, VOCABULARY, 512).tolist()], 1)
    return found


def estimated(model: Grok, kind: str, slots: int, rate: float, what: str) -> float:
    """What the planner expects of one core that reads memory so fast."""
    parts = {part: {kind: 1.0} for part in ("gate", "down", "query", "key", "out", "embedding")}
    machine = Machine("one core", 1, 8 << 30, rate, measured=True, instructions=("avx2", "avx512", "vnni"))
    case = Case(model, Format(kind, "gguf", parts, "", 0), machine, "layers")
    step = Step(512, 256, 1) if what == "prompt" else Step(slots, 24, slots)
    taken = seconds(case, place(case, 1024), step, shares(machine)[1])
    return step.tokens / sum(taken.values())


def worked(name: str, what: str) -> Grok | None:
    """The layers that a run computes: of a prompt, llama.cpp takes the last token alone through the last layer."""
    size, layers = map(int, name.split(":"))
    if what == "prompt":
        return scaled(size, layers - 1, vocabulary=1, context=8192) if layers > 1 else None
    return member(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--slots", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--models", nargs="+", default=["2:3"], help="size:layers")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from", dest="stored", type=Path)
    given = parser.parse_args()
    if given.stored:
        for each in json.loads(given.stored.read_text())["sets"]:
            told(each)
        return
    speeds: dict[tuple[str, str, int, str], list[float]] = {}
    rates = []
    for turn in range(given.rounds):
        for name in given.models:
            for kind in given.types:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "model.gguf"
                    write(path, member(name), kind)
                    rates.append(reading())
                    for slots in given.slots:
                        for what, speed in measured(path, slots, np.random.default_rng(turn)).items():
                            speeds.setdefault((name, kind, slots, what), []).append(speed)
    runs = [
        {"model": name, "type": kind, "slots": slots, "what": what, "measured": found}
        for (name, kind, slots, what), found in speeds.items()
    ]
    found = {"what": "runs of today", "rate": [r / 1e9 for r in rates], "runs": runs}
    told(found)
    if given.json:
        given.json.write_text(json.dumps({"sets": [found]}) + "\n")


def member(name: str) -> Grok:
    """`size:layers`."""
    size, layers = map(int, name.split(":"))
    return scaled(size, layers, vocabulary=VOCABULARY)


def beside(found: dict) -> Iterator[tuple[dict, float, float]]:
    """Each run that can be estimated, its fastest round, and the estimate: others' work only slows a run."""
    for run in found["runs"]:
        if model := worked(run["model"], run["what"]):
            expected = estimated(model, run["type"], run["slots"], max(found["rate"]) * 1e9, run["what"])
            yield run, max(run["measured"]), expected


def errors(found: dict) -> tuple[int, float, float]:
    """How many runs, and by what share the estimate is off: at the median, at worst."""
    off = [abs(expected / best - 1) for _, best, expected in beside(found)]
    return len(off), statistics.median(off), max(off)


def told(found: dict) -> None:
    """The table, and how far the estimates are off."""
    print(f"{found['what']}: one core reads {max(found['rate']):.1f} GB/s (slowest {min(found['rate']):.1f})")
    print("model  type     slots what      measured expected    off  1e9 op/s")
    for run, best, expected in beside(found):
        operations = best * token_flops(worked(run["model"], run["what"]), 24) / 1e9
        print(
            f"{run['model']:<6} {run['type']:<8} {run['slots']:>5} {run['what']:<9} {best:>8.1f} {expected:>8.1f}"
            f" {expected / best - 1:>+6.0%} {operations:>9.0f}"
        )
    number, median, worst = errors(found)
    print(f"{number} runs: off by {median:.0%} at the median, {worst:.0%} at worst")


if __name__ == "__main__":
    main()
