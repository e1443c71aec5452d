"""The network sources of an enrolled device, within the limits that its settings give."""

from typing import TYPE_CHECKING

from skerry_agent.daemon.controller_link import ControllerLink
from skerry_agent.daemon.local import LocalDevice
from skerry_agent.identity import check_peer_dates, client_context
from skerry_agent.settings.fleet_slices import update_limits
from skerry_agent.trusted_time import TrustedTime
from skerry_agent.updates import Network, Opening, RangeSource, Traffic
from skerry_agent.updates.sources import HttpSource, MqttSource

if TYPE_CHECKING:
    import requests


def open_network(local: LocalDevice, link: ControllerLink, device: str) -> Network:
    """HTTP where it may be tried, then MQTT; rate and window are read from the settings as they are then."""
    traffic = Traffic(lambda: local.settings.updates.download_bytes_per_s)
    sources: list[RangeSource] = []
    if local.settings.updates.http_source:
        sources.append(
            HttpSource(link, lambda authority: _open_session(authority, local.time), traffic=traffic)
        )
    sources.append(MqttSource(link, traffic=traffic))
    opening = Opening(
        lambda: local.settings.updates.download_window,
        local.time.now,
        spread_s=lambda: local.settings.updates.start_spread_s,
        device=device,
    )
    return Network(
        sources, traffic, local.outbox, update_limits(local.settings.updates), closed_s=opening.closed_s
    )


def _open_session(authority_pem: str | None, time: TrustedTime) -> "requests.Session":
    """A session that believes the given authority alone, by trusted time; without one, the system's."""
    # Imports requests, which only a download over HTTP needs.
    from skerry_agent.identity.pinned_https import pinned_session, system_session  # noqa: PLC0415

    if authority_pem is None:
        return system_session()
    return pinned_session(client_context([authority_pem]), lambda peer: check_peer_dates(peer, time))
