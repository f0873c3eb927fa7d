package millrace

import (
	"time"
	"unsafe"
)

// State is kept by the host for the plugin, the topic-partition and the key of the event. It needs the grant "state".

//go:wasmimport millrace:plugin/state@0.1.0 get
func hostStateGet(name string, answer unsafe.Pointer)

//go:wasmimport millrace:plugin/state@0.1.0 set
func hostStateSet(name string, value unsafe.Pointer, length uint32, hasTTL uint32, ttlMs uint64)

//go:wasmimport millrace:plugin/state@0.1.0 delete
func hostStateDelete(name string)

// answer is where the host lays down what a call returns.
var answer [4]uint32

// StateGet returns the value of a name, or false when there is none.
func StateGet(name string) ([]byte, bool) {
	begin()
	hostStateGet(name, unsafe.Pointer(&answer))
	if answer[0]&0xff == 0 {
		return nil, false
	}
	return bytesAt(answer[1], answer[2]), true
}

// StateSet keeps a value until it is deleted.
func StateSet(name string, value []byte) {
	begin()
	hostStateSet(name, unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)), 0, 0)
}

// StateSetFor keeps a value for a time, to the millisecond, counted from now.
func StateSetFor(name string, value []byte, ttl time.Duration) {
	begin()
	ttlMs := uint64(max(ttl.Milliseconds(), 0))
	hostStateSet(name, unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)), 1, ttlMs)
}

// StateDelete deletes a value.
func StateDelete(name string) {
	begin()
	hostStateDelete(name)
}
