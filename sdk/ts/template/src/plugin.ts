import { type Event, type Success, metrics } from "millrace";

/** Counts events by their kind. */
export function handle(event: Event): Success {
  const { kind = "unknown" } = event.json<{ kind?: string }>();
  metrics.counterAdd("events_total", { kind });
}
