// The way between the contract's packed form (wit/deps/millrace-plugin/types.wit) and the functions of millrace.h.
// The build defines MILLRACE_LIFECYCLE and MILLRACE_TIMER where the plugin's world exports them.
#include "millrace.h"

#include <stdlib.h>
#include <string.h>

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

enum { PROCESSED = 0, FILTERED = 1, RETRY = 2, REJECT = 3, OVERLOADED = 4, HELD = 5 };
enum { OUTCOME_STRIDE = 4, OUTPUT_STRIDE = 6, LABELS_MAX = 16 };
#define NULL_LEN UINT32_MAX
#define NULL_SPAN ((uint64_t)NULL_LEN << 32)
#define NO_DELAY UINT64_MAX

// A list that grows. Its memory is kept for the next batch.
typedef struct {
  void *items;
  uint32_t len, room;
} list;

static void *grow(list *list, uint32_t count, uint32_t size) {
  if (list->room - list->len < count) {
    uint32_t room = list->room ? list->room : 64;
    while (room - list->len < count) {
      // Past half of the address space there is no memory either.
      if (room > UINT32_MAX / 2 / size) abort();
      room *= 2;
    }
    list->items = realloc(list->items, (size_t)room * size);
    if (!list->items) abort();
    list->room = room;
  }
  void *end = (uint8_t *)list->items + (size_t)list->len * size;
  list->len += count;
  return end;
}

// What the host passes in lies in memory that it asks for here.
static list allocations;

EXPORT("cabi_realloc")
void *millrace_cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  (void)old, (void)old_size, (void)align;
  // 8 bytes for nothing, so that there is an address.
  void *memory = malloc(size ? size : 8);
  if (!memory) abort();
  *(void **)grow(&allocations, 1, sizeof(void *)) = memory;
  return memory;
}

static void free_allocations(uint32_t kept) {
  while (allocations.len > kept) free(((void **)allocations.items)[--allocations.len]);
}

// Bytes.

millrace_bytes millrace_text(const char *text) { return (millrace_bytes){(const uint8_t *)text, strlen(text)}; }

bool millrace_is(millrace_bytes bytes, const char *text) {
  size_t len = strlen(text);
  return bytes.data && bytes.len == len && memcmp(bytes.data, text, len) == 0;
}

static uint32_t read_u32(const uint8_t *bytes) {
  uint32_t number;
  memcpy(&number, bytes, sizeof number);
  return number;
}

bool millrace_next_header(millrace_bytes *rest, millrace_header *header) {
  if (!rest->data || rest->len < 8) return false;
  uint32_t name = read_u32(rest->data), value = read_u32(rest->data + 4);
  const uint8_t *bytes = rest->data + 8;
  uint32_t value_len = value == NULL_LEN ? 0 : value;
  header->name = (millrace_bytes){bytes, name};
  header->value = (millrace_bytes){value == NULL_LEN ? NULL : bytes + name, value_len};
  rest->data = bytes + name + value_len;
  rest->len -= 8 + name + value_len;
  return true;
}

// Results: kept from batch to batch, as the host copies them.
static list result_bytes, outcomes, outputs;
static uint32_t event_index;
static bool has_effects;

static char problem_code[64], problem_message[1024];

static uint64_t push(const void *bytes, uint32_t len) {
  uint64_t start = result_bytes.len;
  void *end = grow(&result_bytes, len, 1);
  if (len) memcpy(end, bytes, len);
  return start | (uint64_t)len << 32;
}

static uint64_t push_optional(millrace_bytes bytes) { return bytes.data ? push(bytes.data, bytes.len) : NULL_SPAN; }

static uint64_t push_headers(const millrace_header *headers, uint32_t count) {
  if (!count) return NULL_SPAN;
  uint64_t start = result_bytes.len;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t lens[2] = {headers[i].name.len, headers[i].value.data ? headers[i].value.len : NULL_LEN};
    push(lens, sizeof lens);
    push(headers[i].name.data, headers[i].name.len);
    if (headers[i].value.data) push(headers[i].value.data, headers[i].value.len);
  }
  return start | (result_bytes.len - start) << 32;
}

