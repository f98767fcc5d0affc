"""The command line in forks that can be killed in a stage of their choice.

Forks of one process that has imported everything, as starting Python takes far longer than a run.
"""

import io
import os
import re
import select
import signal
import sys
import time
import traceback
from pathlib import Path

from protect.cli.app import app

PATIENCE = 300.0
START = "start"
"""All that comes before the first stage."""


class Process:
    """A fork that runs the command line; its messages tell which stage it is in."""

    def __init__(self, *words: object) -> None:
        self.log = b""
        self.messages, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                for descriptor in (1, 2):
                    os.dup2(theirs, descriptor)
                sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), write_through=True)
                sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), write_through=True)
                app([str(word) for word in words], standalone_mode=False)
                status = 0
            except SystemExit as error:
                status = int(error.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(theirs)

    def read(self, seconds: float) -> bool:
        """Read for some time; return whether there is more to come."""
        if not select.select([self.messages], [], [], seconds)[0]:
            return True
        data = os.read(self.messages, 1 << 16)
        self.log += data
        return bool(data)

    def wait_for(self, words: str) -> bool:
        """Wait until it says so; return False if it ended before."""
        end = time.monotonic() + PATIENCE
        while words.encode() not in self.log:
            if not self.read(0.05):
                return False
            assert time.monotonic() < end, self.log.decode()
        return True

    def kill_in(self, stage: str, moment: float) -> bool:
        """Kill it some seconds into a stage; return False if it ended by itself before."""
        if stage != START and not self.wait_for(f"{stage}: "):
            self.end()
            return False
        time.sleep(moment)
        os.kill(self.pid, signal.SIGKILL)
        return self.end() == -signal.SIGKILL

    def end(self) -> int:
        """Wait for its end, and return its status."""
        while self.read(PATIENCE):
            pass
        os.close(self.messages)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def stage_seconds(log: bytes, seconds: float) -> dict[str, float]:
    """Return how long each stage took, by the log of a process that took `seconds` in all."""
    done = re.findall(r"^(.+): done in ([\d.]+) s$", log.decode(), re.MULTILINE)
    stages = {name: float(taken) for name, taken in done}
    return {START: max(0.05, seconds - sum(stages.values())), **stages}


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
