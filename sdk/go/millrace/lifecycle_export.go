//go:build millrace_lifecycle

package millrace

import "unsafe"

// refusal is a result: nothing, or a string.
var refusal [3]uint32

// refusalText keeps the string from the collector.
var refusalText string

//go:wasmexport millrace:plugin/lifecycle@0.1.0#init
func hostInit() unsafe.Pointer {
	refusal = [3]uint32{}
	if initialize != nil {
		if err := initialize(); err != nil {
			refusalText = err.Error()
			refusal = [3]uint32{1, startOf(refusalText), uint32(len(refusalText))}
		}
	}
	forgetAllocations()
	return unsafe.Pointer(&refusal)
}
