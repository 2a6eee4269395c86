"""Work over HTTP that is no answer: taken from its account's allowance before it begins; it does none itself."""

from contextlib import AbstractAsyncContextManager

from starlette.requests import Request

from voxpop.api.entry import account_of, endpoint_of
from voxpop.desk import Desk, Work

SEARCH = "search"  # what is looked for in posts: a kept answer opened, a standing question begun
TOKENS = "tokens"  # texts cut and counted, conversations made shorter
FILES = "files"  # bytes taken, given and searched
ANSWERS = "chat"


def working(
    request: Request, bucket: str, *, model: str = "", tokens: int = 0
) -> AbstractAsyncContextManager[Work]:
    """`Desk.work` for whoever sent the request. Raises Denied or Limited."""
    desk: Desk = request.state.desk
    endpoint, id_ = endpoint_of(request.scope["path"]), request.state.request_id
    return desk.work(account_of(request), bucket, endpoint=endpoint, model=model, id=id_, tokens=tokens)
