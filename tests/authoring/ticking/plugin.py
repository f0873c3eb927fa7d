from millrace import Output, tally

ready = False


def init():
    global ready
    ready = True


def handle(event):
    assert ready


def on_tick(topic, partition, now_ms, reason):
    return [
        Output("counts", f"{name}={value} {topic}/{partition} {now_ms} {reason}", headers={"h": None}, partition=1)
        for name, value in tally.take("t/")
    ]
