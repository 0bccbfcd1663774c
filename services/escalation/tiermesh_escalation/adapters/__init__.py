"""The only third-party I/O of the service."""

from tiermesh_escalation.adapters.endpoints import ConfiguredEndpoints
from tiermesh_escalation.adapters.fences import RedisFences, RedisFirsts
from tiermesh_escalation.adapters.frontier import HttpFrontier
from tiermesh_escalation.adapters.watching import OtelWatch

__all__ = ["ConfiguredEndpoints", "HttpFrontier", "OtelWatch", "RedisFences", "RedisFirsts"]
