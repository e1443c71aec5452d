import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import structlog
from sqlalchemy import update

from skerry_controller.clock import utc_now
from skerry_controller.database import AdminTokenRow
from skerry_controller.device_api.app import DeviceServices, create_device_app
from skerry_controller.enrollment import EnrollmentService
from skerry_controller.repository import add_target
from skerry_controller.serve import slices
from skerry_controller.serve.assembly import fleet_side, operator_app
from skerry_controller.serve.core import Core
from skerry_controller.setup import NewController
from support.controller_data import open_keyring, opened_core, operator_http
from support.publishing import built_model


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[NewController, Core]]:
    async with opened_core(tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(opened: tuple[NewController, Core]) -> AsyncIterator[httpx.AsyncClient]:
    made, core = opened
    async with operator_http(core, made.admin_token) as client:
        yield client


def routes(app: object) -> set[tuple[str, str]]:
    openapi = getattr(app, "openapi")()  # noqa: B009 - of FastAPI
    return {(method, path) for path, methods in openapi["paths"].items() for method in methods}


async def test_every_route_below_api_needs_a_token(opened: tuple[NewController, Core]) -> None:
    _, core = opened
    found = routes(operator_app(core, fleet_side(core, "skerry/v1")))
    assert ("post", "/api/v1/enrollment-tokens") in found
    for token in (None, "", "skerry-admin-wrong"):
        async with operator_http(core, token) as stranger:
            for method, path in found:
                if path.startswith("/api/"):
                    answer = await stranger.request(method.upper(), path)
                    assert (answer.status_code, answer.headers.get("www-authenticate")) == (401, "Bearer"), (
                        path
                    )


async def test_a_revoked_token_is_refused_at_once(
    opened: tuple[NewController, Core], client: httpx.AsyncClient
) -> None:
    assert (await client.get("/api/v1/artifacts")).status_code == 200
    async with opened[1].database.transaction() as session:
        await session.execute(update(AdminTokenRow).values(revoked_at=utc_now()))
    answer = await client.get("/api/v1/artifacts")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


async def test_the_two_applications_share_no_route(opened: tuple[NewController, Core]) -> None:
    _, core = opened
    devices = create_device_app(
        DeviceServices(
            authorities=core.authorities,
            enrollment=EnrollmentService(core.database, core.authorities, core.repository, core.clock),
            blobs=core.blobs,
            capabilities=core.capabilities,
            clock=core.clock,
            limits=slices.device_api_limits(core.settings),
        )
    )
    paths = {getattr(route, "path", "") for route in devices.routes}
    assert paths == {"/v1/authority", "/v1/enroll", "/v1/blobs/{sha256}", "/health"}
    shared = paths & {path for _, path in routes(operator_app(core, fleet_side(core, "skerry/v1")))}
    assert shared <= {"/health"}


async def test_health_and_documentation_need_no_token_and_tell_nothing(
    opened: tuple[NewController, Core],
) -> None:
    async with operator_http(opened[1], None) as stranger:
        assert (await stranger.get("/health")).json()["status"] == "ok"
        openapi = (await stranger.get("/openapi.json")).json()
    assert openapi["info"]["title"] == "Skerry controller"
    for path, methods in openapi["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert path == "/health" or operation["security"], path


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/v1/artifacts/tiny/1", None, 404, "not_found"),
        ("GET", "/api/v1/artifacts/Tiny/1", None, 400, "name_syntax"),
        ("GET", "/api/v1/nothing", None, 404, "not_found"),
        ("PUT", "/api/v1/artifacts", None, 405, "method_not_allowed"),
        ("POST", "/api/v1/enrollment-tokens", {"uses": 0}, 422, "malformed"),
        ("POST", "/api/v1/enrollment-tokens", {"usses": 1}, 422, "malformed"),
        ("POST", "/api/v1/enrollment-tokens", {"uses": 99999999}, 400, "usage"),
        ("POST", "/api/v1/enrollment-tokens", {"labels": {"a b": "c"}}, 400, "name_syntax"),
        ("DELETE", "/api/v1/enrollment-tokens/t-none", None, 404, "not_found"),
        ("GET", "/api/v1/repository/metadata/9.root.json", None, 404, "not_found"),
        ("GET", "/api/v1/repository/roles/root", None, 422, "malformed"),
        ("POST", "/api/v1/repository/publish", {"role": "models", "metadata": "*"}, 422, "refused"),
        ("POST", "/api/v1/repository/publish", {"role": "models", "metadata": "e30="}, 422, "refused"),
    ],
)
async def test_every_mistake_gets_a_code_and_a_message(
    client: httpx.AsyncClient, method: str, path: str, body: object, status: int, code: str
) -> None:
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]


