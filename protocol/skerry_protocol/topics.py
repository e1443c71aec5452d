"""MQTT topics: ``skerry/v1/{device}/up|down/{leaf}``. Built and parsed here and nowhere else."""

import re
from typing import Literal, NamedTuple, Self, get_args

from skerry_protocol.errors import MalformedError, NameSyntaxError
from skerry_protocol.names import check_device

DEFAULT_ROOT = "skerry/v1"

UpLeaf = Literal["reported", "status", "telemetry", "events", "request", "reply"]
DownLeaf = Literal["desired", "ack", "command", "response"]
Leaf = UpLeaf | DownLeaf

UP_LEAVES: tuple[UpLeaf, ...] = get_args(UpLeaf)
DOWN_LEAVES: tuple[DownLeaf, ...] = get_args(DownLeaf)
_ROOT = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


class Topic(NamedTuple):
    """One message's address: whose, and what."""

    device: str
    leaf: Leaf

    @classmethod
    def parse(cls, text: str, root: str = DEFAULT_ROOT) -> Self:
        """Parse a topic below ``root``.

        Raises:
            MalformedError: It is not one of this protocol's topics.
        """
        prefix = root + "/"
        parts = text.removeprefix(prefix).split("/") if text.startswith(prefix) else []
        match parts:
            case [device, "up", leaf] if leaf in UP_LEAVES:
                pass
            case [device, "down", leaf] if leaf in DOWN_LEAVES:
                pass
            case _:
                raise MalformedError(f"topic {text[:200]!r} is not of the form {root}/DEVICE/up|down/…")
        try:
            return cls(check_device(device), leaf)
        except NameSyntaxError as error:
            raise MalformedError(str(error)) from error

    def format(self, root: str = DEFAULT_ROOT) -> str:
        """The topic's text."""
        return f"{root}/{self.device}/{'up' if self.leaf in UP_LEAVES else 'down'}/{self.leaf}"


def check_root(root: str) -> str:
    """Return ``root`` when it can stand before all topics.

    Raises:
        NameSyntaxError: It is empty, has wildcards or leading and trailing slashes.
    """
    if not _ROOT.fullmatch(root):
        raise NameSyntaxError(f"{root!r} is not a topic root such as {DEFAULT_ROOT}")
    return root


def every_device(leaf: UpLeaf, root: str = DEFAULT_ROOT) -> str:
    """The controller's subscription to one leaf of all devices."""
    return f"{root}/+/up/{leaf}"


def shared(group: str, topic_filter: str) -> str:
    """The same subscription, shared among replicas (MQTT 5, section 4.8.2)."""
    return f"$share/{group}/{topic_filter}"


def own_down(device: str, root: str = DEFAULT_ROOT) -> str:
    """A device's only subscription."""
    return f"{root}/{device}/down/+"