void millrace_emit(const millrace_output *output) {
  if (!outputs.len) *(uint64_t *)grow(&outputs, 1, 8) = OUTPUT_STRIDE;
  uint32_t partition = output->has_partition ? (uint32_t)output->partition : UINT32_MAX;
  int64_t timestamp_ms = output->has_timestamp ? output->timestamp_ms : MILLRACE_NO_TIMESTAMP;
  uint64_t topic = push(output->topic, strlen(output->topic));
  uint64_t key = push_optional(output->key), value = push_optional(output->value);
  uint64_t headers = push_headers(output->headers, output->header_count);
  uint64_t slot[OUTPUT_STRIDE] = {event_index | (uint64_t)partition << 32, (uint64_t)timestamp_ms, topic, key, value,
                                  headers};
  memcpy(grow(&outputs, OUTPUT_STRIDE, 8), slot, sizeof slot);
}

static void push_outcome(uint32_t kind, uint64_t after_ms) {
  if (!outcomes.len) *(uint64_t *)grow(&outcomes, 1, 8) = OUTCOME_STRIDE;
  bool failed = kind == RETRY || kind == REJECT || kind == OVERLOADED;
  uint64_t code = failed ? push(problem_code, strlen(problem_code)) : NULL_SPAN;
  uint64_t message = failed ? push(problem_message, strlen(problem_message)) : NULL_SPAN;
  uint64_t slot[OUTCOME_STRIDE] = {event_index | (uint64_t)kind << 32, code, message, after_ms};
  memcpy(grow(&outcomes, OUTCOME_STRIDE, 8), slot, sizeof slot);
}

// Outcomes.

static millrace_outcome failure(uint32_t kind, const char *code, const char *message) {
  problem_code[0] = problem_message[0] = 0;
  strncat(problem_code, code, sizeof problem_code - 1);
  strncat(problem_message, message, sizeof problem_message - 1);
  return (millrace_outcome){kind, NO_DELAY};
}

millrace_outcome millrace_processed(void) { return (millrace_outcome){PROCESSED, NO_DELAY}; }
millrace_outcome millrace_filtered(void) { return (millrace_outcome){FILTERED, NO_DELAY}; }
millrace_outcome millrace_retry(const char *code, const char *message) { return failure(RETRY, code, message); }
millrace_outcome millrace_reject(const char *code, const char *message) { return failure(REJECT, code, message); }
millrace_outcome millrace_overloaded(const char *code, const char *message) {
  return failure(OVERLOADED, code, message);
}
millrace_outcome millrace_after(millrace_outcome failure, uint64_t after_ms) {
  failure.after_ms = after_ms;
  return failure;
}

// Effects. A C string is passed as its start and its length.

IMPORT("millrace:plugin/effects@0.1.0", "begin") void host_begin(uint32_t index);
IMPORT("millrace:plugin/effects@0.1.0", "discard") void host_discard(uint32_t index);

static void begin(void) {
  if (!has_effects) host_begin(event_index);
  has_effects = true;
}

#define METRICS "millrace:plugin/metrics@0.1.0"
typedef struct {
  const char *name;
  uint32_t name_len;
  const char *value;
  uint32_t value_len;
} host_label;
IMPORT(METRICS, "counter-add") void host_counter_add(const char *, uint32_t, const host_label *, uint32_t, double);
IMPORT(METRICS, "gauge-set") void host_gauge_set(const char *, uint32_t, const host_label *, uint32_t, double);
IMPORT(METRICS, "histogram-observe")
void host_histogram_observe(const char *, uint32_t, const host_label *, uint32_t, double);

static host_label packed_labels[LABELS_MAX];

