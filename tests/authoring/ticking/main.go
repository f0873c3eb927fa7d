package main

import (
	"errors"
	"fmt"

	"millrace"
)

var ready bool

func main() {}

func init() {
	millrace.OnInit(func() error { ready = true; return nil })
	millrace.OnTick(tick)
	millrace.Handle(func(*millrace.Event) ([]millrace.Output, error) {
		if !ready {
			return nil, errors.New("init did not run")
		}
		return nil, nil
	})
}

func tick(t *millrace.Tick) ([]millrace.Output, error) {
	reasons := []string{"interval", "revoked", "shutdown"}
	partition := int32(1)
	var outputs []millrace.Output
	for _, sum := range t.Take("t/") {
		text := fmt.Sprintf("%s=%d %s/%d %d %s", sum.Name, sum.Value, t.Topic, t.Partition, t.NowMs, reasons[t.Reason])
		outputs = append(outputs, millrace.Output{
			Topic:     "counts",
			Value:     []byte(text),
			Partition: &partition,
			Headers:   []millrace.Header{{Name: "h"}},
		})
	}
	return outputs, nil
}
