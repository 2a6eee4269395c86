"""The echo: the smallest engine, and the pattern of one."""

from voxpop.engines.echo import EchoEngine
from voxpop.messages import Message, Prompt

PROMPT = Prompt((Message("system", "be"), Message("user", "one two")))


async def test_it_says_back_the_last_message() -> None:
    engine = EchoEngine()
    found = [d async for d in engine.generate(PROMPT)]
    assert "".join(d.text for d in found) == "one two "
    assert found[-1].usage is not None
    assert (found[-1].usage.prompt_tokens, found[-1].usage.completion_tokens) == (3, 2)
    assert engine.prompts == [PROMPT]


async def test_closing_it_stops_the_work() -> None:
    engine = EchoEngine("a b c d e")
    stream = engine.generate(PROMPT)
    assert (await anext(stream)).text == "a "
    await stream.aclose()  # type: ignore[attr-defined]
    assert engine.words_made == 1


def test_it_converses() -> None:
    assert EchoEngine().describe().converses
    assert EchoEngine().count("one two") == 2
