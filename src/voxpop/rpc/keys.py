"""xAI's Auth service: what the caller's own key is, and never the key itself."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from xai_sdk.proto import auth_pb2

from voxpop.accounts.keys import information
from voxpop.records import Database
from voxpop.rpc.door import caller


@dataclass(frozen=True, slots=True)
class Auth:
    """The one method."""

    records: Database

    async def get_api_key_info(self, request: Any, context: Any) -> Any:
        """The key that the call came with: whose it is, what for, since when."""
        account = caller().account
        said = await self.records.run(lambda s: information(s, account), write=False)
        said["disabled"] = said.pop("api_key_disabled")
        for name in ("create_time", "modify_time"):
            at = Timestamp()
            at.FromJsonString(said.pop(name))
            said[name] = at
        return auth_pb2.ApiKey(**said)
