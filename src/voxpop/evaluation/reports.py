"""Run the suites with one engine and write `report.json` and `report.html`; and read such reports again."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from voxpop import __version__
from voxpop.engines import Engine
from voxpop.errors import UsageError
from voxpop.evaluation.bench import Bench
from voxpop.evaluation.measures import SAMPLE, Report
from voxpop.evaluation.page import page
from voxpop.evaluation.suites import measure
from voxpop.times import iso


async def run(bench: Bench, suites: Sequence[str], made_at: int) -> Report:
    """Everything that the suites measure; `made_at` in microseconds of UTC."""
    began = time.perf_counter()
    async with bench:
        measures, skipped = await measure(bench, suites)
    info = bench.engine().describe()
    return Report(
        engine={"name": info.name, "model": "" if info.model == "none" else info.model},
        measures=tuple(measures),
        skipped=skipped,
        made_at=iso(made_at)[:19] + "Z",
        took_s=time.perf_counter() - began,
        seed=bench.seed,
        sample=bench.sample,
        version=__version__,
    )


def sampled(engine: Engine, asked: int | None) -> int | None:
    """How many questions a suite asks: as given, else all where no model has to write."""
    return asked if asked is not None else None if engine.describe().model == "none" else SAMPLE


def write(report: Report, folder: Path) -> Path:
    """Both files, in a folder that is made; the path of the page."""
    told = report.json()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    return compare([told], folder / "report.html")


def compare(reports: Sequence[dict[str, Any]], path: Path) -> Path:
    """One page of several reports."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(reports), "utf-8")
    return path


def read(path: Path) -> dict[str, Any]:
    """A report that was written before. Raises UsageError where it is none."""
    try:
        told = orjson.loads(path.read_bytes())
        if isinstance(told, dict) and {"engine", "measures", "skipped", "voxpop"} <= told.keys():
            return told
    except OSError as error:
        raise UsageError(f"Cannot read the report {path}: {error.strerror}.", "Check the path.") from error
    except orjson.JSONDecodeError:
        pass
    raise UsageError(f"{path} is no report of 'voxpop eval'.", "Give the report.json of its --out folder.")
