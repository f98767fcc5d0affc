"""A file that may be a manifest: whose is it, and which pictures does it list.

Asks only what a run may replace or remove; `Manifest.read` is the strict reader.
"""

import json
from pathlib import Path
from typing import Any

from protect.documents.document import TOOL_NAME


def is_our_manifest(path: Path) -> bool:
    """Say whether a file is a manifest that this tool wrote."""
    return _is_ours(_read_json(path))


def is_foreign_manifest(path: Path) -> bool:
    """Say whether a file named like a manifest is sound JSON, but not written by this tool.

    One that cannot be read is not: it may be a damaged one of ours.
    """
    data = _read_json(path)
    return data is not None and not _is_ours(data)


def listed(path: Path) -> dict[str, str]:
    """Return what a manifest of ours lists: output name -> digest; nothing of any other file."""
    return _listed(_read_json(path))


def published(path: Path) -> set[str]:
    """Return the names of all files that a manifest of ours tells of: pictures and label file."""
    data = _read_json(path)
    labels = data.get("labels") if _is_ours(data) else None
    name = labels.get("file") if isinstance(labels, dict) else None
    return {*_listed(data), *([name] if isinstance(name, str) else [])}


def _listed(data: Any) -> dict[str, str]:
    images = data.get("images") if _is_ours(data) else None
    return {
        str(image["output"]): str(image.get("output_sha256"))
        for image in (images if isinstance(images, list) else ())
        if isinstance(image, dict) and "output" in image
    }


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _is_ours(data: Any) -> bool:
    tool = data.get("tool") if isinstance(data, dict) else None
    return isinstance(tool, dict) and tool.get("name") == TOOL_NAME
