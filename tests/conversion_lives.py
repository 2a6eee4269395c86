"""Conversions that are killed: `python conversion_lives.py SOURCE FOLDER KILLS SEED`.

To each of three formats: one whole conversion, timed; then some to another place, killed at random moments, until
as many as asked were cut between two tensors; then one to its end. Prints how many tensors each life left.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from voxpop.weights import targets
from voxpop.weights.converting import remove
from voxpop.weights.formats.opening import opened


def convert(source: Path, out: Path, format_: str) -> None:
    to = targets.target(out, format_)
    for _ in targets.converted(opened(source), source, to):
        pass


def life(source: Path, out: Path, format_: str, within_s: float | None) -> int:
    """A process of its own, killed after that time; its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            convert(source, out, format_)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    if within_s is not None:
        time.sleep(within_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    source, folder, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    luck = random.Random(seed)
    for format_ in ("gguf", "xai", "keyfan"):
        out, began = folder / f"out.{format_}", time.monotonic()
        assert life(source, folder / f"twin.{format_}", format_, None) == 0
        whole_s = time.monotonic() - began
        share, cut = 0.6, 0
        for _ in range(5 * kills):
            assert life(source, out, format_, luck.uniform(0.02, share) * whole_s) in (-signal.SIGKILL, 0)
            if (
                out.exists() and not cut
            ):  # done before it was killed: the machine was busier when `whole_s` was taken
                remove(out)
                share /= 2
            elif out.exists() or cut == kills:
                break
            else:
                journals = [*folder.rglob("written.jsonl"), out.with_name(f"{out.name}.journal")]
                lines = sum(len(j.read_bytes().splitlines()) for j in journals if j.exists())
                print(format_, max(lines - 1, 0), flush=True)  # the first line says what is written
                cut += lines > 1
        assert out.exists() or life(source, out, format_, None) == 0


if __name__ == "__main__":
    main()
