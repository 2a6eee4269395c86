"""How good and how fast a model is: perplexity, distance from a reference, tokens a second; it reads no text.

A model is given sequences of tokens, each read alone from its first token on; nothing is said of the first. KL is
the reference's distribution from the model's, in nats a token: 0 is the same model, whatever its perplexity.
"""

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voxpop.errors import UsageError
from voxpop.weights.grok_torch import Cache, Floats, Forward, Weights

Tell = Callable[[int, int], None]
_KL_LEAST = 1e-9
_ROOM = 2 << 30


class Model(Protocol):
    """What gives logits for tokens."""

    @property
    def vocabulary(self) -> int:
        """How many tokens it knows."""
        ...

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """[tokens, vocabulary]: what follows each of them, when nothing stood before the first."""
        ...

    def goes_on(self, tokens: Sequence[int], count: int) -> float:
        """Seconds that it takes to add `count` tokens one by one, after `tokens` were read."""
        ...


class InTorch:
    """A checkpoint of any format in float32: the reference."""

    def __init__(self, source: Weights) -> None:
        self._forward = Forward(source if isinstance(source, Floats) else Floats(source))

    @property
    def vocabulary(self) -> int:
        return self._forward.shape.vocabulary

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        import torch

        with torch.no_grad():
            found: NDArray[np.float32] = self._forward.logits(torch.tensor([list(tokens)]))[0].numpy()
        return found

    def goes_on(self, tokens: Sequence[int], count: int) -> float:
        import torch

        cache = Cache(len(tokens) + count)
        with torch.no_grad():
            self._forward.logits(torch.tensor([list(tokens)]), cache)
            began = time.perf_counter()
            for _ in range(count):
                self._forward.logits(torch.tensor([[tokens[-1]]]), cache)
        return time.perf_counter() - began


class Remembered:
    """A model that computes the logits of a text once, for several to be compared with; it keeps 2 GiB at most."""

    def __init__(self, model: Model) -> None:
        self._model, self._room = model, _ROOM
        self._known: dict[tuple[int, ...], NDArray[np.float32]] = {}

    @property
    def vocabulary(self) -> int:
        return self._model.vocabulary

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        key = tuple(tokens)
        if (known := self._known.get(key)) is not None:
            return known
        found = self._model.logits(tokens)
        if found.nbytes <= self._room:
            self._room -= found.nbytes
            self._known[key] = found
        return found

    def goes_on(self, tokens: Sequence[int], count: int) -> float:
        return self._model.goes_on(tokens, count)


class InLlamaCpp:
    """A GGUF file in llama.cpp, its keys and values in float32 unless `kv` says else."""

    def __init__(self, path: Path, *, context: int = 1024, threads: int = 0, exact: bool = True) -> None:
        from voxpop.engines.llamacpp import LlamaModel

        self._model = LlamaModel(path, context=context, threads=threads, kv="f32" if exact else "f16")
        self._sequence = self._model.session()

    @property
    def vocabulary(self) -> int:
        return self._model.vocabulary

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        self._sequence.cut(0)
        return self._sequence.feed(tokens, len(tokens))

    def goes_on(self, tokens: Sequence[int], count: int) -> float:
        self._sequence.cut(0)
        self._sequence.feed(tokens)
        began = time.perf_counter()
        for _ in range(count):
            self._sequence.feed(tokens[-1:])
        return time.perf_counter() - began

    def close(self) -> None:
        """Give its memory back."""
        self._model.close()


@contextmanager
def in_llama_cpp(path: Path, *, context: int = 1024, threads: int = 0) -> Iterator[InLlamaCpp]:
    """A GGUF file in llama.cpp, closed at the end. Raises VoxpopError where it cannot be loaded."""
    model = InLlamaCpp(path, context=context, threads=threads)
    try:
        yield model
    finally:
        model.close()


