"""Whether something outside answers: one log line when it goes and one when it is back, never one for each try."""

import logging

from voxpop.errors import VoxpopError

_log = logging.getLogger(__name__)
_SECRET = ("records_failed", "limits_failed")  # their details name hosts and paths


class Reach:
    """What is known of it: `why` it cannot be used, in words for everybody; empty where it can."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.why = ""

    def failed(self, detail: str) -> None:
        """It did not answer; the detail is for the log alone."""
        if not self.why:
            _log.warning("The %s does not answer, and what needs it is refused: %s", self._name, detail)
        self.why = f"the {self._name} does not answer"

    def worked(self) -> None:
        """It answered."""
        if self.why:
            _log.warning("The %s answers again.", self._name)
        self.why = ""


def outward(error: VoxpopError) -> VoxpopError:
    """An error as a stranger may read it: where usage is counted is this server's own matter."""
    if error.code not in _SECRET:
        return error
    cure = "Try again in a moment; if it stays so, tell this server's admin."
    return VoxpopError("Usage cannot be counted now.", cure, code=error.code)
