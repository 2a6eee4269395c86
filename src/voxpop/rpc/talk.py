"""Read xAI's messages into ours; what a search of ours left in a conversation is passed over."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from xai_sdk.proto import chat_pb2

from voxpop import dialects
from voxpop.attached import text_of
from voxpop.errors import FieldError
from voxpop.messages import Call, Message, Role
from voxpop.rpc.functions import arguments

_ROLES: dict[int, Role] = {1: "user", 2: "assistant", 3: "system", 4: "tool", 5: "tool", 6: "system"}
_CLIENT = (chat_pb2.TOOL_CALL_TYPE_INVALID, chat_pb2.TOOL_CALL_TYPE_CLIENT_SIDE_TOOL)
Opened = Callable[[str], tuple[Message, ...]]


@dataclass(slots=True)
class Talk:
    """What was said, the first `past` of it in an earlier call, and whether a file came with it."""

    said: list[Message] = field(default_factory=list)
    past: int = 0
    attached: bool = False
    _waiting: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.past = len(self.said)
        answered = {m.answers for m in self.said}
        self._waiting = [c.id for m in self.said for c in m.calls if c.id not in answered]

    @property
    def fresh(self) -> tuple[Message, ...]:
        """What this call says."""
        return tuple(self.said[self.past :])

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation. Raises FieldError where no question may be asked with it."""
        return dialects.conversation(self.said)

    def add(self, proto: Any, opened: Opened, where: str) -> None:
        """Take a message in. Raises FieldError."""
        role = _ROLES.get(proto.role)
        if role is None:
            roles = "user, assistant, system, developer or tool"
            raise FieldError(where, f"A message's role is {proto.role}.", f"Give a role: {roles}.")
        if proto.encrypted_content:
            self.said, self.past = list(opened(proto.encrypted_content)), 0  # what stood before it is in it
            if not proto.content:
                return
        calls = tuple(self._call(c, n) for n, c in enumerate(proto.tool_calls) if c.type in _CLIENT)
        if role == "tool":
            self._result(proto, calls, where)
        else:
            self._speech(proto, role, calls, where)

    def _speech(self, proto: Any, role: Role, calls: tuple[Call, ...], where: str) -> None:
        texts = [self._part(p, where) for p in proto.content]
        content = "\n".join(t for t in texts if t)
        if role == "assistant":
            if not content.strip() and not calls:
                return  # what only searched, or said nothing
            self._waiting = [c.id for c in calls]
        self.said.append(Message(role, content, calls if role == "assistant" else ()))

    def _result(self, proto: Any, calls: tuple[Call, ...], where: str) -> None:
        if len(calls) < len(proto.tool_calls):
            return  # the echo of a search of ours
        answers = proto.tool_call_id or (self._waiting[0] if self._waiting else "")
        if answers not in self._waiting:
            what = f"No call waits for the result '{answers[:60]}'."
            raise FieldError(where, what, "Send the assistant's message with its 'tool_calls' before it.")
        self._waiting.remove(answers)
        text = "\n".join(self._part(p, where) for p in proto.content)
        self.said.append(Message("tool", text, answers=answers))

    def _call(self, proto: Any, place: int) -> Call:
        return Call(proto.id or f"call_{place}", proto.function.name, arguments(proto.function.arguments))

    def _part(self, part: Any, where: str) -> str:
        kind = part.WhichOneof("content")
        if kind == "image_url":
            what = "Pictures are not read."
            raise FieldError(f"{where}.content", what, "Say in words what is on it.", code="unsupported")
        if kind != "file":
            return str(part.text)
        file = part.file
        if file.file_id or file.url or not file.data:
            what = "A file must come with its bytes."
            raise FieldError(f"{where}.content", what, "Give it in 'data'.", code="unsupported")
        self.attached = True
        self.said.append(Message("user", text_of(file.data, file.filename, file.mime_type)))
        return ""


def messages(protos: Iterable[Any], opened: Opened, past: Iterable[Message] = ()) -> Talk:
    """What a conversation says that goes on from `past`. Raises FieldError."""
    talk = Talk(list(past))
    for place, proto in enumerate(protos):
        talk.add(proto, opened, f"messages[{place}]")
    return talk
