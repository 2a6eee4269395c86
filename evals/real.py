"""Ask the questions of questions.toml of recorded posts with one engine, and write the answers down for a judge.

    python evals/real.py --data FOLDER_OF_RECORDINGS --engine quote --out answers.jsonl

It judges nothing itself: verdicts are a person's, kept in judged.tsv without the posts' text.
"""

import argparse
import asyncio
import sys
import tempfile
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson

from voxpop import app, render
from voxpop.config import Config
from voxpop.engine_choice import Engines
from voxpop.messages import Message, Request
from voxpop.times import micros

HERE = Path(__file__).parent


async def main(options: argparse.Namespace) -> None:
    """One answer a line to `options.out`, progress to the terminal."""
    questions = tomllib.loads((HERE / "questions.toml").read_text("utf-8"))["question"]
    config = Config()
    engine = replace(config.engine, use=options.engine)
    storage = replace(config.storage, data=str(options.models or tempfile.gettempdir()))
    engines = Engines(replace(config, engine=engine, storage=storage), lambda line: print(line, file=sys.stderr))
    await engines.load_now()
    tally: Counter[str] = Counter()
    with options.out.open("wb") as out, tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys(q["posts"] for q in questions):
            recording = options.data / f"{name}.jsonl.zst"
            kept = replace(config, storage=replace(storage, data=f"{folder}/{name}"))
            source = replace(config.sources, use=(f"replay:{recording}",))
            await app.ingest_all(replace(kept, sources=source), lambda _: None)
            async with app.open_store(kept, readonly=True) as store:
                assistant = app.assistant(config, store, engines)
                for question in (q for q in questions if q["posts"] == name):
                    row = await ask(assistant, question)
                    tally["answered" if row["answerable"] else "abstained"] += 1
                    tally["withheld"] += len(row["withheld"])
                    out.write(orjson.dumps(row) + b"\n")
                    print(f"{question['as_of']}  {question['ask']}\n{row['answer']}\n", file=sys.stderr)
    print(orjson.dumps({"engine": options.engine, **tally}).decode())


async def ask(assistant: app.Assistant, question: dict[str, str]) -> dict[str, object]:
    """The question with its answer, as `voxpop ask --json` prints it."""
    answer = render.Answer()
    request = Request((Message("user", question["ask"]),), as_of=micros(question["as_of"]))
    async for event in assistant.answer(request):
        answer.add(event)
    return {**question, **answer.json()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings named in questions.toml")
    parser.add_argument("--engine", default="quote", help="quote or local")
    parser.add_argument("--models", type=Path, help="data folder that holds models/, for --engine local")
    parser.add_argument("--out", type=Path, required=True, help="where the answers go (they hold posts' text)")
    asyncio.run(main(parser.parse_args()))
