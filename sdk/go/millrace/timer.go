package millrace

// Tick is one call of a plugin's timer, for one topic-partition.
type Tick struct {
	Topic     string
	Partition int32
	// NowMs is the host's clock, in milliseconds since the Unix epoch.
	NowMs  int64
	Reason Reason
}

// Reason says why a tick comes.
type Reason uint32

const (
	// Interval: the configured interval has passed.
	Interval Reason = iota
	// Revoked: the partition is given up in a rebalance.
	Revoked
	// Shutdown: the host shuts down.
	Shutdown
)

// Sum is a settled sum.
type Sum struct {
	Name  string
	Value int64
}

// Ticker is a plugin's function of one tick. Its outputs and the sums that it takes become durable together, or, when it
// returns an error, not at all.
type Ticker func(*Tick) ([]Output, error)

var ticker Ticker

// OnTick says what runs on the configured "tick". Call it from an init function, and write
// "include millrace:plugin/with-timer@0.1.0;" into wit/plugin.wit.
func OnTick(onTick Ticker) { ticker = onTick }

// Take moves every settled sum whose name starts with prefix to the caller.
func (t *Tick) Take(prefix string) []Sum { return tallyTake(prefix) }
