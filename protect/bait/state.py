"""An engine's progress as a flat table of tensors, and back; exact, so that a run can resume."""

from collections.abc import Mapping

import torch
from torch import Tensor

from protect.bait.engine import Engine


def pack(engine: Engine) -> dict[str, Tensor]:
    """Return everything that changes from round to round, on the CPU.

    Returns:
        Name -> tensor; names are stable and hold no tensor twice.
    """
    table = {
        "round": torch.tensor(engine.round),
        "rounds": torch.tensor(engine.effort.rounds),
        "batch_size": torch.tensor(engine.effort.batch_size),
        "anchor": torch.tensor(-1 if engine.patterns.anchor is None else engine.patterns.anchor),
        "bound": torch.tensor(engine.bound, dtype=torch.float64),
        "target_counts": engine.target_counts,
        "searched_counts": engine.searched_counts,
        **{f"surrogate.{name}": value for name, value in engine.surrogate.state_dict().items()},
        **{f"patterns.{name}": value for name, value in engine.patterns.state_dict().items()},
    }
    for prefix, optimiser in _optimisers(engine).items():
        for index, slots in optimiser.state_dict()["state"].items():
            table |= {
                f"{prefix}.{index}.{slot}": value
                for slot, value in slots.items()
                if value is not None
            }
    return {name: value.detach().cpu().contiguous() for name, value in table.items()}


def unpack(engine: Engine, table: Mapping[str, Tensor]) -> None:
    """Put a fresh engine of the same settings where `pack` found the old one."""
    engine.round = int(table["round"])
    engine.plan(int(table["rounds"]), int(table["batch_size"]))
    engine.bound = table["bound"].tolist()
    engine.target_counts.copy_(table["target_counts"])
    engine.searched_counts.copy_(table["searched_counts"])
    engine.surrogate.load_state_dict(_below("surrogate.", table))
    engine.patterns.load_state_dict(_below("patterns.", table))
    anchor = int(table["anchor"])
    engine.patterns.appoint(None if anchor < 0 else anchor)
    for prefix, optimiser in _optimisers(engine).items():
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(f"{prefix}.", table).items():
            index, slot = name.split(".")
            slots.setdefault(int(index), {})[slot] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": slots, "param_groups": groups})


def _optimisers(engine: Engine) -> dict[str, torch.optim.Optimizer]:
    return {"inner": engine.inner_optimiser, "outer": engine.outer_optimiser}


def _below(prefix: str, table: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value for name, value in table.items() if name.startswith(prefix)
    }
