"""The one error that a user is meant to read: what happened, with which value, and the cure."""


class VoxpopError(Exception):
    """A failure whose message a person can act on.

    `what` says what happened with the value in it; `cure` says what to do, as an imperative sentence; `lasting`
    marks what no second try can mend.
    """

    def __init__(self, what: str, cure: str = "", *, code: str = "failed", lasting: bool = False) -> None:
        super().__init__(f"{what} {cure}".strip())
        self.what = what
        self.cure = cure
        self.code = code
        self.lasting = lasting


class UsageError(VoxpopError):
    """The caller asked for something that cannot be: command line exit 2, HTTP 400.

    `param` names the field of a body that asks for it, where one does.
    """

    def __init__(self, what: str, cure: str = "", *, code: str = "bad_usage", param: str | None = None) -> None:
        super().__init__(what, cure, code=code, lasting=True)
        self.param = param


class FieldError(UsageError):
    """What one field of a request says cannot be done; `param` names the field, as OpenAI's error object does."""

    def __init__(self, param: str, what: str, cure: str, *, code: str = "bad_usage") -> None:
        super().__init__(what, cure, code=code, param=param)
