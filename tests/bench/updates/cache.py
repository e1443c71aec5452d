"""Files that take long to make, and what was measured of pairs, in one folder with a bound."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Cache:
    """Made files by name; the least lately used go when there are too many bytes.

    Args:
        folder: Where they are.
        max_bytes: Of all files together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def file(self, name: str, make: Callable[[Path], object]) -> Path:
        """The file with this name, made when it is not there."""
        path = self._folder / name
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            temporary.unlink(missing_ok=True)
            make(temporary)
            temporary.replace(path)
        path.touch()
        self._make_room(path)
        return path

    def result(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was measured under this key, or is now."""
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        if not path.exists():
            path.write_text(json.dumps({"key": key, **measure()}), encoding="utf-8")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def forget_results(self) -> None:
        """Measure all anew."""
        for path in (*self._folder.glob("*.json"), *self._folder.glob("*.pack")):
            path.unlink()

    def largest(self) -> Path | None:
        """The largest file."""
        return max(self._folder.glob("*.gguf"), key=lambda path: path.stat().st_size, default=None)

    def _make_room(self, keep: Path) -> None:
        total = 0
        made = [*self._folder.glob("*.gguf"), *self._folder.glob("*.pack")]
        for path in sorted(made, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            total += path.stat().st_size
            if total > self._max_bytes and path != keep:
                path.unlink()
