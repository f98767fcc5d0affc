"""Several processes that work as those of torchrun do, and torchrun itself."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def together(code: str, count: int, *words: object) -> None:
    """Run Python code in `count` processes that have met, each with `words` in `sys.argv`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    whole = f"import sys\nfrom protect.system.processes import joined\nwith joined():\n{lines}\n"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", whole, *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": path,
                "RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_RANK": str(rank),
                "LOCAL_WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(count)
    ]
    for process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said


def torchrun(count: int, *words: object) -> subprocess.Popen[str]:
    """Start `torchrun --standalone --nproc-per-node COUNT -m protect WORDS`."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc-per-node", str(count)),
            *("-m", "protect", *map(str, words)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
