// Package millrace is what a plugin in Go is written with: one function of one event, registered with Handle.
//
// The host hands events over many at a time, packed, as "wit/types.wit" describes for batch-event-handler. This package
// takes them apart, runs the handler on each, and packs what came of them.
package millrace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"unsafe"
)

// Handler is a plugin's function of one event. What it may return, besides outputs: nil, Filtered, a *Failure, or any
// other error, which asks for a retry.
type Handler func(*Event) ([]Output, error)

var handler Handler

// Handle says what runs for each event. Call it from an init function: main does not run in a plugin.
func Handle(handle Handler) { handler = handle }

// nullLen is the length that means null in a span and in packed headers.
const nullLen = ^uint32(0)

const (
	nullSpan      = uint64(nullLen) << 32
	outcomeStride = 4
	outputStride  = 6
	filtered      = 1
	held          = 5
)

// results are what came of a batch. They are kept from batch to batch, as the host copies them.
var results struct {
	bytes    []byte
	outcomes []uint64
	outputs  []uint64
	// What the host reads: start and length of each of them.
	spans [6]uint32
}

// of returns the bytes that a span names, nil for null. They end where they end: appending to them copies.
func of(span uint64, bytes []byte) []byte {
	length := uint32(span >> 32)
	if length == nullLen {
		return nil
	}
	start := uint32(span)
	return bytes[start : start+length : start+length]
}

func push(bytes []byte) uint64 {
	start := len(results.bytes)
	results.bytes = append(results.bytes, bytes...)
	return uint64(start) | uint64(len(bytes))<<32
}

func pushOptional(bytes []byte) uint64 {
	if bytes == nil {
		return nullSpan
	}
	return push(bytes)
}

func pushOutcome(index int, kind uint32, failure *Failure) {
	if len(results.outcomes) == 0 {
		results.outcomes = append(results.outcomes, outcomeStride)
	}
	code, message, afterMs := nullSpan, nullSpan, noDelay
	if failure != nil {
		code, message = push([]byte(failure.Code)), push([]byte(failure.Message))
		afterMs = failure.afterMs
	}
	results.outcomes = append(results.outcomes, uint64(index)|uint64(kind)<<32, code, message, afterMs)
}

func pushOutput(index int, output *Output) {
	if len(results.outputs) == 0 {
		results.outputs = append(results.outputs, outputStride)
	}
	partition, timestampMs := int32(-1), int64(NoTimestamp)
	if output.Partition != nil {
		partition = *output.Partition
	}
	if output.TimestampMs != nil {
		timestampMs = *output.TimestampMs
	}
	topic, key, value := push([]byte(output.Topic)), pushOptional(output.Key), pushOptional(output.Value)
	results.outputs = append(results.outputs, uint64(index)|uint64(uint32(partition))<<32, uint64(timestampMs),
		topic, key, value, pushHeaders(output.Headers))
}

func pushHeaders(headers []Header) uint64 {
	if len(headers) == 0 {
		return nullSpan
	}
	start := len(results.bytes)
	bytes := results.bytes
	for _, header := range headers {
		valueLen := nullLen
		if header.Value != nil {
			valueLen = uint32(len(header.Value))
		}
		bytes = binary.LittleEndian.AppendUint32(bytes, uint32(len(header.Name)))
		bytes = binary.LittleEndian.AppendUint32(bytes, valueLen)
		bytes = append(append(bytes, header.Name...), header.Value...)
	}
	results.bytes = bytes
	return uint64(start) | uint64(len(bytes)-start)<<32
}

// topicTable is cut from bytes that hold, for each topic, a length and the name.
func topicTable(table []byte) []string {
	var topics []string
	for len(table) >= 4 {
		length := binary.LittleEndian.Uint32(table)
		topics = append(topics, string(table[4:4+length]))
		table = table[4+length:]
	}
	return topics
}

func run(bytes []byte, slots []uint64) {
	results.bytes, results.outcomes, results.outputs = results.bytes[:0], results.outcomes[:0], results.outputs[:0]
	if len(slots) < 2 {
		return
	}
	stride := int(slots[0])
	topics := topicTable(of(slots[1], bytes))
	slots = slots[2:]
	// The order groups of events that failed: what comes after them in this batch is left for later.
	var heldGroups map[uint32]bool
	for index := 0; len(slots) >= stride; index, slots = index+1, slots[stride:] {
		group := uint32(slots[3] >> 32)
		if heldGroups[group] {
			pushOutcome(index, held, nil)
			continue
		}
		event := Event{
			Topic:         topics[uint32(slots[0])],
			Partition:     int32(slots[0] >> 32),
			Offset:        int64(slots[1]),
			TimestampMs:   int64(slots[2]),
			Key:           of(slots[4], bytes),
			Value:         of(slots[5], bytes),
			Attempt:       uint32(slots[3]),
			packedHeaders: of(slots[6], bytes),
		}
		if failure := runEvent(index, &event); failure != nil && failure.kind != reject {
			if heldGroups == nil {
				heldGroups = map[uint32]bool{}
			}
			heldGroups[group] = true
		}
	}
}

func runEvent(index int, event *Event) *Failure {
	current = place{index: uint32(index)}
	outputs, err := handler(event)
	if err != nil && !errors.Is(err, Filtered) {
		failure := failureOf(err)
		if current.hasEffects {
			hostDiscard(current.index)
		}
		pushOutcome(index, uint32(failure.kind), failure)
		return failure
	}
	if err != nil {
		pushOutcome(index, filtered, nil)
	}
	for i := range outputs {
		pushOutput(index, &outputs[i])
	}
	return nil
}

// endOnPanic ends the instance, as the runtime would. The message comes last: the last lines of standard error stand in
// the dead letter.
func endOnPanic() {
	if cause := recover(); cause != nil {
		os.Stderr.Write(debug.Stack())
		fmt.Fprintf(os.Stderr, "panic: %v\n", cause)
		os.Exit(2)
	}
}

//go:wasmexport millrace:plugin/batch-event-handler@0.1.0#handle-batch
func handleBatch(bytes unsafe.Pointer, bytesLen uint32, slots unsafe.Pointer, slotsLen uint32) unsafe.Pointer {
	if handler == nil {
		panic("no handler: call millrace.Handle from an init function")
	}
	defer endOnPanic()
	run(unsafe.Slice((*byte)(bytes), bytesLen), unsafe.Slice((*uint64)(slots), slotsLen))
	forgetAllocations()
	results.spans = [6]uint32{
		address(unsafe.Pointer(unsafe.SliceData(results.bytes))), uint32(len(results.bytes)),
		address(unsafe.Pointer(unsafe.SliceData(results.outcomes))), uint32(len(results.outcomes)),
		address(unsafe.Pointer(unsafe.SliceData(results.outputs))), uint32(len(results.outputs)),
	}
	return unsafe.Pointer(&results.spans)
}
