"""Write docs/cli.md, and the tables of docs/configuration.md, watching.md and grok-1.md, from the code.

Run it as `python -m voxpop.docs` in the repository; a test says when a page is behind.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from voxpop import meters
from voxpop.cli import program
from voxpop.config import settings
from voxpop.weights.planning import pages as plan_pages

_CLI = """# Commands

This page is written by `python -m voxpop.docs` from the commands' own help.

Every command takes `-h` and `--help`. With `--json` a failure is `{"error": {"message", "cure", "code"}}` on the
standard output; without it, one line on the standard error. Exit codes: 0 done, 1 failed, 2 asked wrongly,
130 interrupted.
"""
_SHOWN = 3


def commands_page() -> str:
    """docs/cli.md."""
    return "\n".join([_CLI, *_sections(program(), "voxpop", None)])


def settings_page(page: str) -> str:
    """docs/configuration.md with its table written anew; raises ValueError where the marks are missing."""
    return filled(page, "settings", _table())


def metrics_page(page: str) -> str:
    """docs/watching.md with its table written anew; raises ValueError where the marks are missing."""
    return filled(page, "metrics", meters.table())


def grok_page(page: str) -> str:
    """docs/grok-1.md with its tables written anew; raises ValueError where the marks are missing."""
    for name, table in plan_pages.tables().items():
        page = filled(page, name, table)
    return page


def readme_page(page: str) -> str:
    """README.md with its plan made anew; raises ValueError where the marks are missing."""
    return filled(page, "plan", plan_pages.example())


def filled(page: str, name: str, table: str, by: str = "python -m voxpop.docs") -> str:
    """A page with what stands between a name's marks written anew; raises ValueError where they are missing."""
    begins, ends = f"<!-- {name}: written by {by} -->", f"<!-- end of {name} -->"
    before, begin, rest = page.partition(begins)
    _, end, after = rest.partition(ends)
    if not begin or not end:
        raise ValueError(f"The page lacks '{begins}' or '{ends}'.")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def _sections(command: click.Command, name: str, above: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=above)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    text, _, example = (command.help or "").partition("Example: ")
    yield f"## {name}\n\n```\n{usage}\n```\n\n{' '.join(text.split())}\n"
    options = [p for p in command.params if isinstance(p, click.Option)]
    rows = [r for o in options if (r := o.get_help_record(context))]
    if rows:
        cells = "\n".join(f"| `{_cell(option)}` | {_cell(meaning)} |" for option, meaning in rows)
        yield f"| option | meaning |\n|---|---|\n{cells}\n"
    if example:
        yield f"For example:\n\n```\n{example.strip()}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            if found := command.get_command(context, inner):
                yield from _sections(found, f"{name} {inner}", context)


def _table() -> str:
    rows = [f"| `{name}` | `{env}` | {_default(value)} | {_cell(doc)} |" for name, env, value, doc in settings()]
    head = "| setting | environment variable | default | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows)


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        if len(value) > _SHOWN:
            return f"{len(value)} entries"
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`" if value not in ("", ()) else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = (
    ("configuration.md", settings_page),
    ("watching.md", metrics_page),
    ("grok-1.md", grok_page),
    ("../README.md", readme_page),
)


def main(folder: Path) -> None:
    """Write the pages in the folder of the docs."""
    (folder / "cli.md").write_text(commands_page(), "utf-8")
    for name, written in PAGES:
        page = folder / name
        page.write_text(written(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
