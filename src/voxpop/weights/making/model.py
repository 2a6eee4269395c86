"""Make a small Grok model and let it learn from texts for some minutes; it knows those texts and little else.

The step is AdamW's (Loshchilov & Hutter 2019). The rate of learning rises, stays, and falls over the last two
fifths (Hägele et al. 2024): so only then need it be known how many steps there will be, and a run with that number
of steps gives the same model on the same machine, to the last bit.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from voxpop.weights.grok import Grok
from voxpop.weights.grok_torch import Floats, Forward
from voxpop.weights.making.lessons import Texts
from voxpop.weights.proving.measuring import InTorch, perplexity, unigram
from voxpop.weights.tensors import Held, Tensor, quantised

ROUTER_MOST = 3.0
_ROUTER_FREE = 2.0
_RISE, _FALL = 20, 0.4
_WIDE = 256  # below it, turning numbers to bfloat16 and back takes longer than it saves


# Twelve layers and more: only then does the order of xAI's files differ from that of the layers.
SIZES = {
    # 22 million weights, 7.6 of them active; each row is whole blocks of a K-quant.
    "small": Grok(12, 256, 2, 1, 128, 256, 8, 2, 2048, 1024, embedding_scale=16.0),
    # For trials: it learns in seconds what a model can learn in seconds.
    "tiny": Grok(12, 64, 2, 1, 32, 64, 8, 2, 640, 512, 2, embedding_scale=8.0, attention_scale=32**-0.5),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made. `steps` 0: as many as `minutes` hold; `rate`: of learning, at its highest."""

    shape: Grok
    seed: int = 0
    minutes: float = 5.0
    steps: int = 0
    batch: int = 8
    length: int = 256
    rate: float = 2e-3
    threads: int = 0


class Step(NamedTuple):
    """Where the making stands; `steps` and `left_s` are None as long as they are not known."""

    done: int
    steps: int | None
    loss: float
    rate: float
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. Perplexities are of texts that it never saw; `unigram` knows only how often each token is.

    `router`: the largest |logit| of a router on those texts; `copied`: the share of tokens of framed answers to
    unseen posts that it foresees rightly.
    """

    parameters: int
    active: int
    steps: int
    tokens: int
    seconds: float
    unigram: float
    before: float
    after: float
    int8: float
    copied: float
    router: float

    @property
    def fault(self) -> str:
        """What is to be said to whoever takes the model to another engine; nothing where its routers are calm."""
        if self.router <= ROUTER_MOST:
            return ""
        return (
            f"a router's logits reach {self.router:.1f}, beyond {ROUTER_MOST:g}: engines that cap them at 30 "
            "(SGLang, vLLM) give other answers. Train longer, or with another seed."
        )


class Routers:
    """Watches a forward's routers: the losses that keep them even and small.

    `balance`: experts times the sum over experts of the share of tokens sent there times its mean probability
    (Fedus et al. 2021, equation 4), 1 where even. `z`: logits beyond 2 squared, where ST-MoE (Zoph et al. 2022)
    squares their logsumexp: what engines that cap at 30 change is then below a thousandth.
    """

    def __init__(self, weights: Floats) -> None:
        self._weights = weights
        self.begin()

    def begin(self) -> None:
        """Forget what was seen."""
        self.balance, self.z, self.largest, self.layers = torch.zeros(()), torch.zeros(()), 0.0, 0

    def __call__(self, name: str, expert: int | None, x_TI: torch.Tensor) -> None:
        if not name.endswith(".router"):
            return
        shape = self._weights.shape
        with torch.autocast("cpu", enabled=False):
            logits_TE = x_TI.float() @ self._weights.tensors[name]
        odds_TE = logits_TE.softmax(-1)
        chosen = odds_TE.detach().topk(shape.chosen).indices.flatten()
        share_E = torch.bincount(chosen, minlength=shape.experts) / len(chosen)
        self.balance = self.balance + shape.experts * (share_E * odds_TE.mean(0)).sum()
        self.z = self.z + (logits_TE.abs() - _ROUTER_FREE).relu().square().sum(-1).mean()
        self.largest = max(self.largest, float(logits_TE.detach().abs().max()))
        self.layers += 1

    def loss(self) -> torch.Tensor:
        """What is added to the loss of the tokens."""
        return (0.01 * self.balance + 0.1 * self.z) / max(1, self.layers)


def begun(shape: Grok, seed: int) -> Held:
    """Weights before their training: a linear keeps a vector's length, and each layer adds as much as any other."""
    luck = np.random.RandomState(seed)
    tensors: dict[str, Tensor] = {}
    for name, spec in shape.specs.items():
        if spec.kind == "norm":
            # A layer adds two vectors; together they are as long as what came from the embedding.
            length = (2 * shape.layers) ** -0.5 if name.endswith("out_norm") else 1.0
            tensors[name] = np.full(spec.shape, length, np.float32)
        else:
            wide = shape.embedding_scale if spec.kind == "embedding" else spec.shape[-2] ** 0.5
            wide *= 10 if spec.kind == "router" else 1
            tensors[name] = luck.standard_normal(spec.shape).astype(np.float32) / np.float32(wide)
    return Held(shape, tensors)


