//! Answers that are well-formed and yet break the contract: checked before anything of them is believed.

use std::collections::BTreeMap;

use super::super::batch::Batch;
use super::{Lane, LaneSettings, encoding};
use crate::sandbox::{Answer, BatchAnswer, Effects, Fault, FaultKind, Output, TallyChange};
use crate::since_1970;

/// What Kafka's format adds to a header, in bytes at most: two lengths.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// What the host adds to a record beside key, value and headers, in bytes; more than Kafka's framing.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 512;

/// How far a record time may lie ahead, in milliseconds: Kafka's default of
/// `message.timestamp.after.max.ms`. The broker would refuse the record, and with it its whole batch.
pub(super) const TIMESTAMP_AHEAD_MAX_MS: i64 = 60 * 60 * 1_000;

impl Lane {
    /// What is wrong with the answer to a batch; none when nothing is.
    /// Its outputs are then as they leave.
    pub(super) fn misbehaviour(
        &mut self,
        batch: &Batch,
        answer: &mut BatchAnswer,
    ) -> Option<Fault> {
        let now_ms = self.clock.wall_ms();
        if let Some(fault) = encoding::made_ready(&self.settings, &mut answer.outputs, now_ms) {
            return Some(fault);
        }
        let effects = self
            .called
            .instance
            .as_mut()
            .map(|instance| &*instance.effects());
        if effects.is_some_and(|effects| names_no_event(effects, batch.len() as u32)) {
            let message = "an effect belongs to an event that is not in the batch".to_owned();
            return Some(fault("effect-index", message));
        }
        if let Some(message) = breaks_order(batch, answer) {
            return Some(fault("order", message.to_owned()));
        }
        self.too_many_tallies(batch)
    }

    /// Sums are kept until a tick takes them: a new name for each event would fill memory and disk.
    fn too_many_tallies(&mut self, batch: &Batch) -> Option<Fault> {
        let Self {
            called,
            known_tallies,
            ..
        } = self;
        let changes = &called.instance.as_mut()?.effects().tallies;
        if changes.is_empty() {
            return None;
        }
        let assignment_of =
            |change: &TallyChange| batch.events[change.event_index as usize].assignment;
        for (at, assignment) in batch.assignments.iter().enumerate() {
            let of_it = changes.iter().filter(|it| assignment_of(it) as usize == at);
            let names = of_it.map(|change| change.name.as_str());
            if known_tallies
                .make_room(assignment.id, &assignment.tallies, names)
                .is_err()
            {
                let message = format!(
                    "more than {} named sums in partition {} of topic {} (plugins.{}.limits.tallies); take \
                     them in `on-tick`, or tally under fewer names",
                    assignment.tallies.max(),
                    assignment.partition,
                    assignment.topic,
                    called.version().plugin
                );
                return Some(Fault {
                    kind: FaultKind::Fuel,
                    limit: Some("tallies"),
                    ..fault("tallies", message)
                });
            }
        }
        None
    }
}

/// The first output that no broker would take.
pub(super) fn bad_output(
    settings: &LaneSettings,
    outputs: &[Output],
    now_ms: u64,
) -> Option<Fault> {
    let most = settings.message_bytes_max;
    refused_at(
        most,
        &settings.routing.now.output_partitions,
        outputs,
        now_ms,
    )
}

/// The first output that no broker would take now whose records have at most so many bytes.
pub(crate) fn refused_output(
    bytes_max: usize,
    output_partitions: &OutputPartitions,
    outputs: &[Output],
) -> Option<Fault> {
    refused_at(bytes_max, output_partitions, outputs, since_1970::now_ms())
}

fn refused_at(
    bytes_max: usize,
    output_partitions: &OutputPartitions,
    outputs: &[Output],
    now_ms: u64,
) -> Option<Fault> {
    let now_ms = now_ms as i64;
    outputs.iter().find_map(|output| {
        let topic = &output.topic;
        let bytes = bytes_of(output) + RECORD_OVERHEAD_BYTES;
        if bytes > bytes_max {
            let message = format!(
                "an output of {bytes} bytes to topic {topic} is larger than a record may be \
                 ({bytes_max} bytes, kafka.message_max)"
            );
            return Some(fault("output-size", message));
        }
        let partitions = output_partitions.get(topic).copied();
        if let Some(partition) = output.partition
            && partitions.is_some_and(|partitions| partition as usize >= partitions)
        {
            let partitions = partitions.unwrap_or_default();
            let message = format!(
                "an output to partition {partition} of topic {topic}, which has {partitions}"
            );
            return Some(fault("output-partition", message));
        }
        let in_time = |at: i64| (0..=now_ms + TIMESTAMP_AHEAD_MAX_MS).contains(&at);
        let timestamp_ms = output.timestamp_ms.filter(|at| !in_time(*at))?;
        let message = format!(
            "an output to topic {topic} with the timestamp {timestamp_ms}, which is no time in \
             milliseconds since 1970, or more than an hour ahead"
        );
        Some(fault("output-timestamp", message))
    })
}

/// Partitions of the topics that outputs may go to, as of the start.
pub(crate) type OutputPartitions = BTreeMap<String, usize>;

pub(super) fn fault(code: &str, message: String) -> Fault {
    Fault {
        kind: FaultKind::Output,
        code: code.to_owned(),
        message,
        limit: None,
        frames: Vec::new(),
    }
}

fn names_no_event(effects: &Effects, events: u32) -> bool {
    effects
        .tallies
        .iter()
        .any(|change| change.event_index >= events)
        || effects
            .journal
            .iter()
            .any(|line| line.event_index >= events)
        || effects
            .metrics
            .iter()
            .any(|change| change.event_index >= events)
        || effects
            .state
            .iter()
            .any(|write| write.event_index >= events)
}

/// After a failure, later events of the order group must be held; and nothing may be held without one,
/// because it would be run again for ever.
fn breaks_order(batch: &Batch, answer: &BatchAnswer) -> Option<&'static str> {
    let mut special = answer.answers.iter().peekable();
    let mut failed_groups: Vec<u32> = Vec::new();
    // Nothing to check where nothing failed and nothing is held, which is nearly always.
    special.peek()?;
    for (index, meta) in batch.events.iter().enumerate() {
        let special = special.next_if(|(at, _)| *at as usize == index);
        let group = meta.group.in_batch();
        let failed_before = failed_groups.contains(&group);
        match special.map(|(_, answer)| answer) {
            Some(Answer::Held) if !failed_before => {
                return Some("an event was held, and no earlier one of its order group had failed");
            }
            Some(Answer::Held) => {}
            _ if failed_before => {
                return Some("an event was run after an earlier one of its order group had failed");
            }
            Some(Answer::Retry(_) | Answer::Overloaded(_)) => failed_groups.push(group),
            _ => {}
        }
    }
    None
}

/// Bytes of an output in Kafka's format, at most.
pub(super) fn bytes_of(output: &Output) -> usize {
    let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = output
        .headers
        .iter()
        .map(|(name, value)| name.len() + len(value) + HEADER_OVERHEAD_BYTES)
        .sum();
    len(&output.key) + len(&output.value) + headers
}
