//! Batches that are packed, taken apart and shown otherwise.

use super::*;
use crate::delivery::offsets::Applied;
use crate::schema::View;

fn assignment(id: u64) -> Arc<Assignment> {
    let topic = ("t".into(), 0);
    Arc::new(Assignment::new(
        id,
        topic,
        3,
        0,
        Offset(0),
        Applied::default(),
    ))
}

fn push(batch: &mut Batch, to: &Arc<Assignment>, offset: i64, value: Option<&[u8]>) {
    let place = Place {
        topic_index: 0,
        partition: 3,
        offset: Offset(offset),
        timestamp_ms: None,
        attempt: 1,
    };
    let group = OrderGroup(offset as u64);
    let meta = (EventKind::New, offset as u64, Offset(offset), group);
    batch.push(to, meta, place, (Some(b"key"), value), |bytes| {
        pack_header(bytes, b"h", Some(b"1"));
        pack_header(bytes, b"h", None);
    });
}

#[test]
fn an_event_comes_out_as_it_went_in_and_null_is_not_empty() {
    let mut batch = Batch::new(b"table");
    let to = assignment(1);
    push(&mut batch, &to, 7, None);
    push(&mut batch, &to, 8, Some(b""));
    assert_eq!(
        (batch.view(0).value(), batch.view(1).value()),
        (None, Some(&b""[..]))
    );
    assert_eq!(batch.view(1).key(), Some(&b"key"[..]));
    assert_eq!(batch.view(0).header(b"h"), Some(&b"1"[..]));
    assert_eq!(batch.view(0).header_list().len(), 2);
    let again = batch.take_out(1, 4);
    let mut other = Batch::new(b"another table");
    other.push_owned(&again);
    assert_eq!(other.view(0).offset(), Offset(8));
    assert_eq!(other.view(0).attempt(), 4);
    assert_eq!(other.view(0).header_list(), batch.view(1).header_list());
}

#[test]
fn a_batch_that_has_begun_takes_a_longer_topic_table() {
    let mut batch = Batch::new(b"one");
    let to = assignment(1);
    push(&mut batch, &to, 7, Some(b"v"));
    assert!(batch.has_topics_of(3) && !batch.has_topics_of(7));
    batch.renew_topics(b"one-two");
    assert!(batch.has_topics_of(7));
    assert_eq!(Span(batch.slots[1]).of(&batch.bytes), Some(&b"one-two"[..]));
    push(&mut batch, &to, 8, Some(b"w"));
    assert_eq!(batch.view(0).value(), Some(&b"v"[..]));
    assert_eq!(batch.view(1).value(), Some(&b"w"[..]));
}

#[test]
fn a_plugin_is_shown_views_and_the_record_stays_as_it_was_read() {
    let mut batch = Batch::new(b"table");
    let to = assignment(1);
    push(&mut batch, &to, 7, Some(b"read"));
    push(&mut batch, &to, 8, None);
    let read = batch.take_out(0, 1);
    assert_eq!(
        batch.shown(),
        (&batch.bytes[..], &batch.slots[..]),
        "as it was read"
    );
    let view = |value: Option<&[u8]>| View {
        value: value.map(<[u8]>::to_vec),
        headers: vec![
            (b"h".to_vec(), Some(b"2".to_vec())),
            (b"new".to_vec(), None),
        ],
    };
    batch.show(&[Some(view(Some(b"decoded"))), None]);
    let shown = |batch: &Batch, index: usize| {
        let (bytes, slots) = batch.shown();
        assert_eq!(Span(slots[1]).of(bytes), Some(&b"table"[..]));
        let slot = &slots[HEADER_WORDS + index * SLOT_WORDS..][..SLOT_WORDS];
        let event = EventView { bytes, slot };
        let value = event.value().map(<[u8]>::to_vec);
        (
            event.offset(),
            event.key().map(<[u8]>::to_vec),
            value,
            event.header_list(),
        )
    };
    let headers: Vec<_> = [("h", Some("2")), ("new", None)]
        .map(|(name, value)| (name.into(), value.map(|value| value.as_bytes().to_vec())))
        .into();
    let first = (
        Offset(7),
        Some(b"key".to_vec()),
        Some(b"decoded".to_vec()),
        headers,
    );
    assert_eq!(shown(&batch, 0), first);
    assert_eq!(
        (shown(&batch, 1).2, shown(&batch, 1).3.len()),
        (None, 2),
        "no view of it"
    );
    let mut one = Batch::new(b"table");
    one.push_from(&batch, 0);
    assert_eq!(
        shown(&one, 0),
        first,
        "it is shown alone as it was among others"
    );
    assert_eq!(one.take_out(0, 1).bytes, read.bytes);
    one.begin(b"table");
    push(&mut one, &to, 9, Some(b"v"));
    assert_eq!(
        shown(&one, 0).2,
        Some(b"v".to_vec()),
        "a batch that is used again shows nothing old"
    );
}

#[test]
fn dropping_events_keeps_the_others_in_order() {
    let mut batch = Batch::new(b"");
    let (one, two) = (assignment(1), assignment(2));
    for offset in 0..6 {
        push(
            &mut batch,
            if offset % 2 == 0 { &one } else { &two },
            offset,
            Some(b"v"),
        );
    }
    batch.retain(|batch, index| batch.view(index).offset().0 % 3 != 0);
    let left: Vec<i64> = (0..batch.len()).map(|i| batch.view(i).offset().0).collect();
    assert_eq!(left, [1, 2, 4, 5]);
    assert_eq!(batch.assignment_of(batch.events[0]).id, 2);
}
