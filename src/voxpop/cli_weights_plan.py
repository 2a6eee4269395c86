"""`voxpop weights plan`: what Grok-1 takes on this machine or on a described one; it prints, `weights/` finds out.

It needs no extra but for `--plot`.
"""

import asyncio
from math import isnan
from pathlib import Path
from typing import Any

import click
import orjson

from voxpop.cli_options import config_of, json_option, runs
from voxpop.cli_weights import needs_extra, weights
from voxpop.errors import UsageError
from voxpop.inert import visible

_MOST = 1e9  # of any unit: what is above it is a slip of the hand


class _Number(click.FloatRange):
    """A range that NaN is not within; click compares it and finds it neither too small nor too large."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        found = super().convert(value, param, context)
        if isnan(found):
            self.fail(f"{value} is no number.", param, context)
        return found


@weights.command("plan")
@click.argument("model", default="grok-1")
@click.option(
    "--machine", help="A described machine instead of this one: a name (see --machine list) or a TOML file."
)
@click.option("--ram", type=_Number(0, _MOST, min_open=True), metavar="GIB", help="Memory that the model may have.")
@click.option("--bandwidth", type=_Number(0, _MOST, min_open=True), metavar="GB/S", help="How fast memory is read.")
@click.option(
    "--gpu", metavar="NAME[xN]", help='Such as h100x8 or rtx4090; "none" leaves out those that are there.'
)
@click.option("--disk", type=_Number(0, _MOST, min_open=True), metavar="GB/S", help="How fast the disk is read.")
@click.option("--watts", type=_Number(0, _MOST), help="Of the whole machine under load.")
@click.option("--eur-per-hour", type=_Number(0, _MOST), help="What an hour of the machine costs.")
@click.option(
    "--price-eur", type=_Number(0, _MOST), help="What it cost; spread over three years, and power on top."
)
@click.option("--eur-per-kwh", type=_Number(0, _MOST), default=0.25, show_default=True, help="Power; assumed.")
@click.option(
    "--context", "tokens", type=click.IntRange(16, 1 << 20), help="Tokens in each conversation (the model's most)."
)
@click.option("--batch", type=click.IntRange(1, 4096), multiple=True, help="Conversations at once (1, 8 and 64).")
@click.option("--format", "only", multiple=True, help="Only this format; may be repeated.")
@click.option("--budget", multiple=True, help="EUR an hour (5/h), a million tokens (20/Mtok) or once (9000).")
@click.option("--min-speed", type=_Number(0, _MOST), metavar="TOK/S", help="For one conversation (0.5).")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw speed against memory as SVG or PNG."
)
@json_option
@click.pass_context
@runs
@needs_extra
async def plan(context: click.Context, model: str, as_json: bool, plot: Path | None, **given: Any) -> None:
    """Say whether Grok-1 runs here, how fast, at what price, and with which command; no weights are needed.

    MODEL is grok-1, scaled-1 to scaled-8 (scaled-2:12 has 12 layers), a checkpoint, or a Grok of
    `voxpop models list` that is here.

    Example: voxpop weights plan --machine epyc-12ch --budget 2/h
    """
    from voxpop.weights.planning import asked as plan_making

    if given["machine"] == "list":
        _list(as_json)
        return
    made = await asyncio.to_thread(plan_making.made, _here(context, model), plan_making.Asked(**given))
    if plot:
        from voxpop.weights.planning.plot import draw

        await asyncio.to_thread(draw, made, plot)
    if as_json:
        click.echo(orjson.dumps(plan_making.as_json(made), option=orjson.OPT_NON_STR_KEYS).decode())
        return
    from voxpop.weights.planning.text import page

    click.echo(visible(page(made)))


def _here(context: click.Context, model: str) -> str:
    """The path of a model of the catalogue, whose shape stands in its file; what is none of them stays as it is."""
    from voxpop import models as catalogue
    from voxpop.engine_choice import models_folder

    known = next((m for m in catalogue.catalogue() if m.name == model != "grok-1"), None)
    if known is None:
        return model
    path = catalogue.path_of(models_folder(config_of(context)), known)
    if not path.exists():
        raise UsageError(
            f"{model} is not on this machine, so its shape is not known.", f"See: voxpop models show {model}"
        )
    return str(path)


def _list(as_json: bool) -> None:
    from voxpop.weights.planning.machine import described

    if as_json:
        click.echo(orjson.dumps({"machines": {name: m.about for name, m in described().items()}}).decode())
        return
    for name, machine in described().items():
        click.echo(f"{name:<24} {machine.about}")
