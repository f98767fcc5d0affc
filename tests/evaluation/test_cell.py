"""A cell's trainings: what the flags say holds for all of them."""

from types import SimpleNamespace

import pytest

from protect.config.choices import Mode
from protect.config.settings import VerifyConfig
from protect.evaluation.cell import plan_cells
from protect.evaluation.plan import plan

MATERIAL = SimpleNamespace(originals=range(20_000), class_index=dict.fromkeys("abcd", 0))


def planned(layer_norm: bool, **settings):
    config = VerifyConfig(protected="protected", **settings)
    backbone = SimpleNamespace(description=SimpleNamespace(name="a"), layer_norm=layer_norm)
    specs = plan(["a"], None, tuple(Mode), ())
    return plan_cells(specs, lambda *_, **__: backbone, MATERIAL, config)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_no_training_takes_more_memory_than_its_batch_was_given(layer_norm):
    """Nor that of the clean pictures alone, which comes after hours of others."""
    cells = planned(layer_norm, batch_size=8)
    assert {cell.spec.mode for cell in cells if cell.alone} == {Mode.REFIT, Mode.CLEAN_MIX}
    for cell in cells:
        assert {training.recipe.batch_size for training in cell.trainings} == {8}


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_seed_is_trained_on_every_side(seeds):
    for cell in planned(False, seed=5, seeds=seeds):
        for side in filter(None, (cell.control, cell.protected, cell.alone)):
            assert [training.seed for training in side] == list(range(5, 5 + seeds))
            assert len({training.arm for training in side}) == 1
