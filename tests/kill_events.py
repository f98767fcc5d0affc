"""A run that ends at a chosen event, as if it had been killed there."""

import pytest

from protect import RunConfig, protect_folder
from protect.events import Event, StageAdvanced, StageStarted


class KilledError(Exception):
    """Stands for a kill."""


def run_until(config: RunConfig, stage: str, steps: int) -> None:
    """Protect until so many pictures or rounds of a stage are done."""
    current, left = "", steps

    def kill(event: Event) -> None:
        nonlocal current, left
        if isinstance(event, StageStarted):
            current = event.name
        if current.startswith(stage) and isinstance(event, StageStarted | StageAdvanced):
            if left == 0:
                raise KilledError
            left -= 1

    with pytest.raises(KilledError):
        protect_folder(config, kill)
