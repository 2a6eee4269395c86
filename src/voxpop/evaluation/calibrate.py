"""Fit the support score on labelled pairs and choose its threshold; it writes coefficients and figures, no text.

    python -m voxpop.evaluation.calibrate --data FOLDER             the figures, one JSON line
    python -m voxpop.evaluation.calibrate --data FOLDER --write     also support.toml and docs/support.svg

Needs the extra `eval`. A pair counts only if it passes the exact checks: what they refuse the score never sees.
"""

import argparse
import json
from collections.abc import Sequence
from hashlib import blake2b
from itertools import groupby, pairwise
from math import exp
from pathlib import Path
from typing import Any, NamedTuple

from voxpop.evaluation import citations, real_pairs
from voxpop.evaluation.citations import Pair
from voxpop.support import features, is_abroad

_ROOT = Path(__file__).parents[3]
_UNSUPPORTED = 0.01
_TRAINED = 0.7
_BINS, _FEWEST = 10, 5


class Row(NamedTuple):
    """A pair: where it is from, of which item, its label, and its features if it passed the exact checks."""

    source: str
    item: str
    kind: str
    true: bool
    values: dict[str, float]  # empty where an exact check refused it

    @property
    def trains(self) -> bool:
        """Whether its item is among the seven of ten that the model is fitted on."""
        return blake2b(self.item.encode(), digest_size=2).digest()[0] < 256 * _TRAINED


def rows(folder: Path) -> list[Row]:
    """The pairs of all sources that are no post's own words, in one language."""
    made: dict[str, list[Pair]] = {
        "tweetqa": real_pairs.of_questions(folder),
        "realtimeqa": real_pairs.of_news(folder),
        "ottawa": real_pairs.of_recording(folder / "posts" / "ottawashooting_2014-10-22.jsonl.zst", 2500),
        "ferguson": real_pairs.of_recording(folder / "posts" / "ferguson_2014-08-09_16.jsonl.zst", 2500),
        "night": citations.pairs(),
    }
    return [
        Row(source, pair.passage.post.id, pair.kind, pair.true, values)
        for source, found in made.items()
        for pair in found
        if (values := _values(pair)) is not None
    ]


def _values(pair: Pair) -> dict[str, float] | None:
    verdict, cited = citations.exact(pair), [pair.passage]
    if verdict.verbatim or is_abroad(pair.text, cited):
        return None
    return features(pair.text, cited) if verdict.shown else {}


