// Counts events by their kind.
package main

import (
	"encoding/json"

	"millrace"
)

func init() { millrace.Handle(handle) }

// A plugin is called by its host; main never runs.
func main() {}

func handle(event *millrace.Event) ([]millrace.Output, error) {
	value := struct{ Kind string }{Kind: "unknown"}
	if err := json.Unmarshal(event.Value, &value); err != nil {
		return nil, millrace.Reject("malformed", err.Error())
	}
	millrace.CounterAdd("events_total", 1, millrace.Label{Name: "kind", Value: value.Kind})
	return nil, nil
}