async def test_a_token_is_shown_once_and_listed_without_its_secret(
    opened: tuple[NewController, Core], client: httpx.AsyncClient
) -> None:
    created = await client.post("/api/v1/enrollment-tokens", json={"labels": {"site": "lab"}, "uses": 2})
    assert created.status_code == 201
    assert created.json()["authority_sha256"] == opened[0].authority_sha256
    listed = await client.get("/api/v1/enrollment-tokens")
    assert created.json()["secret"] not in listed.text
    assert listed.json()[0]["labels"] == {"site": "lab"}
    revoked = await client.delete(f"/api/v1/enrollment-tokens/{created.json()['id']}")
    assert revoked.json()["state"] == "revoked"


async def test_a_blob_is_streamed_in_and_checked(client: httpx.AsyncClient) -> None:
    content = b"model" * 1000
    sha256 = hashlib.sha256(content).hexdigest()
    path = f"/api/v1/blobs/{sha256}"
    assert (await client.head(path)).status_code == 404
    wrong = await client.put(path, content=content[:-1])
    assert (wrong.status_code, wrong.json()["code"]) == (422, "refused")
    assert (await client.head(path)).status_code == 404
    assert (await client.put(path, content=content)).json() == {"sha256": sha256, "length": len(content)}
    assert (await client.head(path)).headers["content-length"] == str(len(content))
    assert (await client.put(path, content=b"ignored: it is there")).json()["length"] == len(content)
    assert (await client.put("/api/v1/blobs/nonsense", content=b"x")).status_code == 400


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/repository/publish", content=b"x" * (33 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_model_is_published_over_the_api(
    opened: tuple[NewController, Core], client: httpx.AsyncClient, tmp_path: Path
) -> None:
    built, file = built_model(tmp_path)
    await client.put(f"/api/v1/blobs/{built.file_sha256}", content=file.read_bytes())
    current = (await client.get("/api/v1/repository/roles/models")).content
    signer = open_keyring(opened[0]).signer("models")
    signed = add_target(current, "models", built.target_path, built.content, signer, now=utc_now())
    body = {
        "role": "models",
        "metadata": base64.b64encode(signed).decode(),
        "targets": {built.target_path: base64.b64encode(built.content).decode()},
    }
    first = await client.post("/api/v1/repository/publish", json=body)
    assert first.json() == {
        "role": "models",
        "version": 2,
        "snapshot_version": 2,
        "added": [built.target_path],
    }
    assert (await client.post("/api/v1/repository/publish", json=body)).json()["added"] == []
    shown = (await client.get("/api/v1/artifacts/tiny/1")).json()
    assert (shown["file_sha256"], shown["license"]) == (built.file_sha256, "Apache-2.0")
    assert shown["chunk_count"] > 1
    assert (await client.get("/api/v1/artifacts/tiny/1/target")).content == built.content
    verified = (await client.post("/api/v1/artifacts/tiny/1/verify")).json()
    assert [result["ok"] for result in verified] == [True, True]
    stale = body | {"metadata": base64.b64encode(_again(current, opened[0], built.content)).decode()}
    answer = await client.post("/api/v1/repository/publish", json=stale)
    assert (answer.status_code, answer.json()["code"]) in ((409, "stale"), (422, "refused"))
    assert (await client.delete("/api/v1/artifacts/tiny/1")).status_code == 204
    assert (await client.get("/api/v1/artifacts")).json() == []


def _again(current: bytes, made: NewController, content: bytes) -> bytes:
    signer = open_keyring(made).signer("models")
    return add_target(current, "models", "models/tiny/2.json", content, signer, now=utc_now())


async def test_the_audit_log_is_paged_from_the_newest(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.post("/api/v1/enrollment-tokens", json={})
    newest = (await client.get("/api/v1/audit", params={"limit": 2})).json()
    assert [entry["action"] for entry in newest] == ["token_created"] * 2
    older = (await client.get("/api/v1/audit", params={"before": newest[-1]["id"]})).json()
    assert [entry["action"] for entry in older] == ["token_created", "admin_created"]
    assert newest[0]["actor"] == "admin:first"
    only = (await client.get("/api/v1/audit", params={"action": "admin_created"})).json()
    assert len(only) == 1


async def test_what_nobody_foresaw_is_a_500_without_details(
    opened: tuple[NewController, Core], client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise KeyError("secret detail")

    monkeypatch.setattr(opened[1].artifacts, "list_all", broken)
    with structlog.testing.capture_logs():  # the default for tests draws a traceback that takes seconds
        answer = await client.get("/api/v1/artifacts")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
