// Does what the value of an event says, so that the kit in sdk/conformance can hold it to the contract.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "millrace.h"

enum { HEADERS_MAX = 64, VALUE_MAX = 256 };

static const char *OUT = "conformance.out";

static void emit(const millrace_event *event, millrace_bytes value) {
  millrace_emit(&(millrace_output){.topic = OUT, .key = event->key, .value = value});
}

static millrace_outcome echo(const millrace_event *event) {
  millrace_header headers[HEADERS_MAX];
  uint32_t count = 0;
  millrace_bytes rest = event->headers;
  while (count < HEADERS_MAX && millrace_next_header(&rest, &headers[count])) count++;
  millrace_emit(&(millrace_output){
      .topic = OUT,
      .key = event->key,
      .value = event->value,
      .headers = headers,
      .header_count = count,
      .has_timestamp = event->timestamp_ms != MILLRACE_NO_TIMESTAMP,
      .timestamp_ms = event->timestamp_ms,
  });
  return millrace_processed();
}

static millrace_outcome retry(const millrace_event *event, const char *attempts) {
  if ((int)event->attempt >= atoi(attempts)) return millrace_processed();
  char message[64];
  snprintf(message, sizeof message, "attempt %u of %s", (unsigned)event->attempt, attempts);
  return millrace_retry("again", message);
}

static millrace_outcome outputs(const millrace_event *event, int count) {
  for (int i = 0; i < count; i++) {
    char text[16];
    snprintf(text, sizeof text, "%d", i);
    millrace_header n = {millrace_text("n"), millrace_text(text)};
    millrace_emit(&(millrace_output){.topic = "conformance.more",
                                     .key = event->key,
                                     .value = millrace_text(text),
                                     .headers = &n,
                                     .header_count = 1});
  }
  return millrace_processed();
}

static millrace_outcome count_state(const millrace_event *event) {
  millrace_bytes seen = millrace_state_get("seen");
  char text[16];
  snprintf(text, sizeof text, "%.*s", (int)seen.len, seen.data ? (const char *)seen.data : "");
  snprintf(text, sizeof text, "%d", atoi(text) + 1);
  millrace_state_set("seen", millrace_text(text));
  emit(event, millrace_text(text));
  return millrace_processed();
}

static millrace_outcome metric(const millrace_event *event, const char *kind) {
  millrace_counter_add("deeds_total", 1, &(millrace_label){"kind", kind}, 1);
  millrace_gauge_set("last_offset", (double)event->offset, NULL, 0);
  millrace_histogram_observe("value_bytes", event->value.len, NULL, 0);
  return millrace_processed();
}

static millrace_outcome other(const millrace_event *event, const char *deed, const char *argument) {
  if (strcmp(deed, "busy") == 0) {
    bool busy = millrace_is(millrace_config("busy"), "yes");
    return busy ? millrace_overloaded("busy", "asked to be busy") : millrace_processed();
  }
  if (strcmp(deed, "elsewhere") == 0) {
    millrace_emit(&(millrace_output){.topic = "not.granted"});
    return millrace_processed();
  }
  if (strcmp(deed, "state") == 0) return count_state(event);
  if (strcmp(deed, "forget") == 0) {
    millrace_state_delete("seen");
    return millrace_processed();
  }
  if (strcmp(deed, "metric") == 0) return metric(event, argument);
  if (strcmp(deed, "config") == 0) {
    emit(event, millrace_config(argument));
    return millrace_processed();
  }
  if (strcmp(deed, "log") == 0) {
    millrace_log(MILLRACE_INFO, argument);
    puts(argument);
    fflush(stdout);
    return millrace_processed();
  }
  if (strcmp(deed, "throw") == 0) {
    fputs("asked to throw\n", stderr);
    abort();
  }
  return millrace_reject("unknown-deed", deed);
}

millrace_outcome handle(const millrace_event *event) {
  if (!event->value.data) return echo(event);
  char deed[VALUE_MAX];
  snprintf(deed, sizeof deed, "%.*s", (int)event->value.len, (const char *)event->value.data);
  char *colon = strchr(deed, ':');
  const char *argument = colon ? colon + 1 : "";
  if (colon) *colon = 0;
  if (strcmp(deed, "echo") == 0) return echo(event);
  if (strcmp(deed, "filter") == 0) return millrace_filtered();
  if (strcmp(deed, "reject") == 0) return millrace_reject(argument, "asked to reject");
  if (strcmp(deed, "retry") == 0) return retry(event, argument);
  if (strcmp(deed, "after") == 0) return millrace_after(retry(event, "2"), strtoull(argument, NULL, 10));
  if (strcmp(deed, "output") == 0) return outputs(event, atoi(argument));
  return other(event, deed, argument);
}
