"""Which requests need a token, and whose request it is."""

import hashlib
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from skerry_agent.access import ApiToken
from skerry_agent.api.errors import NotAllowedError
from skerry_agent.api.ports import Tokens

Handler = Callable[[Request], Awaitable[Response]]

_HOW = "make one with 'skerry-agent token create' and send it as 'Authorization: Bearer …'"


class Gate:
    """Wraps handlers; sets ``request.state.client`` for fair shares.

    Args:
        tokens: The valid tokens.
        required: Whether inference needs one too.
    """

    def __init__(self, tokens: Tokens, *, required: bool) -> None:
        self._tokens = tokens
        self._required = required

    def infer(self, handler: Handler) -> Handler:
        """A handler for everyone, unless a setting asks for a token."""

        async def guarded(request: Request) -> Response:
            self._admit(request, needed=self._required, what="this agent answers")
            return await handler(request)

        return guarded

    def manage(self, handler: Handler) -> Handler:
        """A handler for those with a token."""

        async def guarded(request: Request) -> Response:
            self._admit(request, needed=True, what="changing models takes")
            return await handler(request)

        return guarded

    def _admit(self, request: Request, *, needed: bool, what: str) -> None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        token = self._tokens.check(secret.strip()) if scheme.lower() == "bearer" and secret else None
        if token is None and needed:
            given = "this token is not valid" if secret else f"{what} only with a local API token"
            raise NotAllowedError(f"{given}; {_HOW}")
        request.state.client = client_of(request, token)


def client_of(request: Request, token: ApiToken | None) -> str:
    """Who asks, as far as fair shares are concerned: a token, or an address with a program's name."""
    if token is not None:
        return f"token-{token.id}"
    host = request.client.host if request.client else ""
    program = request.headers.get("user-agent", "")
    return f"{host}-{hashlib.sha256(program.encode('utf-8', 'replace')).hexdigest()[:12]}"
