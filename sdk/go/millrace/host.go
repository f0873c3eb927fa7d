package millrace

import "unsafe"

//go:wasmimport wasi:config/store@0.2.0-rc.1 get
func hostConfigGet(key string, answer unsafe.Pointer)

// Config returns a setting of the plugin's section "config", or false when it is not set. Needs the grant "config".
func Config(key string) (string, bool) {
	hostConfigGet(key, unsafe.Pointer(&answer))
	// A result, and in it an option.
	if answer[0]&0xff != 0 || answer[1]&0xff == 0 {
		return "", false
	}
	return string(bytesAt(answer[2], answer[3])), true
}

// Level says how much a log line matters.
type Level uint32

// The levels of wasi:logging.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
	Critical
)

//go:wasmimport wasi:logging/logging@0.1.0-draft log
func hostLog(level uint32, context, message string)

// Log writes a log line, whatever becomes of the event. Needs the grant "logging". What a plugin prints is logged too,
// and needs no grant.
func Log(level Level, message string) { hostLog(uint32(level), "", message) }
