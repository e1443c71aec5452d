import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select
from tuf.api.metadata import Metadata, Timestamp

from skerry_controller.audit import entries
from skerry_controller.database import DeviceRow
from skerry_controller.enrollment import EnrollmentRefusedError, EnrollmentService
from skerry_controller.errors import NotFoundError, UsageError
from skerry_controller.serve.core import Core
from skerry_controller.setup import NewController
from skerry_protocol.enrollment import EnrollmentRequest, EnrollmentResponse
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.reported import Inventory
from skerry_protocol.trust_document import decode_trust_document
from support.controller_data import SettableClock, opened_core
from support.signing_requests import enrollment_request


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
async def opened(tmp_path: Path, clock: SettableClock) -> AsyncIterator[tuple[NewController, Core]]:
    async with opened_core(tmp_path, clock) as opened:
        yield opened


@pytest.fixture
def core(opened: tuple[NewController, Core]) -> Core:
    return opened[1]


@pytest.fixture
def enrolled() -> list[str]:
    return []


@pytest.fixture
def service(core: Core, enrolled: list[str]) -> EnrollmentService:
    return EnrollmentService(
        core.database, core.authorities, core.repository, core.clock, on_enrolled=enrolled.append
    )


async def secret(core: Core, *, uses: int = 1, life_s: int | None = None) -> str:
    created = await core.tokens.create(labels={"site": "lab"}, uses=uses, life_s=life_s, actor="admin:test")
    return created.secret


async def devices(core: Core) -> list[DeviceRow]:
    async with core.database.session() as session:
        return list(await session.scalars(select(DeviceRow)))


async def refusal(service: EnrollmentService, request: EnrollmentRequest) -> str:
    with pytest.raises(EnrollmentRefusedError) as caught:
        await service.enroll(request)
    return caught.value.refusal


async def test_a_device_gets_an_id_a_certificate_and_its_labels(
    core: Core, service: EnrollmentService, enrolled: list[str]
) -> None:
    request = msgspec.structs.replace(
        enrollment_request(await secret(core)), inventory=Inventory(hostname="box", cpu_count=4)
    )
    response = await service.enroll(request)
    certificate = x509.load_pem_x509_certificate(response.certificate_pem.encode())
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == response.device
    (row,) = await devices(core)
    assert (row.id, row.labels, row.certificate_pem) == (
        response.device,
        {"site": "lab"},
        response.certificate_pem,
    )
    assert row.inventory["hostname"] == "box"
    assert (row.online, row.reported, row.counter) == (False, None, -1)
    assert enrolled == [response.device]


async def test_the_answer_has_all_files_for_a_first_refresh(
    opened: tuple[NewController, Core], service: EnrollmentService
) -> None:
    made, core = opened
    files = (await service.enroll(enrollment_request(await secret(core)))).files
    assert hashlib.sha256(files["1.root.json"]).hexdigest() == made.root_sha256
    assert {"timestamp.json", "1.snapshot.json", "1.targets.json", "1.models.json", "1.configs.json"} <= set(
        files
    )
    assert Metadata[Timestamp].from_bytes(files["timestamp.json"]).signed.snapshot_meta.version == 1
    (trust,) = (content for name, content in files.items() if name.endswith("trust.json"))
    assert decode_trust_document(trust).controller_urls == made.controller_urls


async def test_each_use_counts_once_even_when_devices_come_together(
    core: Core, service: EnrollmentService
) -> None:
    text = await secret(core, uses=3)
    results = await asyncio.gather(
        *(service.enroll(enrollment_request(text)) for _ in range(8)), return_exceptions=True
    )
    taken = [result for result in results if isinstance(result, EnrollmentResponse)]
    refused = [result.refusal for result in results if isinstance(result, EnrollmentRefusedError)]
    assert (len(taken), refused) == (3, ["token_used_up"] * 5)
    assert len({response.device for response in taken}) == len(await devices(core)) == 3
    (token,) = await core.tokens.list_all()
    assert (token.uses_left, token.state) == (0, "used_up")


async def test_a_device_whose_answer_was_lost_comes_again_with_the_same_key(
    core: Core, service: EnrollmentService, enrolled: list[str]
) -> None:
    request = enrollment_request(await secret(core), ec.generate_private_key(ec.SECP256R1()))
    first, second = await service.enroll(request), await service.enroll(request)
    assert first.device == second.device
    assert len(await devices(core)) == 1
    assert enrolled == [first.device]


async def test_unknown_expired_used_up_and_revoked_tokens_are_told_apart(
    core: Core, service: EnrollmentService, clock: SettableClock
) -> None:
    assert await refusal(service, enrollment_request("guess")) == "token_unknown"
    used = await secret(core)
    await service.enroll(enrollment_request(used))
    assert await refusal(service, enrollment_request(used)) == "token_used_up"
    short = await secret(core, life_s=60)
    revoked = await core.tokens.create(labels={}, uses=1, life_s=None, actor="admin:test")
    await core.tokens.revoke(revoked.info.id, actor="admin:test")
    assert await refusal(service, enrollment_request(revoked.secret)) == "token_revoked"
    clock.offset = timedelta(seconds=61)
    assert await refusal(service, enrollment_request(short)) == "token_expired"
    assert len(await devices(core)) == 1


async def test_a_bad_signing_request_spends_no_use(core: Core, service: EnrollmentService) -> None:
    text = await secret(core)
    bad = EnrollmentRequest(token_secret=text, csr_pem="not a request")
    assert await refusal(service, bad) == "csr_invalid"
    other_curve = enrollment_request(text, ec.generate_private_key(ec.SECP384R1()))
    assert await refusal(service, other_curve) == "csr_invalid"
    assert (await core.tokens.list_all())[0].uses_left == 1
    await service.enroll(enrollment_request(text))


async def test_the_database_holds_no_secret(core: Core) -> None:
    text = await secret(core)
    async with core.database.session() as session:
        connection = await session.connection()
        rows = (await connection.exec_driver_sql("SELECT * FROM enrollment_tokens")).all()
    assert text not in repr(rows)
    assert hashlib.sha256(text.encode()).hexdigest() in repr(rows)


async def test_who_did_what_is_in_the_audit_log(core: Core, service: EnrollmentService) -> None:
    response = await service.enroll(enrollment_request(await secret(core)))
    newest, before = await entries(core.database, limit=2)
    assert (newest["action"], newest["subject"]) == ("device_enrolled", response.device)
    assert (before["action"], before["actor"]) == ("token_created", "admin:test")


async def test_tokens_have_bounds(core: Core) -> None:
    for uses, life_s in ((0, 60), (10**9, 60), (1, 0), (1, 10**9)):
        with pytest.raises(UsageError):
            await core.tokens.create(labels={}, uses=uses, life_s=life_s, actor="admin:test")
    with pytest.raises(NameSyntaxError):
        await core.tokens.create(labels={"a b": "c"}, uses=1, life_s=60, actor="admin:test")
    with pytest.raises(NotFoundError, match="t-nothing"):
        await core.tokens.revoke("t-nothing", actor="admin:test")
