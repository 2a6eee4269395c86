"""Break each invariant on purpose and see its test fail; a mutant that survives or is stale ends the run with 1."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COPIED = ("src", "tests", "pyproject.toml")
PASSED, FAILED = 0, 1
LONGEST_S = 600


@dataclass(frozen=True)
class Mutant:
    path: Path
    invariant: str
    breaks: str
    tests: tuple[str, ...]


def read(path: Path) -> Mutant:
    header, _, _ = path.read_text("utf-8").partition("\ndiff --git ")
    said = dict(line.split(": ", 1) for line in header.splitlines() if ": " in line)
    try:
        return Mutant(path, said["Invariant"], said["Breaks"], tuple(said["Tests"].split()))
    except KeyError as missing:
        raise SystemExit(f"{path.name} has no line {missing}: see {HERE / 'README.md'}") from None


def copy(to: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", "mutants"))
        else:
            shutil.copy(source, to / name)


def run_tests(tree: Path, tests: tuple[str, ...], *, must_pass: bool = False) -> int:
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=short", *tests]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    if done.returncode != PASSED and (must_pass or done.returncode != FAILED):
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return done.returncode


def verdict(mutant: Mutant) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        copy(tree)
        patch = subprocess.run(
            ["git", "apply", str(mutant.path)], cwd=tree, capture_output=True, text=True, check=False
        )
        if patch.returncode:
            return f"does not apply: {patch.stderr.strip().splitlines()[0]}"
        code = run_tests(tree, mutant.tests)
        return {FAILED: "killed", PASSED: "SURVIVED"}.get(code, f"pytest ended with {code}")


def patches() -> dict[str, Path]:
    """Every patch by its number."""
    found: dict[str, Path] = {}
    for path in sorted(HERE.glob("*.patch")):
        number = path.stem.partition("-")[0]
        if number in found:
            raise SystemExit(f"{found[number].name} and {path.name} share a number: give one of them another.")
        found[number] = path
    return found


def main(wanted: list[str]) -> int:
    known = patches()
    if unknown := [number for number in wanted if number not in known]:
        print(f"No mutant has the number {', '.join(unknown)}. Give numbers, as in: run.py 530 531")
        return 2
    mutants = [read(path) for number, path in known.items() if not wanted or number in wanted]
    tests = tuple(sorted({test for mutant in mutants for test in mutant.tests}))
    with tempfile.TemporaryDirectory() as temporary:
        copy(Path(temporary))
        if run_tests(Path(temporary), tests, must_pass=True) != PASSED:
            print("The tests fail on the unbroken tree, so they can prove nothing. Mend them first.")
            return 1
    survivors = 0
    for mutant in mutants:
        ended = verdict(mutant)
        survivors += ended != "killed"
        print(f"{mutant.path.stem:36} invariant {mutant.invariant:3} {ended:9}  {mutant.breaks}", flush=True)
    print(f"{len(mutants) - survivors} of {len(mutants)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
