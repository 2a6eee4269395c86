"""Read the feed addresses of an OPML file, however deep its outlines nest; entities and fetching are refused."""

from pathlib import Path
from xml.parsers import expat

from voxpop.errors import VoxpopError

MAX_BYTES, MAX_FEEDS = 10 << 20, 10_000


class _Refused(Exception):
    """What the file may not contain."""


def read_opml(body: bytes) -> tuple[str, ...]:
    """The `xmlUrl` of every outline, in order, each once. Raises ValueError that says what is wrong."""
    found: dict[str, None] = {}
    inside = False

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal inside
        inside = inside or name.lower() == "opml"
        if not inside:
            raise _Refused("it is no OPML")
        if name.lower() == "outline":
            address = next((v.strip() for k, v in attributes.items() if k.lower() == "xmlurl"), "")
            if address:
                found[address] = None
            if len(found) > MAX_FEEDS:
                raise _Refused(f"it lists over {MAX_FEEDS:,} feeds")

    def declared(*_: object) -> None:
        raise _Refused("it declares entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = opened
    parser.EntityDeclHandler = declared
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not XML: {error}") from error
    except _Refused as error:
        raise ValueError(str(error)) from error
    return tuple(found)


def load_opml(path: Path) -> tuple[str, ...]:
    """The feeds of an OPML file. Raises VoxpopError where it cannot be read or names none."""
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        cure = "Give a feed as http(s)://host/path, or the path of an OPML file."
        raise VoxpopError(f"The list of feeds {str(path)!r} cannot be read: {error.strerror}.", cure) from error
    try:
        if len(body) > MAX_BYTES:
            raise ValueError(f"it is over {MAX_BYTES >> 20} MB")
        feeds = read_opml(body)
        if not feeds:
            raise ValueError("it names no feed")
    except ValueError as error:
        cure = "Export it again from your feed reader as OPML."
        raise VoxpopError(f"The list of feeds {str(path)!r} cannot be used: {error}.", cure) from error
    return feeds
