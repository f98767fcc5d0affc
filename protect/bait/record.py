"""What the manifest says of an optimisation: the targets, and a digest of the noise."""

import hashlib
import hmac
from collections.abc import Sequence

from torch import Tensor

from protect.bait.targets import POLICIES
from protect.config.choices import Targets
from protect.documents.manifest import FinalTarget, PatternDigest, TargetMapping

SEARCH = "search"
"""Stage of the target mapping before those of the policy: the choice among textures."""


def target_mapping(
    searched: Tensor,
    counts: Tensor,
    policy: Targets,
    classes: Sequence[str],
    anchor: int | None,
) -> TargetMapping:
    """Name the targets that were counted, by a search, in rounds, or in both.

    Args:
        searched: (K, K), int64: true class, target -> how many samples; 0 where nothing was
            searched.
        counts: (S, K, K), int64: stage, true class, target -> how many samples; 0 without rounds.
        policy: The target policy of the rounds, of S stages.
        classes: K class names.
        anchor: Index of the class with faint noise.
    """
    has_rounds = bool(counts.any()) or not searched.any()
    found = {SEARCH: searched} if searched.any() else {}
    if has_rounds:
        found |= dict(zip((stage.name for stage in POLICIES[policy]), counts, strict=True))
    table = {
        stage: {
            true: {target: n for target, n in zip(classes, row, strict=True) if n}
            for true, row in zip(classes, rows.tolist(), strict=True)
        }
        for stage, rows in found.items()
    }
    stages = tuple(table)
    return TargetMapping(
        policy=policy.value if has_rounds else SEARCH,
        stages=stages,
        counts=table,
        final={true: _most_frequent(row) for true, row in table[stages[-1]].items() if row},
        anchor=None if anchor is None else classes[anchor],
    )


def pattern_digests(
    noise: Tensor, classes: Sequence[str], secret: int | None
) -> dict[str, PatternDigest]:
    """Fingerprint the noise of each class.

    Args:
        noise: (K, C, h, w), float32, in levels, on the CPU.
        classes: K class names.
        secret: The run's seed, without which nobody can tell whether a pattern that he made is the
            one: there are few textures. None as in runs whose manifest has the seed.
    """
    return {
        name: PatternDigest(
            sha256=_digest(pattern.numpy().tobytes(), secret),
            height=pattern.shape[-2],
            width=pattern.shape[-1],
            linf_levels=round(pattern.abs().max().item(), 4),
        )
        for name, pattern in zip(classes, noise, strict=True)
    }


def _digest(content: bytes, secret: int | None) -> str:
    if secret is None:
        return hashlib.sha256(content).hexdigest()
    return hmac.digest(str(secret).encode(), content, "sha256").hex()


def _most_frequent(row: dict[str, int]) -> FinalTarget:
    target = max(row, key=lambda name: row[name])
    return FinalTarget(target=target, share=round(row[target] / sum(row.values()), 4))
