"""Processes that do calls for this one, where calls hold the interpreter lock too long for threads.

They are started afresh and talk through pipes: a script that calls this package needs no guard
around its main part, a GPU's state is not copied, and when this process ends, however it does, so
do they. Only the standard library is imported before the function is there.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any, Generic, Self, TypeVar

from protect.errors import GO_ON, MachineError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PROTOCOL = pickle.HIGHEST_PROTOCOL
_START = "import sys; sys.path[:] = {path!r}; from protect.system.workers import serve; serve()"
_READY = b"protect: ready\n"
_GRACE_SECONDS = 5.0
"""How long a process may take to end once nobody will ask it anything more."""


class Workers(Generic[Item, Result]):
    """A function that is computed in other processes; safe to call from as many threads.

    Use it in a `with` statement. Each process is sent the function once, and then item by item.

    Args:
        function: Can be pickled, as its items and results can.
        count: How many processes.
    """

    def __init__(self, function: Callable[[Item], Result], count: int) -> None:
        self._function = pickle.dumps(function, _PROTOCOL)
        self._count = count
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._started = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for _ in range(self._count):
                worker = _Worker(self._function)
                started.callback(worker.end)
                self._free.put(worker)
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def __call__(self, item: Item) -> Result:
        """Compute `function(item)` in a process that is free.

        Raises:
            Exception: Whatever the function raises there; what a traceback would say is noted.
            MachineError: If the process has ended.
        """
        worker = self._free.get()
        try:
            result: Result = worker.ask(item)
        finally:
            self._free.put(worker)
        return result


class _Worker:
    """One process, seen from here."""

    def __init__(self, function: bytes) -> None:
        with _without_interrupts():
            self.process = subprocess.Popen(  # noqa: S603 - this program again
                [sys.executable, "-c", _START.format(path=sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self.questions: IO[bytes] = self.process.stdin  # type: ignore[assignment]
        self.answers: IO[bytes] = self.process.stdout  # type: ignore[assignment]
        self.is_ready = False
        with suppress(OSError):  # it has ended already, as the first question will find
            _send(function, self.questions)

    def ask(self, item: object) -> Any:
        try:
            _send(pickle.dumps(item, _PROTOCOL), self.questions)
            self.questions.flush()
            # Whatever Python prints when it starts comes before this line.
            while not self.is_ready:
                line = self.answers.readline()
                if not line:
                    raise EOFError
                self.is_ready = line.endswith(_READY)
            answer = pickle.load(self.answers)  # noqa: S301 - our own process
        except (OSError, EOFError, pickle.UnpicklingError):
            raise MachineError(
                f"a process that was to help has ended (status {self._ended()})",
                f"if memory ran out, ask for fewer with --workers; then {GO_ON}",
            ) from None
        if isinstance(answer, _Failed):
            raise answer.error
        return answer

    def end(self) -> None:
        with suppress(OSError):
            self.questions.close()
        self._ended()
        self.answers.close()

    def _ended(self) -> int:
        try:
            return self.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let what is started here never hear of Ctrl-C, not even before it can say so itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Failed:
    """An answer that is no result."""

    def __init__(self, error: Exception) -> None:
        error.add_note(f"in a process that helped:\n{traceback.format_exc()}")
        self.error = error


def serve() -> None:
    """Answer until nobody asks any more; what a process that helps does from its start."""
    # Ctrl-C goes to the whole group; whoever asks decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        os.fstat(2)
    except OSError:
        os.open(os.devnull, os.O_WRONLY)  # becomes 2, the lowest that is free
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not end up among the answers
    with suppress(EOFError, BrokenPipeError):
        answers.write(_READY)
        function = _function()
        while True:
            question = _received()
            try:
                answer = function(pickle.loads(question))  # noqa: S301
            except Exception as error:
                answer = _Failed(error)
            answers.write(_pickled(answer))
            answers.flush()


def _function() -> Callable[[Any], object]:
    """Read what is to be computed; if that fails, every question is answered by the reason."""
    sent = _received()
    try:
        function: Callable[[Any], object] = pickle.loads(sent)  # noqa: S301
    except Exception as error:
        failed = _Failed(error)
        return lambda _: failed
    return function


def _send(pickled: bytes, pipe: IO[bytes]) -> None:
    """Send what was pickled as one piece: if it cannot be loaded, the next still can."""
    pickle.dump(pickled, pipe, _PROTOCOL)


def _received() -> bytes:
    sent: bytes = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started us
    return sent


def _pickled(answer: object) -> bytes:
    try:
        pickled = pickle.dumps(answer, _PROTOCOL)
        if isinstance(answer, _Failed):
            pickle.loads(pickled)  # noqa: S301 - some errors go in and do not come out
    except Exception as error:
        said = repr(answer.error if isinstance(answer, _Failed) else answer)
        return pickle.dumps(_Failed(RuntimeError(f"{said} cannot be sent: {error}")), _PROTOCOL)
    return pickled
