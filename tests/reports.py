"""Reports of verifications that never took place, for the tests of their renderings."""

from collections.abc import Sequence

from protect.documents.document import Network, Tool, Weights
from protect.documents.verify_report import (
    Cell,
    ClassShare,
    Curve,
    Quality,
    Split,
    Training,
    Verdict,
    VerifyReport,
)

HOSTILE = "a|b`c`<script>alert(1)</script>\"'&\n\r\t\x00\x1b[31m\u202egnp.exe\u2028\udc80</td>*_#@x"
"""A name that no renderer may believe; `str.isprintable` rejects nine of its characters."""

VIT = "torchvision:vit_b_16"
RESNET = "timm:resnet18.a1_in1k"
GENTLE = Training(
    epochs=10,
    batch_size=64,
    lr=0.0123,
    optimiser="sgd",
    momentum=0.91,
    weight_decay=0.00045,
    clip=5.0,
    trained="all",
    source="torchvision references/classification, lr scaled (https://example.org/recipe)",
)


def make_cell(
    backbone: str = VIT,
    mode: str = "full",
    attack: str = "none",
    verdict: Verdict = "pass",
    **changes: object,
) -> Cell:
    """Return a cell of three seeds whose figures fit its verdict."""
    end = {"pass": 0.141, "fail": 0.713, "inconclusive": 0.312}[verdict]
    share = (end + 0.02 - 0.103) / (0.873 - 0.103)
    facts: dict[str, object] = {
        "backbone": backbone,
        "mode": mode,
        "attack": attack,
        "final": end,
        "peak": end + 0.02,
        "control_final": 0.861,
        "control_peak": 0.873,
        "chance": 0.103,
        "floor": 0.103,
        "retained": share,
        "retained_low": max(0.0, share - 0.05),
        "retained_high": share + 0.05,
        "n_train": 2250,
        "n_test": 751,
        "seeds": (0, 1, 2),
        "seconds": 83.4,
        "network": Network(
            name=backbone,
            weights=Weights(
                origin="cache", file="vit_b_16-c867db91.pth", sha256="c867db91" * 8, tag="V1"
            ),
            input_size=224,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        "training": GENTLE,
        "curves": tuple(
            Curve(protected=(0.11, end + 0.02, end + nudge), control=(0.4, 0.873, 0.861 + nudge))
            for nudge in (0.0, 0.01, -0.01)
        ),
        "classes": (
            make_share("cats", share, verdict),
            make_share("dogs", 0.25 * share, "pass"),
            make_share("elks", 1.5 * share, "inconclusive", n_test=9),
            make_share("owls", None, "inconclusive"),
        ),
        "verdict": verdict,
        "reason": f"retained {share:.2f}, only 0.3 allowed",
    }
    return Cell.model_validate(facts | changes)


def make_share(label: str, share: float | None, verdict: Verdict, n_test: int = 250) -> ClassShare:
    """Return what was learned of a class; None where the control did not learn it."""
    return ClassShare(
        label=label,
        n_test=n_test,
        learned=0.8 * (share or 0.0),
        control_learned=0.01 if share is None else 0.8,
        floor=0.0,
        retained=share,
        retained_low=None if share is None else max(0.0, share - 0.1),
        retained_high=None if share is None else share + 0.1,
        verdict=verdict,
    )


def make_report(cells: Sequence[Cell] | None = None, **changes: object) -> VerifyReport:
    """Return a report; of one passed, one failed and two inconclusive cells if none are named."""
    if cells is None:
        cells = (
            make_cell(),
            make_cell(attack="jpeg10", verdict="fail"),
            make_cell(RESNET, verdict="inconclusive"),
            make_cell(
                RESNET,
                "linear probe",
                verdict="inconclusive",
                retained=None,
                retained_low=None,
                retained_high=None,
                reason="the control learned too little to compare with",
            ),
        )
    verdicts = [cell.verdict for cell in cells]
    verdict = next(v for v in ("fail", "inconclusive", "pass") if v in verdicts)
    facts: dict[str, object] = {
        "verdict": verdict,
        "tier": "ci",
        "max_retained": 0.3,
        "every_class": False,
        "worst": verdicts.index(verdict),
        "cells": tuple(cells),
        "not_run": ("adversarial training", "research: diffusion purification"),
        "quality": make_quality(),
        "split": Split(
            kind="held out", seed=17, n_train=2250, n_test=751, test=("cats/1.png", "dogs/2.png")
        ),
        "notes": ("the test set is small",),
        "environment": Tool(
            version="0.1.0",
            python="3.12.1",
            platform="Linux-x86_64",
            device="cpu",
            packages={"torch": "2.15.0", "timm": "1.0.31"},
        ),
    }
    return VerifyReport.model_validate(facts | changes)


def make_quality(**changes: object) -> Quality:
    """Return the quality of pictures that kept a budget of 8 levels."""
    facts: dict[str, object] = {
        "n": 2250,
        "linf_levels": 8,
        "promised_levels": 8,
        "psnr_mean": 33.17,
        "psnr_worst": 31.24,
        "ssim_mean": 0.9123,
        "ssim_worst": 0.8234,
    }
    return Quality.model_validate(facts | changes)


def hostile_report() -> VerifyReport:
    """Return a report in which every free text is hostile."""
    cell = make_cell(HOSTILE, HOSTILE, HOSTILE, "fail", reason=HOSTILE)
    network = cell.network.model_copy(
        update={"weights": Weights(origin=HOSTILE, file=HOSTILE, sha256="0", tag=HOSTILE)}
    )
    training = cell.training.model_copy(update={"trained": HOSTILE, "source": HOSTILE})
    shares = (cell.classes[0].model_copy(update={"label": HOSTILE}), *cell.classes[1:])
    cell = cell.model_copy(update={"network": network, "training": training, "classes": shares})
    other = make_cell(attack=HOSTILE, verdict="inconclusive", reason=HOSTILE, classes=shares)
    report = make_report([cell, other])
    return report.model_copy(
        update={
            "tier": HOSTILE,
            "not_run": (HOSTILE,),
            "notes": (HOSTILE,),
            "split": report.split.model_copy(update={"test": (HOSTILE,)}),
            "environment": report.environment.model_copy(
                update={"device": HOSTILE, "packages": {HOSTILE: HOSTILE}}
            ),
        }
    )
