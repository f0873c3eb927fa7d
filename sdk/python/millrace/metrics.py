"""Counters, gauges and histograms under the plugin's own name; they count when their event succeeds.

Needs the grant "metrics", and `include millrace:plugin/with-metrics@0.1.0;` in wit/plugin.wit.
"""

from .capability import missing

try:
    from wit_world.imports import metrics as _host
except ImportError as error:
    raise missing("metrics") from error


def counter_add(name, value=1, /, **labels):
    """Adds to a counter."""
    _host.counter_add(name, _packed(labels), float(value))


def gauge_set(name, value, /, **labels):
    """Sets a gauge."""
    _host.gauge_set(name, _packed(labels), float(value))


def histogram_observe(name, value, /, **labels):
    """Observes a value. A histogram whose name ends in _seconds has buckets from 1 us to 4 s; any other from 1 to a
    billion."""
    _host.histogram_observe(name, _packed(labels), float(value))


def _packed(labels):
    return [_host.Label(name, str(value)) for name, value in labels.items()]
