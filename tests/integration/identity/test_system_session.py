"""Sessions for addresses outside of the fleet's own servers."""

import http.server
import threading
from collections.abc import Iterator

import pytest
import requests

from skerry_agent.identity.pinned_https import system_session


@pytest.fixture
def internal() -> Iterator[tuple[str, list[str]]]:
    """A service of the device's own network, without TLS, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/reboot", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_nothing_without_tls_is_asked(internal: tuple[str, list[str]]) -> None:
    url, asked = internal
    with system_session() as session, pytest.raises(requests.exceptions.InvalidSchema):
        session.get(url, timeout=5)
    assert asked == []


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    with system_session() as session:
        assert not session.trust_env
        assert session.merge_environment_settings("https://x.example", {}, None, None, None)["proxies"] == {}
