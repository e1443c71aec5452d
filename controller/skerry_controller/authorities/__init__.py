"""X.509: one authority for servers, another for devices; neither can stand in for the other."""

from skerry_controller.authorities.authority import Authorities, Authority
from skerry_controller.authorities.certificates import KeyPair, needs_renewal
from skerry_controller.authorities.settings import AuthoritySettings

__all__ = ["Authorities", "Authority", "AuthoritySettings", "KeyPair", "needs_renewal"]
