"""Administration of the device by a person: over a unix socket, or on the state folder at rest."""

from skerry_agent.admin.app import create_admin_app
from skerry_agent.admin.client import AdminClient, connect
from skerry_agent.admin.service import AdminService

__all__ = ["AdminClient", "AdminService", "connect", "create_admin_app"]
