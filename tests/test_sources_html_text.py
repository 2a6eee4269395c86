"""Markup becomes plain text and keeps its links, whatever bytes it is made of and however long it is."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.sources.html_text import MAX_MARKUP, read_html, web_address


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\nlines"),
        ("<p>One\ntwo</p><p>three</p>", "One two\nthree"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<ul><li>a</li><li>b</li></ul>", "a\nb"),
        ("Fish &amp; chips &lt;3 &#x1F600;", "Fish & chips <3 \U0001f600"),
        ("a <3 b > c", "a <3 b > c"),
        ("<b title='x > y'>bold</b>", "bold"),
        ("x<script>alert('<p>')</script>y<style>p{}</style>", "xy"),
        ("x<script>never closed", "x"),
        ("<!-- no -->shown<!DOCTYPE html>", "shown"),
        ("a&nbsp;&nbsp; b\x00\x1b[31m", "a b[31m"),
        ("<p>surrogate \ud800!</p>", "surrogate !"),
    ],
)
def test_markup_is_read_as_a_person_sees_it(markup: str, text: str):
    assert read_html(markup).text == text


def test_links_and_described_pictures_are_kept_mentions_and_hashtags_are_not_links():
    plain = read_html(
        '<p><span class="h-card"><a href="https://m.example/@ana" class="mention">@<span>ana</span></a></span>'
        ' <a href="https://m.example/tags/x" class="mention hashtag" rel="tag">#<span>x</span></a> '
        '<a href="https://news.example/long/path"><span class="invisible">https://</span>'
        '<span class="ellipsis">news.example/long</span><span class="invisible">/path</span></a> '
        "<a href=/rel?a=1&amp;b=2>here</a> <a href='javascript:x()'>no</a></p>"
        "<img src='/i.png' alt='A harbour'><img src='/pixel.gif'>",
        "https://site.example/feed",
    )
    assert plain.text == "@ana #x https://news.example/long/path here no"
    assert plain.links == ("https://news.example/long/path", "https://site.example/rel?a=1&b=2")
    assert plain.pictures == (("https://site.example/i.png", "A harbour"),)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("news.example/long/pa…", "https://www.news.example/long/path"),
        ("https://news.example/lo...", "https://www.news.example/long/path"),
        ("other.example/…", "other.example/…"),
        ("read on", "read on"),
    ],
)
def test_a_link_that_is_shown_shortened_is_written_out(shown: str, text: str):
    plain = read_html(f"<p>See <a href='https://www.news.example/long/path'>{shown}</a>!</p>")
    assert plain == (f"See {text}!", ("https://www.news.example/long/path",), ())


def test_a_link_that_only_calls_itself_a_mention_is_a_link():
    assert read_html("<a class=mention href=https://x.example/>win now</a>").links == ("https://x.example/",)


def test_lines_of_code_stay_lines():
    assert read_html("<p>So:</p><pre><code>if x:\ny = 1\n</code></pre><p>a\nb</p>").text == "So:\nif x:\ny = 1\na b"


@pytest.mark.parametrize("number", ["&#" + "9" * 5000, "&#x" + "f" * 5000 + ";", "&#xD800;", "&#99999999;"])
def test_a_number_that_no_character_has_does_not_raise(number: str):
    assert read_html(f"a{number}").text == "a\ufffd"


@given(st.lists(st.sampled_from(["p", "b", "ul", "li", "blockquote", "pre", "span", "div", "code"]), max_size=40))
def test_no_nesting_loses_a_link(names: list[str]):
    inside = "<a href='https://a.example/1'><span>one</span></a> and <a href=https://a.example/2>two…</a>"
    nested = "".join(f"<{n}>" for n in names) + inside + "".join(f"</{n}>" for n in reversed(names))
    assert read_html(nested).links == ("https://a.example/1", "https://a.example/2")
    assert read_html(nested[: len(nested) - len(names)]).links == ("https://a.example/1", "https://a.example/2")


@pytest.mark.parametrize("value", ["", " ", None, 7, "ftp://x/y", "javascript:1", "http://[", "https://a b", "//x"])
def test_what_is_no_web_address_is_empty(value: object):
    assert web_address(value) == ""


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<a ",
        "<a '",
        '<a "',
        "<!--",
        "<!",
        "<script>",
        "</",
        "&",
        "<a href=x ",
        "<p ",
        "&#9",
        "<pre>\n",
        "<a href=//x>x…",
    ],
)
def test_the_worst_markup_takes_bounded_time(piece: str):
    began = time.process_time()
    read_html(piece * (MAX_MARKUP // len(piece)))
    assert time.process_time() - began < 1.5


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("<>/!-a p='\"&;#x1\n\ud800é"), max_size=200) | st.text(max_size=200))
def test_no_text_breaks_the_reader(markup: str):
    plain = read_html(markup, "https://x.example/")
    plain.text.encode()
    assert not any(c < " " and c != "\n" for c in plain.text)
    assert len(plain.text) <= len(markup) * 2 + 1
