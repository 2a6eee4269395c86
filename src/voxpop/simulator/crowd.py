"""Let the crowd of the night speak: a few thousand posts from templates, the same for the same seed."""

import random
from bisect import bisect_left, insort
from collections.abc import Iterator
from operator import attrgetter

from voxpop.simulator import night_crowd as words
from voxpop.simulator.records import LIKE, REPOST, WorldEvent, did, post_record, reference, rkey

POLLS_CLOSE, CLAIMS_BEGIN, LATE, DECLARED, END = 7200, 9000, 17_400, 20_460, 21_600
_LANGS = ("en", "fr", "es", "de", "pt", "ja")
_WEIGHTS = (52, 12, 12, 9, 9, 6)
_ACCOUNTS = 760
_BROKEN_CLOCKS = ("2038-01-19T03:14:07.000Z", "1970-01-01T00:00:00.000Z", "yesterday, more or less", "")
# (from, to, posts): how busy each part of the night is
_TIDE = (
    (0, 5400, 560),
    (5400, 7200, 280),
    (7200, 9000, 420),
    (9000, 12_600, 520),
    (12_600, 16_200, 680),
    (16_200, 20_460, 560),
    (20_460, 21_600, 420),
)
_by_time = attrgetter("at")


class Crowd:
    """The citizens and what they post; one seed gives one crowd."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"crowd:{seed}")
        self.people: dict[str, tuple[str, str, str]] = {}
        for number in range(_ACCOUNTS):
            handle, name, lang = self._person(number)
            self.people[did(f"crowd:{number}")] = (handle, name, lang)
        self._ids = {lang: [d for d, p in self.people.items() if p[2] == lang] for lang in _LANGS}
        self._serial = 1000
        self._said: set[str] = set()

    def _person(self, number: int) -> tuple[str, str, str]:
        pick = self._rng.choice
        lang = self._rng.choices(_LANGS, _WEIGHTS)[0]
        given, family, nick = pick(words.GIVEN), pick(words.FAMILY), pick(words.NICK)
        name = pick(words.NAMES_JA) if lang == "ja" else pick((f"{given} {family}", given, f"{given} {nick}"))
        return f"{pick((given.lower(), nick))}{nick}{number}.murmur.example", name, lang

    def night(self, plot: list[WorldEvent]) -> list[WorldEvent]:
        """The crowd's posts, replies, floods, station counts, edits and deletions around the plot's posts."""
        seen = [event for event in plot if event.op == "create"]
        events: list[WorldEvent] = []
        for start, end, count in _TIDE:
            for at in sorted(self._rng.uniform(start, end) for _ in range(count)):
                event = self._post(at, _phase(at, self._rng), seen)
                events.append(event)
                insort(seen, event, key=_by_time)
        events += self._floods()
        events += self._stations()
        events += list(self._second_thoughts(events))
        return events + list(self._accounts(events))

    def chatter(self, start: float, length: float, posts: int) -> list[WorldEvent]:
        """What goes on after the night: chatter without end and without news."""
        times = sorted(start + self._rng.uniform(0, length) for _ in range(posts))
        self._said.clear()
        return [self._post(at, "chatter", []) for at in times]

    def reactions(self, posts: list[WorldEvent]) -> Iterator[WorldEvent]:
        """Likes and reposts, more for the plot than for the crowd."""
        rng, everyone = self._rng, list(self.people)
        for post in posts:
            for _ in range(min(int(rng.paretovariate(1.1)) * (4 if post.key else 1) - 1, 40)):
                kind = LIKE if rng.random() < 0.8 else REPOST
                at = post.at + rng.expovariate(1 / 240)
                record = {"$type": kind, "subject": reference(post)}
                self._serial += 1
                yield WorldEvent(at, "create", rng.choice(everyone), kind, rkey(at, self._serial), record)

    def _post(self, at: float, phase: str, seen: list[WorldEvent]) -> WorldEvent:
        rng = self._rng
        lang = rng.choices(_LANGS, _WEIGHTS)[0]
        author = self._author(lang)
        now = bisect_left(seen, at, key=_by_time)
        recent = seen[max(now - 80, 0) : now]
        target = rng.choice(recent) if recent and rng.random() < 0.22 else None
        quoting = target is not None and rng.random() < 0.2
        text = self._text(lang, "reply" if target and not quoting else phase)
        link = None
        if rng.random() < 0.03:
            link = ("tpa.example/night/live-c...", f"https://tpa.example/night/live-count?minute={int(at // 60)}")
            text += f"\n\n{link[0]}"
        record = post_record(
            text,
            lang,
            parent=None if quoting else target,
            quote=target if quoting else None,
            alt=(rng.choice(words.SCENES),) if target is None and rng.random() < 0.09 else (),
            link=link,
        )
        claim = rng.choice(_BROKEN_CLOCKS) if rng.random() < 0.004 else ""
        return self._event(at, author, record, claim)

    def _event(self, at: float, author: str, record: dict[str, object], claim: str = "") -> WorldEvent:
        self._serial += 1
        return WorldEvent(round(at, 6), "create", author, rkey=rkey(at, self._serial), record=record, claim=claim)

    def _author(self, lang: str) -> str:
        people = self._ids[lang]
        return people[int(len(people) * self._rng.random() ** 2)]

    def _text(self, lang: str, phase: str) -> str:
        rng, text = self._rng, ""
        choices = words.REPLIES[lang] if phase == "reply" else words.CROWD.get((lang, phase))
        choices = choices or words.CROWD[(lang, "count")]
        for _ in range(8):
            slots = {name: rng.choice(values) for name, values in words.SLOTS[lang].items()}
            slots |= {"n": str(rng.randint(6, 90)), "few": str(rng.randint(2, 9)), "digit": str(rng.randint(0, 9))}
            text = rng.choice(choices).format(**slots)
            tail = "" if phase == "chatter" and rng.random() < 0.8 else rng.choice(words.TAILS[lang])
            stop = "." if tail[1:2].isalpha() and text[-1].isalnum() else ""
            text = text[0].upper() + text[1:] + stop + tail
            if phase == "reply" or text not in self._said:
                break
        self._said.add(text)
        return text

    def _floods(self) -> Iterator[WorldEvent]:
        for start, end, count, text in words.FLOODS:
            for _ in range(count):
                at = self._rng.uniform(seconds(start), seconds(end))
                yield self._event(at, self._author("en"), post_record(text, "en"))

    def _stations(self) -> Iterator[WorldEvent]:
        """Single stations as volunteers read them out: true, small, and no result of anything."""
        rng = self._rng
        for _ in range(150):
            town, lean = rng.choice(words.STATIONS)
            votes, third = rng.randint(280, 1400), rng.uniform(0.03, 0.07)
            korvane = int(votes * (lean - third / 2 + rng.gauss(0, 0.04)))
            quill = int(votes * third)
            text = (
                f"Station {rng.randint(1, 60)}, {town}, read out just now: Korvane {korvane}, "
                f"Dreyl {votes - korvane - quill}, Quill-Maras {quill}."
            )
            yield self._event(rng.uniform(7500, 19_500), self._author("en"), post_record(text, "en"))

    def _second_thoughts(self, events: list[WorldEvent]) -> Iterator[WorldEvent]:
        rng = self._rng
        for event in events:
            fate, at = rng.random(), round(event.at + rng.uniform(20, 1500), 6)
            if fate < 0.02:
                yield WorldEvent(at, "delete", event.did, rkey=event.rkey)
            elif fate < 0.03 and event.record is not None:
                record = event.record | {"text": event.text + " (edited: typo)"}
                yield WorldEvent(at, "update", event.did, rkey=event.rkey, record=record)

    def _accounts(self, events: list[WorldEvent]) -> Iterator[WorldEvent]:
        """Accounts that leave, and the identity and account notices that say nothing new."""
        rng = self._rng
        posted = sorted({event.did for event in events})
        for status in ("deleted", "deleted", "deactivated", "deactivated", "suspended"):
            yield WorldEvent(rng.uniform(9000, 21_000), "account", rng.choice(posted), status=status)
        for _ in range(40):
            yield WorldEvent(rng.uniform(0, END), "identity", rng.choice(posted))
        for _ in range(25):
            yield WorldEvent(rng.uniform(0, END), "account", rng.choice(posted))


def seconds(clock: str) -> float:
    """`h:mm:ss` into the night, in seconds."""
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(rest)


def _phase(at: float, rng: random.Random) -> str:
    if rng.random() < 0.3:
        return "chatter"
    if at < POLLS_CLOSE:
        return "voting"
    if at >= DECLARED:
        return "after"
    if at > CLAIMS_BEGIN and rng.random() < 0.12:
        return "won"
    return "late" if at > LATE and rng.random() < 0.6 else "count"
