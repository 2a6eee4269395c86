"""What our HTTP layer costs a request, beside a bare Starlette endpoint that sends the same bytes.

python benchmarks/http_cost.py [--rounds 400]

Both run in this process under uvicorn as `voxpop up` starts it; a round asks each once, in turn, over a connection
that stays open. The scripted answer costs nothing, so that what is left is ours: guard, entry, parse, desk,
rendering, frames. `accounts` has a database with a key, a tier and the ledger before it. CPU time is the whole
process's, the client's half included, so that the true ratio of the servers is larger than the one that is printed;
`more` is the difference, which is the server's alone.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from conftest import Running, Script
from test_api_http import EVENTS, HELLO
from voxpop.accounts import keys, people
from voxpop.accounts.audit import By
from voxpop.accounts.keys import Scopes
from voxpop.accounts.people import Wish
from voxpop.api.draining import Drain
from voxpop.api.http import application
from voxpop.api.serving import listen, server_of
from voxpop.config import Config
from voxpop.desk import Desk
from voxpop.gate import AccountGate
from voxpop.quotas.opening import opened
from voxpop.records import Database

TIERS = """
default = "team"
[tier.team]
title = "Team"
[tier.team.buckets.other]
requests_per_second = 10000
tokens_per_month = 100000000000
concurrent = 100
"""


def clock() -> int:
    return time.time_ns() // 1000


def bare(whole: bytes, streamed: list[bytes]) -> Starlette:
    """The same bytes, and nothing before them."""

    async def answer(request: Request) -> Response:
        if (await request.json()).get("stream"):
            return StreamingResponse(parts(), media_type="text/event-stream")
        return Response(whole, media_type="application/json")

    async def parts() -> AsyncIterator[bytes]:
        for part in streamed:
            yield part

    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    app.state.drain = Drain()
    return app


async def main(rounds: int) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = await stack.enter_async_context(Database.beside(folder))
        tiers = folder / "tiers.toml"
        tiers.write_text(TIERS)
        counted = replace(Config().accounts, tiers=str(tiers))
        quotas = await stack.enter_async_context(opened(counted, database, clock))
        script = Script(EVENTS)

        def make(session: Any) -> str:
            by = By("benchmark", clock())
            user = people.add_user(session, by, Wish(name="ada"))
            return keys.create(session, by, user, "key", Scopes())[1]

        key = await database.run(make)
        gate = AccountGate(database, clock, quotas=quotas)
        apps = {
            "open": application(Running(script)),
            "accounts": application(Running(script), desk=Desk(script, gate)),
        }
        clients = {}

        async def serve(name: str, app: Starlette) -> None:
            door = listen("127.0.0.1", 0)
            server = server_of(app)
            task = asyncio.create_task(server.serve(sockets=[door]))
            url = f"http://127.0.0.1:{door.getsockname()[1]}"
            head = {"authorization": f"Bearer {key}"}
            clients[name] = await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, trust_env=False, headers=head)
            )

            async def stop() -> None:
                server.should_exit = True
                await task

            stack.push_async_callback(stop)

        for name, app in apps.items():
            await serve(name, app)
        whole = await clients["open"].post("/v1/chat/completions", json=HELLO)
        streamed = await clients["open"].post("/v1/chat/completions", json=HELLO | {"stream": True})
        frames = [f.encode() for f in re.findall(r".*?\n\n", streamed.text, re.DOTALL)]
        await serve("bare", bare(whole.content, frames))
        for kind, body in (("whole", HELLO), ("streamed", HELLO | {"stream": True})):
            took: dict[str, list[float]] = {name: [] for name in clients}
            cpu: dict[str, list[float]] = {name: [] for name in clients}
            for n in range(rounds + 20):
                for name, http in clients.items():
                    began, used = time.perf_counter(), time.process_time()
                    answer = await http.post("/v1/chat/completions", json=body)
                    assert answer.status_code == 200, answer.text
                    if n >= 20:
                        took[name].append((time.perf_counter() - began) * 1000)
                        cpu[name].append((time.process_time() - used) * 1000)
            for name in ("open", "accounts"):
                row = {
                    "figure": f"{kind}, {name}",
                    "ratio_cpu": round(median(cpu[name]) / median(cpu["bare"]), 2),
                    "more_cpu_ms": round(median(cpu[name]) - median(cpu["bare"]), 2),
                    "more_ms": round(median(took[name]) - median(took["bare"]), 2),
                    "bare_ms": round(median(took["bare"]), 2),
                }
                print(json.dumps(row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=400)
    asyncio.run(main(parser.parse_args().rounds))
