"""`voxpop tiers`: what each tier gives, who waits for one, and whether a file of tiers can be; it prints."""

from pathlib import Path
from typing import Any

import click
import orjson

from voxpop.cli_options import config_of, data_option, json_option, runs
from voxpop.cli_usage import counting


@click.group("tiers")
def tiers() -> None:
    """What each tier gives, and who waits for one.

    Example: voxpop tiers list
    """


@tiers.command("list")
@json_option
@click.pass_context
@runs
async def list_(context: click.Context, as_json: bool) -> None:
    """The tiers in force, with their limits.

    Example: voxpop tiers list
    """
    from voxpop.quotas.opening import tier_file
    from voxpop.quotas.telling import tier_json

    found = tier_file(config_of(context).accounts)()
    rows = [tier_json(t) for t in found.tiers.values()]
    if as_json:
        prices = {n: {f: getattr(p, f) for f in p.__slots__} for n, p in found.prices.items()}
        click.echo(orjson.dumps({"default": found.default, "tiers": rows, "prices_in_ticks": prices}).decode())
        return
    for row in rows:
        mark = " (default)" if row["name"] == found.default else ""
        said = "; ".join(f"{n}: {_said(b)}" for n, b in row["buckets"].items())
        click.echo(f"{row['name']}{mark}: {row['title']}\n  {said}")


@tiers.command("show")
@click.argument("name")
@json_option
@click.pass_context
@runs
async def show(context: click.Context, name: str, as_json: bool) -> None:
    """All that a tier gives.

    Example: voxpop tiers show premium
    """
    from voxpop.errors import UsageError
    from voxpop.quotas.opening import tier_file
    from voxpop.quotas.telling import tier_json

    found = tier_file(config_of(context).accounts)().tiers
    if name not in found:
        raise UsageError(f"No tier '{name}'.", f"Known are: {', '.join(found)}.", code="not_found")
    row = tier_json(found[name])
    if as_json:
        click.echo(orjson.dumps(row).decode())
        return
    depth = "no bound" if row["as_of_days"] is None else f"{row['as_of_days']:g} days back"
    click.echo(f"{row['name']}: {row['title']}")
    for what in ("models", "voices", "tools"):
        click.echo(f"  {what:<10} {', '.join(row[what]) or 'none'}")
    click.echo(f"  {'as of':<10} {depth}\n  {'weight':<10} {row['weight']:g}\n  {'resets':<10} {row['resets']}")
    for bucket, limits in row["buckets"].items():
        click.echo(f"  {bucket:<10} {_said(limits)}")
    if found[name].rollout.is_partial:
        rules = ", ".join(f"{k} {v}" for k, v in row["rollout"].items() if v not in ([], None, "", 1.0))
        click.echo(f"  {'rollout':<10} {rules}")


def _said(limits: dict[str, int]) -> str:
    return ", ".join(f"{most:,} {name.replace('_', ' ')}" for name, most in limits.items()) or "no limit"


@tiers.command("waiting")
@click.argument("name", default="")
@data_option
@json_option
@click.pass_context
@runs
async def waiting(context: click.Context, name: str, as_json: bool, data: Any) -> None:
    """Who waits for a tier that is let in by and by, in their order; without a name, of all tiers.

    Example: voxpop tiers waiting premium
    """
    from voxpop.quotas.waiting import waiting as waits
    from voxpop.times import iso

    async with counting(context, data=data) as quotas:
        now, found = quotas.clock(), quotas.tiers().tiers
        chosen = [t for t in found.values() if t.name == name or not name]

        def work(session: Any) -> list[dict[str, Any]]:
            return [
                {
                    "tier": t.name,
                    "place": n,
                    "account": w.account,
                    "name": w.name,
                    "country": w.country,
                    "since": iso(w.since),
                }
                for t in chosen
                for n, w in enumerate(waits(session, t, now), 1)
            ]

        rows = await quotas.database.run(work, write=False)
    if as_json:
        click.echo(orjson.dumps({"waiting": rows}).decode())
        return
    for row in rows:
        click.echo(
            f"{row['tier']} {row['place']:>4}. {row['name']} ({row['account']}) {row['country']}, "
            f"since {row['since']}"
        )
    if not rows:
        click.echo("Nobody waits.")


@tiers.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_context
@runs
async def check(context: click.Context, file: Path, as_json: bool) -> None:
    """Whether a file of tiers can be used; says what it changes.

    Example: voxpop tiers check tiers.toml
    """
    from voxpop.tier_file import load

    before, after = load().tiers, load(file).tiers
    told = {
        "new": [n for n in after if n not in before],
        "changed": [n for n in after if n in before and after[n] != before[n]],
        "dropped": [n for n in before if n not in after],
    }
    if as_json:
        click.echo(orjson.dumps(told).decode())
        return
    for what, names in told.items():
        if names:
            click.echo(f"{what}: {', '.join(names)}")
    click.echo(f"{file} can be used: set accounts.tiers to it.")
