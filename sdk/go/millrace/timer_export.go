//go:build millrace_timer

package millrace

import (
	"runtime"
	"unsafe"
)

// The forms that the contract's records have in memory, in words of 32 bits.
const (
	outputWords = 16
	headerWords = 5
	resultWords = 12
)

// What the host reads after a tick: aligned to 8 bytes, as its records want.
var tickResult [resultWords / 2]uint64

// tickPinned keeps what the result points to until the next tick.
var tickPinned []any

//go:wasmexport millrace:plugin/timer@0.1.0#on-tick
func hostTick(topic unsafe.Pointer, topicLen uint32, partition int32, nowMs int64, reason uint32) unsafe.Pointer {
	if ticker == nil {
		panic("no timer: call millrace.OnTick from an init function")
	}
	defer endOnPanic()
	tick := &Tick{string(unsafe.Slice((*byte)(topic), topicLen)), partition, nowMs, Reason(reason)}
	outputs, err := ticker(tick)
	forgetAllocations()
	tickPinned = tickPinned[:0]
	result := (*[resultWords]uint32)(unsafe.Pointer(&tickResult))
	*result = [resultWords]uint32{}
	if err != nil {
		nestFailure(result, failureOf(err))
	} else {
		nested := nestOutputs(outputs)
		result[2], result[3] = address(unsafe.Pointer(unsafe.SliceData(nested))), uint32(len(outputs))
	}
	runtime.KeepAlive(outputs)
	return unsafe.Pointer(&tickResult)
}

func nestFailure(result *[resultWords]uint32, failure *Failure) {
	tickPinned = append(tickPinned, failure)
	result[0], result[2] = 1, uint32(failure.kind-retry)
	result[4], result[5] = startOf(failure.Code), uint32(len(failure.Code))
	result[6], result[7] = startOf(failure.Message), uint32(len(failure.Message))
	if failure.afterMs != noDelay {
		result[8] = 1
		tickResult[5] = failure.afterMs
	}
}

func nestOutputs(outputs []Output) []uint64 {
	nested := make([]uint64, outputWords/2*len(outputs))
	tickPinned = append(tickPinned, outputs, nested)
	for i := range outputs {
		output := &outputs[i]
		wide := nested[outputWords/2*i:]
		words := (*[outputWords]uint32)(unsafe.Pointer(unsafe.SliceData(wide)))
		words[0], words[1] = startOf(output.Topic), uint32(len(output.Topic))
		words[2], words[3], words[4] = nestOptional(output.Key)
		words[5], words[6], words[7] = nestOptional(output.Value)
		if output.Partition != nil {
			words[8], words[9] = 1, uint32(*output.Partition)
		}
		if output.TimestampMs != nil {
			words[10] = 1
			wide[6] = uint64(*output.TimestampMs)
		}
		headers := make([][headerWords]uint32, len(output.Headers))
		tickPinned = append(tickPinned, headers)
		for j := range output.Headers {
			header := &output.Headers[j]
			some, start, length := nestOptional(header.Value)
			headers[j] = [headerWords]uint32{startOf(header.Name), uint32(len(header.Name)), some, start, length}
		}
		words[14], words[15] = address(unsafe.Pointer(unsafe.SliceData(headers))), uint32(len(headers))
	}
	return nested
}

func nestOptional(bytes []byte) (some, start, length uint32) {
	if bytes == nil {
		return 0, 0, 0
	}
	return 1, address(unsafe.Pointer(unsafe.SliceData(bytes))), uint32(len(bytes))
}
