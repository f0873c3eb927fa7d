// What a plugin in C is written with: one function of one event, named `handle`. Nothing here has to be freed.
#ifndef MILLRACE_H
#define MILLRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes that belong to somebody else. Where `data` is NULL they are null, which is not the same as empty.
typedef struct {
  const uint8_t *data;
  uint32_t len;
} millrace_bytes;

#define MILLRACE_NULL ((millrace_bytes){NULL, 0})

// The bytes of a C string, without the zero at its end.
millrace_bytes millrace_text(const char *text);

// Whether they are the text of a C string.
bool millrace_is(millrace_bytes bytes, const char *text);

// Stands where a record has no timestamp.
#define MILLRACE_NO_TIMESTAMP INT64_MIN

// One record. What it points to stays until `handle` returns.
typedef struct {
  millrace_bytes topic;
  int32_t partition;
  int64_t offset;
  // Milliseconds since the Unix epoch, or MILLRACE_NO_TIMESTAMP.
  int64_t timestamp_ms;
  millrace_bytes key;
  // Null is a tombstone.
  millrace_bytes value;
  // From 1; rises only after a counted failure.
  uint32_t attempt;
  // Read with `millrace_next_header`.
  millrace_bytes headers;
} millrace_event;

typedef struct {
  millrace_bytes name;
  // May be null.
  millrace_bytes value;
} millrace_header;

// Takes the first header off `rest`, which begins as a copy of the event's `headers`. False when there is none left.
bool millrace_next_header(millrace_bytes *rest, millrace_header *header);

// What an event came to. Made by the functions below.
typedef struct {
  uint32_t kind;
  uint64_t after_ms;
} millrace_outcome;

// The event is finished. Its effects and its outputs count.
millrace_outcome millrace_processed(void);
// Looked at and not wanted; finished just the same, with its effects and without outputs.
millrace_outcome millrace_filtered(void);
// Worth trying again; counts as an attempt. `code` is a short word that groups failures, `message` is for a person.
// Both are copied: at most 63 and 1023 bytes of them.
millrace_outcome millrace_retry(const char *code, const char *message);
// Never worth trying again: it goes to the dead-letter topic at once.
millrace_outcome millrace_reject(const char *code, const char *message);
// Too busy: tried again later, and not counted as an attempt.
millrace_outcome millrace_overloaded(const char *code, const char *message);
// The same failure, with this wait instead of the configured backoff.
millrace_outcome millrace_after(millrace_outcome failure, uint64_t after_ms);

// A record to be produced. Its topic must be granted: "output:TOPIC".
typedef struct {
  const char *topic;
  millrace_bytes key;
  millrace_bytes value;
  const millrace_header *headers;
  uint32_t header_count;
  // The partition is chosen by the key unless `has_partition`.
  bool has_partition;
  int32_t partition;
  // The time of producing counts unless `has_timestamp`.
  bool has_timestamp;
  int64_t timestamp_ms;
} millrace_output;

// Produces a record when the event succeeds. It is copied.
void millrace_emit(const millrace_output *output);

// The plugin's own function.
millrace_outcome handle(const millrace_event *event);

// Capabilities. Each needs its grant in plugin.yaml, and its line in the world of wit/plugin.wit. What they do counts
// when the event succeeds; log lines count at once.

typedef struct {
  const char *name;
  const char *value;
} millrace_label;

// with-metrics. At most 16 labels; further ones are left out.
void millrace_counter_add(const char *name, double value, const millrace_label *labels, uint32_t count);
void millrace_gauge_set(const char *name, double value, const millrace_label *labels, uint32_t count);
void millrace_histogram_observe(const char *name, double value, const millrace_label *labels, uint32_t count);

// with-state: values for the key of the event. What is returned stays until `handle` returns; null when there is none.
millrace_bytes millrace_state_get(const char *name);
void millrace_state_set(const char *name, millrace_bytes value);
// Kept for so long from now on.
void millrace_state_set_for(const char *name, millrace_bytes value, uint64_t ttl_ms);
void millrace_state_delete(const char *name);

// with-tally: named sums of the topic-partition. A name is used with one operation only.
void millrace_tally_add(const char *name, int64_t value);
void millrace_tally_max(const char *name, int64_t value);
void millrace_tally_min(const char *name, int64_t value);

// with-journal: one line, without line breaks.
void millrace_journal_append(millrace_bytes line);

// with-config: a setting of the plugin; null when it is not set. It stays until `handle` returns.
millrace_bytes millrace_config(const char *name);

// with-logging.
typedef enum { MILLRACE_TRACE, MILLRACE_DEBUG, MILLRACE_INFO, MILLRACE_WARN, MILLRACE_ERROR } millrace_level;
void millrace_log(millrace_level level, const char *message);

// with-lifecycle: the plugin defines `init`. It runs before the first event; a message refuses the plugin, NULL lets it
// serve.
const char *init(void);

// with-timer: the plugin defines `on_tick`, which emits with `millrace_emit`.
typedef enum { MILLRACE_INTERVAL, MILLRACE_REVOKED, MILLRACE_SHUTDOWN } millrace_reason;
typedef struct {
  millrace_bytes topic;
  int32_t partition;
  int64_t now_ms;
  millrace_reason reason;
} millrace_tick;
millrace_outcome on_tick(const millrace_tick *tick);

// A settled sum.
typedef struct {
  millrace_bytes name;
  int64_t value;
} millrace_sum;

// Moves every settled sum whose name starts with `prefix` to the caller, and returns how many there are. In `on_tick`
// only; they stay until it returns.
uint32_t millrace_tally_take(const char *prefix, const millrace_sum **sums);

#endif
