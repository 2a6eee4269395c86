"""Whatever a body of Responses, of Anthropic's messages or of legacy completions holds: only UsageError escapes."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop import voices
from voxpop.api import completions, messages_asked, responses_asked
from voxpop.api.asked import Known
from voxpop.errors import UsageError

KNOWN = Known(voices.load(), "regular", ("grok-*",))
_FIELDS = """model messages input system instructions prompt max_tokens max_output_tokens stream temperature top_p
tools tool_choice text format type schema json_schema role content name arguments call_id output id tool_use_id
input_schema previous_response_id reasoning effort metadata thinking filters from_date to_date allowed_domains
allowed_x_handles excluded_x_handles stop stop_sequences n seed echo suffix logprobs best_of parameters strict
function include store background output_config search_parameters sources"""
_TOLD = """user assistant system text message function_call function_call_output input_text tool_use tool_result
web_search x_search function auto any json_schema voxpop 2026-11-03 Hello \ud800"""
FIELDS = _FIELDS.split()
WORDS = st.sampled_from([*FIELDS, *_TOLD.split()])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=20,
)
HELLO: Any = [{"role": "user", "content": "Hello"}]
READERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "responses": (responses_asked.parse, {"input": "Hello"}),
    "messages": (messages_asked.parse, {"model": "voxpop", "max_tokens": 9, "messages": HELLO}),
    "completions": (completions.parse, {"prompt": "Hello"}),
}


@pytest.mark.parametrize("dialect", READERS)
@settings(max_examples=300, deadline=None)
@given(given=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5) | JSON, whole=st.booleans())
def test_only_a_usage_error_escapes(dialect: str, given: Any, whole: bool) -> None:
    parse, good = READERS[dialect]
    body = good | given if whole and isinstance(given, dict) else given
    with suppress(UsageError):
        parse(body, KNOWN)


@pytest.mark.parametrize("dialect", READERS)
def test_the_good_body_is_read(dialect: str) -> None:
    parse, good = READERS[dialect]
    assert parse(good, KNOWN)
