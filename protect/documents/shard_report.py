"""What went from tar shards to a folder, or back."""

from typing import Literal

from protect.documents.document import SCHEMA_VERSION, Document


class ShardReport(Document):
    """Result of `protect unpack` and `protect pack`.

    Attributes:
        schema_version: Version of this layout.
        n_pictures: Pictures taken out of the shards, or protected pictures put into them.
        carried: Extension -> how many other members `pack` has left as they were; "" for none.
        left_out: Members with pictures that were not protected; their samples are in no shard.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    n_pictures: int
    carried: dict[str, int]
    left_out: tuple[str, ...]
