import { metrics } from "millrace";

/** Counts events by their kind. */
export function handle(event) {
  const { kind = "unknown" } = event.json();
  metrics.counterAdd("events_total", { kind });
}
