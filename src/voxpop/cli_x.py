"""`voxpop x`: what concerns X alone; it prints, and the source does."""

from pathlib import Path
from typing import Any

import click
import orjson

from voxpop.cli_options import config_of, data_option, json_option, runs


@click.group()
def x() -> None:
    """X: the rules of its filtered stream.

    Example: voxpop x rules --apply
    """


@x.command("rules")
@click.option("--apply", is_flag=True, help="Make the rules at X those of the config.")
@data_option
@json_option
@click.pass_context
@runs
async def rules(context: click.Context, as_json: bool, apply: bool, data: Path | None, **_: Any) -> None:
    """Show how the rules that X keeps differ from those of the config; X checks new ones, and changes nothing.

    Example: voxpop x rules
    """
    from voxpop.source_choice import x_rules

    synced = await x_rules(config_of(context, data=data), apply=apply)
    found = synced.difference
    if as_json:
        rows = {
            "add": [r for r in found.add if r not in synced.refused],
            "delete": [r.value for r in found.delete],
            "keep": [r.value for r in found.keep],
            "others": [{"value": r.value, "tag": r.tag} for r in found.others],
            "refused": synced.refused,
            "applied": apply,
        }
        click.echo(orjson.dumps(rows).decode())
        return
    for rule in found.keep:
        click.echo(f"  {rule.value}")
    for value in found.add:
        why = synced.refused.get(value)
        click.echo(f"! {value}: X refuses it: {why}" if why else f"+ {value}")
    for rule in found.delete:
        click.echo(f"- {rule.value}")
    for rule in found.others:
        click.echo(f"? {rule.value} (of another program{f': {rule.tag}' if rule.tag else ''}; left alone)")
    changed = len(found.add) - len(synced.refused) + len(found.delete)
    if not changed:
        click.echo("Nothing to change.", err=True)
    else:
        click.echo("Done." if apply else "Nothing was changed; --apply does it.", err=True)
