"""Protect image datasets from being trained on, and verify that the protection holds.

The public names are those of `__all__`; everything else may change.

    from protect import RunConfig, VerifyConfig, protect_folder, verify_folder

    protect_folder(RunConfig(source="photos", eps="8/255"))
    report = verify_folder(VerifyConfig(protected="protected"))
    print(report.verdict)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protect.check import check_folder
    from protect.config.settings import CheckConfig, RunConfig, VerifyConfig
    from protect.documents.check_report import CheckReport
    from protect.documents.manifest import Manifest
    from protect.documents.verify_report import VerifyReport
    from protect.errors import ProtectError
    from protect.run import protect_folder
    from protect.verify import verify_folder

__version__ = "0.1.0"

__all__ = [
    "CheckConfig",
    "CheckReport",
    "Manifest",
    "ProtectError",
    "RunConfig",
    "VerifyConfig",
    "VerifyReport",
    "__version__",
    "check_folder",
    "protect_folder",
    "verify_folder",
]

_HOMES = {
    "check_folder": "protect.check",
    "CheckConfig": "protect.config.settings",
    "RunConfig": "protect.config.settings",
    "VerifyConfig": "protect.config.settings",
    "ProtectError": "protect.errors",
    "CheckReport": "protect.documents.check_report",
    "Manifest": "protect.documents.manifest",
    "VerifyReport": "protect.documents.verify_report",
    "protect_folder": "protect.run",
    "verify_folder": "protect.verify",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `protect --help` needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'protect' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, so that `pydoc protect` shows them before their first use."""
    return sorted({*globals(), *__all__})
