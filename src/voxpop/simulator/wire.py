"""Turn events of the world into Jetstream v1 lines, field for field; it knows no sockets and no clock."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from voxpop.simulator.records import WorldEvent, cid, moved, tid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEYS = re.compile(rb'(/app\.bsky\.feed\.post/|"rkey":")([2-7a-z]{13})')
_TYPING_US = 1_400_000


def line(event: WorldEvent, time_us: int, seq: int, shift_us: int = 0) -> bytes:
    """One line as Jetstream sends it at `time_us`, the relay's time in microseconds.

    `shift_us` moves all record keys to another night, so that two nights never share a post.
    """
    message: dict[str, Any] = {"did": event.did, "time_us": time_us}
    if event.op == "identity":
        message |= {"kind": "identity", "identity": _identity(event, time_us, seq)}
    elif event.op == "account":
        message |= {"kind": "account", "account": _account(event, time_us, seq)}
    else:
        message |= {"kind": "commit", "commit": _commit(event, time_us, seq)}
    text = orjson.dumps(message)
    return _KEYS.sub(lambda m: m[1] + moved(m[2].decode(), shift_us).encode(), text) if shift_us else text


def _commit(event: WorldEvent, time_us: int, seq: int) -> dict[str, Any]:
    commit: dict[str, Any] = {
        "rev": tid(time_us, seq),
        "operation": event.op,
        "collection": event.collection,
        "rkey": event.rkey,
    }
    if event.record is not None:
        kind, *rest = event.record.items()
        commit["record"] = dict([kind, ("createdAt", event.claim or iso(time_us - _TYPING_US)), *rest])
        commit["cid"] = cid(event)
    return commit


def _identity(event: WorldEvent, time_us: int, seq: int) -> dict[str, Any]:
    named = {"handle": event.handle} if event.handle else {}
    return {"did": event.did, **named, "seq": seq, "time": iso(time_us)}


def _account(event: WorldEvent, time_us: int, seq: int) -> dict[str, Any]:
    gone = {"status": event.status} if event.status else {}
    return {"active": not event.status, "did": event.did, "seq": seq, **gone, "time": iso(time_us)}


def iso(time_us: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def did_document(did: str, handle: str) -> bytes:
    """What a PLC directory answers for a DID."""
    key = did.rpartition(":")[2]
    document = {
        "@context": [
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/multikey/v1",
            "https://w3id.org/security/suites/secp256k1-2019/v1",
        ],
        "id": did,
        "alsoKnownAs": [f"at://{handle}"],
        "verificationMethod": [
            {
                "id": f"{did}#atproto",
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": "zQ3sh" + (key * 2)[:44],
            }
        ],
        "service": [
            {
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "https://pds.murmur.example",
            }
        ],
    }
    return orjson.dumps(document)


class Profile(NamedTuple):
    """An account as its network shows it. `label` and `verified` (`valid`, `none`) are the network's own words."""

    did: str
    handle: str
    name: str
    bio: str = ""
    label: str = ""
    verified: str = "none"


def profiles(people: list[Profile]) -> bytes:
    """What `app.bsky.actor.getProfiles` answers: those who exist."""
    return orjson.dumps(
        {
            "profiles": [
                {
                    "did": p.did,
                    "handle": p.handle,
                    "displayName": p.name,
                    "description": p.bio,
                    "associated": {"lists": 0, "feedgens": 0, "starterPacks": 0, "labeler": False},
                    "labels": [_profile_label(p)] if p.label else [],
                    "verification": {
                        "verifications": [],
                        "verifiedStatus": p.verified,
                        "trustedVerifierStatus": "none",
                    },
                    "createdAt": "2024-05-01T08:00:00.000Z",
                    "followersCount": 120,
                    "followsCount": 80,
                    "postsCount": 400,
                }
                for p in people
            ]
        }
    )


def _profile_label(profile: Profile) -> dict[str, str]:
    uri = f"at://{profile.did}/app.bsky.actor.profile/self"
    return {"src": profile.did, "uri": uri, "val": profile.label, "cts": "2024-05-01T08:00:00.000Z"}
