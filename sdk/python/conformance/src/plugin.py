"""Does what the value of an event says, so that the kit in sdk/conformance can hold it to the contract."""

from millrace import FILTERED, Output, Overloaded, Reject, Retry, config, log, metrics, state

OUT = "conformance.out"


def handle(event):
    if event.value is None:
        return echo(event)
    deed, _, argument = event.value.decode().partition(":")
    do = DEEDS.get(deed)
    if do is None:
        raise Reject("unknown-deed", deed)
    return do(event, argument)


def echo(event, _=None):
    return Output(OUT, event.value, event.key, event.headers, timestamp_ms=event.timestamp_ms)


def reject(_, code):
    raise Reject(code, "asked to reject")


def retry(event, attempts, after_ms=None):
    if event.attempt < int(attempts):
        raise Retry("again", f"attempt {event.attempt} of {attempts}", after_ms)


def after(event, delay_ms):
    retry(event, "2", int(delay_ms))


def busy(_event, _argument):
    if config.get("busy") == "yes":
        raise Overloaded("busy", "asked to be busy")


def outputs(event, count):
    return [Output("conformance.more", str(n), event.key, {"n": str(n)}) for n in range(int(count))]


def count_state(event, _):
    seen = int(state.get("seen") or 0) + 1
    state.set("seen", str(seen))
    return Output(OUT, str(seen), event.key)


def metric(event, kind):
    metrics.counter_add("deeds_total", kind=kind)
    metrics.gauge_set("last_offset", event.offset)
    metrics.histogram_observe("value_bytes", len(event.value))


def say(_, text):
    log.info(text)
    print(text)


def throw(_event, _argument):
    raise RuntimeError("asked to throw")


DEEDS = {
    "echo": echo,
    "filter": lambda event, _: FILTERED,
    "reject": reject,
    "retry": retry,
    "after": after,
    "busy": busy,
    "output": outputs,
    "elsewhere": lambda event, _: Output("not.granted"),
    "state": count_state,
    "forget": lambda event, _: state.delete("seen"),
    "metric": metric,
    "config": lambda event, name: Output(OUT, config.get(name), event.key),
    "log": say,
    "throw": throw,
}
