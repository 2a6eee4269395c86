"""A conversation as the text that a model continues, by the template of its file; the template runs in a sandbox.

A base model has no template: it is shown a transcript, and stops where the next turn would begin.
"""

import re
from collections.abc import Sequence

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from voxpop.engines.gguf_file import Card, readable
from voxpop.errors import VoxpopError
from voxpop.messages import Message

_TURN = re.compile(r"^(User|Assistant):", re.MULTILINE)
_STOPS = ("\nUser:", "\nAssistant:")
_TRANSCRIPT = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ {'system': '', 'assistant': 'Assistant:\n'}.get(m.role, 'User:\n') }}{{ m.content }}\n\n"
    "{% endfor %}Assistant:\n"
)


class Template:
    """The chat template of a model, in a sandbox. Raises VoxpopError where it fails.

    `stops` are the strings at which a model has begun to write somebody else's turn.
    """

    def __init__(self, card: Card) -> None:
        source = card.values.get("tokenizer.chat_template") or _TRANSCRIPT
        self._plain = source == _TRANSCRIPT
        self.stops = _STOPS if self._plain else ()
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=self._plain
        )
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except Exception as error:  # also what is no text, or nests too deep
            raise VoxpopError(f"The chat template cannot be read: {error}.", "Choose another model.") from error
        self._takes_results = '"tool"' in source or "'tool'" in source
        with readable(card.name):
            tokens = card.values["tokenizer.ggml.tokens"]
            bos = card.values.get("tokenizer.ggml.bos_token_id")
            begins = not self._plain or card.values.get("tokenizer.ggml.add_bos_token", False)
            self._marks = {
                "bos_token": tokens[bos] if bos is not None and begins else "",
                "eos_token": tokens[card.values["tokenizer.ggml.eos_token_id"]],
            }

    def pieces(self, messages: Sequence[Message]) -> list[tuple[str, bool]]:
        """The prompt in order: (text, whether the template wrote it), so that no message can forge a mark."""
        stand_ins = [
            {"role": m.role, "content": f"\ue000{i}\ue001"}
            if m.role != "tool" or self._takes_results
            else {"role": "user", "content": f"Result of the function:\n\ue000{i}\ue001"}
            for i, m in enumerate(messages)
        ]
        try:
            text = self._template.render(
                messages=stand_ins, add_generation_prompt=True, tools=None, enable_thinking=False, **self._marks
            )
        except Exception as error:  # it is a program: it can fail in every way that Python can
            raise VoxpopError(f"The chat template failed: {error}.", "Choose another model.") from error
        parts = re.split("\ue000([0-9]+)\ue001", text)
        return [
            (part, True) if i % 2 == 0 else (self._told(messages[int(part)]), False)
            for i, part in enumerate(parts)
            if part
        ]

    def _told(self, message: Message) -> str:
        """A message's text; in a transcript no line of it can pass for the beginning of a turn."""
        text = _said(message)
        return _TURN.sub(r" \1:", text) if self._plain else text


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _said(message: Message) -> str:
    """A message's text, its calls as text too: a template would take them for its own words."""
    made = (f'{{"name": "{c.name}", "arguments": {c.arguments}}}' for c in message.calls)
    return "\n".join(filter(None, [message.content, *(f"<tool_call>\n{call}\n</tool_call>" for call in made)]))
