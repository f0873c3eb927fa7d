#include <stdio.h>

#include "millrace.h"

static bool ready;

const char *init(void) {
  ready = true;
  return NULL;
}

millrace_outcome handle(const millrace_event *event) {
  (void)event;
  return ready ? millrace_processed() : millrace_retry("init", "it did not run");
}

millrace_outcome on_tick(const millrace_tick *tick) {
  const char *reasons[] = {"interval", "revoked", "shutdown"};
  const millrace_sum *sums;
  uint32_t count = millrace_tally_take("t/", &sums);
  for (uint32_t i = 0; i < count; i++) {
    char text[128];
    snprintf(text, sizeof text, "%.*s=%lld %.*s/%d %lld %s", (int)sums[i].name.len, (const char *)sums[i].name.data,
             sums[i].value, (int)tick->topic.len, (const char *)tick->topic.data, (int)tick->partition, tick->now_ms,
             reasons[tick->reason]);
    millrace_header h = {millrace_text("h"), MILLRACE_NULL};
    millrace_emit(&(millrace_output){
        .topic = "counts",
        .value = millrace_text(text),
        .headers = &h,
        .header_count = 1,
        .has_partition = true,
        .partition = 1,
    });
  }
  return millrace_processed();
}
