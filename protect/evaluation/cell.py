"""One cell: which trainings it takes, and what follows from their results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from statistics import fmean

from protect.config.choices import Mode
from protect.config.settings import VerifyConfig
from protect.documents.document import Network
from protect.documents.verify_report import Cell, Curve
from protect.evaluation.bench import Bench, Training
from protect.evaluation.by_class import by_class, class_shares
from protect.evaluation.journal import Result
from protect.evaluation.learned import Learned
from protect.evaluation.pictures import Arm, Material
from protect.evaluation.plan import Spec
from protect.evaluation.recipes import Recipe, recipe_for
from protect.evaluation.verdict import judge
from protect.models.backbones import Backbone

Loader = Callable[..., Backbone]
"""Takes a backbone's name, `seed` of its head and whether it is `pretrained`; returns it, fresh."""


@dataclass(frozen=True, slots=True)
class CellPlan:
    """A cell with its trainings, one a seed and arm.

    Attributes:
        spec: Which cell.
        recipe: How its networks are trained.
        control: On the originals.
        protected: The same on the protected pictures.
        alone: On the clean share only; empty where the recipe has none.
    """

    spec: Spec
    recipe: Recipe
    control: tuple[Training, ...]
    protected: tuple[Training, ...]
    alone: tuple[Training, ...]

    @property
    def trainings(self) -> tuple[Training, ...]:
        """All of them, in the order in which they are run."""
        return self.control + self.protected + self.alone


def plan_cells(
    specs: Sequence[Spec], load: Loader, material: Material, config: VerifyConfig
) -> list[CellPlan]:
    """Settle recipes and networks of all cells; each network is loaded once to describe it.

    Args:
        specs: Which cells.
        load: Loads backbones.
        material: The pictures.
        config: Settings.
    """

    @cache
    def describe(name: str, pretrained: bool) -> tuple[Network, bool]:
        backbone = load(name, pretrained=pretrained)
        return backbone.description, backbone.layer_norm

    return [_plan_cell(spec, load, describe, material, config) for spec in specs]


def _plan_cell(
    spec: Spec,
    load: Loader,
    describe: Callable[[str, bool], tuple[Network, bool]],
    material: Material,
    config: VerifyConfig,
) -> CellPlan:
    network, layer_norm = describe(spec.backbone, spec.mode is not Mode.SCRATCH)
    recipe = recipe_for(
        spec.mode,
        len(material.originals),
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        clean_share=config.clean_fraction,
        layer_norm=layer_norm,
    )

    def trainings(arm: Arm, how: Recipe) -> tuple[Training, ...]:
        return tuple(
            Training(
                network=network,
                load=partial(load, spec.backbone, seed=seed, pretrained=how.pretrained),
                recipe=how,
                attack=spec.attack,
                arm=arm,
                seed=seed,
            )
            for seed in range(config.seed, config.seed + config.seeds)
        )

    return CellPlan(
        spec=spec,
        recipe=recipe,
        control=trainings("originals", recipe),
        protected=trainings("protected", recipe),
        alone=trainings("clean share", _alone(recipe, material, config))
        if recipe.clean_share
        else (),
    )


def run_cell(
    cell: CellPlan, bench: Bench, config: VerifyConfig, chance: float, doubt: str = ""
) -> Cell:
    """Train on the originals and on the protected pictures, with every seed, and compare.

    Args:
        cell: What to train.
        bench: Where.
        config: Settings.
        chance: Accuracy of always answering the most frequent test class.
        doubt: Why no cell of these pictures may pass; empty if they may.
    """

    def run(trainings: Sequence[Training]) -> list[Result]:
        return [
            bench.run(
                training,
                f"{cell.spec} on {training.arm}"
                + (f", seed {training.seed}" if len(trainings) > 1 else ""),
            )
            for training in trainings
        ]

    results = [run(cell.control), run(cell.protected), run(cell.alone)]
    control, protected, alone = ([result.learned for result in arm] for arm in results)
    floor = max([chance, *([_mean_final(alone)] if alone else [])])
    class_index = bench.pictures.material.class_index
    n_train, n_test = len(bench.pictures.material.originals), len(bench.pictures.material.test)
    best_protected, best_control = (
        [learned.best for learned in arm] for arm in (protected, control)
    )
    judgement = judge(
        [answers.accuracy for answers in best_protected],
        [answers.accuracy for answers in best_control],
        chance=chance,
        floor=floor,
        n_test=n_test,
        max_retained=config.max_retained,
        broken=_divergence("the control", control + alone),
        doubt=_divergence("training on the protected pictures", protected) or doubt,
    )
    classes = class_shares(
        sorted(class_index, key=class_index.__getitem__),
        best_protected,
        best_control,
        [learned.epochs[-1] for learned in alone],
        config.max_retained,
    )
    judgement = by_class(judgement, classes, decides=config.every_class)
    network = cell.control[0].network
    return Cell(
        backbone=network.name,
        mode=cell.spec.mode.value,
        attack=cell.spec.attack,
        final=_mean_final(protected),
        peak=_mean_peak(protected),
        control_final=_mean_final(control),
        control_peak=_mean_peak(control),
        chance=chance,
        floor=floor,
        retained=judgement.retained,
        retained_low=judgement.low,
        retained_high=judgement.high,
        n_train=n_train,
        n_test=n_test,
        seeds=tuple(training.seed for training in cell.control),
        seconds=round(sum(result.seconds for arm in results for result in arm), 1),
        network=network,
        training=cell.recipe.document(),
        curves=tuple(
            Curve(protected=mine.curve, control=theirs.curve)
            for mine, theirs in zip(protected, control, strict=True)
        ),
        classes=classes,
        verdict=judgement.verdict,
        reason=judgement.reason,
    )


def _alone(recipe: Recipe, material: Material, config: VerifyConfig) -> Recipe:
    """Return how a stranger would do without the protected pictures, with the clean share only.

    Few pictures need more epochs; so that more chances do not raise the floor, it is the accuracy
    at the end and not the peak.
    """
    if recipe.refit:
        return replace(recipe, epochs=0)
    few = max(len(material.class_index), round(len(material.originals) * recipe.clean_share))
    full = recipe_for(
        Mode.FULL,
        few,
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        layer_norm=recipe.optimiser == "adamw",
    )
    return replace(full, clean_share=recipe.clean_share)


def _divergence(what: str, trainings: Sequence[Learned]) -> str:
    """Say that one of these trainings diverged; empty if none did."""
    epochs = [learned.diverged_in for learned in trainings if learned.diverged_in is not None]
    return f"{what} diverged in epoch {min(epochs)}; try a smaller --lr" if epochs else ""


def _mean_peak(trainings: Sequence[Learned]) -> float:
    return fmean(learned.best.accuracy for learned in trainings)


def _mean_final(trainings: Sequence[Learned]) -> float:
    return fmean(learned.epochs[-1].accuracy for learned in trainings)
