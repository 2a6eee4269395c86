"""The commands that keep a data folder, from `forget` to `verify`; they ask and print, and `keeping/` does."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from voxpop.cli_options import config_of, data_option, json_option, runs
from voxpop.errors import UsageError, VoxpopError
from voxpop.text import counted

if TYPE_CHECKING:
    from voxpop.keeping.audit import Key, Report
    from voxpop.keeping.forgetting import Matching

    Owners = dict[Key, tuple[str, str]]

_SHOWN = 5
_TELL_S = 0.5
_LONGEST_S = 6 * 3600.0


class _Line:
    """One line on the terminal that is written over as work goes on; silent with --json and in a file."""

    def __init__(self, as_json: bool) -> None:
        self._silent, self._last, self._wide = as_json or not sys.stderr.isatty(), time.monotonic(), 0

    def tell(self, what: str, done: int, total: int) -> None:
        """Show how far `what` is, twice a second."""
        if self._silent or time.monotonic() - self._last < _TELL_S:
            return
        self._last = time.monotonic()
        line = f"{what}: {100 * done // max(total, 1)} %"
        click.echo(f"\r{line:<{self._wide}}", nl=False, err=True)
        self._wide = len(line)

    def clear(self) -> None:
        """Leave the line empty."""
        if self._wide:
            click.echo(f"\r{'':<{self._wide}}\r", nl=False, err=True)


def _print(as_json: bool, row: dict[str, Any], *lines: str) -> None:
    if as_json:
        click.echo(orjson.dumps(row).decode())
    for line in () if as_json else lines:
        click.echo(line)


@click.command()
@click.option("--post", "posts", multiple=True, help="A post's id or web address. May be repeated.")
@click.option("--author", "authors", multiple=True, help="All posts of a handle or account id. May be repeated.")
@click.option("--before", help="All posts of anybody that were witnessed before this time, such as -30d.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
@json_option
@click.pass_context
@runs
async def forget(context: click.Context, as_json: bool, yes: bool, data: Path | None, **given: Any) -> None:
    """Remove posts from search at once and from every file, beside a running server too; asks first.

    Each option is carried out on its own: --author A --before T forgets all of A, and all older ones of anybody.

    Example: voxpop forget --author ada.example
    """
    from voxpop.keeping import forgetting
    from voxpop.render import plain
    from voxpop.service import clock
    from voxpop.times import instant

    folder = config_of(context, data=data).data
    try:
        before = instant(given["before"], clock()) if given["before"] else None
    except (ValueError, OverflowError) as error:
        cure = "Give an ISO 8601 time such as 2014-10-22T14:30:00Z, a date, or an age such as -30d."
        raise UsageError(f"--before cannot be '{given['before']}'.", cure) from error
    wanted = forgetting.Wanted(given["posts"], given["authors"], before)
    wanted = await asyncio.to_thread(forgetting.resolved, folder, wanted)
    found = await asyncio.to_thread(forgetting.find, folder, wanted)
    if not as_json:
        more = ", ..." if found.posts > len(found.ids) else ""
        ids = f": {', '.join(found.ids)}{more}" if found.ids else ""
        click.echo(f"{counted(found.posts, 'stored post')}{plain(_apart(found, given))}{plain(ids)}", err=True)
        if not yes and not click.confirm("Forget them, and refuse them when they come again?", err=True):
            raise VoxpopError("Nothing was forgotten.", "Answer y, or give --yes.", code="declined")
    said: list[str] = []
    await forgetting.forget(folder, wanted, said.append)
    row = {"found": found.posts, "ids": found.ids, "said": said}
    nobody = "No stored post has this id or address. An id that comes later is refused."
    gone = "No search finds them, and no page and no log holds their text."
    _print(
        as_json, row, *((*said, gone) if found.posts else (nobody if wanted.posts else "Nothing stored matches.",))
    )


def _apart(found: "Matching", given: dict[str, Any]) -> str:
    """What each option finds, where there are several: together they are more than any of them."""
    each = {
        "by id": found.named if given["posts"] else None,
        f"of {', '.join(given['authors'])}": found.by_author if given["authors"] else None,
        f"before {given['before']}": found.before if given["before"] else None,
    }
    parts = [f"{count:,} {what}" for what, count in each.items() if count is not None]
    return f" ({', '.join(parts)})" if len(parts) > 1 else ""


@click.command()
@click.option("--text", required=True, help="The text; `-` reads it from the standard input.")
@data_option
@json_option
@click.pass_context
@runs
async def audit(context: click.Context, text: str, as_json: bool, data: Path | None) -> None:
    """Look for a text in every byte of the data folder: exit 0 where it is nowhere, 1 where it is anywhere.

    Example: voxpop audit --text - < said.txt
    """
    from voxpop.keeping import audit as auditing
    from voxpop.keeping.progress import watched
    from voxpop.render import plain

    folder, line = config_of(context, data=data).data, _Line(as_json)
    if text == "-":
        text = sys.stdin.buffer.read(auditing.LONGEST_INPUT).decode("utf-8", "replace").strip("\r\n")
    report = await watched(lambda tell: auditing.audit(folder, text, tell), line.tell)
    owners = await watched(lambda _: auditing.owners(report), line.tell)
    line.clear()
    if as_json:
        click.echo(orjson.dumps(_audit_json(report, owners)).decode())
    else:
        for said in _audit_text(report, owners):
            click.echo(plain(said))
    if report.found or report.live:
        sys.exit(1)


def _audit_json(report: "Report", owners: "Owners") -> dict[str, Any]:
    ids = {key: id_ for key, (id_, _) in owners.items()}
    return {
        "found": len(report.found),
        "stray": len(report.strays),
        "posts": [{"id": id_, "url": url} for id_, url in owners.values()],
        "places": [
            {"file": f.file, "offset": f.offset, "in": f.kind, "post": f.post and ids.get(f.post)}
            for f in report.found
        ],
        "coded": report.coded,
        "files": report.files,
        "bytes": report.bytes,
        "skipped": report.skipped,
    }


def _audit_text(report: "Report", owners: "Owners") -> Iterator[str]:
    for kind, who in (("stray", "held by nobody"), ("row", "in a live row"), ("post", "in a live post")):
        files = Counter(f.file for f in report.found if f.kind == kind)
        for file, count in files.items():
            offsets = [str(f.offset) for f in report.found if (f.file, f.kind) == (file, kind)][:_SHOWN]
            more = ", ..." if count > _SHOWN else ""
            yield f"{kind:<6} {file}: {count} times {who}, at byte {', '.join(offsets)}{more}"
    for id_, url in owners.values():
        yield f"live   {id_} {url}"
    if report.coded:
        left = counted(report.coded, "removed post")
        yield f"{left} may have codes of words in the index; voxpop rebuild clears them."
    if report.skipped:
        yield f"Not read: {', '.join(report.skipped)}."
    found = f"found {len(report.found)} times, {len(report.strays)} of them stray" if report.found else "nowhere"
    yield f"{report.files} files, {report.bytes / 2**20:.1f} MiB: {found}."


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@data_option
@json_option
@click.pass_context
@runs
async def backup(context: click.Context, target: Path, as_json: bool, data: Path | None) -> None:
    """Copy posts, answers, accounts and files to a new folder, as of one moment, beside a running server too.

    Example: voxpop backup /backups/monday
    """
    from voxpop.keeping.accounts import FILES, NAME
    from voxpop.keeping.backup import backup as copy
    from voxpop.keeping.progress import watched
    from voxpop.service import clock
    from voxpop.times import iso

    config = config_of(context, data=data)
    folder, elsewhere, line = config.data, bool(config.records.url), _Line(as_json)
    began = time.monotonic()
    manifest = await watched(
        lambda tell: copy(folder, target, tell, now=iso(clock()), elsewhere=elsewhere), line.tell
    )
    line.clear()
    row = {
        "backup": str(target),
        "taken_at": manifest.taken_at,
        "posts": manifest.posts,
        "bytes": manifest.bytes,
        "records": "elsewhere" if elsewhere else "here" if NAME in manifest.files else "none",
        "files": sum(name.startswith(f"{FILES}/") for name in manifest.files),
        "took_s": round(time.monotonic() - began, 2),
    }
    size = f"{manifest.bytes / 2**20:.1f} MiB in {row['took_s']} s"
    said = [f"{counted(manifest.posts, 'post')} as of {manifest.taken_at}, {size}, are in {target}."]
    if elsewhere:
        said.append("Not in it: the database of records.url. Dump it too, such as with pg_dump.")
    _print(as_json, row, *said)


@click.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@data_option
@json_option
@click.pass_context
@runs
async def restore(context: click.Context, source: Path, as_json: bool, data: Path | None) -> None:
    """Bring a backup back into an empty or new data folder, checked, whole or not at all.

    Example: voxpop restore /backups/monday --data ./restored
    """
    from voxpop.keeping.restore import restore as bring

    folder, line = config_of(context, data=data).data, _Line(as_json)
    manifest = await bring(source, folder, line.tell)
    line.clear()
    row = {"data": str(folder), "taken_at": manifest.taken_at, "posts": manifest.posts}
    _print(as_json, row, f"{manifest.posts} posts as of {manifest.taken_at} are in {folder}.")


@click.command()
@data_option
@json_option
@click.pass_context
@runs
async def rebuild(context: click.Context, as_json: bool, data: Path | None) -> None:
    """Make the index anew from the posts; a running server answers from the old one meanwhile.

    Example: voxpop rebuild
    """
    from voxpop.store.migration import refuse_empty
    from voxpop.store.orders import order

    folder, began, line = config_of(context, data=data).data, time.monotonic(), _Line(as_json)
    refuse_empty(folder)
    said = await order(folder, {"do": "rebuild"}, _LONGEST_S, lambda done, of: line.tell("indexing", done, of))
    line.clear()
    took = round(time.monotonic() - began, 2)
    _print(as_json, {"said": said, "took_s": took}, f"{said} It took {took} s.")


@click.command()
@data_option
@json_option
@click.pass_context
@runs
async def verify(context: click.Context, as_json: bool, data: Path | None) -> None:
    """Compare posts with the index, files with their rows, and check every page; exit 1 where something is wrong.

    Example: voxpop verify --json
    """
    from voxpop.keeping.progress import watched
    from voxpop.keeping.verify import verify as compare

    config, line = config_of(context, data=data), _Line(as_json)
    elsewhere = bool(config.records.url)
    verdict = await watched(lambda tell: compare(config.data, tell, elsewhere=elsewhere), line.tell)
    line.clear()
    row = {
        "posts": verdict.posts,
        "partitions": verdict.partitions,
        "coded": verdict.coded,
        "faults": [{"what": f.what, "cure": f.cure} for f in verdict.faults],
    }
    end = "what is wrong is above" if verdict.faults else "truth and index agree"
    lines = [f"FAIL {f.what} {f.cure}" for f in verdict.faults]
    _print(
        as_json,
        row,
        *lines,
        f"{counted(verdict.posts, 'post')} in {counted(verdict.partitions, 'partition')}: {end}.",
    )
    if verdict.faults:
        sys.exit(1)


COMMANDS = (forget, audit, backup, restore, rebuild, verify)
