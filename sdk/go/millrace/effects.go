package millrace

import "unsafe"

// Effects count when their event succeeds. Each interface must be granted in plugin.yaml.

// place is the event that effects belong to.
type place struct {
	index      uint32
	hasEffects bool
}

var current place

//go:wasmimport millrace:plugin/effects@0.1.0 begin
func hostBegin(index uint32)

//go:wasmimport millrace:plugin/effects@0.1.0 discard
func hostDiscard(index uint32)

// begin tells the host which event the next effects belong to.
func begin() {
	if !current.hasEffects {
		hostBegin(current.index)
		current.hasEffects = true
	}
}

// Label is one label of a metric.
type Label struct{ Name, Value string }

//go:wasmimport millrace:plugin/metrics@0.1.0 counter-add
func hostCounterAdd(name string, labels unsafe.Pointer, count uint32, value float64)

//go:wasmimport millrace:plugin/metrics@0.1.0 gauge-set
func hostGaugeSet(name string, labels unsafe.Pointer, count uint32, value float64)

//go:wasmimport millrace:plugin/metrics@0.1.0 histogram-observe
func hostHistogramObserve(name string, labels unsafe.Pointer, count uint32, value float64)

// CounterAdd adds to a counter. Needs the grant "metrics".
func CounterAdd(name string, value float64, labels ...Label) {
	begin()
	hostCounterAdd(name, pack(labels), uint32(len(labels)), value)
}

// GaugeSet sets a gauge. Needs the grant "metrics".
func GaugeSet(name string, value float64, labels ...Label) {
	begin()
	hostGaugeSet(name, pack(labels), uint32(len(labels)), value)
}

// HistogramObserve observes a value. A histogram whose name ends in _seconds has buckets from 1 us to 4 s; any other
// from 1 to a billion. Needs the grant "metrics".
func HistogramObserve(name string, value float64, labels ...Label) {
	begin()
	hostHistogramObserve(name, pack(labels), uint32(len(labels)), value)
}

// packedLabels are the labels of the running call, as the contract has them: start and length of name and value.
var packedLabels [][4]uint32

func pack(labels []Label) unsafe.Pointer {
	packedLabels = packedLabels[:0]
	for _, label := range labels {
		packedLabels = append(packedLabels, [4]uint32{
			startOf(label.Name), uint32(len(label.Name)), startOf(label.Value), uint32(len(label.Value)),
		})
	}
	return unsafe.Pointer(unsafe.SliceData(packedLabels))
}

//go:wasmimport millrace:plugin/tally@0.1.0 add
func hostTallyAdd(name string, value int64)

//go:wasmimport millrace:plugin/tally@0.1.0 max
func hostTallyMax(name string, value int64)

//go:wasmimport millrace:plugin/tally@0.1.0 min
func hostTallyMin(name string, value int64)

// TallyAdd adds to a named sum of the event's topic-partition. A name is used with one operation only. Needs the grant
// "tally".
func TallyAdd(name string, value int64) {
	begin()
	hostTallyAdd(name, value)
}

// TallyMax keeps the largest value under a name. Needs the grant "tally".
func TallyMax(name string, value int64) {
	begin()
	hostTallyMax(name, value)
}

// TallyMin keeps the smallest value under a name. Needs the grant "tally".
func TallyMin(name string, value int64) {
	begin()
	hostTallyMin(name, value)
}

//go:wasmimport millrace:plugin/tally@0.1.0 take
func hostTallyTake(prefix string, answer unsafe.Pointer)

// tallyTake reads a list of names with their values: start and length of the name, then the value.
func tallyTake(prefix string) []Sum {
	hostTallyTake(prefix, unsafe.Pointer(&answer))
	taken := make([]Sum, answer[1])
	for i, words := range unsafe.Slice((*[4]uint32)(pointerAt(answer[0])), answer[1]) {
		name := string(unsafe.Slice((*byte)(pointerAt(words[0])), words[1]))
		taken[i] = Sum{name, int64(uint64(words[2]) | uint64(words[3])<<32)}
	}
	return taken
}

//go:wasmimport millrace:plugin/journal@0.1.0 append
func hostJournalAppend(line unsafe.Pointer, length uint32)

// JournalAppend writes one line to the plugin's journal. Line breaks inside are refused. Needs the grant "journal".
func JournalAppend(line []byte) {
	begin()
	hostJournalAppend(unsafe.Pointer(unsafe.SliceData(line)), uint32(len(line)))
}
