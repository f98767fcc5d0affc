"""The Python API, cell by cell: protect, look at the record, check, verify.

    python examples/python_api.py PHOTOS [OUT]

PHOTOS has one folder of pictures for each class. Open this file in an editor that knows `# %%`
cells (VS Code, PyCharm, Spyder, Jupytext), or run it as it is.
"""

# %% Settings are objects that refuse what is impossible. They are named as the flags, lists in the
# plural; existing="overwrite" (or "resume", "extend") stands for the flag of that name.
import sys
from pathlib import Path
from statistics import fmean

from protect import (
    CheckConfig,
    ProtectError,
    RunConfig,
    VerifyConfig,
    check_folder,
    protect_folder,
    verify_folder,
)

PHOTOS = Path(sys.argv[1])
OUT = Path(sys.argv[2] if len(sys.argv) > 2 else "protected")

try:
    RunConfig(source=PHOTOS, eps="8")
except ProtectError as error:
    print(f"{error.message}; {error.hint}")

# %% Protect. A listener is told what happens; without one there is silence.
manifest = protect_folder(
    RunConfig(source=PHOTOS, output=OUT, preset="quick", rounds=3, size=32, device="cpu"),
    listener=print,
)

# %% The manifest is the record: what changed, by how much, and which class was bound to which.
protected = [image for image in manifest.images if image.status == "protected"]
print(f"{len(protected)} of {len(manifest.images)} pictures, budget {manifest.eps.levels} levels")
print(f"PSNR {fmean(image.psnr for image in protected if image.psnr):.1f} dB on average")
for name, final in manifest.target_mapping.final.items():
    print(f"{name} was last bound to {final.target}, {final.share:.0%} of the time")

# %% Check: is what lies on disk what was written?
check = check_folder(CheckConfig(protected=OUT))
print("intact" if check.ok else check.problems)

# %% Verify. Leave out `epochs` and `modes` for a verdict that means something.
report = verify_folder(
    VerifyConfig(protected=OUT, modes=("linear-probe",), epochs=1, device="cpu"),
)
worst = report.cells[report.worst]
print(f"{report.verdict}: {worst.mode} retained {worst.retained}, {worst.reason}")
