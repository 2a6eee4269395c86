"""The API's description for machines (OpenAPI 3.1): read from the YAML files beside it; it checks nothing.

Each file is of one subject; `base.yaml` holds what all share. `tests/test_openapi.py` holds it against the routes
that are served.
"""

from functools import cache
from importlib import resources
from typing import Any

import orjson
import yaml
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from voxpop import __version__


def routes() -> list[Route]:
    """Where the description and the page that shows it are served."""
    return [Route("/openapi.json", _served), Route("/reference", _shown)]


@cache
def document() -> dict[str, Any]:
    """The whole description. A path or a schema that stands in two files is a fault of ours: raises ValueError."""
    files = {f.name: f for f in resources.files(__name__).iterdir() if f.name.endswith(".yaml")}
    parts = {name: yaml.safe_load(files[name].read_text("utf-8")) for name in sorted(files)}
    whole: dict[str, Any] = parts.pop("base.yaml")
    whole["info"]["version"] = __version__
    for name, part in parts.items():
        _add(whole["paths"], part["paths"], name)
        for kind, entries in part.get("components", {}).items():
            _add(whole["components"].setdefault(kind, {}), entries, name)
    for path in whole["paths"].values():
        for method, operation in path.items():
            if method != "parameters":
                operation["responses"] = {**operation["responses"], "default": _FAILURE}
    return whole


_FAILURE = {"$ref": "#/components/responses/Failure"}


def _add(whole: dict[str, Any], part: dict[str, Any], name: str) -> None:
    if twice := whole.keys() & part.keys():
        raise ValueError(f"{name} describes again what another file describes: {', '.join(sorted(twice))}")
    whole |= part


async def _served(_: Request) -> Response:
    return Response(orjson.dumps(document()), media_type="application/json")


async def _shown(_: Request) -> Response:
    return FileResponse(str(resources.files("voxpop").joinpath("web/reference.html")))
