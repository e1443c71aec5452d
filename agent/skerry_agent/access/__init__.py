"""Tokens of local programs: who may change models over TCP, or use them at all when a setting says so."""

from skerry_agent.access.tokens import ApiToken, TokenStore

__all__ = ["ApiToken", "TokenStore"]