class Lessons:
    """A model that learns: a batch a step."""

    def __init__(self, recipe: Recipe, texts: Texts) -> None:
        self._recipe = recipe
        self.weights = Floats(begun(recipe.shape, recipe.seed), trained=True)
        self.routers = Routers(self.weights)
        self._forward = Forward(self.weights, watch=self.routers)
        self._rows = texts.rows(recipe.length + 1)
        leaves = list(self.weights.tensors.values())
        self._adam = torch.optim.AdamW(leaves, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        self._narrow = recipe.shape.width >= _WIDE and _multiplies_bfloat16()

    def step(self, share: float) -> float:
        """Learn from the next batch at `share` of the highest rate; the loss, in nats a token."""
        for group in self._adam.param_groups:
            group["lr"] = share * self._recipe.rate
        rows, weights = zip(*(next(self._rows) for _ in range(self._recipe.batch)), strict=True)
        tokens, weight = torch.tensor(rows), torch.tensor(weights)[:, 1:].flatten()
        self.routers.begin()
        with torch.autocast("cpu", torch.bfloat16, enabled=self._narrow):
            logits = self._forward.logits(tokens[:, :-1]).float()
        each = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        loss = (each * weight).sum() / weight.sum()
        (loss + self.routers.loss()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights.tensors.values(), 1.0)
        self._adam.step()
        self._adam.zero_grad()
        return float(loss.detach())

    def held(self) -> Held:
        """The weights as they are now; not copied."""
        return Held(self._recipe.shape, {n: t.detach().numpy() for n, t in self.weights.tensors.items()})


def _multiplies_bfloat16() -> bool:
    """Whether products in bfloat16 take half the time of float32; elsewhere they take twice as long."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16"))


def rate_of(step: int, steps: int | None) -> float:
    """The share of the highest rate in a step, from 0; `steps` None while it is not known."""
    rise = min(1.0, (step + 1) / _RISE)
    if steps is None:
        return rise
    left = (steps - step) / (_FALL * steps)
    return rise * (1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * left))


def taught(
    recipe: Recipe, texts: Texts, tell: Callable[[Step], None] = lambda _: None, clock: Any = time.monotonic
) -> tuple[Held, Report]:
    """Make and train; the weights as xAI stores them (int8), and what came of it."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    lessons = Lessons(recipe, texts)
    before = perplexity(InTorch(lessons.held()), texts.held)
    began, steps, done = clock(), recipe.steps or None, 0
    losses: deque[float] = deque(maxlen=20)
    while steps is None or done < steps:
        losses.append(lessons.step(rate_of(done, steps)))
        done += 1
        spent = clock() - began
        if steps is None and spent >= (1 - _FALL) * recipe.minutes * 60:
            steps = max(done + 1, math.ceil(done / (1 - _FALL)))
        left = (steps - done) * spent / done if steps else recipe.minutes * 60 - spent
        rate = done * recipe.batch * recipe.length / spent
        tell(Step(done, steps, sum(losses) / len(losses), rate, left))
    spent = clock() - began
    final = rounded(lessons.held())
    return final, _report(recipe, texts, lessons.held(), final, before, done, spent)


def rounded(source: Held) -> Held:
    """As xAI released Grok-1: experts and attention in int8, all else in float32."""
    tensors: dict[str, Tensor] = {
        name: quantised(np.asarray(source.read(name)), spec.groups) if spec.int8 else np.array(source.read(name))
        for name, spec in source.shape.specs.items()
    }
    return Held(source.shape, tensors)


def _report(
    recipe: Recipe, texts: Texts, floats: Held, final: Held, before: float, steps: int, seconds: float
) -> Report:
    weights = Floats(final)
    routers = Routers(weights)
    return Report(
        parameters=recipe.shape.parameters,
        active=recipe.shape.active,
        steps=steps,
        tokens=steps * recipe.batch * recipe.length,
        seconds=seconds,
        unigram=unigram(texts.posts, texts.held, recipe.shape.vocabulary),
        before=before,
        after=perplexity(InTorch(floats), texts.held),
        int8=perplexity(InTorch(weights), texts.held),
        copied=_copied(Forward(weights, watch=routers), texts),
        router=routers.largest,
    )


def _copied(forward: Forward, texts: Texts) -> float:
    right: list[NDArray[np.bool_]] = []
    with torch.no_grad():
        for lesson, tokens in texts.held_framed:
            early = texts.before(lesson)
            likeliest = forward.logits(torch.tensor([tokens[:-1]]))[0].argmax(-1).numpy()
            right.append((likeliest == np.asarray(tokens[1:]))[early - 1 :])
    return float(np.concatenate(right).mean()) if right else math.nan
