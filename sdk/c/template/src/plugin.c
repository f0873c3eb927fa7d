// Counts events by their kind.
#include "json.h"
#include "millrace.h"

millrace_outcome handle(const millrace_event *event) {
  char kind[64] = "unknown";
  if (!millrace_json_valid(event->value)) return millrace_reject("malformed", "the value is not JSON");
  millrace_json_string(millrace_json_member(event->value, "kind"), kind, sizeof kind);
  millrace_counter_add("events_total", 1, &(millrace_label){"kind", kind}, 1);
  return millrace_processed();
}
