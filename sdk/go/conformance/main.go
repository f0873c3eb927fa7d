// Does what the value of an event says, so that the kit in sdk/conformance can hold it to the contract.
package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace"
)

func init() { millrace.Handle(handle) }

func main() {}

func handle(event *millrace.Event) ([]millrace.Output, error) {
	if event.Value == nil {
		return echo(event), nil
	}
	deed, argument, _ := strings.Cut(string(event.Value), ":")
	switch deed {
	case "echo":
		return echo(event), nil
	case "filter":
		return nil, millrace.Filtered
	case "reject":
		return nil, millrace.Reject(argument, "asked to reject")
	case "retry":
		return nil, again(event, argument, -1)
	case "after":
		return nil, again(event, "2", number(argument))
	case "busy":
		if busy, _ := millrace.Config("busy"); busy == "yes" {
			return nil, millrace.Overloaded("busy", "asked to be busy")
		}
		return nil, nil
	case "output":
		return outputs(event, number(argument)), nil
	case "elsewhere":
		return []millrace.Output{{Topic: "not.granted"}}, nil
	case "state", "forget", "metric", "config", "log":
		return effect(event, deed, argument), nil
	case "throw":
		panic("asked to throw")
	}
	return nil, millrace.Reject("unknown-deed", deed)
}

func echo(event *millrace.Event) []millrace.Output {
	output := millrace.Output{
		Topic:   "conformance.out",
		Key:     event.Key,
		Value:   event.Value,
		Headers: event.Headers(),
	}
	if event.TimestampMs != millrace.NoTimestamp {
		output.TimestampMs = &event.TimestampMs
	}
	return []millrace.Output{output}
}

func again(event *millrace.Event, attempts string, afterMs int) error {
	if int(event.Attempt) >= number(attempts) {
		return nil
	}
	failure := millrace.Retry("again", fmt.Sprintf("attempt %d of %s", event.Attempt, attempts))
	if afterMs >= 0 {
		failure.After(time.Duration(afterMs) * time.Millisecond)
	}
	return failure
}

func outputs(event *millrace.Event, count int) []millrace.Output {
	made := make([]millrace.Output, count)
	for i := range made {
		text := []byte(strconv.Itoa(i))
		made[i] = millrace.Output{
			Topic:   "conformance.more",
			Key:     event.Key,
			Value:   text,
			Headers: []millrace.Header{{Name: "n", Value: text}},
		}
	}
	return made
}

func effect(event *millrace.Event, deed, argument string) []millrace.Output {
	switch deed {
	case "state":
		seen, _ := millrace.StateGet("seen")
		next := []byte(strconv.Itoa(number(string(seen)) + 1))
		millrace.StateSet("seen", next)
		return []millrace.Output{{Topic: "conformance.out", Key: event.Key, Value: next}}
	case "forget":
		millrace.StateDelete("seen")
	case "metric":
		millrace.CounterAdd("deeds_total", 1, millrace.Label{Name: "kind", Value: argument})
		millrace.GaugeSet("last_offset", float64(event.Offset))
		millrace.HistogramObserve("value_bytes", float64(len(event.Value)))
	case "config":
		output := millrace.Output{Topic: "conformance.out", Key: event.Key}
		if value, set := millrace.Config(argument); set {
			output.Value = []byte(value)
		}
		return []millrace.Output{output}
	case "log":
		millrace.Log(millrace.Info, argument)
		fmt.Println(argument)
	}
	return nil
}

// number reads a decimal text; nothing is 0.
func number(text string) int {
	value, _ := strconv.Atoi(text)
	return value
}
