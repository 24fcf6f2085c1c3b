"""The figures of the health message for Prometheus, on this machine's loopback interface only.

They are read when Prometheus asks, so nothing runs in between. The library is an extra, for those who want this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args
from wsgiref.simple_server import WSGIServer

import msgspec

from edge.config import ConfigError
from edge.text import one_line

if TYPE_CHECKING:
    from prometheus_client import Metric

State = Literal["online", "degraded", "offline"]

_HOST = "127.0.0.1"
_KEY = "health.prometheus_port"
_PREFIX = "overflight_"

# What only ever grows while the daemon runs; everything else can also fall.
_COUNTERS = frozenset(
    {"frames", "rejected", "alerts", "outside_area", "network_sent_bytes", "network_received_bytes"}
    | {"position_fixes", "position_marked", "position_refused"}
)
# The version of the message's form is no measurement.
_LEFT_OUT = frozenset({"schema"})
# Prometheus has base units only (https://prometheus.io/docs/practices/naming/): how a field ends, how its metric does, and
# the factor between them.
_UNITS = (
    ("_per_s", "_per_second", 1.0),
    ("_percent", "_ratio", 0.01),
    ("_mhz", "_hertz", 1e6),
    ("_ms", "_seconds", 1e-3),
    ("_s", "_seconds", 1.0),
    ("_c", "_celsius", 1.0),
    ("_m", "_meters", 1.0),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is shown.

    Attributes:
        health: A health message: each of its numbers becomes a metric, what is None is left out.
        state: How the device is.
        reasons: Why, each in one line that begins with its room.
    """

    health: msgspec.Struct
    state: State
    reasons: Sequence[str]


class MetricsServer:
    """An endpoint that answers Prometheus until it is closed.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        """Stop to listen; takes up to half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(port: int, read: Callable[[], Facts]) -> MetricsServer:
    """Answer Prometheus on 127.0.0.1, on a thread of its own.

    Args:
        port: 0 takes one that is free.
        read: Is called for each request, on any thread.

    Raises:
        ConfigError: prometheus-client is not installed, or the port cannot be had.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise ConfigError(
            f"{_KEY}: needs prometheus-client (pip install 'overflight[prometheus]'): {one_line(error)}"
        ) from error

    class FactsCollector(Collector):
        def collect(self) -> Iterable[Metric]:
            return metrics_of(read())

    # A registry of its own: the library's default one holds figures of the interpreter.
    registry = CollectorRegistry()
    registry.register(FactsCollector())
    try:
        server, thread = start_http_server(port, _HOST, registry)
    except OSError as error:
        raise ConfigError(f"{_KEY}: {port}: {one_line(error)}: expected a free port, or 0 for none") from error
    return MetricsServer(server, thread)


def metrics_of(facts: Facts) -> Iterator[Metric]:
    """The facts as metrics, named and scaled as Prometheus expects."""
    from prometheus_client.metrics_core import GaugeMetricFamily

    for field, value in msgspec.structs.asdict(facts.health).items():
        if field not in _LEFT_OUT:
            yield from _metrics(field, value)
    state = GaugeMetricFamily(f"{_PREFIX}state", "How the device is: 1 for the state that holds.", labels=["state"])
    for name in get_args(State):
        state.add_metric([name], float(name == facts.state))
    yield state
    reasons = GaugeMetricFamily(f"{_PREFIX}degraded", "1 for each reason why it is degraded.", labels=["room", "reason"])
    for line in facts.reasons:
        room, _, reason = line.partition(": ")
        reasons.add_metric([room, reason], 1.0)
    yield reasons


def _metrics(field: str, value: Any) -> Iterator[Metric]:
    """The metrics of one field: several of a struct, none of a text or of what is not known."""
    if isinstance(value, msgspec.Struct):
        for inner, inner_value in msgspec.structs.asdict(value).items():
            yield from _metrics(f"{field}_{inner}", inner_value)
    elif isinstance(value, dict) and any(isinstance(part, msgspec.Struct) for part in value.values()):
        yield from _metrics_of_named(field.removesuffix("s"), value)
    elif isinstance(value, dict):
        yield _family(field, (field.removesuffix("s"),), [((key,), part) for key, part in value.items()])
    elif isinstance(value, int | float):
        yield _family(field, (), [((), value)])


def _metrics_of_named(field: str, named: Mapping[str, msgspec.Struct]) -> Iterator[Metric]:
    """A metric for each field of structs that have names, which are a label; so are the reasons that a field counts by."""
    samples: dict[tuple[str, bool], list[tuple[tuple[str, ...], float]]] = {}
    for name, struct in named.items():
        for inner, value in msgspec.structs.asdict(struct).items():
            if isinstance(value, dict):
                samples.setdefault((inner, True), []).extend(((name, key), part) for key, part in value.items())
            elif isinstance(value, int | float):
                samples.setdefault((inner, False), []).append(((name,), value))
    for (inner, has_names), rows in samples.items():
        yield _family(f"{field}_{inner}", (field, "reason") if has_names else (field,), rows)


def _family(field: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """A metric in base units with its samples, each with the values of the labels."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    name, factor = _name_and_factor(field)
    kind = CounterMetricFamily if field in _COUNTERS else GaugeMetricFamily
    family = kind(name, f"{field} of the health message.", labels=labels)
    for values, value in samples:
        family.add_metric(values, value * factor)
    return family


def _name_and_factor(field: str) -> tuple[str, float]:
    """A field's metric, and what makes its value one in base units."""
    for ending, base, factor in _UNITS:
        if field.endswith(ending):
            return _PREFIX + field.removesuffix(ending) + base, factor
    return _PREFIX + field, 1.0
