"""One frozen config from defaults, one TOML file and `VOXPOP_` variables; an unknown key refuses to start."""

import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

from voxpop.authorities import defaults
from voxpop.errors import UsageError


def _setting(default: Any, doc: str, low: float = 0, high: float = 1e9) -> Any:
    """A setting; a number must lie from `low` to `high`."""
    known = {"doc": doc, "low": low, "high": high}
    if isinstance(default, list | tuple):
        return field(default_factory=lambda: tuple(default), metadata=known)
    return field(default=default, metadata=known)


@dataclass(frozen=True, slots=True)
class Server:
    host: str = _setting("127.0.0.1", "Address to listen on. Without accounts only loopback is accepted.")
    port: int = _setting(8080, "Port of the page and the API; 0 takes a free one.", high=65535)
    streams: int = _setting(64, "How many answers may be under way at once, and how many pages open.", 1, 10_000)
    answer_s: float = _setting(600.0, "Seconds after which an answer that is not whole is broken off.", 1)
    drain_s: float = _setting(30.0, "Seconds that answers under way have to end when the server is told to.")
    trusted_hosts: tuple[str, ...] = _setting(
        (),
        "Names beside loopback's by which it may be asked, such as `ask.example.org`; needs accounts.",
    )
    cors_origins: tuple[str, ...] = _setting(
        (), "Sites whose pages may ask with a key, such as `https://app.example.org`. Empty: none."
    )
    proxies: tuple[str, ...] = _setting(
        (), "Addresses or networks of proxies that are believed when they name a client. Empty: none."
    )
    country_header: str = _setting(
        "", "Header in which those proxies name a client's country, such as `cf-ipcountry`."
    )
    aliases: tuple[str, ...] = _setting(
        ("grok-*", "gpt-*", "chatgpt-*", "claude-*"),
        "Names of models that mean `voxpop`, `*` for any characters: what programs ask for that were written for "
        "others. The answer carries the name that was asked for.",
    )
    grpc: str = _setting(
        "auto",
        "xAI's gRPC API: `auto` (where voxpop[grpc] is installed and the port is free), `on` (else voxpop does not "
        "start), `off`.",
    )
    grpc_port: int = _setting(50051, "Port of the gRPC API; 0 takes a free one.", high=65535)
    grpc_cert: str = _setting("", "Certificate (PEM) of the gRPC API; empty: it is served without TLS.")
    grpc_key: str = _setting("", "Private key (PEM) of that certificate.")


@dataclass(frozen=True, slots=True)
class Storage:
    data: str = _setting("", "Folder of posts, index and models. Empty: `voxpop` in the user's data folder.")
    commit_s: float = _setting(0.5, "Seconds between the index's commits; posts are searchable before them.", 0.05)
    purge_s: float = _setting(60.0, "Seconds until a removed text has left every file.", 1)
    keep_days: float = _setting(0.0, "Drop posts that were witnessed longer ago, in days; 0 keeps all.")
    keep_gb: float = _setting(0.0, "Drop the oldest posts once the folder holds more, in GB; 0 keeps all.")


@dataclass(frozen=True, slots=True)
class Records:
    url: str = _setting(
        "",
        "Database of accounts, usage and what is stored for them, such as `postgresql+psycopg://voxpop@db/voxpop`. "
        "Empty: a SQLite file in the data folder.",
    )


@dataclass(frozen=True, slots=True)
class Accounts:
    tiers: str = _setting("", "File (TOML) of your own tiers and prices; see `voxpop tiers`. Empty: as shipped.")
    limits_url: str = _setting(
        "",
        "Where requests of a second and tokens of a minute are counted, such as `redis://localhost:6379`, for "
        "several servers together. Empty: in this process.",
    )
    sign_up: str = _setting("off", "Who may make an account on the page: `off`, `invited`, `open`.")
    session_days: float = _setting(30.0, "Days after which a signed-in page must sign in again.", 0.01, 400)
    session_idle_days: float = _setting(7.0, "Days without use after which it must.", 0.01, 400)
    oidc_issuer: str = _setting(
        "", "Provider of identities to sign in by (docs/signing-in.md); its secret is in VOXPOP_OIDC_SECRET."
    )
    oidc_client: str = _setting("", "The id that it gave this server.")
    oidc_title: str = _setting("your company's account", "What the button says after: Sign in with.")
    oidc_domains: tuple[str, ...] = _setting((), "Domains whose verified addresses may sign in. Empty: all.")
    oidc_add: bool = _setting(True, "Add a user for somebody new; else only those who were added already come in.")
    oidc_claims: tuple[str, ...] = _setting(
        (), "What a claim gives, such as `groups=staff tier=premium team=News`; the first that is met."
    )


