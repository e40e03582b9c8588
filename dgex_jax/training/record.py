"""What was run, as JSON: the configuration, its hash, and the mark of a finished piece of work."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from dgex_jax.formats.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DONE = "done.json"


def digest(config: Mapping[str, Any]) -> str:
    """Hash a configuration (of JSON values, in any order)."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; ``None`` if there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def is_done(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether `folder` holds the finished work of just this configuration."""
    done = read_json(folder / DONE)
    return done is not None and done.get("config_hash") == digest(config)


def mark_done(folder: Path, config: Mapping[str, Any], **facts: Any) -> None:
    """Write ``done.json``, last of all."""
    write_json(folder / DONE, {"config_hash": digest(config), **facts})
