"""How strong is the protection? Methods x victims x attacks, judged by `protect verify`.

    python examples/benchmarks/strength.py [--yardstick fashion|stamps224] [--method NAME]...
        [--victim NAME]... [--attack NAME]... [--seeds 3] [--tune] [--work ./strength]

Every method protects the same pictures within the same budget; the same victims then train on each
copy and, as a control, on the originals, under the same attacks. WORK/NAME.json and WORK/NAME.md
are written after every few cells. Whatever is finished is kept in WORK and found again, so that an
interrupted benchmark goes on and a wider one only runs what is new.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from harness.cells import USUAL_ATTACKS, VICTIMS, Call, calls, require_attack, victims_of
from harness.folders import Made, Owner
from harness.judge import Judge
from harness.results import Entry, Pictures, Results, Row, screen
from harness.yardsticks import YARDSTICKS, Yardstick
from methods import METHODS, Method, ProtectRun

from protect import VerifyReport
from protect.cli.answers import answered, kept
from protect.cli.options import Device, Quiet, Seed, Size, WeightFiles, Workers, weight_files
from protect.config.values import Eps
from protect.console import Screen
from protect.documents.document import Tool
from protect.errors import ConfigError
from protect.events import Notice
from protect.system.device import choose_device, thread_count, tool_facts

Thing = TypeVar("Thing")


def named(kind: str, known: Mapping[str, Thing], names: Sequence[str] | None) -> dict[str, Thing]:
    """Return those things that were asked for by name, all of them where none was.

    Raises:
        ConfigError: If there is none of a name.
    """
    for name in names or ():
        if name not in known:
            similar = get_close_matches(name, known, n=3) or list(known)
            raise ConfigError(f"there is no {kind} {name!r}", f"choose from {', '.join(similar)}")
    return {name: known[name] for name in names or known}


def yardstick_of(
    name: str | None, train: Path | None, test: Path | None, tune: bool, work: Path
) -> Yardstick:
    """Return the pictures that were asked for, made if they are new.

    Raises:
        ConfigError: If they are half named or named twice.
    """
    if train is None and test is None:
        name = name or "fashion"
        (make,) = named("yardstick", YARDSTICKS, [name]).values()
        return make(work / name, tune)
    if name is not None or tune or train is None or test is None:
        raise ConfigError(
            "own pictures are named by --train and --test, both, and without --yardstick or --tune",
            "to tune on them, name other test pictures than those that you report",
        )
    return Yardstick(train.name, train, test, size=None)


def rows_of(report: VerifyReport, method: str, call: Call) -> list[Row]:
    """Give the cells of a report the names of the table."""
    return [
        Row(method=method, victim=victim, attack=attack, cell=cell)
        for (victim, attack), cell in zip(call.cells, report.cells, strict=True)
    ]


def entry_of(report: VerifyReport, name: str, method: Method | ProtectRun, made: Made) -> Entry:
    """Say what a method is and how its pictures look."""
    return Entry(
        name=name,
        title=method.title,
        source=method.source,
        settings=made.settings,
        seconds=made.seconds,
        quality=report.quality,
    )


def compare(
    methods: Mapping[str, Method | ProtectRun], wanted: Sequence[Call], owner: Owner, judge: Judge
) -> Iterator[Results]:
    """Have every method protect the pictures, and every call made on each of the folders.

    Yields:
        The table so far, after each of them; call by call, so that methods grow side by side.
    """
    entries: dict[str, Entry] = {}
    rows: list[Row] = []
    for call, (name, method) in product(wanted, methods.items()):
        owner.listener(Notice(f"{method.title}: {call}"))
        made = owner.protected_by(name, method)
        report = judge.report(made, call)
        entries[name] = entry_of(report, name, method, made)
        rows += rows_of(report, name, call)
        yield Results(
            pictures=Pictures(
                name=judge.yardstick.name,
                tuning=judge.yardstick.tuning,
                n_train=report.split.n_train,
                n_test=report.split.n_test,
                classes=len(owner.listing.classes),
                chance=report.cells[0].chance,
            ),
            eps=owner.eps.text,
            seed=owner.seed,
            finished=call is wanted[-1] and name == [*methods][-1],
            methods=tuple(entries.values()),
            rows=tuple(rows),
            environment=Tool(**tool_facts(owner.device)),
        )


app = typer.Typer(add_completion=False)


@app.command()
def main(
    yardstick: Annotated[
        str | None, typer.Option(help=f"Pictures: {' or '.join(YARDSTICKS)}; fashion if not given.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Own pictures, in class folders.")] = None,
    test: Annotated[Path | None, typer.Option(help="Own pictures to test on.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(help=f"May be repeated. All of: {', '.join(METHODS)}.")
    ] = None,
    victim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|BACKBONE[@MODE]", help=f"May be repeated. All of: {', '.join(VICTIMS)}."
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="An attack of `protect verify`, or a mode of it that is a way to fine-tune; may "
            f"be repeated. All of: {', '.join(USUAL_ATTACKS)}."
        ),
    ] = None,
    eps: Annotated[str, typer.Option(help="The budget.")] = "8/255",
    seeds: Annotated[int, typer.Option(help="Trainings of each cell without an attack.")] = 1,
    tune: Annotated[
        bool, typer.Option("--tune", help="Test on pictures to make choices by, not to report.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Least effort: to see that it works, not how well.")
    ] = False,
    work: Annotated[Path, typer.Option(help="Folder for all that is made.")] = Path("strength"),
    size: Size = None,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = None,
    weights: WeightFiles = None,
    quiet: Quiet = False,
) -> None:
    """Compare methods by what victims learn from their pictures, under attacks on the noise."""
    shown = Screen(quiet)
    with answered(shown, partial(kept, "the same command")):
        methods = named("method", METHODS, method)
        if quick:
            methods = {name: chosen.least() for name, chosen in methods.items()}
        victims = victims_of(victim or VICTIMS)
        attacks = tuple(dict.fromkeys(attack or USUAL_ATTACKS))
        for name in attacks:
            require_attack(name)
        wanted, left_out = calls(victims, attacks, seeds)
        if not wanted:
            raise ConfigError("none of these victims can use any of these attacks", "", left_out)
        budget, place = Eps.parse(eps), choose_device(device)
        threads, files = thread_count(workers), weight_files(weights)
        pictures = yardstick_of(yardstick, train, test, tune, work)
        owner = Owner(
            pictures.train,
            work / "folders",
            eps=budget,
            size=size or pictures.size,
            seed=seed,
            device=place,
            threads=threads,
            listener=shown.listen,
        )
        judge = Judge(
            pictures,
            work,
            levels=budget.levels,
            size=owner.size,
            seed=seed,
            epochs=1 if quick else None,
            device=device,
            threads=threads,
            weights=files,
            listener=shown.listen,
        )

        path = work / f"{pictures.name}{'-tuning' if pictures.tuning else ''}"
        for results in compare(methods, wanted, owner, judge):
            results = results.model_copy(update={"left_out": tuple(left_out)})
            results.write(path)
        shown.result(screen(results))
        shown.hint(f"the tables are in {path}.md, every figure in {path}.json")


if __name__ == "__main__":
    app()