class Model:
    """Logistic coefficients by feature, as if half of all drafts were wrong before any check."""

    def __init__(self, fitted: Sequence[Row]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        weight = _weights(fitted)
        passed = [r for r in fitted if r.values]
        names = [name for name in passed[0].values if name != "one"]
        scaler = StandardScaler()
        matrix = scaler.fit_transform([[r.values[name] for name in names] for r in passed])
        logistic = LogisticRegression(C=1.0, max_iter=3000)
        scale = len(passed) / sum(weight[r.true] for r in passed)
        logistic.fit(matrix, [r.true for r in passed], sample_weight=[scale * weight[r.true] for r in passed])
        slopes = logistic.coef_[0] / scaler.scale_
        self.weights = {"one": float(logistic.intercept_[0] - (slopes * scaler.mean_).sum())}
        self.weights |= {name: float(slope) for name, slope in zip(names, slopes, strict=True)}

    def __call__(self, row: Row) -> float:
        return round(1 / (1 + exp(-sum(self.weights[name] * value for name, value in row.values.items()))), 4)


class Scored(NamedTuple):
    """A held-out pair: its score, its label, and what it weighs where half of all drafts are wrong."""

    score: float
    true: bool
    weight: float


def _weights(given: Sequence[Row]) -> dict[bool, float]:
    return {label: 0.5 / max(1, sum(r.true is label for r in given)) for label in (True, False)}


def judged(model: Model, held_out: Sequence[Row]) -> list[Scored]:
    """Those that passed the exact checks, best first; the weights are shares of all drafts."""
    weight = _weights(held_out)
    return sorted((Scored(model(r), r.true, weight[r.true]) for r in held_out if r.values), reverse=True)


def auc(scored: Sequence[Scored]) -> float:
    """The chance that a right pair scores above a wrong one, of those that passed the exact checks."""
    right, wrong = ([s.score for s in scored if s.true is label] for label in (True, False))
    won = sum((r > w) + 0.5 * (r == w) for r in right for w in wrong)
    return round(won / (len(right) * len(wrong)), 4)


def threshold(scored: Sequence[Scored]) -> float:
    """The least score from which on at most one in a hundred of those shown is wrong."""
    good = bad = 0.0
    least = 1.0
    for score, alike in groupby(scored, key=lambda s: round(s.score, 4)):
        for _, true, weight in alike:
            good, bad = good + true * weight, bad + (not true) * weight
        if bad <= _UNSUPPORTED * (good + bad):
            least = score
    return least


def shown(scored: Sequence[Scored], least: float) -> dict[str, float]:
    """Of all right and all wrong drafts the share that is shown, and the share of those shown that is wrong."""
    good, bad = (sum(s.weight for s in scored if s.true is label and s.score >= least) for label in (True, False))
    return {
        "right_shown": round(2 * good, 3),
        "wrong_shown": round(2 * bad, 4),
        "unsupported": round(bad / (good + bad), 4) if good + bad else 0.0,
    }


def reliability(scored: Sequence[Scored]) -> list[tuple[float, float]]:
    """By tenth of the score: its mean, and the share of right pairs."""
    out = []
    for low, high in pairwise(i / _BINS for i in range(_BINS + 1)):
        part = [s for s in scored if low <= s.score < high or s.score == high == 1]
        if len(part) >= _FEWEST:
            whole = sum(s.weight for s in part)
            out.append((
                sum(s.score * s.weight for s in part) / whole,
                sum(s.weight for s in part if s.true) / whole,
            ))  # fmt: skip
    return out


def report(found: Sequence[Row]) -> tuple[dict[str, Any], Model, float]:
    """Figures on held-out items and on sources that the model never saw; the model of the fitted items."""
    model = Model([r for r in found if r.trains])
    held_out = [r for r in found if not r.trains]
    scored = judged(model, held_out)
    least = threshold(scored)
    figures: dict[str, Any] = {
        "pairs": len(found),
        "held_out": len(held_out),
        "least": round(least, 4),
        "exact_alone": shown(scored, 0.0),
        "with_score": {"auc": auc(scored), **shown(scored, least)},
        "kinds": _kinds(model, held_out, least),
        "unseen": {},
    }
    for source in sorted({r.source for r in found} - {"night", "realtimeqa"}):
        known = [r for r in found if r.source != source]
        other = Model([r for r in known if r.trains])
        bound = threshold(judged(other, [r for r in known if not r.trains]))
        unseen = judged(other, [r for r in found if r.source == source])
        figures["unseen"][source] = {"auc": auc(unseen), "exact_alone": shown(unseen, 0.0), **shown(unseen, bound)}
    return figures, model, least


def _kinds(model: Model, held_out: Sequence[Row], least: float) -> dict[str, str]:
    """Of each source and kind how many pairs are shown: none that is wrong should be."""
    out = {}
    for source, kind, true in sorted({(r.source, r.kind, r.true) for r in held_out}):
        part = [r for r in held_out if (r.source, r.kind) == (source, kind)]
        through = sum(bool(r.values) and model(r) >= least for r in part)
        out[f"{source}, {'right' if true else 'wrong'}: {kind}"] = f"{through}/{len(part)}"
    return out


def write(model: Model, least: float) -> None:
    """The coefficients as data of the package."""
    lines = [
        "# Coefficients of the support score, fitted by voxpop.evaluation.calibrate; see docs/verification.md.",
        f"least = {least:.4f}",
        "",
        "[weights]",
        *(f'"{name}" = {weight:.5f}' for name, weight in model.weights.items()),
    ]
    (_ROOT / "src" / "voxpop" / "support.toml").write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with posts/ and qa/")
    parser.add_argument("--write", action="store_true", help="write support.toml and docs/support.svg")
    options = parser.parse_args()
    found = rows(options.data)
    figures, model, least = report(found)
    print(json.dumps(figures))
    if options.write:
        write(model, least)
        draw(judged(model, [r for r in found if not r.trains]), least, _ROOT / "docs" / "support.svg")


def draw(scored: Sequence[Scored], least: float, path: Path) -> None:
    """How often a score is right, and what each threshold shows; same input, same bytes."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({
        "svg.hashsalt": "voxpop", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
        "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "lines.linewidth": 1.2,
        "legend.frameon": False, "font.family": "sans-serif",
    })  # fmt: skip
    from matplotlib import pyplot as plt

    figure, (curve, bound) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    points = reliability(scored)
    curve.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    curve.plot([p[0] for p in points], [p[1] for p in points], marker="o", markersize=3)
    curve.set(
        title="how often a score is right, held-out pairs", xlabel="support score", ylabel="share of right pairs"
    )
    steps = [i / 200 for i in range(1, 200)]
    rates = [shown(scored, step) for step in steps]
    bound.plot(steps, [100 * r["right_shown"] for r in rates], label="right pairs shown, %")
    bound.plot(steps, [100 * r["unsupported"] for r in rates], label="wrong among those shown, %")
    bound.axvline(least, color="0.5", linewidth=0.8)
    bound.set(title=f"what a threshold shows; ours is {least:.2f}", xlabel="threshold")
    bound.legend()
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
