"""Devices as choosing sees them: from the controller's answers to classes, memory and figures. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from skerry_controller.errors import UsageError
from skerry_controller.workshop.library import Figure, Figures, Machine
from skerry_protocol.device_facts import device_class, memory_class, processor_word
from skerry_protocol.reported import Inventory

AGENT_SHARE: Final = 0.8
"""Of its memory that an agent gives to models by itself (``runtime.memory_budget_bytes``)."""

_UNITS: Final = {"tokens_per_s": ("generation_tok_s", "tok/s"), "first_token_ms": ("first_token_ms", "ms")}


class DeviceGroup(msgspec.Struct, frozen=True, omit_defaults=True):
    """Devices of one class.

    Attributes:
        device_class: Theirs.
        selector: Facts by which a manifest finds them; more memory stands first, since the first match wins.
        devices: Their ids.
        memory_bytes: Of the one that has least.
        disk_bytes: The same.
    """

    device_class: str
    selector: str
    devices: tuple[str, ...]
    memory_bytes: int
    disk_bytes: int


def group_devices(views: Sequence[Mapping[str, Any]]) -> list[DeviceGroup]:
    """Devices by class and size of memory; of one class those with most memory first.

    Args:
        views: As ``GET /api/v1/devices`` gives them.

    Raises:
        UsageError: None of them has told what it is.
    """
    members: dict[tuple[str, int], list[tuple[str, Inventory]]] = {}
    for view in views:
        inventory = msgspec.convert(view["inventory"], Inventory)
        if inventory.arch:
            key = (_class(inventory), memory_class(inventory.memory_bytes))
            members.setdefault(key, []).append((str(view["id"]), inventory))
    if not members:
        untold = f"none of {len(views)} devices has reported its inventory yet"
        raise UsageError(f"{untold if views else 'no device matches'}: 'skerry device list' shows them")
    return [
        DeviceGroup(
            device_class=name,
            selector=class_selector(found[0][1]),
            devices=tuple(sorted(device for device, _ in found)),
            memory_bytes=min(inventory.memory_bytes for _, inventory in found),
            disk_bytes=min(inventory.disk_bytes for _, inventory in found),
        )
        for (name, _), found in sorted(members.items(), key=lambda item: (item[0][0], -item[0][1]))
    ]


def class_selector(inventory: Inventory) -> str:
    """The selector that finds machines of this class with at least this size of memory."""
    word, size = processor_word(inventory.cpu_model), memory_class(inventory.memory_bytes)
    terms = (
        f"arch={inventory.arch}",
        f"processor={word}" if word else None,
        f"cores={inventory.cpu_count}" if inventory.cpu_count else None,
        f"memory.{size}GiB=yes" if size else None,
    )
    return ",".join(term for term in terms if term)


def reported_figures(views: Sequence[Mapping[str, Any]]) -> dict[str, list[Figures]]:
    """What devices measured in trials of what they run, by the digest of the model's file.

    A trial is one short answer: it counts as one repetition.
    """
    found: dict[str, list[Figures]] = {}
    for view in views:
        inventory = msgspec.convert(view["inventory"], Inventory)
        for slot in (view.get("reported") or {}).get("slots", {}).values():
            active, figures = slot.get("active"), slot.get("figures") or {}
            about_it = active is not None and slot.get("target_sha256") == active.get("target_sha256")
            values = tuple(
                Figure(name, unit, figures[key], figures[key], figures[key], at={"batch": 1, "depth": 0})
                for key, (name, unit) in _UNITS.items()
                if key in figures
            )
            if active is None or active.get("adapters") or not about_it or not values or not inventory.arch:
                continue
            run = Figures(
                sha256=active["file_sha256"],
                kind="speed",
                machine=_machine(str(view["id"]), inventory),
                versions={"skerry": str(view.get("agent_version") or "unknown")},
                measured_at=str(view.get("reported_at") or ""),
                figures=values,
                notes=("measured in the trial on a device of the fleet",),
            )
            found.setdefault(run.sha256, []).append(run)
    return found


def _machine(device: str, inventory: Inventory) -> Machine:
    return Machine(
        name=device,
        device_class=_class(inventory),
        arch=inventory.arch,
        processor=inventory.cpu_model,
        cores=inventory.cpu_count,
        memory_bytes=inventory.memory_bytes,
        device=device,
    )


def _class(inventory: Inventory) -> str:
    return device_class(inventory.arch, inventory.cpu_model, inventory.cpu_count)
