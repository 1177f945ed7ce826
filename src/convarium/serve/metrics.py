"""Figures of a running server, in the form that Prometheus reads.

Labels are names of routes, runs and reasons that the server itself has, never what a client sends.
"""

from __future__ import annotations

from typing import Any

from convarium.errors import import_extra

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server, apart from those of others in the process.

    Raises:
        MissingExtraError: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        client: Any = import_extra("prometheus_client", "serve")
        self._client = client
        self.registry = client.CollectorRegistry()
        client.ProcessCollector(registry=self.registry)
        own = {"registry": self.registry}
        self.requests = client.Counter(
            "convarium_requests",
            "Requests by route, run and status",
            ["route", "run", "status"],
            **own,
        )
        self.refusals = client.Counter(
            "convarium_refusals", "Requests that were not done, by the reason", ["code"], **own
        )
        self.seconds = client.Histogram(
            "convarium_request_seconds",
            "From a request's headers to its answer",
            ["route"],
            buckets=_SECONDS,
            **own,
        )
        self.samples = client.Counter(
            "convarium_samples", "Samples answered, by run", ["run"], **own
        )
        self.batches = client.Histogram(
            "convarium_batch_samples", "Samples of a batch", ["run"], buckets=_SIZES, **own
        )
        self.inside = client.Gauge(
            "convarium_samples_inside", "Samples that wait or are worked on", **own
        )
        self.reloads = client.Counter(
            "convarium_reloads", "New versions of a run, by the result", ["run", "result"], **own
        )

    def text(self) -> tuple[bytes, str]:
        """All figures, and the type of that text."""
        return self._client.generate_latest(self.registry), self._client.CONTENT_TYPE_LATEST
