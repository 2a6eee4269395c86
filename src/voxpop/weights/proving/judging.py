"""The verdict on a converted checkpoint: structure, each tensor, what sampled layers compute; as a table or JSON.

What is not compared is said: layers that were not run, a tokenizer that only one of them has, and checksums of
which there is no manifest.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError
from voxpop.weights.converting import Pace
from voxpop.weights.formats.gguf_grok import GgufSource
from voxpop.weights.formats.mapped import nbytes
from voxpop.weights.formats.opening import opened
from voxpop.weights.formats.sums import read_manifest
from voxpop.weights.grok import Grok
from voxpop.weights.proving.parity import Agreement, agreements, sampled
from voxpop.weights.proving.same_words import same_words
from voxpop.weights.proving.verifying import Finding, differing, verify
from voxpop.weights.tensors import Source

# A layer's outputs were at most four times as far off as its matrices, on weights made to be strict.
_TIMES = 6.0
_SHOWN = 12  # wrong tensors in the table
_NOISE = 1e-5  # of float32, where every tensor is equal


@dataclass(slots=True)
class Report:
    """All that was found so far; `progress` is a line for who waits."""

    shape: Grok
    faults: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    agreements: list[tuple[Agreement, float]] = field(default_factory=list)
    summed: int = 0
    tokenizer: str = ""
    progress: str = ""

    @property
    def right(self) -> bool:
        """Whether nothing is wrong with what was compared."""
        tensors = any(finding.wrong for finding in self.findings)
        return not self.faults and not tensors and all(a.error <= allowed for a, allowed in self.agreements)

    def said(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "right": self.right,
            "structure": self.faults,
            "checksums": self.summed,
            "tokenizer": self.tokenizer,
            "tensors": [asdict(finding) for finding in self.findings],
            "layers": [{**asdict(agreement), "allowed": allowed} for agreement, allowed in self.agreements],
        }

    def text(self) -> str:
        """As a table."""
        lines = ["structure   " + ("as the source's" if not self.faults else "WRONG")]
        lines += [f"  {fault}" for fault in self.faults]
        wrong = [finding for finding in self.findings if finding.wrong]
        lines.append(f"tensors     {len(self.findings) - len(wrong)} of {len(self.shape.specs)} right")
        lines += [f"  {row}" for row in self._kinds()]
        lines += [f"  WRONG {finding.tensor}: {finding.wrong}" for finding in wrong[:_SHOWN]]
        lines += [f"  and {len(wrong) - _SHOWN} more: --json has all"] if len(wrong) > _SHOWN else []
        sums = f"{self.summed} of {len(self.findings)} compared" if self.summed else "none: there is no manifest"
        lines += [f"checksums   {sums}", f"tokenizer   {self.tokenizer}"]
        layers = sum(a.part.isdigit() for a, _ in self.agreements)
        lines.append(f"computed    {layers} of {self.shape.layers} layers, the same hidden states into both")
        for agreement, allowed in self.agreements:
            mark = "" if agreement.error <= allowed else "  WRONG"
            lines.append(
                f"  {agreement.part:<10} off by {agreement.error:.2g} (the middle token), allowed {allowed:.2g};"
                f" the worst token {agreement.worst:.2g}{mark}"
            )
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        if not self.right:
            return "The two are NOT the same."
        if any(finding.error for finding in self.findings):
            return "The two are the same, as near as these types can be."
        return "The two are the same."

    def _kinds(self) -> Iterator[str]:
        yield f"{'kind':<10} {'type':<8} {'tensors':>7} {'relative RMS':>13} {'allowed':>9}"
        groups: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((self.shape.specs[finding.tensor].kind, finding.type), []).append(finding)
        for (kind, type_), found in groups.items():
            worst, allowed = max(f.error for f in found), max(f.allowed for f in found)
            yield f"{kind:<10} {type_:<8} {len(found):>7} {worst:>13.2g} {allowed:>9.2g}"


def judged(converted: Path, source: Path, *, layers: int = 4, seed: int = 0) -> Iterator[Report]:
    """The report as it grows, the whole one last. Raises VoxpopError or UsageError where a path cannot be read.

    `layers`: how many are run in both, 0 for none.
    """
    if converted.resolve() == source.resolve():
        raise UsageError(f"{converted} is compared with itself.", "Give what it was made from as the second path.")
    found, due = opened(converted), opened(source)
    report = Report(due.shape, _faults(found, due.shape))
    report.tokenizer, wrong = same_words(found, converted, due, source)
    report.faults += wrong
    yield report
    if found.shape.specs.keys() != due.shape.specs.keys():
        return
    sums = read_manifest(converted)
    report.summed = len(sums.keys() & due.shape.specs.keys())
    pace = Pace({name: nbytes(due.read(name)) for name in due.shape.specs})
    for finding in verify(found, due, sums):
        report.findings.append(finding)
        report.progress = pace.step(finding.tensor).text()
        yield report
    fit = all(found.shape.specs[name].shape == spec.shape for name, spec in due.shape.specs.items())
    chosen = sampled(due.shape, layers, seed) if layers and fit else []
    for agreement in agreements(found, due, chosen, seed) if chosen else ():
        report.agreements.append((agreement, _allowed(report.findings, agreement.part)))
        report.progress = f"layer {agreement.part}" if agreement.part.isdigit() else agreement.part
        yield report


def _faults(found: Source, shape: Grok) -> list[str]:
    if isinstance(found, GgufSource):
        return found.faults(shape)
    return differing(found.shape, shape)


def _allowed(findings: list[Finding], part: str) -> float:
    """How far a part may be off, by the errors that its own tensors have."""
    where = f"layers.{part}." if part.isdigit() else "embedding"
    errors = [finding.error for finding in findings if finding.tensor.startswith(where)]
    return _TIMES * max(errors, default=0.0) + _NOISE
