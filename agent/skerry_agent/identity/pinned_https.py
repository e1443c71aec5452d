"""HTTPS with a context of our own: requests and urllib3, without their default authorities.

Left alone, requests adds the public authorities to whatever context it is given, and obeys the environment
(proxies, ``REQUESTS_CA_BUNDLE``, ``.netrc``). This session does neither: it goes straight to the server,
believes the given authorities only, and judges the peer's dates by trusted time before it sends anything.
"""

import ssl
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

CheckPeer = Callable[[Mapping[str, Any]], None]


def pinned_session(context: ssl.SSLContext, check_peer: CheckPeer | None) -> requests.Session:
    """A session for ``https`` only.

    Args:
        context: Decides whom to believe.
        check_peer: Called with ``getpeercert()`` after each handshake; raises to end the connection. None for
            a context that verifies nothing.
    """
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", _PinnedAdapter(context, check_peer))
    session.mount("http://", _RefusingAdapter())
    return session


def system_session() -> requests.Session:
    """A session for ``https`` only that believes the system's authorities, such as for an object store.

    Its addresses come from the director. Without TLS, a stolen one could have the device ask whatever answers
    plain HTTP in its own network.
    """
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", _RefusingAdapter())
    return session


class _PinnedAdapter(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext, check_peer: CheckPeer | None) -> None:
        self._context = context
        self._check_peer = check_peer
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **_: Any) -> None:  # noqa: FBT001, FBT002 - requests' signature
        self.poolmanager = PoolManager(
            num_pools=connections, maxsize=maxsize, block=block, ssl_context=self._context
        )
        self.poolmanager.pool_classes_by_scheme = {"https": _pool_class(self._check_peer)}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Add nothing: requests would load the public authorities here."""


class _RefusingAdapter(HTTPAdapter):
    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        raise requests.exceptions.InvalidSchema(f"{request.url} is not https")


def _pool_class(check_peer: CheckPeer | None) -> type[HTTPConnectionPool]:
    class PinnedConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            if check_peer is None:
                # What comes is checked by its hash; urllib3 warns about connections without this mark.
                self.is_verified = True
                return
            assert isinstance(self.sock, ssl.SSLSocket)  # noqa: S101 - what connect() made
            check_peer(self.sock.getpeercert() or {})

    class PinnedPool(HTTPSConnectionPool):
        ConnectionCls = PinnedConnection

    return PinnedPool
