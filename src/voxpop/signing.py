"""Build signing in to the page from a config: sessions, passwords, and a provider of identities if one is set."""

import os
import time

from voxpop.accounts.linked import Admitted
from voxpop.accounts.sessions import Sessions
from voxpop.accounts.sign_in import SignIn, sign_up
from voxpop.api.session import Elsewhere, SessionFaces
from voxpop.config import Accounts
from voxpop.errors import UsageError, VoxpopError
from voxpop.gate import AccountGate
from voxpop.records import Database

_DAY_S = 86_400
SECRET = "VOXPOP_OIDC_SECRET"  # noqa: S105 - the name of a variable


def session_faces(settings: Accounts, database: Database, gate: AccountGate) -> SessionFaces:
    """The faces of signing in; the gate then knows the sessions. Raises UsageError for a bad setting."""
    clock = gate.clock
    idle_s = settings.session_idle_days * _DAY_S
    sessions = Sessions(database, clock, lasts_s=settings.session_days * _DAY_S, idle_s=idle_s)
    gate.sessions = sessions
    sign_in = SignIn(database, sessions, clock, sign_up(settings.sign_up))
    return SessionFaces(gate, sign_in, _elsewhere(settings, gate))


def _elsewhere(settings: Accounts, gate: AccountGate) -> Elsewhere | None:
    if not settings.oidc_issuer:
        return None
    if not settings.oidc_client:
        raise UsageError("accounts.oidc_client is not set.", "Set the id that the provider gave this server.")
    try:
        from voxpop.accounts.oidc import Provider, rules
    except ModuleNotFoundError as error:
        what = f"Signing in by {settings.oidc_issuer} needs the package {error.name}."
        raise VoxpopError(what, "Install it with: pip install 'voxpop[team]'", code="no_driver") from error
    provider = Provider(
        settings.oidc_issuer,
        settings.oidc_client,
        os.environ.get(SECRET, ""),
        clock=gate.clock,
        ticks=time.monotonic,
        rules=rules(settings.oidc_claims),
    )
    return Elsewhere(provider, settings.oidc_title, Admitted(settings.oidc_domains, settings.oidc_add))
