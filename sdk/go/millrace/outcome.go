package millrace

import (
	"errors"
	"time"
)

// Filtered is what a handler returns for an event that it looked at and does not want. The event is finished, and its
// effects count.
var Filtered = errors.New("filtered")

// Failure says why an event is not finished. Its effects are dropped. Any other error that a handler returns asks for a
// retry, with the code "error".
type Failure struct {
	// Code is the plugin's own short word; it groups failures in metrics and in dead letters.
	Code string
	// Message is for a person; at most 1 KiB of it is kept.
	Message string

	kind    failureKind
	afterMs uint64
}

type failureKind uint32

// The numbers of the contract's packed outcomes.
const (
	retry      failureKind = 2
	reject     failureKind = 3
	overloaded failureKind = 4
)

// noDelay leaves the wait to the configured backoff.
const noDelay = ^uint64(0)

// Retry is worth trying again. It counts as an attempt.
func Retry(code, message string) *Failure { return &Failure{code, message, retry, noDelay} }

// Reject is never worth trying again: the event goes to the dead-letter topic at once.
func Reject(code, message string) *Failure { return &Failure{code, message, reject, noDelay} }

// Overloaded is tried again later, and not counted as an attempt.
func Overloaded(code, message string) *Failure { return &Failure{code, message, overloaded, noDelay} }

// After sets how long to wait before the next attempt, to the millisecond. Without it the configured backoff decides.
func (f *Failure) After(wait time.Duration) *Failure {
	f.afterMs = uint64(max(wait.Milliseconds(), 0))
	return f
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// failureOf is the failure that an error stands for.
func failureOf(err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	return Retry("error", err.Error())
}
