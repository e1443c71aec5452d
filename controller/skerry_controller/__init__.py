"""The controller: the service, and the operator's command line."""
