"""Serve a made-up X on loopback: filtered stream, rules, recent search and lookup of API v2; nothing else of it.

It speaks HTTP/1.1 with the wire's own bytes: chunks, `\\r\\n` after each line, a newline as a sign of life,
`x-rate-limit-*`, problem objects. Each post object that it sends is counted in `billed`, as X bills them.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from voxpop.simulator import x_posts as made
from voxpop.simulator.wire import iso
from voxpop.simulator.world import accounts, night
from voxpop.simulator.x_http import PROBLEMS, Request, head, invalid, not_found, problem, read_request, send
from voxpop.simulator.x_posts import Account, Object, Tweet, snowflake
from voxpop.simulator.x_rules import Matches, matcher

TOKEN = "AAAAAAAAAAAAAAAAAAAAASIMULATED%3Dtoken"  # noqa: S105  opens nothing
_LIMITS = {"stream": 50, "rules": 450, "search": 450, "lookup": 900}
_WINDOW_S = 900
_REACH_US = 7 * 86_400_000_000


@dataclass(slots=True)
class Faults:
    """What goes wrong on demand; tests change it while the server runs.

    `answers` are given instead of the next answers of an endpoint: (endpoint, status, body). A stream is cut
    after `cut_after` lines, `times` times; `cut_pages` breaks off the next answers of search and lookup; `said` is
    sent as a line of the stream to whoever connects next. `limits` are requests in a window.
    """

    answers: list[tuple[str, int, Any]] = field(default_factory=list)
    cut_after: int = 0
    times: int = 1
    cut_pages: int = 0
    said: list[bytes] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=lambda: dict(_LIMITS))


class _Rule(NamedTuple):
    id: str
    value: str
    tag: str
    fits: Matches


class _Listener(NamedTuple):
    """A client of the stream and the lines that wait for it."""

    request: Request
    lines: "asyncio.Queue[bytes]"


class X:
    """The server. `start` returns its address; `say` posts, `delete` and the like take back."""

    def __init__(
        self, *, token: str = TOKEN, keep_alive_s: float = 20.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.faults = Faults()
        self.tweets: dict[str, Tweet] = {}
        self.billed = 0
        self.requests: Counter[str] = Counter()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""
        self._token, self._keep_alive_s, self._clock = token, keep_alive_s, clock
        self._rules: dict[str, _Rule] = {}
        self._accounts: dict[str, Account] = {}
        self._listeners: list[_Listener] = []
        self._windows: dict[str, tuple[float, int]] = {}
        self._serial = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the world ------------------------------------------------------------------------------------------

    def who(self, handle: str, name: str = "") -> Account:
        """The account of a handle."""
        return self._accounts.setdefault(handle.lower(), made.account(handle, name))

    def say(self, handle: str, text: str, *, at: float | None = None, **more: Any) -> Tweet:
        """Post, and send it to every stream that it fits; `at` is in seconds."""
        moment = int((self._clock() if at is None else at) * 1e6)
        self._serial += 1
        tweet = Tweet(snowflake(moment, self._serial), self.who(handle), text, moment, **more)
        if parent := self.tweets.get(tweet.reply_to):
            tweet.root = parent.root or parent.id
        self.tweets[tweet.id] = tweet
        rules = [r for r in self._rules.values() if r.fits(tweet)]
        if rules and at is None:
            for listener in self._listeners:
                listener.lines.put_nowait(self._line(listener.request, tweet, rules))
        return tweet

    def edit(self, old: Tweet, text: str) -> Tweet:
        """An edit is a new post; both carry the history."""
        new = self.say(old.author.handle, text, at=self._clock())
        history = [*(old.history or [old.id]), new.id]
        for id_ in history:
            self.tweets[id_].history = history
        for listener in self._listeners:
            listener.lines.put_nowait(self._line(listener.request, new, [*self._rules.values()]))
        return new

    def night(self, seed: int = 7, *, began: float) -> list[Tweet]:
        """Everything that is posted in the made-up night, as if it had begun at `began` (seconds)."""
        people, ids, told = accounts(seed), dict[str, str](), list[Tweet]()
        for event in night(seed):
            if event.op != "create" or not event.text:
                continue
            reply = ids.get(((event.record or {}).get("reply") or {}).get("parent", {}).get("uri", ""), "")
            lang = ((event.record or {}).get("langs") or ["und"])[0][:2]
            person = people[event.did]
            handle = person.handle.partition(".")[0].replace("-", "_")[:15]
            self.who(handle, person.name)
            told.append(self.say(handle, event.text, at=began + event.at, lang=lang, reply_to=reply))
            ids[event.uri] = told[-1].id
        return told

    @property
    def connected(self) -> int:
        """How many read the stream now."""
        return len(self._listeners)

    @property
    def rules(self) -> dict[str, str]:
        """The values of the rules, with their tags."""
        return {rule.value: rule.tag for rule in self._rules.values()}

    def keep_rule(self, value: str, tag: str = "") -> None:
        """A rule that some program has made."""
        self._serial += 1
        id_ = snowflake(int(self._clock() * 1e6), self._serial)
        self._rules[id_] = _Rule(id_, value, tag, matcher(value))

    # -- the server -----------------------------------------------------------------------------------------

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen."""
        self._server = await asyncio.start_server(self._client, host, port)
        self.url = f"http://{host}:{self._server.sockets[0].getsockname()[1]}"
        return self.url

    async def stop(self) -> None:
        """Cut every connection."""
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  a server's callback runs in one
        self._tasks.add(task)
        try:
            while request := await read_request(reader):
                await self._answer(request, writer)
        except (OSError, EOFError, asyncio.CancelledError, ValueError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        endpoint = {
            "/2/tweets/search/stream": "stream",
            "/2/tweets/search/stream/rules": "rules",
            "/2/tweets/search/recent": "search",
            "/2/tweets": "lookup",
        }.get(request.path, "")
        self.requests[endpoint] += 1
        self.asked.append((endpoint, request.query))
        if not endpoint:
            return send(writer, 404, problem("about:blank", "Not Found", "Not Found"))
        if request.headers.get("authorization") != f"Bearer {self._token}":
            return send(writer, 401, problem("about:blank", "Unauthorized", "Unauthorized"))
        headers, room = self._room(endpoint)
        for planned in self.faults.answers:
            if planned[0] == endpoint:
                self.faults.answers.remove(planned)
                return send(writer, planned[1], planned[2], headers)
        if not room:
            return send(writer, 429, {"title": "Too Many Requests", "detail": "Too Many Requests",
                                       "type": "about:blank", "status": 429}, headers)  # fmt: skip
        if endpoint == "stream":
            return await self._stream(request, writer, headers)
        status, body = {"rules": self._change, "search": self._search, "lookup": self._lookup}[endpoint](request)
        if self.faults.cut_pages and endpoint != "rules":
            self.faults.cut_pages -= 1
            writer.write(head(200, {"Content-Length": "100000"}) + orjson.dumps(body)[:-20])
            await writer.drain()
            raise EOFError
        send(writer, status, body, headers)

    def _room(self, endpoint: str) -> tuple[dict[str, str], bool]:
        now, limit = self._clock(), self.faults.limits[endpoint]
        opened, used = self._windows.get(endpoint, (now, 0))
        if now - opened >= _WINDOW_S:
            opened, used = now, 0
        self._windows[endpoint] = (opened, used + 1)
        left = max(limit - used - 1, 0)
        headers = {"limit": limit, "remaining": left, "reset": int(opened + _WINDOW_S)}
        return {f"x-rate-limit-{name}": str(value) for name, value in headers.items()}, used < limit

    # -- the endpoints --------------------------------------------------------------------------------------

    async def _stream(self, request: Request, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        if self._listeners:
            text = "This stream is currently at the maximum allowed connection limit."
            body = problem(PROBLEMS + "streaming-connection", "ConnectionException", text)
            return send(writer, 429, body | {"connection_issue": "TooManyConnections"}, headers)
        if not self._rules:
            body = problem(PROBLEMS + "rule-configuration-issue", "RuleConfigurationIssue", "No rules.")
            return send(writer, 409, body, headers)
        listener = _Listener(request, asyncio.Queue())
        for line in self.faults.said:
            listener.lines.put_nowait(line)
        self.faults.said = []
        self._give_back(listener)
        self._listeners.append(listener)
        writer.write(head(200, {"Transfer-Encoding": "chunked", **headers}))
        sent = 0
        try:
            while not (self.faults.cut_after and self.faults.times and sent >= self.faults.cut_after):
                line = b""
                with suppress(TimeoutError):
                    line = await asyncio.wait_for(listener.lines.get(), self._keep_alive_s)
                    sent += 1
                writer.write(b"%x\r\n%s\r\n\r\n" % (len(line) + 2, line))
                await writer.drain()
            self.faults.times -= 1
            raise EOFError
        finally:
            self._listeners.remove(listener)

    def _give_back(self, listener: _Listener) -> None:
        minutes = int(listener.request.query.get("backfill_minutes", "0"))
        since = (self._clock() - 60 * minutes) * 1e6
        for tweet in sorted(self.tweets.values(), key=lambda t: t.at):
            rules = [r for r in self._rules.values() if r.fits(tweet)]
            if minutes and tweet.at >= since and rules:
                listener.lines.put_nowait(self._line(listener.request, tweet, rules))

    def _line(self, request: Request, tweet: Tweet, rules: list[_Rule]) -> bytes:
        payload = self._payload(request, [tweet])
        payload["data"] = payload["data"][0]
        payload["matching_rules"] = [{"id": r.id, "tag": r.tag} for r in rules]
        return orjson.dumps(payload)

    def _payload(self, request: Request, tweets: Iterable[Tweet]) -> Object:
        """`data` with the `includes` that the expansions ask for; each post object is billed."""
        listed, wide = list(tweets), request.listed("expansions")
        answered = {t.id: self.tweets[t.reply_to].author if t.reply_to in self.tweets else None for t in listed}
        fields = request.listed("tweet.fields")
        payload: Object = {"data": [t.object(fields, answered[t.id]) for t in listed]}
        beside = {r["id"]: self.tweets.get(r["id"]) for t in listed for r in t.references}
        shown = [t for t in beside.values() if t and not t.gone] if "referenced_tweets.id" in wide else []
        authors = listed if "author_id" in wide else []
        authors = [*authors, *(shown if "referenced_tweets.id.author_id" in wide else [])]
        includes: Object = {}
        if users := {t.author.id: made.user(t.author, request.listed("user.fields")) for t in authors}:
            includes["users"] = list(users.values())
        if shown:
            includes["tweets"] = [t.object(fields, None) for t in shown]
        pictured = [t for t in (*listed, *shown) if t.alt and "attachments.media_keys" in wide]
        if pictured:
            includes["media"] = [t.media(request.listed("media.fields")) for t in pictured]
        if includes:
            payload["includes"] = includes
        if lost := [i for i, t in beside.items() if (not t or t.gone) and "referenced_tweets.id" in wide]:
            payload["errors"] = [not_found(i, "referenced_tweets.id") for i in lost]
        self.billed += len(listed) + len(shown)
        return payload

    def _search(self, request: Request) -> tuple[int, Object]:
        try:
            fits = matcher(request.query.get("query", ""))
            size = int(request.query.get("max_results", "10"))
        except ValueError as error:
            return 400, invalid("query", str(error))
        since, until = int(request.query.get("since_id", "0")), int(request.query.get("next_token", "0") or "0", 36)
        floor = int(snowflake(int(self._clock() * 1e6) - _REACH_US, 0))
        if not 10 <= size <= 100:
            return 400, invalid(
                "max_results", f"The `max_results` query parameter value [{size}] is not in 10..100"
            )
        if 0 < since < floor:
            return 400, invalid("since_id", f"'since_id' must be a tweet id created after {floor}")
        found = sorted((t for t in self.tweets.values() if not t.gone and fits(t)), key=lambda t: -int(t.id))
        found = [t for t in found if since < int(t.id) and (not until or int(t.id) < until)]
        page = found[:size]
        if not page:
            return 200, {"meta": {"result_count": 0}}
        meta: Object = {"newest_id": page[0].id, "oldest_id": page[-1].id, "result_count": len(page)}
        if len(found) > size:
            meta["next_token"] = _base36(int(page[-1].id))
        return 200, {**self._payload(request, page), "meta": meta}

    def _lookup(self, request: Request) -> tuple[int, Object]:
        ids = request.listed("ids")
        if not 0 < len(ids) <= 100:
            return 400, invalid("ids", f"The number of values in the `ids` query parameter list [{len(ids)}]")
        found = [t for i in ids if (t := self.tweets.get(i)) and not t.gone and not t.author.hidden]
        errors = [not_found(i, "ids") for i in ids if i not in self.tweets or self.tweets[i].gone]
        errors += [
            {
                "value": t.id, "detail": f"Sorry, you are not authorized to see the Tweet with ids: [{t.id}].",
                "title": "Authorization Error", "resource_type": "tweet", "parameter": "ids", "resource_id": t.id,
                "section": "data", "type": PROBLEMS + "not-authorized-for-resource",
            }
            for i in ids if (t := self.tweets.get(i)) and t.author.hidden and not t.gone
        ]  # fmt: skip
        payload = self._payload(request, found) if found else {}
        errors += payload.get("errors", [])
        return 200, {**payload, **({"errors": errors} if errors else {})}

    def _listed(self) -> Object:
        listed = [{"id": r.id, "value": r.value, **({"tag": r.tag} if r.tag else {})} for r in self._rules.values()]
        meta = {"sent": iso(int(self._clock() * 1e6)), "result_count": len(listed)}
        return {"data": listed, "meta": meta} if listed else {"meta": meta}

    def _change(self, request: Request) -> tuple[int, Object]:
        if request.method == "GET":
            return 200, self._listed()
        body, dry = orjson.loads(request.body), request.query.get("dry_run", "").lower() == "true"
        if ids := (body.get("delete") or {}).get("ids"):
            known = [i for i in ids if i in self._rules]
            for id_ in known if not dry else ():
                del self._rules[id_]
            summary = {"deleted": len(known), "not_deleted": len(ids) - len(known)}
            return 200, {"meta": {"sent": iso(int(self._clock() * 1e6)), "summary": summary}}
        if not body.get("add"):
            text = "JSON doesn't match expected schema"
            error = invalid("add", text)
            return 400, error | {"errors": [{"parameters": body, "message": text}]}
        return self._add(body["add"], dry)

    def _add(self, wanted: list[Object], dry: bool) -> tuple[int, Object]:
        made_now: list[Object] = []
        errors: list[Object] = []
        for rule in wanted:
            value, tag = rule["value"], rule.get("tag", "")
            same = next((r for r in self._rules.values() if r.value == value), None)
            if same:
                errors.append({"value": value, "id": same.id, "title": "DuplicateRule",
                               "type": PROBLEMS + "duplicate-rules"})  # fmt: skip
                continue
            try:
                fits = matcher(value)
            except ValueError as error:
                errors.append({"value": value, "details": [str(error)], "title": "UnprocessableEntity",
                               "type": PROBLEMS + "invalid-rules"})  # fmt: skip
                continue
            self._serial += 1
            id_ = snowflake(int(self._clock() * 1e6), self._serial)
            made_now.append({"value": value, **({"tag": tag} if tag else {}), "id": id_})
            if not dry:
                self._rules[id_] = _Rule(id_, value, tag, fits)
        good, bad = len(made_now), len(errors)
        summary = {"created": good, "not_created": bad, "valid": good, "invalid": bad}
        answer: Object = {"data": made_now} if made_now else {}
        answer["meta"] = {"sent": iso(int(self._clock() * 1e6)), "summary": summary}
        return 201, answer | ({"errors": errors} if errors else {})


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, rest = divmod(number, 36)
        text = digits[rest] + text
    return text
