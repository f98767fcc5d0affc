"""The list of networks that can be named, and where their weights are looked for."""

from typing import Literal

from protect.documents.document import SCHEMA_VERSION, Document


class BackboneEntry(Document):
    """A network that can be named with --backbone or --surrogate.

    Attributes:
        name: Qualified name.
        input_size: Side in pixels that its weights were trained at.
        origin: "package" or "cache" where its weights are on this machine; None where they are not.
        file: Name of that file; None without one.
        megabytes: Size of that file.
        places: Where its weights are looked for.
    """

    name: str
    input_size: int
    origin: str | None
    file: str | None
    megabytes: float | None
    places: tuple[str, ...]


class BackboneList(Document):
    """Result of `protect backbones`.

    Attributes:
        schema_version: Version of this layout.
        pattern: What the names were searched for; empty for all whose weights are here.
        entries: The networks, sorted by library and name.
        known: How many networks there are altogether.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    pattern: str
    entries: tuple[BackboneEntry, ...]
    known: int
