"""How often a model calls the right function with the right arguments, and leaves all alone where none fits.

The forty cases of `function_cases.json` are asked as the API asks them: the same prompt, the same grammar. A case
is right where the calls are those expected, in any order, each with the expected arguments and no other; texts are
compared without case. A free text (`send_message.text`) may be any.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from voxpop import calling
from voxpop import prompt as prompts
from voxpop.engine_choice import open_local
from voxpop.engines import Engine
from voxpop.messages import Function, Message, Request, Sampling, Tools

CASES = json.loads(Path(__file__).with_name("function_cases.json").read_text("utf-8"))
FREE = {"text"}


def judged(made: list[tuple[str, dict[str, Any]]], wanted: list[tuple[str, dict[str, Any]]]) -> str:
    """What is wrong with some calls, empty where nothing is."""
    if not wanted:
        return "called where nothing fits" if made else ""
    if not made:
        return "called nothing"
    if sorted(name for name, _ in made) != sorted(name for name, _ in wanted):
        return "another function" if {n for n, _ in made} != {n for n, _ in wanted} else "another number of calls"
    return "" if sorted(map(_plain, made)) == sorted(map(_plain, wanted)) else "other arguments"


def _plain(call: tuple[str, dict[str, Any]]) -> str:
    name, given = call
    kept = {k: v.casefold() if isinstance(v, str) else v for k, v in given.items() if k not in FREE}
    kept = {k: float(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in kept.items()}
    return json.dumps([name, kept], sort_keys=True).casefold()


async def asked(engine: Engine, case: dict[str, Any], functions: tuple[Function, ...], temperature: float) -> Any:
    """The calls of one case."""
    sampling = Sampling(max_tokens=200, temperature=temperature, seed=1)
    request = Request((Message("user", case["say"]),), tools=Tools(functions), sampling=sampling)
    schema = calling.decision(request.tools)
    stream = engine.generate(prompts.deciding(request, functions), schema)
    text = "".join([delta.text async for delta in stream])
    return [(c.name, json.loads(c.arguments)) for c in calling.read(text, request)]


async def run(engine: Engine, temperature: float, *, quiet: bool) -> None:
    functions = tuple(Function(f["name"], f["description"], f["parameters"]) for f in CASES["functions"])
    wrong: Counter[str] = Counter()
    right, began = Counter[bool](), time.perf_counter()
    for case in CASES["cases"]:
        wanted = [(name, given) for name, given in case["calls"]]
        made = await asked(engine, case, functions, temperature)
        why = judged(made, wanted)
        right[bool(wanted)] += not why
        wrong[why] += bool(why)
        if why and not quiet:
            print(f"  {case['say']}: {why}: {json.dumps(made, ensure_ascii=False)}")
    calls = sum(bool(case["calls"]) for case in CASES["cases"])
    rest = len(CASES["cases"]) - calls
    took = (time.perf_counter() - began) / len(CASES["cases"])
    print(f"right calls {right[True]}/{calls}, left alone {right[False]}/{rest}, {took:.2f} s a case")
    print(", ".join(f"{why}: {count}" for why, count in wrong.most_common() if count))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", type=Path, help="a GGUF file")
    arguments.add_argument("--temperature", type=float, default=0.0)
    arguments.add_argument("--quiet", action="store_true", help="name no case")
    given = arguments.parse_args()
    engine = open_local(given.model, given.model.stem, [])
    asyncio.run(run(engine, given.temperature, quiet=given.quiet))


if __name__ == "__main__":
    main()
