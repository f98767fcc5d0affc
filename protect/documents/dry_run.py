"""What `protect run --dry-run` foretells: which pictures, how much room, how long."""

from typing import Literal

from protect.config.values import Eps
from protect.documents.document import SCHEMA_VERSION, Document, Network, Tool
from protect.documents.manifest import Labels, Refused

Outcome = Literal["complete", "incomplete", "refused"]


class Room(Document):
    """Bytes that a run needs.

    Attributes:
        source: Of the pictures that would be protected, as their files are now.
        output: Of their copies, by some that were encoded for a try.
        cache: Of the decoded pictures, which lie in the state folder until the run is over.
        free: On the disk of the output.
        memory: Most that this process had in main memory by now, and what processes will take that
            help to write; None where the system does not tell. A run needs no more, however many
            pictures there are of this size.
        device_memory: Most that was in use on the GPU; None without one, or where nothing was
            measured.
    """

    source: int
    output: int
    cache: int
    free: int
    memory: int | None
    device_memory: int | None


class Duration(Document):
    """Seconds that a run takes here, measured on these pictures with these settings.

    Attributes:
        read: Reading all pictures, which the dry run has done.
        optimise: The search for textures if there is one, and all rounds, by those that were done
            for a try; None where none could be.
        write: Encoding and measuring all pictures, by some; without what the disk takes.
        rounds: That the run will do.
        timed_rounds: That were done for a try.
        not_timed: Why no round could be; empty otherwise.
    """

    read: float
    optimise: float | None
    write: float
    rounds: int
    timed_rounds: int
    not_timed: str = ""


class DryRun(Document):
    """What a run would do; every picture was read and decoded in full, as a run does.

    Attributes:
        schema_version: Version of this layout.
        tool: What computed it.
        outcome: "complete" if the run would protect every picture, "incomplete" if it would leave
            some out, "refused" if it would stop before any compute.
        problem: Why it would be refused; empty if not.
        hint: What to do about the problem.
        eps: The budget.
        classes: Class -> pictures that can be protected.
        labels: Where the labels come from.
        refused: Pictures that cannot be protected, with the reason.
        ignored: Kind of file (a suffix, or hidden, where a folder with all in it counts as one) ->
            how many are passed over.
        notes: Warnings that the run would give.
        size: Side in pixels at which the surrogate would see the pictures.
        surrogate: The network; None where its weights are not here yet, or for a refused run.
        room: What it needs of the machine; None for a refused run.
        duration: How long it takes; None for a refused run.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Tool
    outcome: Outcome
    problem: str = ""
    hint: str = ""
    eps: Eps
    classes: dict[str, int]
    labels: Labels
    refused: tuple[Refused, ...]
    ignored: dict[str, int]
    notes: tuple[str, ...]
    size: int
    surrogate: Network | None = None
    room: Room | None = None
    duration: Duration | None = None