@dataclass(frozen=True, slots=True)
class Quality:
    """What a model is worth on some texts: `tokens` predicted; the rest is nan where there was no reference.

    `kl` is the mean in nats, `kl_99` what one token in a hundred exceeds, `agrees` the share of tokens for which
    both think the same one the likeliest.
    """

    tokens: int
    perplexity: float
    kl: float = math.nan
    kl_99: float = math.nan
    agrees: float = math.nan


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second at batch 1: of a prompt that is read, and of an answer that is written."""

    prompt: float
    answer: float


def quality(
    model: Model, texts: Sequence[Sequence[int]], reference: Model | None = None, tell: Tell = lambda *_: None
) -> Quality:
    """Measure on texts in tokens; `tell(done, all)` after each. Raises UsageError where they say nothing."""
    if reference is not None and reference.vocabulary != model.vocabulary:
        raise UsageError(
            f"The reference knows {reference.vocabulary} tokens, the model {model.vocabulary}.",
            "Compare files that were made from one checkpoint.",
        )
    texts = [tokens for tokens in texts if len(tokens) > 1]
    if not texts:
        raise UsageError("There is no text of two tokens or more to measure on.", "Give other --texts.")
    said, apart, same = [], [], []
    for done, tokens in enumerate(texts, 1):
        mine = _log_odds(model.logits(tokens)[:-1])
        said.append(np.take_along_axis(mine, np.asarray(tokens[1:])[:, None], -1)[:, 0])
        if reference is not None:
            truth = _log_odds(reference.logits(tokens)[:-1])
            apart.append((np.exp(truth) * (truth - mine)).sum(-1))
            same.append(truth.argmax(-1) == mine.argmax(-1))
        tell(done, len(texts))
    odds = np.concatenate(said)
    perplexity = math.exp(-float(odds.mean()))
    if reference is None:
        return Quality(len(odds), perplexity)
    kl = np.concatenate(apart)
    return Quality(
        len(odds),
        perplexity,
        float(kl.mean()),
        float(np.quantile(kl, 0.99)),
        float(np.concatenate(same).mean()),
    )


def perplexity(model: Model, texts: Sequence[Sequence[int]]) -> float:
    """Of `model` alone."""
    return quality(model, texts).perplexity


def unigram(known: Sequence[Sequence[int]], texts: Sequence[Sequence[int]], vocabulary: int) -> float:
    """The perplexity of one who knows only how often each token stands in `known`, each counted once more."""
    counts = np.bincount(np.concatenate([t[1:] for t in known]), minlength=vocabulary) + 1.0
    odds = np.log(counts / counts.sum())
    return math.exp(-float(np.concatenate([odds[np.asarray(t[1:], int)] for t in texts]).mean()))


def speed(
    model: Model, texts: Sequence[Sequence[int]], prompt: int = 256, answer: int = 64, rounds: int = 3
) -> Speed:
    """The best of some rounds: a prompt of that many tokens of the texts, and an answer after it."""
    told = [token for tokens in texts for token in tokens]
    tokens = (told * (prompt // max(1, len(told)) + 1))[:prompt]
    model.logits(tokens[:8])
    reading, writing = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        model.logits(tokens)
        reading.append(time.perf_counter() - began)
        writing.append(model.goes_on(tokens, answer))
    return Speed(prompt / min(reading), answer / min(writing))


def drawn(points: Sequence[tuple[str, float, float]]) -> str:
    """(name, bits a weight, KL) as a chart, SVG: the same bytes for the same points. KL 0 stands at the bottom."""
    import matplotlib

    shown = [(name, bits, max(kl, _KL_LEAST)) for name, bits, kl in points]
    with matplotlib.rc_context({"svg.hashsalt": "voxpop", "svg.fonttype": "none", "font.size": 9}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.add_subplot()
        axes.set_yscale("log")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(0.12, 0.06)
        axes.set_xlabel("bits per weight")
        axes.set_ylabel("KL from float32, nats a token")
        axes.grid(True, which="major", alpha=0.3)
        axes.scatter([bits for _, bits, _ in shown], [kl for *_, kl in shown], s=18)
        for number, (name, bits, kl) in enumerate(sorted(shown, key=lambda p: p[1:])):
            side, gap = ("right", -6) if number % 2 else ("left", 6)  # two of one size are labelled apart
            axes.annotate(name, (bits, kl), (gap, 0), textcoords="offset points", ha=side, va="center")
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _log_odds(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    return wide
