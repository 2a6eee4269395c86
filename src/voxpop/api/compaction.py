"""Make a conversation shorter and give it to its client as one sealed item; nothing of it is kept here.

What users and systems said stays whole. Of what was answered, the beginning of each turn stays, shut under the
posts on which it rests (`sealed.py`): when one is gone, the conversation goes on without those turns. Calls and
their results go, for what followed says what came of them.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from voxpop.api.fields import refuse
from voxpop.errors import VoxpopError
from voxpop.messages import Message
from voxpop.posts import Post
from voxpop.recipes import dump, load
from voxpop.sealed import Shut, opened, shut
from voxpop.times import MICROS

Posts = Callable[[Sequence[str]], Awaitable[Sequence[Post]]]
_LONGEST = 600  # characters of an answer that stay
_MOST = 4 << 20  # bytes, opened


def compacted(messages: Sequence[Message]) -> tuple[Message, ...]:
    """A conversation of fewer characters that a model can go on from."""
    return tuple(_shorter(m) for m in messages if m.role != "tool" and m.content.strip())


def packed(messages: Sequence[Message], posts: Sequence[Post]) -> str:
    """Messages as the text of an item; those of ours are shut under `posts`."""
    ours = {n: m for n, m in enumerate(messages) if m.role == "assistant"}
    clear = [None if n in ours else m for n, m in enumerate(messages)]
    turns = base64.b64encode(shut(dump(ours), posts).pack()).decode()
    return base64.b64encode(shut(dump({"messages": clear, "turns": turns}), ()).pack()).decode()


async def unpacked(text: str, posts: Posts) -> tuple[tuple[Message, ...], list[Post]]:
    """The messages of such a text, and the posts on which they rest. Raises FieldError for any other."""
    try:
        whole = orjson.loads(opened(_shut(text), (), most=_MOST) or b"")
        sealed = _shut(whole["turns"])
        held = list(await posts(sealed.ids)) if sealed.ids else []
        data = opened(sealed, held, most=_MOST)
        turns = orjson.loads(data) if data is not None else {}
        said = [turns.get(str(n)) if m is None else m for n, m in enumerate(whole["messages"])]
        messages = tuple(load(Message, m) for m in said if m is not None)
        if not all(_is_ours(m) for m in messages):
            raise ValueError
    except (VoxpopError, ValueError, TypeError, KeyError, AttributeError, binascii.Error):
        refuse("input", "This compaction was not made here.", "Send the conversation itself.")
    return messages, held if data is not None else []


def response(id_: str, at: int, messages: Sequence[Message], posts: Sequence[Post], tokens: int) -> dict[str, Any]:
    """OpenAI's object of a compaction. Nothing was generated for it, and nothing is counted."""
    item = {"id": f"cmp_{id_}", "type": "compaction", "encrypted_content": packed(compacted(messages), posts)}
    details = {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens, **details}
    made = {"id": id_, "object": "response.compaction", "created_at": at // MICROS}
    return {**made, "output": [item], "usage": usage}


def _shorter(message: Message) -> Message:
    said = message.content
    if message.role != "assistant" or len(said) <= _LONGEST:
        return Message(message.role, said)
    return Message(message.role, said[: said.rfind(" ", _LONGEST // 2, _LONGEST) % _LONGEST] + " …")


def _shut(text: str) -> Shut:
    return Shut.unpack(base64.b64decode(text, validate=True))


def _is_ours(message: Message) -> bool:
    """A stranger may have packed it: the types are not to be relied on."""
    return message.role in ("system", "user", "assistant") and isinstance(message.content, str)
