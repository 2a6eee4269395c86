"""Spans of the steps, sent by OpenTelemetry where an operator asked for them; otherwise they cost nothing.

Nothing of OpenTelemetry is imported until `begin`. An attribute is a count, a flag, or a name of ours: never a
question, the text of a post, a handle or a key. A parent is given by `within`: an answer is a generator, which may
be driven from several contexts, so no span is ever the current one.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from voxpop import __version__
from voxpop.errors import UsageError, VoxpopError

_NOTHING: AbstractContextManager[Any] = nullcontext()
_open: Callable[..., AbstractContextManager[Any]] | None = None


def span(name: str, within: Any = None, **attributes: Any) -> AbstractContextManager[Any]:
    """A span around a step; entering it gives what to pass as `within` to the spans inside it (None when off)."""
    return _NOTHING if _open is None else _open(name, within, attributes)


def timed(tell: Callable[[str, float], None]) -> Callable[[], None]:
    """Tell the name and the seconds of each span from now on; call what it gives to stop."""
    global _open  # noqa: PLW0603

    @contextmanager
    def opened(name: str, within: Any, attributes: dict[str, Any]) -> Iterator[Any]:
        began = time.perf_counter()
        try:
            yield None
        finally:
            tell(name, time.perf_counter() - began)

    def end() -> None:
        global _open  # noqa: PLW0603
        _open = None

    _open = opened
    return end


def begin(address: str) -> Callable[[], None]:
    """Send spans to an OTLP/HTTP receiver from now on; call what it gives to send the rest and stop.

    An address without a path gets `/v1/traces`, as the OTLP specification has it. Raises UsageError for an address
    that is none, VoxpopError where the packages are missing.
    """
    global _open  # noqa: PLW0603  what is off by default must cost its callers one comparison
    if not address.startswith(("http://", "https://")):
        raise UsageError(f"Traces cannot be sent to {address!r}.", "Write watching.traces as http://host:4318.")
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise VoxpopError("Traces need OpenTelemetry.", "Install it with: pip install 'voxpop[traces]'") from error
    path = "" if address.split("://", 1)[1].rstrip("/").count("/") else "/v1/traces"
    resource = Resource.create({"service.name": "voxpop", "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(address.rstrip("/") + path, timeout=5)))
    tracer = provider.get_tracer("voxpop", __version__)

    @contextmanager
    def opened(name: str, within: Any, attributes: dict[str, Any]) -> Iterator[Any]:
        inside = None if within is None else trace.set_span_in_context(within)
        begun = tracer.start_span(name, inside, attributes=attributes)
        try:
            yield begun
        except Exception as error:
            # The kind alone: a message may hold what somebody wrote.
            begun.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            begun.end()

    def end() -> None:
        global _open  # noqa: PLW0603
        _open = None
        provider.shutdown()

    _open = opened
    return end
