"""Counts events by their kind."""

import json

from millrace import Reject, metrics


def handle(event):
    try:
        kind = json.loads(event.value or b"").get("kind", "unknown")
    except (ValueError, AttributeError) as error:
        raise Reject("malformed", error)
    metrics.counter_add("events_total", kind=kind)
