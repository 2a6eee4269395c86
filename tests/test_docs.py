"""The docs are output: generated pages are current, every `console` block runs, and every link leads somewhere.

In a block tagged `console` each line that begins with `$ ` is run, in the order of the page and in one temporary
folder; each must exit with 0. Blocks with another tag, or none, are not run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from voxpop import docs

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
