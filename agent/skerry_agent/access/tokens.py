"""Local API tokens: the secret is shown once, its SHA-256 is kept.

A secret has 256 random bits, so a plain hash protects it: nobody can try them all.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from skerry_agent import durable
from skerry_agent.errors import UsageError, WorldError

log = structlog.get_logger(__name__)

SECRET_PREFIX = "sk-skerry-"  # noqa: S105 - what every secret begins with, so that scanners find leaked ones
SECRET_BYTES = 32
MAX_TOKENS = 1000
MAX_LABEL_CHARS = 100


class ApiToken(msgspec.Struct, frozen=True):
    """What is kept of a token.

    Attributes:
        id: Short name for lists, logs and revoking; no secret.
        created_at: Unix seconds by the device's clock.
    """

    id: str
    label: str
    sha256: str
    created_at: float


class _Document(msgspec.Struct, frozen=True):
    tokens: tuple[ApiToken, ...] = ()
    version: int = 1


class TokenStore:
    """The tokens of one device, in one file that only its owner can read. One process owns it at a time."""

    def __init__(
        self, path: Path, tokens: tuple[ApiToken, ...] = (), clock: Callable[[], float] = time.time
    ) -> None:
        """Use ``load``."""
        self._path = path
        self._tokens = {token.id: token for token in tokens}
        self._clock = clock
        self._lock = asyncio.Lock()

    @classmethod
    def load(cls, path: Path, clock: Callable[[], float] = time.time) -> "TokenStore":
        """Read the file; without one, or with a damaged one, no token is valid."""
        try:
            document = msgspec.json.decode(path.read_bytes(), type=_Document)
        except FileNotFoundError:
            document = _Document()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("api_tokens_unreadable", path=str(path), error=str(error))
            document = _Document()
        return cls(path, document.tokens, clock)

    def check(self, secret: str) -> ApiToken | None:
        """The token with this secret, if there is one."""
        digest = _digest(secret)
        found = None
        for token in self._tokens.values():
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def tokens(self) -> list[ApiToken]:
        """All tokens, the oldest first."""
        return sorted(self._tokens.values(), key=lambda token: token.created_at)

    async def create(self, label: str) -> tuple[ApiToken, str]:
        """Make a token; returns it with its secret, which is kept nowhere.

        Raises:
            UsageError: The label is too long, or there are ``MAX_TOKENS`` already.
            WorldError: The disk failed.
        """
        if len(label) > MAX_LABEL_CHARS or not label.isprintable():
            raise UsageError(f"a token's label is printable text of at most {MAX_LABEL_CHARS} characters")
        async with self._lock:
            if len(self._tokens) >= MAX_TOKENS:
                raise UsageError(f"there are {MAX_TOKENS} tokens already: revoke some first")
            secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
            token = ApiToken(secrets.token_hex(4), label, _digest(secret), round(self._clock(), 3))
            await self._write({**self._tokens, token.id: token})
        return token, secret

    async def revoke(self, token_id: str) -> ApiToken:
        """End a token; from now on its secret is worth nothing.

        Raises:
            UsageError: There is no such token.
            WorldError: The disk failed; the token is still valid.
        """
        async with self._lock:
            token = self._tokens.get(token_id)
            if token is None:
                there = ", ".join(self._tokens) or "none"
                raise UsageError(f"there is no token {token_id!r}; there is {there}")
            await self._write({key: value for key, value in self._tokens.items() if key != token_id})
        return token

    async def _write(self, tokens: dict[str, ApiToken]) -> None:
        data = msgspec.json.format(msgspec.json.encode(_Document(tuple(tokens.values()))), indent=1)
        try:
            await asyncio.to_thread(durable.write_atomic, self._path, data, mode=0o600)
        except OSError as error:
            raise WorldError(f"cannot write the tokens to {self._path}: {error.strerror}") from error
        self._tokens = tokens


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
