"""Who may share a prefix with whom, as one text: the adapters that computed it, and the client. Pure.

What an adapter put into the cache is of no use to any other: so prefixes never cross between adapters.
"""

from collections.abc import Sequence

from skerry_agent.runtime.requests import AdapterFile

_MARK = "\0"
"""No client has it at the beginning of its name: NUL comes by no header and no token."""


def prefix_domain(client: str, adapters: Sequence[AdapterFile]) -> str:
    """The domain of a client's prefixes; an empty client stands for all."""
    if not adapters and not client.startswith(_MARK):
        return client
    return f"{_MARK}{'+'.join(adapter.sha256 for adapter in adapters)}{_MARK}{client}"


def client_of(domain: str) -> str:
    """The client of a domain."""
    return domain.split(_MARK, 2)[2] if domain.startswith(_MARK) else domain
