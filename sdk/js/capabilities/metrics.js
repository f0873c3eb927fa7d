// Counters, gauges and histograms under the plugin's own prefix. Grant: metrics. World: with-metrics.

import * as host from "millrace:plugin/metrics@0.1.0";

const labelsOf = (labels) => {
  const list = [];
  for (const name in labels) list.push({ name, value: String(labels[name]) });
  return list;
};

/** Adds to a counter. */
export const counterAdd = (name, labels = {}, value = 1) => host.counterAdd(name, labelsOf(labels), value);

/** Sets a gauge. */
export const gaugeSet = (name, labels, value) => host.gaugeSet(name, labelsOf(labels), value);

/** Observes one value. */
export const histogramObserve = (name, labels, value) => host.histogramObserve(name, labelsOf(labels), value);