static uint32_t pack(const millrace_label *labels, uint32_t count) {
  begin();
  if (count > LABELS_MAX) count = LABELS_MAX;
  for (uint32_t i = 0; i < count; i++)
    packed_labels[i] =
        (host_label){labels[i].name, strlen(labels[i].name), labels[i].value, strlen(labels[i].value)};
  return count;
}

void millrace_counter_add(const char *name, double value, const millrace_label *labels, uint32_t count) {
  count = pack(labels, count);
  host_counter_add(name, strlen(name), packed_labels, count, value);
}

void millrace_gauge_set(const char *name, double value, const millrace_label *labels, uint32_t count) {
  count = pack(labels, count);
  host_gauge_set(name, strlen(name), packed_labels, count, value);
}

void millrace_histogram_observe(const char *name, double value, const millrace_label *labels, uint32_t count) {
  count = pack(labels, count);
  host_histogram_observe(name, strlen(name), packed_labels, count, value);
}

#define STATE "millrace:plugin/state@0.1.0"
IMPORT(STATE, "get") void host_state_get(const char *, uint32_t, uint32_t *answer);
IMPORT(STATE, "set") void host_state_set(const char *, uint32_t, const uint8_t *, uint32_t, uint32_t, uint64_t);
IMPORT(STATE, "delete") void host_state_delete(const char *, uint32_t);

millrace_bytes millrace_state_get(const char *name) {
  begin();
  uint32_t answer[3];
  host_state_get(name, strlen(name), answer);
  return (answer[0] & 0xff) ? (millrace_bytes){(const uint8_t *)answer[1], answer[2]} : MILLRACE_NULL;
}

void millrace_state_set(const char *name, millrace_bytes value) {
  begin();
  host_state_set(name, strlen(name), value.data, value.len, 0, 0);
}

void millrace_state_set_for(const char *name, millrace_bytes value, uint64_t ttl_ms) {
  begin();
  host_state_set(name, strlen(name), value.data, value.len, 1, ttl_ms);
}

void millrace_state_delete(const char *name) {
  begin();
  host_state_delete(name, strlen(name));
}

#define TALLY "millrace:plugin/tally@0.1.0"
IMPORT(TALLY, "add") void host_tally_add(const char *, uint32_t, int64_t);
IMPORT(TALLY, "max") void host_tally_max(const char *, uint32_t, int64_t);
IMPORT(TALLY, "min") void host_tally_min(const char *, uint32_t, int64_t);
IMPORT(TALLY, "take") void host_tally_take(const char *, uint32_t, uint32_t *answer);

void millrace_tally_add(const char *name, int64_t value) {
  begin();
  host_tally_add(name, strlen(name), value);
}

void millrace_tally_max(const char *name, int64_t value) {
  begin();
  host_tally_max(name, strlen(name), value);
}

void millrace_tally_min(const char *name, int64_t value) {
  begin();
  host_tally_min(name, strlen(name), value);
}

// A sum lies in memory as the contract has it.
_Static_assert(sizeof(millrace_sum) == 16 && offsetof(millrace_sum, value) == 8, "list<tuple<string, s64>>");

uint32_t millrace_tally_take(const char *prefix, const millrace_sum **sums) {
  uint32_t answer[2];
  host_tally_take(prefix, strlen(prefix), answer);
  *sums = (const millrace_sum *)answer[0];
  return answer[1];
}

IMPORT("millrace:plugin/journal@0.1.0", "append") void host_journal_append(const uint8_t *, uint32_t);

void millrace_journal_append(millrace_bytes line) {
  begin();
  host_journal_append(line.data, line.len);
}

IMPORT("wasi:config/store@0.2.0-rc.1", "get") void host_config_get(const char *, uint32_t, uint32_t *answer);

millrace_bytes millrace_config(const char *name) {
  // A result, and in it an option.
  uint32_t answer[4];
  host_config_get(name, strlen(name), answer);
  bool set = !(answer[0] & 0xff) && (answer[1] & 0xff);
  return set ? (millrace_bytes){(const uint8_t *)answer[2], answer[3]} : MILLRACE_NULL;
}