@dataclass(frozen=True, slots=True)
class Files:
    each_mb: int = _setting(100, "How large an uploaded file may be, in MiB.", 1, 10_000)
    batch_at_once: int = _setting(2, "How many requests of batches are under way at once, of all accounts.", 1, 64)
    account_mb: int = _setting(1000, "How large the files of one account may be together, in MiB.", 1, 1_000_000)


@dataclass(frozen=True, slots=True)
class Sources:
    use: tuple[str, ...] = _setting(
        ("auto",),
        "Sources to ingest, such as `auto`, `bluesky`, `rss`, `replay:PATH` (`voxpop sources` lists them).",
    )
    bluesky_hosts: tuple[str, ...] = _setting(
        (), "Jetstream addresses, tried in order. Empty: the public instances."
    )
    lookback_s: float = _setting(1800.0, "How far back a first connection starts, in seconds.")
    zstd_dictionary: str = _setting(
        "", "Path of Jetstream's zstd dictionary; with it the stream is asked for compressed."
    )
    engagement: bool = _setting(
        False, "Count Bluesky's likes, reposts and replies; takes some ten times the bandwidth."
    )
    probe_s: float = _setting(5.0, "How long `auto` waits for Bluesky before it plays the simulated stream.", 0.1)


@dataclass(frozen=True, slots=True)
class X:
    rules: tuple[str, ...] = _setting((), "Rules of the filtered stream, in X's own words, kept in sync there.")
    host: str = _setting("https://api.x.com", "Address of X's API.")
    price_usd: float = _setting(0.005, "Price of one post read, in US dollars.")
    monthly_usd: float = _setting(20.0, "Budget of a calendar month (UTC); reading stops there.")
    backfill_minutes: int = _setting(
        0, "Minutes that X gives again after a cut, where the access has them.", high=5
    )
    recheck_hours: float = _setting(24.0, "Hours between two looks whether a kept post is still public; 0: never.")


@dataclass(frozen=True, slots=True)
class Rss:
    feeds: tuple[str, ...] = _setting((), "Addresses of feeds, or paths of OPML files, that source `rss` reads.")
    shortest_s: float = _setting(60.0, "Shortest pause between two looks at a feed, in seconds.", 1)
    longest_s: float = _setting(3600.0, "Longest pause between two looks at a feed, in seconds.", 1)
    oldest_days: float = _setting(7.0, "Entries whose own date is older are no news and not taken; 0 takes all.")


@dataclass(frozen=True, slots=True)
class Watching:
    traces: str = _setting("", "OTLP/HTTP address that takes traces; empty: none (needs voxpop[traces]).")
    log: str = _setting("text", "How log lines are written: `text` or `json`.")
    every_s: float = _setting(2.0, "Seconds between two looks at the standing questions that new posts touch.", 0.1)
    watches: int = _setting(1000, "How many standing questions there may be.", 1, 100_000)
    watches_each: int = _setting(100, "How many standing questions one account may have.", 1, 100_000)
    webhooks_private: bool = _setting(False, "Let webhooks be at private addresses, such as this machine's own.")


@dataclass(frozen=True, slots=True)
class EngineChoice:
    use: str = _setting(
        "auto", "`auto` (the best model on this machine, else quotes), `quote`, `local`, `openai`, `echo`."
    )
    model: str = _setting(
        "",
        "Model for `local` (see `voxpop models`), or its `.gguf` file, or for `openai`. Empty: the best that fits.",
    )
    url: str = _setting("http://127.0.0.1:8000/v1", "Base URL for `openai`.")
    grammar_field: str = _setting("", "Body field by which that server takes a GBNF grammar, such as `grammar`.")
    pull: bool = _setting(True, "Let `auto` download a model while it answers with quotes.")


@dataclass(frozen=True, slots=True)
class Answers:
    voice: str = _setting("regular", "The voice where a request names none.")
    policy: str = _setting("", "File (TOML) that changes what is refused; see `voxpop policy`. Empty: as shipped.")
    voices: str = _setting("", "Folder of your own voices (`*.md`). Empty: `voices` in the data folder.")
    keep_days: float = _setting(
        30.0, "Days for which answers are kept, to be opened and made again; 0 keeps none.", 0, 36_500
    )


