"""What `voxpop doctor` looks at of accounts, from the records to the sign-in; it mends nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from importlib import resources
from importlib.util import find_spec

import httpx
from alembic.config import Config as Alembic
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import to_tuple
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from voxpop.config import Config
from voxpop.errors import VoxpopError
from voxpop.quotas.opening import tier_file
from voxpop.quotas.short import Short
from voxpop.records import NAME
from voxpop.signing import SECRET

_WAIT_S = 3
Said = tuple[str, str, str, str]
"""The link, its state (`ok`, `warning`, `broken`), what it is like, and the cure."""


async def examined(config: Config) -> AsyncIterator[Said]:
    """Each link of accounts, those that are not set left out."""
    yield await asyncio.to_thread(_records, config)
    try:
        tiers = tier_file(config.accounts)()
        yield "tiers", "ok", f"{', '.join(tiers.tiers)}.", ""
    except VoxpopError as error:
        yield "tiers", "broken", error.what, error.cure
    if config.accounts.limits_url:
        yield await _limits(config.accounts.limits_url)
    if config.accounts.oidc_issuer:
        yield await _sign_in(config)
    if config.server.grpc == "on" and not (find_spec("grpc") and find_spec("xai_sdk")):
        yield "grpc", "broken", "The gRPC API is not installed.", "Install it with: pip install 'voxpop[grpc]'"


def _records(config: Config) -> Said:
    path = config.data / NAME
    if not config.records.url and not path.is_file():
        return "records", "ok", f"No accounts yet in {config.data}.", ""
    cure = "Check that it runs, its disk, and records.url."
    try:
        url = make_url(config.records.url or f"sqlite:///{path}")
        where = url.render_as_string(hide_password=True)
        waits = {"timeout" if url.get_backend_name() == "sqlite" else "connect_timeout": _WAIT_S}
        engine = create_engine(url, connect_args=waits)
        with engine.connect() as connection:
            here = set(MigrationContext.configure(connection).get_current_heads())
        engine.dispose()
    except ModuleNotFoundError as error:
        what = f"The driver {error.name} for the records is missing."
        return "records", "broken", what, "Install it with: pip install 'voxpop[team]'"
    except (SQLAlchemyError, OSError, ValueError) as error:
        said = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0][:200]
        return "records", "broken", f"The records cannot be reached: {said}.", cure
    alembic = Alembic()
    alembic.set_main_option("script_location", str(resources.files("voxpop.records").joinpath("migrations")))
    scripts = ScriptDirectory.from_config(alembic)
    every = list(scripts.walk_revisions())
    held = {name for each in every for name in to_tuple(each.dependencies, default=())}  # by who depends on it
    if here == set(scripts.get_heads()) - held:
        return "records", "ok", f"{where} answers, its tables are of this version.", ""
    if unknown := here - {each.revision for each in every}:
        what = f"{where} is of a newer voxpop ({', '.join(sorted(unknown))})."
        return "records", "broken", what, "Run the voxpop that it belongs to, or restore a backup."
    return "records", "warning", f"{where} is of an older voxpop.", "The next 'voxpop up' brings its tables up."


async def _limits(url: str) -> Said:
    try:
        short = Short(url)
        try:
            async with asyncio.timeout(_WAIT_S):
                await short.check()
        finally:
            await short.close()
    except VoxpopError as error:
        return "limits", "broken", error.what, error.cure
    except (OSError, TimeoutError) as error:
        what = f"accounts.limits_url does not answer: {type(error).__name__}."
        return "limits", "broken", what, "Check that Redis runs there."
    return "limits", "ok", "Redis answers.", ""


async def _sign_in(config: Config) -> Said:
    issuer = config.accounts.oidc_issuer
    if not config.accounts.oidc_client or not os.environ.get(SECRET):
        missing = f"{SECRET} is not set." if config.accounts.oidc_client else "accounts.oidc_client is not set."
        return "sign-in", "broken", missing, "Set what the provider gave this server (docs/signing-in.md)."
    address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        async with httpx.AsyncClient(timeout=_WAIT_S) as client:
            named = (await client.get(address)).raise_for_status().json()["issuer"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        cure = "Check accounts.oidc_issuer and the connection."
        return "sign-in", "broken", f"{address} does not tell of a provider: {type(error).__name__}.", cure
    if named != issuer:
        what = f"The provider calls itself {str(named)[:200]!r}, and accounts.oidc_issuer is {issuer!r}."
        return "sign-in", "broken", what, "Set it exactly as the provider says it."
    return "sign-in", "ok", f"{issuer} answers.", ""
