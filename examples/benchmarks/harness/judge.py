"""Has `protect verify` judge the folders; it finds its trainings again by itself."""

from collections.abc import Mapping
from pathlib import Path

from protect import VerifyConfig, VerifyReport, verify_folder
from protect.events import Listener
from protect.models.names import resolve
from protect.output.writer import BrokenPromiseError

from .cells import Call
from .folders import Made
from .yardsticks import Yardstick


class Judge:
    """Trains victims on the folders of all methods, with one memory for the trainings of all.

    Args:
        yardstick: The pictures.
        work: Folder for trainings.
        levels: The budget, which every folder has to keep.
        size: Side in pixels at which networks see the pictures.
        seed: Of the first training.
        epochs: Of full fine-tuning; None for the recipes' own.
        device: Where to compute.
        threads: That decode.
        weights: Weight file of a backbone, by the backbone's name.
        listener: Told what happens.
    """

    def __init__(
        self,
        yardstick: Yardstick,
        work: Path,
        *,
        levels: int,
        size: int,
        seed: int,
        epochs: int | None,
        device: str,
        threads: int,
        weights: Mapping[str, Path],
        listener: Listener,
    ) -> None:
        self.yardstick = yardstick
        self.work = work
        self.levels = levels
        self.size = size
        self.seed = seed
        self.epochs = epochs
        self.device = device
        self.threads = threads
        self.weights = {str(resolve(name)): path for name, path in weights.items()}
        self.listener = listener

    def report(self, made: Made, call: Call) -> VerifyReport:
        """Return the report of one call on one folder, whose pictures are checked each time.

        Raises:
            BrokenPromiseError: If a picture of the folder changes by more than the budget.
        """
        weights = {name: self.weights[name] for name in call.backbones if name in self.weights}
        config = VerifyConfig(
            protected=made.folder,
            clean=self.yardstick.train,
            test=self.yardstick.test,
            backbones=call.backbones,
            modes=(call.mode,),
            attacks=call.attacks,
            epochs=self.epochs,
            size=self.size,
            seed=self.seed,
            seeds=call.seeds,
            results=self.work / "trainings",
            device=self.device,
            workers=self.threads,
            offline=True,
            weights=weights,
        )
        report = verify_folder(config, self.listener)
        if report.quality.linf_levels > self.levels:
            raise BrokenPromiseError(
                f"{made.folder} changes a picture by {report.quality.linf_levels} levels, not "
                f"{self.levels}"
            )
        return report
