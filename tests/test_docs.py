"""The docs are output: generated pages are current, every `console` block runs, and every link leads somewhere.

In a block tagged `console` each line that begins with `$ ` is run, in the order of the page and in one temporary
folder; each must exit with 0. Blocks with another tag, or none, are not run.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from voxpop import docs
from voxpop.meters import METERS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def commands(page: Path) -> list[str]:
    lines = [line for block in BLOCK.findall(page.read_text("utf-8")) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_the_page_of_commands_is_current() -> None:
    assert (ROOT / "docs/cli.md").read_text("utf-8") == docs.commands_page(), "run: python -m voxpop.docs"


def test_the_table_of_settings_is_current() -> None:
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    assert page == docs.settings_page(page), "run: python -m voxpop.docs"
    with pytest.raises(ValueError, match="lacks"):
        docs.settings_page("no marks")


def test_the_table_of_metrics_is_current() -> None:
    page = (ROOT / "docs/watching.md").read_text("utf-8")
    assert page == docs.metrics_page(page), "run: python -m voxpop.docs"


def test_the_tables_of_grok_are_what_the_planner_says() -> None:
    page = (ROOT / "docs/grok-1.md").read_text("utf-8")
    assert page == docs.grok_page(page), "run: python -m voxpop.docs"
    with pytest.raises(ValueError, match="lacks"):
        docs.grok_page("no marks")
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme == docs.readme_page(readme), "run: python -m voxpop.docs"


def test_the_table_of_invariants_names_every_test_and_each_mutant_a_row() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", (ROOT / "docs/invariants.md").read_text("utf-8"), re.MULTILINE)
    named = {number: set(re.findall(r"tests/\w+\.py", cell)) for number, cell in rows}
    assert [name for names in named.values() for name in names if not (ROOT / name).is_file()] == []
    broken = set()
    for patch in sorted((ROOT / "tests/mutants").glob("*.patch")):
        said = dict(line.split(": ", 1) for line in patch.read_text("utf-8").splitlines()[:3])
        broken.add(said["Invariant"])
        for test in said["Tests"].split():
            file, *path = test.split("::")
            assert file in named[said["Invariant"]], f"{patch.name}: row {said['Invariant']} lacks {file}"
            held = (ROOT / file).read_text("utf-8")
            assert all(name.partition("[")[0] in held for name in path), f"{patch.name}: {test} is gone"
    assert set(named) - broken == {"10"}, "an invariant without a mutant: what shows that its tests can fail?"


def test_the_dashboard_is_whole_and_asks_only_for_what_is_exported() -> None:
    board = json.loads((ROOT / "docs/grafana-dashboard.json").read_text("utf-8"))
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= board.keys()
    assert board["templating"]["list"][0] == board["templating"]["list"][0] | {
        "type": "datasource",
        "query": "prometheus",
    }
    panels = [p for p in board["panels"] if p["type"] != "row"]
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at, own = panel["gridPos"], {"type": "prometheus", "uid": "${datasource}"}
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["targets"]
        assert all(t["datasource"] == own for t in (panel, *panel["targets"]))
    exported = {m.exported for m in METERS if m.kind != "histogram"}
    exported |= {f"{m.name}{end}" for m in METERS if m.kind == "histogram" for end in ("_bucket", "_sum", "_count")}
    asked = {name for p in panels for t in p["targets"] for name in re.findall(r"voxpop_\w+", t["expr"])}
    assert asked
    assert asked <= exported
    known = {name.removesuffix(end) for name in asked for end in ("", "_total", "_bucket", "_count")}
    unseen = (
        {m.name for m in METERS} - known - {"voxpop_deleted", "voxpop_refused", "voxpop_engaged", "voxpop_purges"}
    )
    assert unseen <= {"voxpop_posts_per_second", "voxpop_partitions_dropped"}, "the dashboard shows the rest"


def test_the_alerts_ask_only_for_what_is_exported() -> None:
    page = (ROOT / "docs/watching.md").read_text("utf-8")
    alerts = page.partition("## What to alert on")[2].partition("## Grafana")[0]
    asked = set(re.findall(r"voxpop_\w+", alerts))
    assert asked
    assert asked <= {m.exported for m in METERS}


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.name)
def test_every_console_block_runs(page: Path, tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VOXPOP_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**kept, "PATH": path, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    for command in commands(page):
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