IMPORT("wasi:logging/logging@0.1.0-draft", "log")
void host_log(uint32_t, const char *, uint32_t, const char *, uint32_t);

void millrace_log(millrace_level level, const char *message) { host_log(level, "", 0, message, strlen(message)); }

// Batches.

static millrace_bytes of(uint64_t span, const uint8_t *bytes) {
  uint32_t len = span >> 32;
  return len == NULL_LEN ? MILLRACE_NULL : (millrace_bytes){bytes + (uint32_t)span, len};
}

// The topic of that number in a table that holds, for each topic, a length and the name.
static millrace_bytes topic_of(millrace_bytes table, uint32_t number) {
  const uint8_t *topic = table.data;
  while (number--) topic += 4 + read_u32(topic);
  return (millrace_bytes){topic + 4, read_u32(topic)};
}

// The order groups of events that failed: what comes after them in this batch is left for later.
static list held_groups;

static bool is_held(uint32_t group) {
  const uint32_t *groups = held_groups.items;
  for (uint32_t i = 0; i < held_groups.len; i++)
    if (groups[i] == group) return true;
  return false;
}

static void run_event(const millrace_event *event, uint32_t group) {
  has_effects = false;
  uint32_t outputs_before = outputs.len, bytes_before = result_bytes.len, kept = allocations.len;
  millrace_outcome outcome = handle(event);
  free_allocations(kept);
  if (outcome.kind == PROCESSED) return;
  outputs.len = outputs_before;
  result_bytes.len = bytes_before;
  if (outcome.kind != FILTERED) {
    if (has_effects) host_discard(event_index);
    if (outcome.kind != REJECT) *(uint32_t *)grow(&held_groups, 1, 4) = group;
  }
  push_outcome(outcome.kind, outcome.after_ms);
}

EXPORT("millrace:plugin/batch-event-handler@0.1.0#handle-batch")
uint32_t *millrace_handle_batch(const uint8_t *bytes, uint32_t bytes_len, const uint64_t *slots, uint32_t words) {
  (void)bytes_len;
  result_bytes.len = outcomes.len = outputs.len = held_groups.len = 0;
  uint64_t stride = words >= 2 ? slots[0] : 0;
  millrace_bytes topics = words >= 2 ? of(slots[1], bytes) : MILLRACE_NULL;
  for (event_index = 0; stride && 2 + (event_index + 1) * stride <= words; event_index++) {
    const uint64_t *slot = slots + 2 + event_index * stride;
    uint32_t group = slot[3] >> 32;
    if (is_held(group)) {
      push_outcome(HELD, NO_DELAY);
      continue;
    }
    millrace_event event = {
        .topic = topic_of(topics, (uint32_t)slot[0]),
        .partition = (int32_t)(slot[0] >> 32),
        .offset = (int64_t)slot[1],
        .timestamp_ms = (int64_t)slot[2],
        .key = of(slot[4], bytes),
        .value = of(slot[5], bytes),
        .attempt = (uint32_t)slot[3],
        .headers = of(slot[6], bytes),
    };
    run_event(&event, group);
  }
  free_allocations(0);
  static uint32_t results[6];
  memcpy(results,
         (uint32_t[6]){(uint32_t)result_bytes.items, result_bytes.len, (uint32_t)outcomes.items, outcomes.len,
                       (uint32_t)outputs.items, outputs.len},
         sizeof results);
  return results;
}

#ifdef MILLRACE_LIFECYCLE
EXPORT("millrace:plugin/lifecycle@0.1.0#init")
uint32_t *millrace_init(void) {
  const char *refusal = init();
  static uint32_t result[3];
  result[0] = refusal != NULL;
  result[1] = (uint32_t)refusal;
  result[2] = refusal ? strlen(refusal) : 0;
  return result;
}
#endif

