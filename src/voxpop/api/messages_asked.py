"""Read the body of Anthropic's messages into what is asked; a field that would change the answer is refused.

Fields that Anthropic's clients send and that change nothing here are passed over: docs/dialects.md lists them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxpop import dialects
from voxpop.api import functions
from voxpop.api.asked import Known, model_of
from voxpop.api.fields import flag, number, refuse, told
from voxpop.api.responses_asked import text
from voxpop.api.search_parameters import domains, moment
from voxpop.dialects import Source
from voxpop.errors import UsageError
from voxpop.messages import Call, Effort, Function, Message, Request, Sampling, Tools

_USUAL_TOKENS = 320
_MOST_BLOCKS, _MOST_TOOLS, _MOST_STOPS = 500, 128, 16
_PASSED = ("thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result")
_EFFORTS: Mapping[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
# (field, whether a value is harmless, what to do instead). An absent or null field is always harmless.
_UNSUPPORTED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("top_k", lambda v: False, "Use 'top_p'."),
    ("mcp_servers", lambda v: v == [], "Leave it out: no other server is asked."),
    ("container", lambda v: False, "Leave it out: nothing is executed here."),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed body; `model` is our name of it, `named` the one that was asked for.

    `shown`: whether the searches are shown as blocks, for their tool was given.
    """

    request: Request
    model: str
    named: str
    stream: bool
    shown: bool


def parse(body: Any, known: Known) -> Asked:
    """What a body asks. Raises UsageError."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", "Send what Anthropic's messages take.")
    for field, harmless, cure in _UNSUPPORTED:
        if body.get(field) is not None and not harmless(body[field]):
            refuse(field, f"'{field}' cannot be {told(body[field])} here.", cure, code="unsupported")
    model, voice = model_of(body, known)
    own, sources = _tools(body.get("tools"))
    config = _object(body, "output_config")
    request = Request(
        messages=_conversation(body),
        voice=voice,
        as_of=moment(body.get("as_of"), "as_of"),
        bounds=dialects.search(sources),
        sampling=_sampling(body),
        tools=_chosen(own, body.get("tool_choice"), sources),
        look="on" if _names_search(body.get("tool_choice"), sources) else "auto",
        schema=functions.schema_of(config.get("format"), "output_config.format"),
        effort=_effort(config, _object(body, "thinking")),
    )
    return Asked(request, model, text(body, "model") or model, flag(body, "stream"), bool(sources))


# -- messages ----------------------------------------------------------------------------------------------------


def _conversation(body: Mapping[str, Any]) -> tuple[Message, ...]:
    raw = body.get("messages")
    if not isinstance(raw, list) or len(raw) > dialects.MOST_MESSAGES:
        what = f"'messages' must be a list of 1 to {dialects.MOST_MESSAGES} messages."
        refuse("messages", what, "Send at least a user's.")
    system = _text(body.get("system") or "", "system")
    messages = [Message("system", system)] if system.strip() else []
    for n, one in enumerate(raw):
        messages += _message(one, f"messages.{n}")
    called: set[str] = set()
    for message in messages:
        called |= {call.id for call in message.calls}
        if message.role == "tool" and message.answers not in called:
            what = f"No 'tool_use' before it has the id {told(message.answers)}."
            refuse("messages", what, "Send the assistant's message with its 'tool_use' blocks.")
    return dialects.conversation(messages)


def _message(raw: Any, where: str) -> list[Message]:
    """A message as turns: the results of calls come before what the user says beside them."""
    role = raw.get("role") if isinstance(raw, dict) else None
    if role not in ("user", "assistant"):
        what = f"A message's role cannot be {told(role)}."
        refuse(f"{where}.role", what, "Give user or assistant; what a system says goes into 'system'.")
    content = raw.get("content")
    if isinstance(content, str):
        return [Message(role, content)]
    if not isinstance(content, list) or len(content) > _MOST_BLOCKS:
        refuse(f"{where}.content", f"The content cannot be {told(content)}.", "Give a text, or blocks.")
    texts: list[str] = []
    calls: list[Call] = []
    results: list[Message] = []
    for n, block in enumerate(content):
        at = f"{where}.content.{n}"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_use" and role == "assistant":
            calls.append(_call(block, at))
        elif kind == "tool_result" and role == "user":
            said = _text(block.get("content") or "", f"{at}.content")
            said = f"Error: {said}" if flag(block, "is_error") else said
            results.append(Message("tool", said, answers=_id(block.get("tool_use_id"), f"{at}.tool_use_id")))
        elif kind not in _PASSED:
            texts.append(_block(block, at))
    # An assistant's blocks of text are pieces of one text, a user's are of their own.
    said = ("" if role == "assistant" else "\n").join(texts)
    turn = [Message(role, said, tuple(calls))] if said.strip() or calls or not results else []
    return [*results, *turn]


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or len(content) > _MOST_BLOCKS:
        refuse(where, f"It cannot be {told(content)}.", "Give a text, or blocks of text.")
    return "\n".join(_block(block, f"{where}.{n}") for n, block in enumerate(content))


def _block(block: Any, where: str) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    said = block.get("text") if kind == "text" else None
    source = block.get("source") if kind == "document" else None
    if isinstance(source, dict) and source.get("type") == "text":
        said = source.get("data")
    if not isinstance(said, str):
        what = f"A block of the type {told(kind)} is not read here."
        refuse(where, what, "Send text alone; leave out pictures and files.", code="unsupported")
    return said


def _call(block: Mapping[str, Any], where: str) -> Call:
    name, given = block.get("name"), block.get("input")
    if not isinstance(name, str) or not name or not isinstance(given, dict):
        refuse(where, "A 'tool_use' lacks its name or its input.", "Send it back as it came.")
    arguments = json.dumps(given, ensure_ascii=False)
    if len(arguments) > dialects.LONGEST:
        refuse(f"{where}.input", "The input of a call is too long.", "Send it back as it came.")
    return Call(_id(block.get("id"), f"{where}.id"), name, arguments)


def _id(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not 0 < len(raw) <= 256:
        refuse(where, f"An id cannot be {told(raw)}.", "Send it back as it came.")
    return raw


# -- tools -------------------------------------------------------------------------------------------------------


def _tools(raw: Any) -> tuple[tuple[Function, ...], list[Source]]:
    """The client's functions, and the bounds of the search where its tool is given."""
    raw = [] if raw is None else raw
    if not isinstance(raw, list) or len(raw) > _MOST_TOOLS:
        refuse("tools", f"'tools' must be a list of at most {_MOST_TOOLS} tools.", "Leave some out.")
    own: list[Function] = []
    sources: list[Source] = []
    for n, tool in enumerate(raw):
        where = f"tools.{n}"
        kind = tool.get("type") if isinstance(tool, dict) else tool
        if isinstance(kind, str) and kind.startswith("web_search_"):
            sources += _search(tool, where)
        elif isinstance(tool, dict) and kind in (None, "custom"):
            own.append(functions.function({**tool, "parameters": tool.get("input_schema")}, where))
        else:
            cure = "Give tools of your own, or the web search."
            refuse(where, f"A tool of the type {told(kind)} is not served here.", cure, code="unsupported")
    return tuple(own), sources


