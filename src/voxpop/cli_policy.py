"""`voxpop policy`: what is refused, and whether a question is; it prints, and the policy decides."""

from typing import Any

import click
import orjson

from voxpop.cli_options import config_of, json_option, runs


@click.group("policy", invoke_without_command=True)
@json_option
@click.pass_context
@runs
async def policy(context: click.Context, as_json: bool, **_: Any) -> None:
    """What is refused: the rules in force, and whether they are those that voxpop ships.

    Example: voxpop policy
    """
    if context.invoked_subcommand:
        return
    from voxpop import app

    found = app.policy(config_of(context))
    if as_json:
        click.echo(orjson.dumps(found.json()).decode())
        return
    for rule in found.rules:
        click.echo(f"{rule.name}: {rule.title}\n  {rule.description}")
    state = "changed by answers.policy" if found.changed else "as shipped"
    click.echo(f"Everything else is answered. These rules are {state}; digest {found.digest}.")


@policy.command("test")
@click.argument("question")
@json_option
@click.pass_context
@runs
async def test(context: click.Context, question: str, as_json: bool, **_: Any) -> None:
    """Say whether a question would be refused, and by which rule.

    Example: voxpop policy test "How do vaccines work?"
    """
    from voxpop import app

    rule = app.policy(config_of(context)).refuses(question)
    if as_json:
        said = {"rule": rule.name, "title": rule.title} if rule else None
        click.echo(orjson.dumps({"question": question, "refused": said}).decode())
    else:
        click.echo(f"Refused by '{rule.name}': {rule.title}." if rule else "Answered.")
