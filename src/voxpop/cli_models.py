"""`voxpop models`: list, show, pull and remove models; it prints, and `models.py` does."""

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click
import orjson

from voxpop import models as catalogue
from voxpop.cli_options import config_of, data_option, json_option, runs
from voxpop.config import Config
from voxpop.engine_choice import available_memory, hub_answers, models_folder, told


@click.group()
def models() -> None:
    """The models that can answer on this machine: list, show, pull, rm.

    Example: voxpop models pull qwen2.5-coder-1.5b-instruct
    """


def _row(model: catalogue.Model, folder: Path) -> dict[str, Any]:
    path = catalogue.path_of(folder, model)
    return {
        "name": model.name,
        "licence": model.licence,
        "size": model.size,
        "context": model.context,
        "memory": model.memory,
        "sha256": model.sha256,
        "profile": model.profile,
        "note": model.note,
        "sources": [kind for kind in ("hub", "packages") if getattr(model, kind)],
        "how": model.how.format(path=path),
        "installed": path.is_file(),
        "path": str(path),
    }


@models.command("list")
@data_option
@json_option
@click.pass_context
@runs
async def list_models(context: click.Context, as_json: bool, data: Path | None) -> None:
    """List the catalogue: what is here, what fits this machine, from where it can be had.

    Example: voxpop models list --json
    """
    folder, free = models_folder(config_of(context, data=data)), available_memory()
    rows = [_row(m, folder) for m in catalogue.catalogue()]
    if as_json:
        click.echo(orjson.dumps({"models": rows}).decode())
        return
    for row in rows:
        state = "here" if row["installed"] else "fits" if row["memory"] <= free else "too big"
        size = f"{row['size'] / 2**30:.1f} GiB"
        sources = ", ".join(row["sources"]) or "made here"
        click.echo(f"{row['name']:<32} {size:>9}  {state:<8} {row['licence']:<11} {sources}")


@models.command("show")
@click.argument("name")
@data_option
@json_option
@click.pass_context
@runs
async def show(context: click.Context, name: str, as_json: bool, data: Path | None) -> None:
    """Show all that is known of one model.

    Example: voxpop models show smollm2-135m-instruct
    """
    row = _row(catalogue.resolve(name), models_folder(config_of(context, data=data)))
    if as_json:
        click.echo(orjson.dumps(row).decode())
        return
    for key, value in row.items():
        click.echo(f"{key:<10} {', '.join(value) if isinstance(value, list) else value}")


def _best(config: Config) -> catalogue.Model:
    reachable = catalogue.obtainable(hub=hub_answers())
    best = catalogue.best_for(available_memory(), reachable)
    return best or catalogue.resolve(catalogue.catalogue()[0].name)


@models.command("pull")
@click.argument("name", required=False)
@data_option
@json_option
@click.pass_context
@runs
async def pull(context: click.Context, name: str | None, as_json: bool, data: Path | None) -> None:
    """Download a model, resumed where it was cut and checked whole; without a name the best that fits.

    Example: voxpop models pull
    """
    config = config_of(context, data=data)
    model = catalogue.resolve(name) if name else await asyncio.to_thread(_best, config)
    async with aclosing(catalogue.pull(model, models_folder(config))) as steps:  # type: ignore[type-var]
        async for step in steps:
            if not as_json:
                line = f"\r{model.name} from {step.source}: {told(step)}   "
                click.echo(line, nl=False, err=True)
    if as_json:
        click.echo(orjson.dumps(_row(model, models_folder(config))).decode())
        return
    click.echo(file=sys.stderr)
    click.echo(f"{model.name} is at {catalogue.path_of(models_folder(config), model)}")


@models.command("rm")
@click.argument("name")
@data_option
@json_option
@click.pass_context
@runs
async def remove(context: click.Context, name: str, as_json: bool, data: Path | None) -> None:
    """Delete a model and what was made of it.

    Example: voxpop models rm smollm2-135m-instruct
    """
    model = catalogue.resolve(name)
    freed = await asyncio.to_thread(catalogue.remove, models_folder(config_of(context, data=data)), model)
    if as_json:
        click.echo(orjson.dumps({"removed": model.name, "bytes": freed}).decode())
        return
    click.echo(f"{model.name} removed: {freed / 2**30:.1f} GiB freed")