def _search(tool: Mapping[str, Any], where: str) -> list[Source]:
    """Anthropic's web search, which knows no networks of people: they and the feeds are searched."""
    number(tool, "max_uses", 1, 1, 2**31)
    allowed, blocked = (domains(tool, f"{name}_domains", where) for name in ("allowed", "blocked"))
    return [Source("x"), Source("web", domains=allowed, not_domains=blocked)]


def _chosen(own: tuple[Function, ...], raw: Any, sources: Sequence[Source]) -> Tools:
    if raw is None or _names_search(raw, sources):
        return functions.together(own, None, True)
    kind = raw.get("type") if isinstance(raw, dict) else None
    choice = raw.get("name") if kind == "tool" else _CHOICES.get(kind) if isinstance(kind, str) else None
    if not isinstance(choice, str):
        refuse("tool_choice", f"'tool_choice' cannot be {told(raw)}.", "Give auto, any, none or tool, as its type.")
    if choice == "required" and sources:
        choice = "auto"
    named = {"type": "function", "name": choice} if kind == "tool" else choice
    return functions.together(own, named, not flag(raw, "disable_parallel_tool_use"))


def _names_search(raw: Any, sources: Sequence[Source]) -> bool:
    return bool(sources) and isinstance(raw, dict) and raw.get("type") == "tool" and raw.get("name") == "web_search"


# -- the rest ----------------------------------------------------------------------------------------------------


def _sampling(body: Mapping[str, Any]) -> Sampling:
    stops = body.get("stop_sequences") or []
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS or not all(isinstance(s, str) and s for s in stops):
        cure = f"Give at most {_MOST_STOPS} texts."
        refuse("stop_sequences", f"'stop_sequences' cannot be {told(stops)}.", cure)
    return Sampling(
        max_tokens=min(int(number(body, "max_tokens", _USUAL_TOKENS, 1, 2**63 - 1)), dialects.MOST_TOKENS),
        temperature=number(body, "temperature", 0.0, 0.0, 2.0),
        top_p=number(body, "top_p", 1.0, 0.0, 1.0),
        stop=tuple(stops),
    )


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    raw = body.get(name)
    if raw is not None and not isinstance(raw, dict):
        refuse(name, f"'{name}' cannot be {told(raw)}.", "Give an object.")
    return raw or {}


def _effort(config: Mapping[str, Any], thinking: Mapping[str, Any]) -> Effort:
    given = config.get("effort")
    if given is not None and not (isinstance(given, str) and given in _EFFORTS):
        cure = f"Give one of: {', '.join(_EFFORTS)}."
        refuse("output_config.effort", f"The effort cannot be {told(given)}.", cure)
    if given:
        return _EFFORTS[given]
    return "medium" if thinking.get("type") in ("enabled", "adaptive") else "none"
