package millrace

import "encoding/binary"

// Event is one record as a handler sees it. An event that comes back from a retry keeps the coordinates of the record
// it was made from. Its bytes may be kept, and must not be written to: events of one batch share them.
type Event struct {
	Topic     string
	Partition int32
	Offset    int64
	// TimestampMs is in milliseconds since the Unix epoch; NoTimestamp when the record has none.
	TimestampMs int64
	// Key is nil when the record has none, which is not the same as an empty one.
	Key []byte
	// Value is nil in a tombstone, which is not the same as an empty value.
	Value []byte
	// Attempt counts from 1. It rises only after a counted failure, not when the host runs the event again for reasons
	// of its own.
	Attempt uint32

	packedHeaders []byte
}

// Header is one header of a record. Names may repeat. A Value of nil is null, which is not the same as empty.
type Header struct {
	Name  string
	Value []byte
}

// NoTimestamp stands where a record has no timestamp.
const NoTimestamp = -1 << 63

// Headers returns the headers in their order.
func (e *Event) Headers() []Header {
	var headers []Header
	packed := e.packedHeaders
	for len(packed) >= 8 {
		nameLen := binary.LittleEndian.Uint32(packed)
		valueLen := binary.LittleEndian.Uint32(packed[4:])
		packed = packed[8:]
		header := Header{Name: string(packed[:nameLen])}
		packed = packed[nameLen:]
		if valueLen != nullLen {
			header.Value = packed[:valueLen:valueLen]
			packed = packed[valueLen:]
		}
		headers = append(headers, header)
	}
	return headers
}

// Output is a record to be produced. Its topic must be granted to the plugin: "output:TOPIC".
type Output struct {
	Topic string
	// Key is null when it is nil.
	Key []byte
	// Value is null when it is nil: a tombstone.
	Value   []byte
	Headers []Header
	// Partition is chosen by the partitioner when it is nil.
	Partition *int32
	// TimestampMs is the time of producing when it is nil.
	TimestampMs *int64
}
