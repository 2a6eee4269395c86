"""xAI's own client, unmodified: what it asks, what it is told, and the rules by which it adds up chunks."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="voxpop[grpc] is not installed")
pytest.importorskip("xai_sdk", reason="voxpop[grpc] is not installed")
from pydantic import BaseModel  # noqa: E402
from xai_sdk.chat import assistant, file, required_tool, system, text, tool, tool_result, user  # noqa: E402
from xai_sdk.proto import chat_pb2, deferred_pb2, sample_pb2  # noqa: E402
from xai_sdk.search import SearchParameters, news_source, rss_source, web_source, x_source  # noqa: E402
from xai_sdk.tools import code_execution, get_tool_call_type, mcp, web_search, x_search  # noqa: E402

from conftest import Running, Script, talking  # noqa: E402
from rpc import async_client, beside, client, serving  # noqa: E402
from voxpop.engines.echo import EchoEngine  # noqa: E402
from voxpop.errors import UsageError  # noqa: E402
from voxpop.messages import (  # noqa: E402
    Bounds,
    Call,
    Called,
    Citation,
    Done,
    Found,
    Freshness,
    Message,
    Passage,
    Searching,
    Text,
    Timings,
    Token,
    Usage,
)
from voxpop.posts import Author, Post  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


def cited(number: int, url: str, kind: str = "post") -> Citation:
    said = Post(f"id:{number}", "x", Author("x:1", "ann"), f"It rains ({number}).", 1, 1, url=url, kind=kind)
    return Citation(Passage(number, said))


def done(reason: Any = "stop", **more: Any) -> Done:
    used = Usage(prompt_tokens=7, completion_tokens=5, cached_tokens=2, reasoning_tokens=3)
    return Done(reason, True, "quote", "regular", used, Freshness(), Timings(), **more)


X_URL, WEB_URL = "https://x.com/i/status/1", "https://news.example/a_(b)"
FOUND = [
    Searching("rain"),
    Found(2, 1_700_000_000_000_000, 1.0),
    Text("Simulated", kind="notice"),
    cited(1, X_URL),
    cited(2, WEB_URL, "news"),
    Text("Il pleut – 雨.", (1, 2)),
    Text("It rains.", (2,)),
    done(),
]
CALL = Called(Call("call_1", "weather", '{"city": "Rome"}'))


def running(script: Script) -> Any:
    """What is asked, with the cited posts in its store."""
    program: Any = Running(script)
    program.posts = list(POSTS)
    return program


@pytest.fixture
def script() -> Script:
    return Script(FOUND)


@pytest.fixture
def port(script: Script, tmp_path: Path) -> Iterator[int]:
    with beside(running(script), tmp_path) as port:
        yield port


@pytest.fixture
def xai(port: int) -> Iterator[Any]:
    with client(port) as xai:
        yield xai


def asked(xai: Any, script: Script, **settings: Any) -> Any:
    """The Request that a chat with these settings becomes."""
    messages = settings.pop("messages", [user("Does it rain?")])
    xai.chat.create(**{"model": "grok-4.20", "messages": messages, **settings}).sample()
    return script.requests[-1]


def chunks(port: int, **fields: Any) -> list[Any]:
    """The raw chunks of an answer."""
    from xai_sdk.proto import chat_pb2_grpc

    said = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[text("Does it rain?")])
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = chat_pb2.GetCompletionsRequest(messages=[said], **fields)
        return list(chat_pb2_grpc.ChatStub(channel).GetCompletionChunk(request))


SEARCH: dict[str, Any] = {"tools": [x_search(), web_search()]}
SEARCHED: dict[str, Any] = {"tools": [x_search()], "include": [chat_pb2.INCLUDE_OPTION_INLINE_CITATIONS]}
POSTS = [e.passage.post for e in FOUND if isinstance(e, Citation)]


class TestWhatIsTold:
    def test_a_plain_answer(self, xai: Any) -> None:
        chat = xai.chat.create(model="grok-4.20", messages=[user("Does it rain?")])
        response = chat.sample()
        assert response.content == "Simulated\nIl pleut – 雨. [1][2]\nIt rains. [2]"
        assert (response.finish_reason, response.role) == ("REASON_STOP", "ROLE_ASSISTANT")
        assert list(response.citations) == [X_URL, WEB_URL]
        assert not response.inline_citations
        assert not response.tool_calls
        assert len(response.proto.outputs) == 1
        usage = response.usage
        assert (usage.prompt_tokens, usage.prompt_text_tokens, usage.cached_prompt_text_tokens) == (7, 7, 2)
        assert (usage.completion_tokens, usage.reasoning_tokens, usage.total_tokens) == (5, 3, 15)
        assert (usage.num_sources_used, list(usage.server_side_tools_used)) == (2, [])
        assert response.cost_usd == 0
        assert response.service_tier == "default"
        assert response.created.year >= 2025
        chat.append(response).append(user("And now?"))
        assert chat.sample().content == response.content

    @pytest.mark.parametrize("settings", [{}, SEARCH, {"n": 3}, {**SEARCH, "include": ["inline_citations"]}])
    def test_a_streamed_answer_is_the_plain_one(self, xai: Any, settings: dict[str, Any]) -> None:
        settings = dict(settings)
        n = settings.pop("n", 1)
        chat = xai.chat.create(model="voxpop-fun", messages=[user("Does it rain?")], **settings)
        if n == 1:
            plain, streamed = [chat.sample()], [[told for told, _ in chat.stream()][-1]]
        else:
            plain = chat.sample_batch(n)
            streamed = [told for told, _ in chat.stream_batch(n)][-1]
        assert len(plain) == len(streamed) == n
        for one, other in zip(plain, streamed, strict=True):
            assert one.content == other.content != ""
            assert one.finish_reason == other.finish_reason == "REASON_STOP"
            assert one.usage == other.usage
            assert list(one.citations) == list(other.citations) != []
            assert list(one.inline_citations) == list(other.inline_citations)
            assert [o.message.role for o in one.proto.outputs] == [o.message.role for o in other.proto.outputs]
            assert one.server_side_tool_usage == other.server_side_tool_usage

    def test_inline_citations_lie_exactly_where_they_say(self, xai: Any) -> None:
        chat = xai.chat.create(model="grok-4.20", messages=[user("Does it rain?")], include=["inline_citations"])
        response = chat.sample()
        links = [(c.id, response.content[c.start_index : c.end_index]) for c in response.inline_citations]
        web = "https://news.example/a_%28b%29"
        assert links == [("1", f"[[1]]({X_URL})"), ("2", f"[[2]]({web})"), ("2", f"[[2]]({web})")]
        first, second, third = response.inline_citations
        assert first.WhichOneof("citation") == "x_citation"
        assert first.x_citation.url == X_URL
        assert second.WhichOneof("citation") == third.WhichOneof("citation") == "web_citation"
        assert second.web_citation.url == web

    def test_a_search_is_told_as_a_call_its_answer_and_what_was_made_of_it(self, xai: Any) -> None:
        chat = xai.chat.create(
            model="grok-4.20",
            messages=[user("Does it rain?")],
            tools=[x_search()],
            include=["x_search_call_output"],
        )
        response = chat.sample()
        call, echo, last = response.proto.outputs
        roles = [chat_pb2.MessageRole.Name(o.message.role) for o in (call, echo, last)]
        assert roles == ["ROLE_ASSISTANT", "ROLE_TOOL", "ROLE_ASSISTANT"]
        assert [o.index for o in (call, echo, last)] == [0, 1, 2]
        assert list(call.message.tool_calls) == list(echo.message.tool_calls)
        assert get_tool_call_type(response.tool_calls[0]) == "x_search_tool"
        assert json.loads(response.tool_calls[0].function.arguments)["query"] == "rain"
        assert json.loads(echo.message.content)["posts"] == 2
        assert response.content.startswith("Simulated")
        assert response.finish_reason == "REASON_STOP"
        assert response.server_side_tool_usage == {"SERVER_SIDE_TOOL_X_SEARCH": 1}
        chat.append(response).append(user("And now?"))
        assert chat.sample().content == response.content

    def test_two_search_tools_are_two_calls(self, xai: Any) -> None:
        response = xai.chat.create(model="grok-4.20", messages=[user("Does it rain?")], **SEARCH).sample()
        assert [get_tool_call_type(c) for c in response.tool_calls] == ["x_search_tool", "web_search_tool"]
        assert [o.message.content for o in response.tool_outputs] == ["", ""]
        assert len(response.proto.outputs) == 4

    def test_a_call_of_the_clients_function(self, xai: Any, script: Script) -> None:
        script.events = [CALL, Called(Call("call_2", "weather", "{}")), done("tool_calls")]
        weather = tool("weather", "Tells it.", {"type": "object", "properties": {"city": {"type": "string"}}})
        chat = xai.chat.create(model="grok-4.20", messages=[user("Does it rain?")], tools=[weather])
        response = chat.sample()
        assert response.finish_reason == "REASON_TOOL_CALLS"
        assert [get_tool_call_type(c) for c in response.tool_calls] == ["client_side_tool"] * 2
        assert [json.loads(c.function.arguments) for c in response.tool_calls] == [{"city": "Rome"}, {}]
        chat.append(response)
        chat.append(tool_result("It rains.")).append(tool_result("Dry.", tool_call_id="call_2"))
        chat.sample()
        *_, called, first, second = script.requests[-1].messages
        assert called == Message("assistant", "", (CALL.call, Call("call_2", "weather", "{}")))
        assert (first, second) == (
            Message("tool", "It rains.", answers="call_1"),
            Message("tool", "Dry.", answers="call_2"),
        )

    def test_an_answer_of_a_shape(self, xai: Any, script: Script) -> None:
        class Weather(BaseModel):
            city: str
            rains: bool

        posts = [Searching("rain"), Found(1, 1, 1.0), cited(1, X_URL)]
        script.events = [
            *posts,
            Text('{"city": "Rome",', (1,), "json"),
            Text(' "rains": true}', (), "json"),
            done(),
        ]
        response, parsed = xai.chat.create(model="grok-4.20", messages=[user("Rain?")]).parse(Weather)
        assert parsed == Weather(city="Rome", rains=True)
        assert list(response.citations) == [X_URL]
        assert script.requests[-1].schema["required"] == ["city", "rains"]

    def test_probabilities_of_tokens(self, xai: Any, script: Script) -> None:
        token = Token("雨", -0.5, (("雨", -0.5), ("rain", -1.5)))
        script.events = [Text("雨", kind="chat", tokens=(token,)), done()]
        chat = xai.chat.create(model="grok-4.20", messages=[user("Hi")], logprobs=True, top_logprobs=2)
        (told,) = chat.sample().logprobs.content
        assert (told.token, told.logprob, told.bytes) == ("雨", -0.5, "雨".encode())
        assert [(t.token, t.logprob) for t in told.top_logprobs] == [("雨", -0.5), ("rain", -1.5)]
        assert script.requests[-1].sampling.logprobs == 2

    @pytest.mark.parametrize(("reason", "told"), [("length", "REASON_MAX_LEN"), ("cancelled", "REASON_TIME_LIMIT")])
    def test_why_it_ended(self, xai: Any, script: Script, reason: str, told: str) -> None:
        script.events = [Text("It", kind="chat"), done(reason)]
        assert xai.chat.create(model="grok-4.20", messages=[user("Hi")]).sample().finish_reason == told

    async def test_the_client_for_asyncio(self, script: Script, tmp_path: Path) -> None:
        async with serving(running(script), tmp_path) as port:
            xai = async_client(port)
            chat = xai.chat.create(model="grok-4.20", messages=[user("Does it rain?")], **SEARCH)
            plain = await chat.sample()
            streamed = [told async for told, _ in chat.stream()][-1]
            assert plain.content == streamed.content != ""
            deferred = await chat.defer(interval=dt.timedelta(milliseconds=10))
            assert deferred.content == plain.content
            assert (await xai.models.list_language_models())[0].name == "voxpop"
            await xai.close()


class TestTheRulesOfChunks:
    """What xAI's client makes of chunks: `_ResponseProtoDecorator.process_chunk`."""

    def test_every_output_carries_its_role(self, port: int) -> None:
        outputs = [o for c in chunks(port, **SEARCHED) for o in c.outputs]
        assert {o.index: {p.delta.role for p in outputs if p.index == o.index} for o in outputs} == {
            0: {chat_pb2.ROLE_ASSISTANT},
            1: {chat_pb2.ROLE_TOOL},
            2: {chat_pb2.ROLE_ASSISTANT},
        }

    def test_the_last_chunk_with_outputs_says_why_it_ended(self, port: int) -> None:
        *_, ended, trailing = chunks(port, **SEARCHED)
        assert [(o.index, o.finish_reason) for o in ended.outputs] == [(2, sample_pb2.REASON_STOP)]
        assert not trailing.outputs

    def test_citations_and_the_whole_usage_come_last_and_once(self, port: int) -> None:
        *before, trailing = chunks(port)
        assert list(trailing.citations) == [X_URL, WEB_URL]
        assert trailing.usage.total_tokens == 15
        assert not any(c.citations for c in before)

    def test_a_call_comes_whole_in_one_chunk(self, port: int, script: Script) -> None:
        script.events = [CALL, done("tool_calls")]
        weather = tool("weather", "Tells it.", {})
        calls = [t for c in chunks(port, tools=[weather]) for o in c.outputs for t in o.delta.tool_calls]
        assert [(c.id, c.function.arguments) for c in calls] == [("call_1", '{"city": "Rome"}')]

    def test_every_chunk_names_itself_alike(self, port: int) -> None:
        said = {(c.id, c.model, c.created.seconds, c.system_fingerprint) for c in chunks(port)}
        assert len(said) == 1

    def test_of_several_answers_each_has_its_place(self, port: int) -> None:
        outputs = [o for c in chunks(port, n=2, **SEARCHED) for o in c.outputs]
        assert {o.index for o in outputs} == {0, 1}
        assert {o.delta.role for o in outputs} == {chat_pb2.ROLE_ASSISTANT}


