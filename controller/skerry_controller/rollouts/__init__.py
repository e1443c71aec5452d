"""Rollouts: moving a channel from one version to another, in waves, with gates between them."""
