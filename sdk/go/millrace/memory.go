package millrace

import "unsafe"

// What the host passes in lies in memory that it asks for here. The collector may run while it does, and looks at the
// clock then, which a component must not do while the host has it allocate; the adapter lets clocks stand still for
// that time.

// allocations keeps what the host asked for from the collector, until it is read.
var allocations []unsafe.Pointer

//go:wasmimport wasi_snapshot_preview1 millrace_allocating
func allocating(yes uint32)

//go:wasmexport cabi_realloc
func cabiRealloc(_ unsafe.Pointer, _, _, size uint32) unsafe.Pointer {
	allocating(1)
	// Words, so that everything is aligned.
	memory := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	allocations = append(allocations, memory)
	allocating(0)
	return memory
}

// forgetAllocations leaves what the host passed in to the collector.
func forgetAllocations() {
	clear(allocations)
	allocations = allocations[:0]
}

// address is where something lies. The collector does not move things, and does not see this number.
func address(pointer unsafe.Pointer) uint32 { return uint32(uintptr(pointer)) }

// bytesAt is what the host laid down in memory that it had asked for.
func bytesAt(start, length uint32) []byte {
	return unsafe.Slice((*byte)(pointerAt(start)), length)
}

// pointerAt makes a pointer of an address. What lies there is among the allocations, so it is there, and stays.
func pointerAt(start uint32) unsafe.Pointer {
	at := uintptr(start)
	return *(*unsafe.Pointer)(unsafe.Pointer(&at))
}

// startOf is where the bytes of a string lie.
func startOf(text string) uint32 { return address(unsafe.Pointer(unsafe.StringData(text))) }