class TestWhatIsAsked:
    def test_a_conversation(self, xai: Any, script: Script) -> None:
        said = [system("Be brief."), user("Hi"), assistant("Ho"), user("Does it", "rain?")]
        request = asked(xai, script, messages=said, model="voxpop-fun")
        assert request.voice == "fun"
        assert request.messages == (
            Message("system", "Be brief."),
            Message("user", "Hi"),
            Message("assistant", "Ho"),
            Message("user", "Does it\nrain?"),
        )

    def test_how_tokens_are_chosen(self, xai: Any, script: Script) -> None:
        request = asked(
            xai, script, max_tokens=9, temperature=0.7, seed=3, top_p=0.9, stop=["a", "b"], frequency_penalty=0.1,
            presence_penalty=-0.1, reasoning_effort="high",
        )  # fmt: skip
        sampling = request.sampling
        assert (sampling.max_tokens, sampling.temperature, sampling.seed, sampling.top_p) == (9, 0.7, 3, 0.9)
        assert (sampling.stop, sampling.frequency_penalty, sampling.presence_penalty) == (("a", "b"), 0.1, -0.1)
        assert (sampling.logprobs, request.effort) == (None, "high")

    def test_search_tools_bound_the_search(self, xai: Any, script: Script) -> None:
        day = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
        x = x_search(from_date=day, to_date=day + dt.timedelta(days=1), allowed_x_handles=["@ann", "bob"])
        assert asked(xai, script, tools=[x]).bounds == Bounds(
            since=int(day.timestamp()) * 10**6,
            until=int(day.timestamp() + 86400) * 10**6,
            handles=("ann", "bob"),
            networks=("social",),
        )
        web = web_search(excluded_domains=["spam.example"])
        request = asked(xai, script, tools=[web, code_execution()])
        assert (request.bounds.networks, request.bounds.not_domains) == ((), ("spam.example",))
        assert (request.look, request.tools.functions) == ("auto", ())

    def test_the_old_live_search_bounds_it_as_well(self, xai: Any, script: Script) -> None:
        sources = [x_source(included_x_handles=["ann"], post_favorite_count=5), web_source(), news_source()]
        search = SearchParameters(
            sources=sources, mode="on", max_search_results=7, from_date=dt.datetime(2026, 11, 1)
        )
        request = asked(xai, script, search_parameters=search)
        bounds = request.bounds
        assert (request.look, bounds.limit, bounds.min_likes, bounds.handles) == ("on", 7, 5, ("ann",))
        assert bounds.since is not None
        feed = SearchParameters(sources=[rss_source(["https://News.example/feed/"])])
        assert asked(xai, script, search_parameters=feed).bounds.handles == ("rss:news.example/feed",)
        assert asked(xai, script, search_parameters=SearchParameters(mode="off")).look == "off"

    def test_whether_citations_are_listed(self, xai: Any) -> None:
        for wanted in (True, False):
            search = SearchParameters(return_citations=wanted)
            chat = xai.chat.create(model="grok-4.20", messages=[user("Rain?")], search_parameters=search)
            assert bool(chat.sample().citations) == wanted

    @pytest.mark.parametrize(
        ("choice", "meant"),
        [("auto", "auto"), ("none", "none"), ("required", "required"), (required_tool("f"), "f")],
    )
    def test_which_function_is_to_be_called(self, xai: Any, script: Script, choice: Any, meant: str) -> None:
        request = asked(xai, script, tools=[tool("f", "It.", {})], tool_choice=choice, parallel_tool_calls=False)
        assert (request.tools.choice, request.tools.parallel) == (meant, False)
        assert [f.name for f in request.tools.functions] == ["f"]

    def test_a_file_is_read_as_text_and_not_searched_for(self, xai: Any, script: Script) -> None:
        report = file(data="Umsatz: 5 €".encode(), filename="r.csv", mime_type="text/csv")
        request = asked(xai, script, messages=[user("Sum it up.", report)])
        *_, given, question = request.messages
        assert given == Message("user", "The user gives the file r.csv:\nUmsatz: 5 €")
        assert (question.content, request.look) == ("Sum it up.", "off")

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"model": "gpt"}, "No model"),
            ({"messages": [assistant("Hi")]}, "last message"),
            ({"messages": [user("x" * 4001)]}, "over 4000"),
            ({"messages": [user("Hi"), tool_result("It")]}, "No call waits"),
            ({"messages": [user(file(url="https://a.example/b.txt"))]}, "'data'"),
            ({"messages": [user("Hi", file(data=b"%PDF-1.7", filename="a.pdf"))]}, "is no text"),
            ({"messages": [user("Hi", file(data=b"\xff", filename="a.txt"))]}, "not UTF-8"),
            ({"messages": [user("Hi", file(data=b"x" * 4000, filename="a.txt"))]}, "4000 characters"),
            ({"messages": [user(chat_pb2.Content(image_url={"image_url": "https://a.example"}))]}, "Pictures"),
            ({"messages": [chat_pb2.Message(role=99, content=[text("Hi")])]}, "role is 99"),
            ({"temperature": 3.0}, "'temperature'"),
            ({"max_tokens": 0}, "'max_tokens'"),
            ({"stop": ["a"] * 5}, "'stop'"),
            ({"top_logprobs": 2}, "'logprobs'"),
            ({"logprobs": True, "top_logprobs": 9}, "'top_logprobs'"),
            ({"tools": [mcp("https://a.example")]}, "'mcp'"),
            ({"tools": [tool("f", "", {}), tool("f", "", {})]}, "Two functions"),
            ({"tools": [tool("f g", "", {})]}, "'f g'"),
            ({"tools": [tool("f", "", {})], "tool_choice": required_tool("g")}, "'g'"),
            ({"tool_choice": "required"}, "no function"),
            ({"tools": [x_search(allowed_x_handles=["a"], excluded_x_handles=["b"])]}, "together"),
            ({"tools": [web_search(allowed_domains=[f"{n}.example" for n in range(6)])]}, "6 domains"),
            ({"search_parameters": SearchParameters(max_search_results=51)}, "51"),
            ({"search_parameters": SearchParameters(sources=[x_source(post_view_count=1)])}, "views"),
            ({"search_parameters": SearchParameters(sources=[rss_source(["ftp://a"])])}, "feed"),
            ({"guidelines": [{"type": "policy", "category": "violence", "behavior": "decline"}]}, "guidelines"),
            ({"response_format": chat_pb2.ResponseFormat(format_type=3, schema="[1]")}, "JSON object"),
            ({"response_format": chat_pb2.ResponseFormat(format_type=3)}, "no schema"),
            ({"previous_response_id": "gone"}, "Nothing is stored"),
        ],
    )
    def test_what_cannot_be_is_refused_with_its_cure(
        self, xai: Any, script: Script, settings: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            asked(xai, script, **settings)
        missing = "model" in settings or "previous_response_id" in settings
        assert caught.value.code().name == ("NOT_FOUND" if missing else "INVALID_ARGUMENT")
        assert said in caught.value.details()
        assert caught.value.details().count(".") >= 2, "it has no cure"
        assert not script.requests


class TestWhatIsKept:
    def test_a_stored_answer_is_gone_on_from_opened_and_removed(self, xai: Any, script: Script) -> None:
        script.events = [Text("Ho", kind="chat"), done()]
        first = xai.chat.create(
            model="grok-4.20", messages=[system("Brief."), user("Hi")], store_messages=True
        ).sample()
        assert first.request_settings.store_messages
        for _ in range(2):  # two threads from one beginning
            chat = xai.chat.create(model="grok-4.20", previous_response_id=first.id, messages=[user("And?")])
            chat.sample()
            said = [m.content for m in script.requests[-1].messages]
            assert said == ["Brief.", "Hi", "Ho", "And?"]
        (opened,) = xai.chat.get_stored_completion(first.id)
        assert (opened.content, opened.finish_reason, opened.usage) == ("Ho", "REASON_STOP", first.usage)
        assert xai.chat.delete_stored_completion(first.id) == first.id
        with pytest.raises(grpc.RpcError) as caught:
            xai.chat.get_stored_completion(first.id)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    def test_several_stored_answers_are_opened_together(self, xai: Any, script: Script) -> None:
        script.events = [Text("Ho", kind="chat"), done()]
        chat = xai.chat.create(model="grok-4.20", messages=[user("Hi")], store_messages=True)
        told = chat.sample_batch(3)
        opened = xai.chat.get_stored_completion(told[0].id)
        assert [o.content for o in opened] == [t.content for t in told] == ["Ho"] * 3

    def test_a_stored_answer_is_told_as_it_was_and_withdrawn_with_its_post(
        self, script: Script, tmp_path: Path
    ) -> None:
        program = running(script)
        with beside(program, tmp_path) as port, client(port) as xai:
            chat = xai.chat.create(
                model="grok-4.20",
                messages=[user("Rain?")],
                store_messages=True,
                include=["inline_citations"],
                **SEARCH,
            )
            told = chat.sample()
            (opened,) = xai.chat.get_stored_completion(told.id)
            assert opened.content == told.content
            assert list(opened.citations) == list(told.citations)
            assert list(opened.inline_citations) == list(told.inline_citations)
            assert opened.usage == told.usage
            del program.posts[0]
            with pytest.raises(grpc.RpcError) as caught:
                xai.chat.get_stored_completion(told.id)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert "withdrawn" in caught.value.details()

    def test_what_is_not_asked_for_is_not_stored(self, xai: Any) -> None:
        told = xai.chat.create(model="grok-4.20", messages=[user("Hi")]).sample()
        assert not told.request_settings.store_messages
        with pytest.raises(grpc.RpcError):
            xai.chat.get_stored_completion(told.id)

    def test_a_result_answers_a_call_of_a_stored_answer(self, xai: Any, script: Script) -> None:
        script.events = [CALL, done("tool_calls")]
        weather = tool("weather", "Tells it.", {})
        chat = xai.chat.create(model="grok-4.20", messages=[user("Rain?")], tools=[weather], store_messages=True)
        before = chat.sample().id
        more = xai.chat.create(model="grok-4.20", previous_response_id=before, tools=[weather])
        more.append(tool_result("It rains.")).sample()
        assert script.requests[-1].messages[-1] == Message("tool", "It rains.", answers="call_1")

    def test_a_deferred_answer_is_made_meanwhile_and_given_once(self, xai: Any, script: Script) -> None:
        script.events = [Text("Ho", kind="chat"), done()]
        chat = xai.chat.create(model="grok-4.20", messages=[user("Hi")])
        started = xai.chat._stub.StartDeferredCompletion(chat._make_request(1))
        wanted = deferred_pb2.GetDeferredRequest(request_id=started.request_id)
        while (got := xai.chat._stub.GetDeferredCompletion(wanted)).status == deferred_pb2.PENDING:
            pass
        assert got.status == deferred_pb2.DONE
        assert got.response.outputs[0].message.content == "Ho"
        with pytest.raises(grpc.RpcError) as caught:
            xai.chat._stub.GetDeferredCompletion(wanted)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    def test_a_deferred_answer_that_fails_says_why(self, xai: Any, script: Script) -> None:
        script.events = [UsageError("It cannot be.", "Ask another.", code="unsupported")]
        chat = xai.chat.create(model="grok-4.20", messages=[user("Hi")])
        with pytest.raises(grpc.RpcError) as caught:
            chat.defer(interval=dt.timedelta(milliseconds=10))
        assert caught.value.details() == "It cannot be. Ask another."

    def test_a_compacted_conversation_is_gone_on_from(self, xai: Any, script: Script) -> None:
        chat = xai.chat.create(model="grok-4.20", messages=[system("Brief."), user("Hi"), assistant("Ho")])
        compacted = chat.compact()
        assert compacted.dropped_message_count == 3
        assert "Brief" not in compacted.encrypted_content
        assert len(chat.messages) == 1
        chat.append(user("And?")).sample()
        assert [m.content for m in script.requests[-1].messages] == ["Brief.", "Hi", "Ho", "And?"]
        chat.append(chat.compact()).append(user("More?")).sample()
        assert [m.content for m in script.requests[-1].messages] == ["Brief.", "Hi", "Ho", "And?", "More?"]

    @pytest.mark.parametrize("blob", ["vc1.", "vc1.AAAA", "else", "vc1." + "A" * 100, "vc1.ä"])
    def test_a_compaction_of_somebody_else_is_refused(self, xai: Any, script: Script, blob: str) -> None:
        said = chat_pb2.Message(role=chat_pb2.ROLE_USER, encrypted_content=blob)
        with pytest.raises(grpc.RpcError) as caught:
            asked(xai, script, messages=[said, user("Hi")])
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class TestWhatThereIs:
    def test_models(self, xai: Any) -> None:
        names = [m.name for m in xai.models.list_language_models()]
        assert names == ["voxpop", "voxpop-regular", "voxpop-fun"]
        assert xai.models.get_language_model("grok-4.20").name == "voxpop"
        assert list(xai.models.list_image_generation_models()) == []
        for get in ("get_language_model", "get_image_generation_model", "get_embedding_model"):
            with pytest.raises(grpc.RpcError) as caught:
                getattr(xai.models, get)("nobody")
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_leaving_stops_the_engine(tmp_path: Path) -> None:
    engine = EchoEngine("word " * 1000, pause_s=0.01)
    async with serving(talking(engine), tmp_path) as port:
        xai = async_client(port)
        chat = xai.chat.create(model="grok-4.20", messages=[user("Hello")])
        call = xai.chat._stub.GetCompletionChunk(chat._make_request(1))
        async for chunk in call:
            if any("word" in output.delta.content for output in chunk.outputs):
                break
        call.cancel()
        await asyncio.sleep(0.3)
        made = engine.words_made
        await asyncio.sleep(0.3)
        assert 0 < made == engine.words_made < 1000
        await xai.close()
