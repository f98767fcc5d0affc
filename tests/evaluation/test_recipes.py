"""Recipes are data: sizes follow the dataset, modes differ as their names say."""

import pytest

from protect.config.choices import Mode
from protect.evaluation.recipes import recipe_for


@pytest.mark.parametrize(
    ("n_train", "batch_size", "epochs"),
    [(3000, 128, 10), (50_000, 128, 10), (450, 28, 15), (40, 8, 46), (3, 8, 230)],
)
def test_small_datasets_get_smaller_batches_and_more_epochs(n_train, batch_size, epochs):
    recipe = recipe_for(Mode.FULL, n_train)
    assert (recipe.batch_size, recipe.epochs, recipe.lr) == (batch_size, epochs, 0.002)


def test_own_settings_go_over_the_recipe_and_other_modes_follow():
    own = {"epochs": 3, "batch_size": 10, "lr": 0.5}
    full = recipe_for(Mode.FULL, 3000, **own)
    assert (full.epochs, full.batch_size, full.lr) == (3, 10, 0.5)
    assert recipe_for(Mode.HIGH_LR, 3000, **own).lr == 5
    assert recipe_for(Mode.LOW_LR, 3000, **own).lr == 0.125
    assert recipe_for(Mode.PUBLISHED, 3000, **own).lr == 0.5


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.PUBLISHED])
def test_an_own_rate_changes_every_mode_in_proportion(mode, layer_norm):
    default = recipe_for(mode, 3000, layer_norm=layer_norm)
    full = recipe_for(Mode.FULL, 3000, layer_norm=layer_norm)
    own = recipe_for(mode, 3000, lr=full.lr / 2, layer_norm=layer_norm)
    assert own.lr == pytest.approx(default.lr / 2)


@pytest.mark.parametrize(
    ("mode", "layer_norm", "rate"),
    [
        (Mode.LINEAR_PROBE, False, 0.05),
        (Mode.LINEAR_PROBE, True, 0.05),
        (Mode.SCRATCH, False, 0.05),
        (Mode.SCRATCH, True, 7.5e-4),
    ],
)
def test_random_weights_start_at_a_rate_that_moves_them(mode, layer_norm, rate):
    assert recipe_for(mode, 3000, layer_norm=layer_norm).lr == pytest.approx(rate)


@pytest.mark.parametrize("mode", list(Mode))
def test_whole_transformers_are_trained_by_adamw_and_all_else_by_sgd(mode):
    mine, theirs = (recipe_for(mode, 3000, layer_norm=layer_norm) for layer_norm in (True, False))
    assert (theirs.optimiser, theirs.weight_decay) == ("sgd", 5e-4)
    if mode in (Mode.PUBLISHED, Mode.LINEAR_PROBE):
        assert mine == theirs
        return
    assert (mine.optimiser, mine.weight_decay) == ("adamw", 0.05)
    assert mine.lr < theirs.lr / 10
    assert (mine.epochs, mine.batch_size) == (theirs.epochs, theirs.batch_size)
    assert mine.document().optimiser == "adamw"


def test_the_published_recipe_is_the_papers_whatever_the_size_of_the_dataset():
    for n_train in (60, 3000, 50_000):
        recipe = recipe_for(Mode.PUBLISHED, n_train)
        assert (recipe.epochs, recipe.batch_size, recipe.lr) == (60, 128, 0.001)
        assert (recipe.momentum, recipe.weight_decay, recipe.clip) == (0.9, 5e-4, 5.0)
        assert recipe.trained == "all"
    assert all(recipe_for(mode, 3000).clip is None for mode in Mode if mode != Mode.PUBLISHED)


def test_each_mode_differs_from_full_fine_tuning_as_its_name_says():
    full = recipe_for(Mode.FULL, 3000)
    assert recipe_for(Mode.LOW_LR, 3000).lr < full.lr < recipe_for(Mode.HIGH_LR, 3000).lr
    assert recipe_for(Mode.LINEAR_PROBE, 3000).trained == "head"
    assert recipe_for(Mode.FROZEN_STAGES, 3000).trained == "late stages"
    assert not recipe_for(Mode.SCRATCH, 3000).pretrained
    refit = recipe_for(Mode.REFIT, 3000, clean_share=0.1)
    assert refit.refit
    assert refit.clean_share == 0.1
    mix = recipe_for(Mode.CLEAN_MIX, 3000, clean_share=0.1)
    assert mix.clean_share == 0.1
    assert not mix.refit
    for mode in Mode:
        if mode not in (Mode.REFIT, Mode.CLEAN_MIX):
            assert recipe_for(mode, 3000).clean_share == 0
        if mode != Mode.SCRATCH:
            assert recipe_for(mode, 3000).pretrained


@pytest.mark.parametrize("mode", list(Mode))
def test_every_recipe_says_where_it_comes_from(mode):
    document = recipe_for(mode, 500).document()
    assert document.source
    assert document.epochs >= 1
    assert document.lr > 0
