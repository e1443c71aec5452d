"""What this process holds, by the kernel's own count of its mappings. Linux."""

from pathlib import Path

import msgspec

_KIB = 1024


class Held(msgspec.Struct, frozen=True):
    """Resident bytes.

    Attributes:
        rss: All of them.
        private: The process's own: heap, cache, buffers.
        model: Pages of the model's file, which the kernel can drop and read again.
    """

    rss: int
    private: int
    model: int


def held_memory(model: Path, smaps: Path = Path("/proc/self/smaps")) -> Held:
    """Count it; takes some milliseconds.

    Args:
        model: The model's file.
        smaps: Where the kernel tells.
    """
    path = str(model.resolve())
    rss = private = held = 0
    of_model = False
    for line in smaps.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, rest = line.partition(":")
        if "-" in key:  # the head of a mapping: addresses, rights, offset, device, inode, path
            of_model = line.endswith(path)
        elif key == "Rss":
            size = int(rest.split()[0]) * _KIB
            rss += size
            held += size if of_model else 0
        elif key == "Anonymous":
            private += int(rest.split()[0]) * _KIB
    return Held(rss, private, held)
