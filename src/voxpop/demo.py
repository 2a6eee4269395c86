"""`voxpop demo`: an invented election night over the real wire, and the same questions as it goes; no network."""

import tempfile
from collections.abc import Callable
from dataclasses import replace

import orjson

from voxpop import app, render
from voxpop.assistant import Assistant
from voxpop.config import Config
from voxpop.messages import Message, Request
from voxpop.service import clock
from voxpop.simulator.world import END
from voxpop.source_choice import opened
from voxpop.times import MICROS, iso
from voxpop.voices import choose

_OPENS_MIN = 17 * 60  # local time of the night's first minute
_SCRIPT = (
    (54, "Is a ballot box on fire in Dornick?"),
    (85, "Did a ballot box burn in Dornick?"),
    (170, "Who won the election?"),
    (190, "Did Hearth Union file for bankruptcy?"),
    (260, "Has Dreyl won the election?"),
    (265, "Qui a gagné l'élection ?"),
    (358, "Who won the election?"),
)


async def play(config: Config, as_json: bool, say: Callable[[str], None]) -> None:
    """Ingest the whole night from the simulated Jetstream, then ask at each moment what was known by then."""
    own = config.answers.voices or str(config.data / "voices")
    config = replace(config, answers=replace(config.answers, voices=own))
    choose(app.load_voices(config), config.answers.voice)
    with tempfile.TemporaryDirectory(prefix="voxpop-demo-") as folder:
        config = replace(
            config,
            storage=replace(config.storage, data=folder),
            sources=replace(config.sources, use=("simulated",), lookback_s=END + 120.0),
        )
        async with opened(config, elapsed_s=END + 60.0) as (source,), app.open_store(config) as store:
            began = clock() - (END + 60) * MICROS
            if not as_json:
                say("An invented election night, in six languages. Listening to its six hours…")
            posts = await app.ingest_until_quiet(source, store)
            if not as_json:
                say(f"{posts} posts. The same questions as the night goes on:\n")
            assistant = app.assistant(config, store)
            for minutes, question in _SCRIPT:
                request = Request(
                    (Message("user", question),),
                    voice=config.answers.voice,
                    as_of=began + minutes * 60 * MICROS,
                )
                say(await _told(assistant, request, minutes, as_json))


async def _told(assistant: Assistant, request: Request, minutes: int, as_json: bool) -> str:
    answer, at = render.Answer(), request.as_of or 0
    async for event in assistant.answer(request):
        answer.add(event)
    local = f"{(_OPENS_MIN + minutes) // 60:02d}:{(_OPENS_MIN + minutes) % 60:02d}"
    if as_json:
        asked = {"local_time": local, "as_of": iso(at), "question": request.question}
        return orjson.dumps(asked | answer.json()).decode()
    lines = [f"{local}  {request.question}", *(f"       {render.plain(render.marked(t))}" for t in answer.texts)]
    return "\n".join([*lines, f"       ({answer.footer(at)})", ""])
