"""One thread that steps several sequences of one model in turn; a job that is stopped gets no further step.

A step is one piece of a prompt or one token, so a long answer holds up no other. Seats and the tokens that they
hold are bounded: who finds none waits, and is seated by the same clocks that give the turns.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from voxpop.engines.sessions import Session
from voxpop.engines.turns import Shares
from voxpop.errors import VoxpopError
from voxpop.messages import Asker


class Job(Protocol):
    """A sequence to be computed: its first tokens, and the most that it may come to hold."""

    asker: Asker
    tokens: Sequence[int]
    most: int
    stopped: threading.Event
    turn: int
    seconds: float

    def steps(self, session: Session) -> Iterator[None]:
        """Compute, one step a turn."""
        ...

    def end(self, error: Exception | None) -> None:
        """It is over; called once, also where it was stopped or never begun."""
        ...


class Seats:
    """The sessions of a model and who sits in them; no more than `most_tokens` are held by all together."""

    def __init__(self, sessions: Sequence[Session], most_tokens: int, name: str) -> None:
        self._idle = list(sessions)
        self._count, self._most = len(sessions), most_tokens
        self._seated: dict[Job, tuple[Session, Iterator[None]]] = {}
        self._coming: list[Job] = []
        self._waiting: list[Job] = []
        self._shares = Shares()
        self._lock = threading.Lock()
        self._running = self._closed = False
        self._worker = ThreadPoolExecutor(1, name)

    def put(self, job: Job) -> None:
        """Let a job have its turns. Raises VoxpopError where the engine was closed."""
        with self._lock:
            if self._closed:
                raise VoxpopError("The engine was closed.", "Ask again.", code="engine_closed")
            self._coming.append(job)
            if not self._running:
                self._running = True
                self._worker.submit(self._run)

    def close(self) -> None:
        """Stop every job and let the thread go."""
        with self._lock:
            self._closed = True
        self._worker.shutdown()

    def _run(self) -> None:
        while self._take_in():
            if job := self._shares.next(self._seated):
                self._step(job)

    def _take_in(self) -> bool:
        """Let in who has come, put out who was stopped, seat who can be; False where nobody is left."""
        with self._lock:
            coming, self._coming, closed = self._coming, [], self._closed
            for job in coming:
                self._shares.come(job.asker)
            self._waiting += coming
            self._running = bool(self._waiting or self._seated)
        for job in [*self._waiting, *self._seated]:
            if closed or job.stopped.is_set():
                self._over(job, None)
        self._seat()
        return self._running

    def _seat(self) -> None:
        while self._idle and (job := self._shares.next(filter(self._may_sit, self._waiting))):
            held = sum(j.most for j in self._seated)
            if self._seated and held + job.most > self._most:
                return
            session = max(self._idle, key=lambda s: s.reuse(job.tokens))
            self._idle.remove(session)
            for other in sorted(self._idle, key=len, reverse=True):
                if held + job.most + sum(map(len, self._idle)) > self._most:
                    other.clear()
            self._waiting.remove(job)
            self._seated[job] = session, job.steps(session)

    def _may_sit(self, job: Job) -> bool:
        mine = sum(j.asker.owner == job.asker.owner for j in self._seated)
        return mine < self._shares.seats(job.asker.owner, self._count)

    def _step(self, job: Job) -> None:
        began = time.perf_counter()
        error: Exception | None = None
        over = False
        try:
            next(self._seated[job][1])
        except StopIteration:
            over = True
        except Exception as failure:  # one job's fault is its own: the others go on
            over, error = True, failure
        took = time.perf_counter() - began
        job.seconds += took
        self._shares.charge(job, took)
        if over:
            self._over(job, error)

    def _over(self, job: Job, error: Exception | None) -> None:
        if seat := self._seated.pop(job, None):
            self._idle.append(seat[0])
        else:
            self._waiting.remove(job)
        self._shares.go(job.asker)
        job.end(error)
