"""What the server counts, as Prometheus reads it."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from fourfold.serving.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One server's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.submitted = Counter("fourfold_jobs_submitted_total", "Jobs accepted.", registry=registry)
        self.finished = Counter("fourfold_jobs_finished_total", "Jobs that ended.", ["outcome"], registry=registry)
        self.refused = Counter(
            "fourfold_refused_total", "Requests answered with a problem.", ["problem"], registry=registry
        )
        self.requests = Counter("fourfold_http_requests_total", "Requests.", ["method", "status"], registry=registry)
        self.uploaded = Counter("fourfold_upload_bytes_total", "Bytes of accepted pictures.", registry=registry)
        self.pixels = Counter("fourfold_output_pixels_total", "Pixels of finished results.", registry=registry)
        buckets = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
        self.waited = Histogram(
            "fourfold_job_wait_seconds", "From accepted to started.", buckets=buckets, registry=registry
        )
        self.worked = Histogram(
            "fourfold_job_work_seconds", "From started to ended.", buckets=buckets, registry=registry
        )
        self._queued = Gauge("fourfold_jobs_queued", "Jobs that wait.", registry=registry)
        self._running = Gauge("fourfold_jobs_running", "Jobs that run.", registry=registry)
        self._kept = Gauge("fourfold_jobs_kept", "Jobs the server still knows.", registry=registry)
        self._stored = Gauge("fourfold_stored_bytes", "Bytes of all pictures on disk.", registry=registry)
        self._streams = Gauge("fourfold_event_streams", "Open event streams.", registry=registry)
        self._up = Gauge("fourfold_worker_up", "1 while the worker is ready.", registry=registry)
        self._restarts = Gauge("fourfold_worker_restarts", "Times the worker was started again.", registry=registry)
        self._memory = Gauge("fourfold_worker_resident_bytes", "Memory of the worker.", registry=registry)
        self._lost_inspectors = Gauge(
            "fourfold_inspector_deaths", "Pictures the inspector was lost over.", registry=registry
        )

    def render(self, service: "Service") -> bytes:
        """Returns the text that Prometheus reads, with the gauges as they stand now."""
        self._queued.set(len(service.queue))
        self._running.set(service.running_count)
        self._kept.set(len(service.jobs))
        self._stored.set(service.store.bytes)
        self._streams.set(len(service.listeners))
        self._up.set(service.supervisor.state == "ready")
        self._restarts.set(service.supervisor.restarts)
        self._memory.set(service.supervisor.resident_bytes())
        self._lost_inspectors.set(service.inspection.deaths)
        text: bytes = generate_latest(self.registry)
        return text
