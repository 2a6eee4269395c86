"""Tiers as data: what a file may say, what a tier gives, who is let in, and when its windows begin."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.accounts import TICKS, Account, Denied, Spent, Wanted
from voxpop.errors import UsageError
from voxpop.tier_file import TierFile, load, parse
from voxpop.tiers import LOCAL, Price, Resets, Rollout, share_of
from voxpop.times import MICROS, micros
from voxpop.windows import SLOT, long

NOW = micros("2026-11-22T12:07:00Z")
WANTED = Wanted("r", "chat", "voxpop", voice="regular")
DAY = 86_400 * MICROS


class TestTheFile:
    def test_the_shipped_one_has_three_tiers_to_give_and_an_unlimited_one(self) -> None:
        tiers = load()
        assert [*tiers.tiers] == [LOCAL, "free", "premium", "premium_plus"]
        assert tiers.default == "free"
        assert not any(tiers.tiers[LOCAL].buckets.values())
        names = [limit.name for limit in tiers.tiers["free"].buckets["chat"]]
        assert names == [
            "requests_per_second",
            "requests_per_day",
            "tokens_per_minute",
            "tokens_per_month",
            "concurrent",
        ]
        assert tiers.tiers["premium_plus"].weight > tiers.tiers["premium"].weight > tiers.tiers["free"].weight

    def test_an_own_file_replaces_a_tier_whole_and_stands_beside_the_others(self, tmp_path: Path) -> None:
        file = tmp_path / "t.toml"
        file.write_text('default = "gold"\noff = ["premium_plus"]\n[tier.gold]\n[tier.free]\ntitle = "F"\n')
        tiers = load(file)
        assert [*tiers.tiers] == [LOCAL, "free", "premium", "gold"]
        assert (tiers.default, tiers.tiers["free"].title, tiers.tiers["free"].buckets) == ("gold", "F", {})

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[tier.a]\ntitel = 'x'", "'titel'.*mean 'title'"),
            ("[tier.a.buckets.chat]\nrequest_per_day = 1", "mean 'requests_per_day'"),
            ("[tier.a.rollout]\ncountry = []", "mean 'countries'"),
            ("[price.x]\npromt = 1", "mean 'prompt'"),
            ("tiers = 1", "mean 'tier'"),
            ("default = 'prenium'", "mean 'premium'"),
            ("off = ['gratis']", "Unknown 'gratis'"),
            ("[tier.a.rollout]\nmeanwhile = 'fre'", "mean 'free'"),
            ("[tier.a.buckets.chat]\nrequests_per_day = true", "whole number"),
            ("[tier.a.buckets.chat]\nrequests_per_day = -1", "whole number"),
            ("[tier.a.buckets.chat]\nrequests_per_day = 1.5", "whole number"),
            ("[tier.a]\nresets = '25:00'", "slides"),
            ("[tier.a]\nresets = '00:07'", "quarter"),
            ("[tier.a]\nresets = '00:00 Nowhere/City'", "slides"),
            ("[tier.a]\nresets = '00:00 ../etc/passwd'", "slides"),
            ("[tier.a.rollout]\nshare = 2", "from 0 to 1"),
            ("[tier.a.rollout]\ncountries = ['France']", "two letters"),
            ("[tier.a.rollout]\nstarts = 'soon'", "no time"),
            ("[tier.'A b']", "named"),
            ("[tier]\na = 1", "table"),
            ("[tier.a]\nmodels = 'x'", "list"),
            ("[tier", "not TOML"),
        ],
    )
    def test_what_it_does_not_know_is_refused_with_the_cure(self, text: str, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            parse(text, "t.toml", load())

    @given(st.text(alphabet="[]tier.abc= \n'1{},\"rollout", max_size=60))
    def test_a_strange_file_is_read_or_refused_never_a_fault(self, text: str) -> None:
        with suppress(UsageError):
            parse(text, "t.toml", load())

    def test_a_file_that_is_not_there_names_the_setting(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"accounts\.tiers"):
            load(tmp_path / "none.toml")

    def test_it_is_read_again_when_it_changes_and_stays_when_it_breaks(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file, now = tmp_path / "t.toml", [0.0]
        file.write_text("[tier.gold]")
        tiers = TierFile(file, lambda: now[0])
        assert "gold" in tiers().tiers
        for text, there in [("[tier.silver]", "silver"), ("[tier.silver", "silver"), ("[tier.bronze]", "bronze")]:
            file.write_text(text)
            now[0] += 1
            assert there in tiers().tiers
        assert "stay as they were" in caplog.text
        file.unlink()
        now[0] += 1
        assert "bronze" in tiers().tiers


class TestWhatATierHas:
    def test_what_it_lacks_names_the_tier_that_has_it(self) -> None:
        tiers = parse(
            "[tier.mini]\nmodels = ['voxpop']\nvoices = ['regular']\ntools = []\nas_of_days = 1\n"
            "[tier.mini.buckets.chat]",
            under=load(),
        )
        mini = tiers.tiers["mini"]
        tiers.check(mini, WANTED, NOW)
        for change, said in [
            ({"model": "voxpop-fun"}, "model 'voxpop-fun'"),
            ({"voice": "fun"}, "voice 'fun'"),
            ({"tools": ("x_search",)}, "tool 'x_search'"),
            ({"as_of": NOW - 2 * DAY}, "goes back 1 days"),
            ({"bucket": "pictures"}, "pictures"),
        ]:
            with pytest.raises(Denied, match=said) as caught:
                tiers.check(mini, replace(WANTED, **change), NOW)
            assert "premium" in caught.value.cure
            assert caught.value.code == "forbidden"
        tiers.check(mini, replace(WANTED, as_of=NOW - DAY), NOW)

    def test_what_no_tier_has_says_so(self) -> None:
        tiers = parse("default = 'a'\n[tier.a]\nmodels = ['x']\n[tier.a.buckets.other]")
        with pytest.raises(Denied, match="No tier"):
            tiers.check(tiers.tiers["a"], WANTED, NOW)

    def test_a_tier_that_was_dropped_is_not_served_as_another(self) -> None:
        with pytest.raises(Denied, match="'gold'"):
            load().named(Account("a", tier="gold"))
        assert load().named(Account("a")).name == "free"
        assert load().named(Account()).name == LOCAL


class TestPrices:
    def test_a_price_is_exact_and_rounded_once(self) -> None:
        tiers = parse(
            "default='a'\n[tier.a]\n[price.big]\nprompt = 3\ncached = 0.75\ncompletion = 15\nsearches = 5\n"
            "answer = 0.01\n[price.'vox*']\nprompt = 1"
        )
        spent = Spent(prompt_tokens=1000, cached_tokens=400, completion_tokens=200, searches=2, answers=1)
        usd = 600 * 3e-6 + 400 * 0.75e-6 + 200 * 15e-6 + 2 * 0.005 + 0.01
        assert tiers.price("big").ticks(spent) == round(usd * TICKS)
        assert tiers.price("voxpop").ticks(Spent(prompt_tokens=1)) == 10_000
        assert tiers.price("unknown") == Price()
        assert tiers.price("voxpop").cached == tiers.price("voxpop").prompt  # unless it has a price of its own
        assert Price(prompt=1).ticks(Spent(prompt_tokens=500_000)) == 1
        assert Price(prompt=1).ticks(Spent(prompt_tokens=499_999)) == 0
        assert Price().ticks(Spent(source_usd=0.005)) == TICKS // 200


class TestRollout:
    def test_the_allow_list_goes_before_the_date_the_country_and_the_share(self) -> None:
        rules = Rollout(frozenset({"FR"}), 0.0, frozenset({"a", "bea"}), NOW + 1)
        assert rules.keeps_out("p", Account("a"), NOW) == ""
        assert rules.keeps_out("p", Account("b", "bea"), NOW) == ""
        assert "opens at 2026" in rules.keeps_out("p", Account("c"), NOW)
        assert "open in FR" in rules.keeps_out("p", Account("c", country="DE"), NOW + 1)
        assert "open to 0%" in rules.keeps_out("p", Account("c", country="fr"), NOW + 1)
        assert replace(rules, share=1.0).keeps_out("p", Account("c", country="fr"), NOW + 1) == ""

    @given(st.text(max_size=20), st.floats(0, 1), st.floats(0, 1))
    def test_a_share_that_grows_puts_nobody_out(self, id_: str, one: float, other: float) -> None:
        small, large = sorted((one, other))
        if not Rollout(share=small).keeps_out("p", Account(id_), NOW):
            assert not Rollout(share=large).keeps_out("p", Account(id_), NOW)

    def test_a_share_is_about_so_many_and_another_lot_of_each_tier(self) -> None:
        ids = [f"acct_{n}" for n in range(4000)]
        inside = {i for i in ids if share_of("premium", i) < 0.25}
        assert 0.22 < len(inside) / len(ids) < 0.28
        other = {i for i in ids if share_of("gold", i) < 0.25}
        assert 0.03 < len(inside & other) / len(ids) < 0.10


class TestWindows:
    def test_a_day_resets_at_its_hour_in_its_zone(self) -> None:
        begin, end = long("day", NOW, Resets(4, 30, "Asia/Kolkata"))
        assert (begin, end) == (micros("2026-11-21T23:00:00Z"), micros("2026-11-22T23:00:00Z"))
        begin, end = long("month", NOW, Resets(0, 0, "Europe/Paris"))
        assert (begin, end) == (micros("2026-10-31T23:00:00Z"), micros("2026-11-30T23:00:00Z"))

    def test_a_day_of_25_and_of_23_hours(self) -> None:
        for day, hours in [
            ("2026-10-25T12:00:00Z", 25),
            ("2026-03-29T12:00:00Z", 23),
            ("2026-06-01T12:00:00Z", 24),
        ]:
            begin, end = long("day", micros(day), Resets(0, 0, "Europe/Paris"))
            assert (end - begin) / 3600 / MICROS == hours

    def test_a_sliding_one_reaches_a_whole_window_back(self) -> None:
        begin, end = long("day", NOW, None)
        assert begin == micros("2026-11-21T12:00:00Z")
        assert end > NOW

    zones = st.sampled_from(["UTC", "Europe/Paris", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia"])
    moments = st.datetimes(datetime(2011, 12, 28), datetime(2040, 1, 1))

    @given(moments, zones, st.integers(0, 23), st.sampled_from(["day", "month"]))
    def test_windows_follow_each_other_without_gap_or_overlap(
        self, at: datetime, zone: str, hour: int, per
    ) -> None:  # type: ignore[no-untyped-def]
        now = int(at.replace(tzinfo=UTC).timestamp()) * MICROS
        resets = Resets(hour, 15, zone)
        begin, end = long(per, now, resets)
        assert begin <= now < end
        assert begin % SLOT == end % SLOT == 0
        assert long(per, end, resets)[0] == end
        assert long(per, begin, resets) == (begin, end)
        assert long(per, end - 1, resets) == (begin, end)
        local = datetime.fromtimestamp(begin // MICROS, ZoneInfo(zone))
        shifted = timedelta(hours=local.hour, minutes=local.minute) - timedelta(hours=hour, minutes=15)
        assert abs(shifted) <= timedelta(hours=1)  # an hour that is not there begins when it would have


def test_a_price_is_told_by_the_token_as_xai_tells_it() -> None:
    two_dollars = 2 * 10**10  # ticks of a million tokens: xAI's own lists say 20000
    price = Price(prompt=two_dollars, completion=5 * two_dollars, searches=25 * 10**10).each()
    assert (price.prompt, price.cached, price.completion) == (20_000, 0, 100_000)
    assert price.searches == 250_000_000