#ifdef MILLRACE_TIMER
// As the contract has them in memory.
typedef struct {
  uint32_t is_some;
  const uint8_t *data;
  uint32_t len;
} optional_bytes;
typedef struct {
  const uint8_t *name;
  uint32_t name_len;
  optional_bytes value;
} nested_header;
typedef struct {
  const uint8_t *topic;
  uint32_t topic_len;
  optional_bytes key, value;
  uint32_t has_partition;
  int32_t partition;
  uint64_t has_timestamp;
  int64_t timestamp_ms;
  nested_header *headers;
  uint32_t header_count;
} nested_output;
_Static_assert(sizeof(nested_header) == 20 && sizeof(nested_output) == 64, "record output");
typedef struct {
  uint64_t is_error;
  union {
    struct {
      nested_output *outputs;
      uint32_t count;
    } ok;
    struct {
      uint64_t kind;
      const char *code;
      uint32_t code_len;
      const char *message;
      uint32_t message_len;
      uint64_t has_after;
      uint64_t after_ms;
    } failure;
  };
} tick_result;
_Static_assert(sizeof(tick_result) == 48, "result<list<output>, failure>");

static list nested_outputs, nested_headers;

static optional_bytes optional(uint64_t span) {
  millrace_bytes bytes = of(span, result_bytes.items);
  return (optional_bytes){bytes.data != NULL, bytes.data, bytes.len};
}

static void nest(const uint64_t *slot) {
  const uint8_t *bytes = result_bytes.items;
  millrace_bytes topic = of(slot[2], bytes), rest = of(slot[5], bytes);
  int32_t partition = (int32_t)(slot[0] >> 32);
  int64_t timestamp_ms = (int64_t)slot[1];
  // Where the headers lie is known when all of them do.
  uint32_t first = nested_headers.len;
  millrace_header header;
  while (millrace_next_header(&rest, &header))
    *(nested_header *)grow(&nested_headers, 1, sizeof(nested_header)) =
        (nested_header){header.name.data, header.name.len,
                        {header.value.data != NULL, header.value.data, header.value.len}};
  *(nested_output *)grow(&nested_outputs, 1, sizeof(nested_output)) = (nested_output){
      topic.data, topic.len, optional(slot[3]), optional(slot[4]), partition >= 0, partition,
      timestamp_ms != MILLRACE_NO_TIMESTAMP, timestamp_ms, (nested_header *)first, nested_headers.len - first};
}

EXPORT("millrace:plugin/timer@0.1.0#on-tick")
tick_result *millrace_on_tick(const uint8_t *topic, uint32_t len, int32_t partition, int64_t now_ms, uint32_t reason) {
  result_bytes.len = outputs.len = nested_outputs.len = nested_headers.len = 0;
  millrace_tick tick = {{topic, len}, partition, now_ms, (millrace_reason)reason};
  millrace_outcome outcome = on_tick(&tick);
  static tick_result result;
  result = (tick_result){0};
  if (outcome.kind == RETRY || outcome.kind == REJECT || outcome.kind == OVERLOADED) {
    result.is_error = 1;
    result.failure.kind = outcome.kind - RETRY;
    result.failure.code = problem_code;
    result.failure.code_len = strlen(problem_code);
    result.failure.message = problem_message;
    result.failure.message_len = strlen(problem_message);
    result.failure.has_after = outcome.after_ms != NO_DELAY;
    result.failure.after_ms = outcome.after_ms;
  } else {
    const uint64_t *slots = outputs.items;
    for (uint32_t at = 1; at < outputs.len; at += OUTPUT_STRIDE) nest(slots + at);
    nested_output *nested = nested_outputs.items;
    nested_header *headers = nested_headers.items;
    for (uint32_t i = 0; i < nested_outputs.len; i++) nested[i].headers = headers + (size_t)nested[i].headers;
    result.ok.outputs = nested;
    result.ok.count = nested_outputs.len;
  }
  free_allocations(0);
  return &result;
}
#endif