@dataclass(frozen=True, slots=True)
class Authorities:
    authority: tuple[str, ...] = _setting(
        defaults("authority"),
        "Accounts whose results are declarations; each may be bound: `ID kinds=election places=Avalon years=2026`.",
    )
    press: tuple[str, ...] = _setting(
        defaults("press"), "Accounts of known press: ids, proven handles, `*.domain`. Feeds of `rss` are press."
    )
    organisation: tuple[str, ...] = _setting(
        defaults("organisation"), "Accounts of bodies that speak for themselves, and feeds that are no press."
    )
    person: tuple[str, ...] = _setting(defaults("person"), "Accounts of persons who are who they say.")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that an operator can set, by section."""

    server: Server = field(default_factory=Server)
    storage: Storage = field(default_factory=Storage)
    records: Records = field(default_factory=Records)
    accounts: Accounts = field(default_factory=Accounts)
    files: Files = field(default_factory=Files)
    sources: Sources = field(default_factory=Sources)
    x: X = field(default_factory=X)
    rss: Rss = field(default_factory=Rss)
    watching: Watching = field(default_factory=Watching)
    engine: EngineChoice = field(default_factory=EngineChoice)
    answers: Answers = field(default_factory=Answers)
    authorities: Authorities = field(default_factory=Authorities)

    @property
    def data(self) -> Path:
        """The data folder: as set, else `voxpop` where the platform keeps a user's data."""
        if self.storage.data:
            return Path(self.storage.data).expanduser()
        base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return Path(base).expanduser() / "voxpop"


def load(file: Path | None, environment: Mapping[str, str]) -> Config:
    """Defaults, then the file, then `VOXPOP_SECTION_KEY` variables. Raises UsageError for what it does not know."""
    config = Config()
    if file:
        try:
            raw = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise UsageError(f"Cannot read the config {file}: {error.strerror}.", "Check the path.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"The config {file} is not TOML: {error}.", "Mend that line.") from error
        except RecursionError as error:
            raise UsageError(f"The config {file} nests too deeply.", "No setting is nested in lists.") from error
        for section, values in raw.items():
            if not isinstance(values, dict):
                raise UsageError(f"'{section}' in {file} stands outside a section.", _nearest(f"{section}"))
            for key, value in values.items():
                config = _with(config, section, key, value)
    for name, text in environment.items():
        if name.startswith("VOXPOP_") and name not in _NOT_SETTINGS:
            section, _, key = name.removeprefix("VOXPOP_").lower().partition("_")
            config = _with(config, section, key, text)
    return config


def settings() -> list[tuple[str, str, Any, str]]:
    """(name, environment variable, default, meaning) of every setting, for the table in the docs."""
    return [
        (
            f"{s.name}.{f.name}",
            f"VOXPOP_{s.name}_{f.name}".upper(),
            getattr(getattr(Config(), s.name), f.name),
            f.metadata["doc"],
        )
        for s in fields(Config)
        for f in fields(_SECTIONS[s.name])
    ]


# Secrets and addresses of a test or a mirror: read where they are used, never kept in the config.
_NOT_SETTINGS = {
    "VOXPOP_CHROMIUM",
    "VOXPOP_CONFIG",
    "VOXPOP_GROK1_REFERENCE",
    "VOXPOP_GROK1_TOKENIZER_URL",
    "VOXPOP_HUB",
    "VOXPOP_KEY",
    "VOXPOP_MASTODON_TOKENS",
    "VOXPOP_OIDC_SECRET",
    "VOXPOP_OPENAI_KEY",
    "VOXPOP_TEST_DATA",
    "VOXPOP_X_TOKEN",
}
_SECTIONS: dict[str, Any] = {f.name: f.default_factory for f in fields(Config)}


def _with(config: Config, section: str, key: str, value: Any) -> Config:
    known = {f.name: f for f in fields(_SECTIONS[section])} if section in _SECTIONS else {}
    if key not in known:
        raise UsageError(
            f"Unknown setting '{section}.{key}'.", _nearest(f"{section}.{key}"), code="unknown_setting"
        )
    typed = _typed(f"{section}.{key}", known[key].type, value)
    if isinstance(typed, int | float):
        low, high = known[key].metadata["low"], known[key].metadata["high"]
        if not low <= typed <= high:
            cure = f"Give a number from {low:g} to {high:g}."
            raise UsageError(f"The setting '{section}.{key}' cannot be {value!r}.", cure)
    return replace(config, **{section: replace(getattr(config, section), **{key: typed})})


def _typed(name: str, kind: Any, value: Any) -> Any:
    wanted = "list" if get_origin(kind) is tuple else kind.__name__
    with suppress(ValueError, KeyError):
        match wanted, value:
            case "list", str():
                return tuple(item.strip() for item in value.split(",") if item.strip())
            case "list", list():
                return tuple(str(item).strip() for item in value if str(item).strip())
            case "str", str():
                return value
            case "bool", bool():
                return value
            case "bool", str():
                return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
            case (("int" | "float"), bool()):
                pass
            case "int", int() | str():
                return int(value)
            case "float", int() | float() | str():
                return float(value)
    raise UsageError(f"The setting '{name}' cannot be {value!r}.", f"Give a value of type {wanted}.")


def _nearest(name: str) -> str:
    names = [n for n, *_ in settings()]
    close = get_close_matches(name, names, 1, 0.5) or get_close_matches(name.rpartition(".")[2], names, 1, 0.4)
    return f"Did you mean '{close[0]}'?" if close else "See docs/configuration.md."
