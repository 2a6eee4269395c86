"""The re-check finds what is no longer public, on a network that sends no deletes."""

from collections.abc import Sequence
from dataclasses import replace

from voxpop.posts import Author, Counted, Delete, Engagement, Event, Post, Upsert
from voxpop.recheck import Recheck, changes
from voxpop.sources.lookup import Later, Looked

NOW = 1_900_000_000_000_000
HOUR = 3_600_000_000


def post(number: int, text: str = "Polls are open", **more: object) -> Post:
    return replace(Post(f"x:{number}", "x", Author("x:9", "ana"), text, NOW - HOUR, NOW - HOUR), **more)  # type: ignore[arg-type]


class World:
    """A network that can be looked at, and a store's memory of what was looked at when."""

    name = network = "x"

    def __init__(self, *posts: Post) -> None:
        self.public = {p.id: p for p in posts}
        self.kept = dict(self.public)
        self.looked_at: dict[str, int] = {}
        self.asked: list[list[str]] = []
        self.later: Later | None = None

    async def look(self, ids: Sequence[str]) -> Looked:
        if self.later:
            raise self.later
        self.asked.append(list(ids))
        return Looked([self.public[i] for i in ids if i in self.public], [i for i in ids if i not in self.public])

    async def to_check(self, network: str, before: int, limit: int) -> list[str]:
        assert network == "x"
        return [i for i in self.kept if self.looked_at.get(i, 0) < before][:limit]

    async def checked(self, ids: Sequence[str], now: int) -> None:
        self.looked_at |= dict.fromkeys(ids, now)

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return [self.kept[i] for i in ids if i in self.kept]

    async def apply(self, _: str, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Delete):
                self.kept.pop(event.id, None)
            elif isinstance(event, Upsert):
                self.kept[event.post.id] = event.post


async def test_what_is_gone_leaves_the_store_in_batches_of_a_hundred():
    world = World(*(post(n) for n in range(250)))
    del world.public["x:7"], world.public["x:203"]
    recheck = Recheck(world, world, every_s=3600, clock=lambda: NOW)
    for _ in range(3):
        assert await recheck.once() == 5
    assert await recheck.once() == 60  # all is looked at
    assert [len(ids) for ids in world.asked] == [100, 100, 50]
    assert set(range(250)) - {int(i[2:]) for i in world.kept} == {7, 203}
    assert recheck.state == "waiting: all is looked at; 250 posts looked at, 2 of them gone"


async def test_a_post_is_looked_at_again_after_its_time_and_not_before():
    world, now = World(post(1)), [NOW]
    recheck = Recheck(world, world, every_s=3600, clock=lambda: now[0])
    await recheck.once()
    now[0] += HOUR - 1
    await recheck.once()
    assert len(world.asked) == 1
    now[0] += 2
    await recheck.once()
    assert len(world.asked) == 2


async def test_without_money_nothing_is_asked_and_nothing_counts_as_looked_at():
    world = World(post(1))
    world.later = Later("the month's budget is used up", 86_400)
    recheck = Recheck(world, world, every_s=3600, clock=lambda: NOW)
    assert await recheck.once() == 86_400
    assert not world.looked_at
    assert recheck.state.startswith("waiting: the month's budget is used up")


def test_a_changed_text_is_witnessed_now_and_new_counts_are_counts():
    old, same = post(1), post(2)
    new = post(1, "Polls are closed", links=("https://a.example/",))
    counted = post(2, engagement=Engagement(9, 1, 0))
    events = changes(Looked([new, counted, post(3)], ["x:4"]), [old, same], NOW)
    assert events == [
        Delete("x:4", NOW),
        Upsert(replace(new, witnessed_at=NOW)),
        Counted("x:2", Engagement(9, 1, 0)),
    ]
