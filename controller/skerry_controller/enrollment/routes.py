"""Enrollment tokens for operators."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from skerry_controller.authorities import Authorities
from skerry_controller.enrollment.tokens import EnrollmentTokens, TokenInfo, TokenState
from skerry_controller.operator_api.dependencies import Actor, provide

router = APIRouter(prefix="/enrollment-tokens", tags=["enrollment"])

Tokens = Annotated[EnrollmentTokens, Depends(provide(EnrollmentTokens))]
ServerAuthority = Annotated[Authorities, Depends(provide(Authorities))]


class NewToken(BaseModel):
    """What a token should allow. ``life_s``: seconds; without it the default of the settings."""

    model_config = ConfigDict(extra="forbid")

    labels: dict[str, str] = {}
    uses: int = Field(default=1, ge=1)
    life_s: int | None = Field(default=None, ge=1)


class TokenBody(BaseModel):
    """A token without its secret."""

    id: str
    state: TokenState
    labels: dict[str, str]
    uses_left: int
    expires_at: datetime
    created_at: datetime


class CreatedTokenBody(TokenBody):
    """A new token. The client adds the root's hash from the operator's keyring, which this server cannot."""

    secret: str
    authority_sha256: str


@router.post("", status_code=201, summary="Make a token")
async def create(
    body: NewToken, tokens: Tokens, authorities: ServerAuthority, actor: Actor
) -> CreatedTokenBody:
    """The secret is in the answer to this request and nowhere else."""
    created = await tokens.create(labels=body.labels, uses=body.uses, life_s=body.life_s, actor=actor)
    return CreatedTokenBody(
        **_body(created.info).model_dump(),
        secret=created.secret,
        authority_sha256=authorities.servers.fingerprint,
    )


@router.get("", summary="List all tokens")
async def list_tokens(tokens: Tokens) -> list[TokenBody]:
    """The newest first."""
    return [_body(info) for info in await tokens.list_all()]


@router.delete("/{token_id}", summary="Revoke a token")
async def revoke(token_id: str, tokens: Tokens, actor: Actor) -> TokenBody:
    """Devices that enrolled with it stay."""
    return _body(await tokens.revoke(token_id, actor=actor))


def _body(info: TokenInfo) -> TokenBody:
    return TokenBody(
        id=info.id,
        state=info.state,
        labels=dict(info.labels),
        uses_left=info.uses_left,
        expires_at=info.expires_at,
        created_at=info.created_at,
    )
