//! What a message will take in memory, found out from its bytes before any of it is taken. A field of two bytes can
//! become a thousand times as much.

use std::borrow::Cow;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};

use super::super::unfit::Unfit;
use super::{ANY, DEPTH_MAX};

/// Memory that one message may take, in bytes, about. A lane decodes one event at a time.
const MEMORY_BYTES_MAX: usize = 128 << 20;

/// What the fields of a message take where it has any: they are kept in a tree whose nodes have room for eleven.
const MESSAGE_BYTES: usize = 800;

/// What a value takes, in a list, a map or among unknown fields.
const VALUE_BYTES: usize = 64;

/// The scales.
pub(super) struct Weigh {
    left_bytes: usize,
}

impl Weigh {
    pub(super) fn new() -> Self {
        Self {
            left_bytes: MEMORY_BYTES_MAX,
        }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Unfit> {
        let left = self.left_bytes.checked_sub(bytes);
        self.left_bytes = left.ok_or_else(|| {
            Unfit::new(format!(
                "it would take more than {} MiB of memory",
                MEMORY_BYTES_MAX >> 20
            ))
        })?;
        Ok(())
    }

    /// Weighs a message of this type, and everything in it.
    pub(super) fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        data: &[u8],
        depth: usize,
    ) -> Result<(), Unfit> {
        let mut rest = data;
        self.fields(Some(descriptor), &mut rest, None, depth)
    }

    /// Weighs fields up to the end of the data, or of the group with this number.
    fn fields(
        &mut self,
        descriptor: Option<&MessageDescriptor>,
        rest: &mut &[u8],
        group: Option<u32>,
        depth: usize,
    ) -> Result<(), Unfit> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        self.add(if rest.is_empty() {
            VALUE_BYTES
        } else {
            MESSAGE_BYTES
        })?;
        while !rest.is_empty() {
            let key = varint(rest)?;
            let number =
                u32::try_from(key >> 3).map_err(|_| Unfit::new("a field without a number"))?;
            let field = descriptor.and_then(|it| it.get_field(number));
            self.add(VALUE_BYTES)?;
            match key & 7 {
                0 => {
                    varint(rest)?;
                }
                1 => {
                    take(rest, 8)?;
                }
                2 => {
                    let len = varint(rest)?;
                    let data = take(rest, len)?;
                    self.counted(field.as_ref(), data, depth)?;
                }
                3 => {
                    let inner = field.as_ref().and_then(message_of);
                    self.fields(inner.as_ref(), rest, Some(number), depth + 1)?;
                }
                4 if group == Some(number) => return Ok(()),
                5 => {
                    take(rest, 4)?;
                }
                other => return Err(Unfit::new(format!("field {number} is of kind {other}"))),
            }
        }
        match group {
            None => Ok(()),
            Some(number) => Err(Unfit::new(format!("the data end within group {number}"))),
        }
    }

    /// Weighs what has a length before it: a message, many numbers, or a text.
    fn counted(
        &mut self,
        field: Option<&FieldDescriptor>,
        data: &[u8],
        depth: usize,
    ) -> Result<(), Unfit> {
        let Some(field) = field else {
            return self.add(data.len());
        };
        let values = match field.kind() {
            Kind::Message(inner) => return self.message(&inner, data, depth + 1),
            Kind::String | Kind::Bytes => return self.add(data.len()),
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => data.len() / 8,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => data.len() / 4,
            // Each number ends with a byte below 128.
            _ => data.iter().filter(|byte| **byte < 0x80).count(),
        };
        // A list that grows takes twice what it needs at the worst, and what it had before besides.
        self.add(values.saturating_mul(3 * VALUE_BYTES))
    }

    /// Weighs the messages that stand encoded in others, as deep as they go: their JSON is made by decoding them, one
    /// inside of the other.
    pub(super) fn inside_any(
        &mut self,
        message: &DynamicMessage,
        depth: usize,
    ) -> Result<(), Unfit> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        if message.descriptor().full_name() == ANY
            && let Some(inner) = self.held(message, depth)?
        {
            self.inside_any(&inner, depth + 1)?;
        }
        for (_, value) in message.fields() {
            match value {
                Value::Message(inner) => self.inside_any(inner, depth + 1)?,
                Value::List(values) => self.inside_values(values.iter(), depth)?,
                Value::Map(values) => self.inside_values(values.values(), depth)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn inside_values<'a>(
        &mut self,
        values: impl Iterator<Item = &'a Value>,
        depth: usize,
    ) -> Result<(), Unfit> {
        for value in values {
            if let Value::Message(inner) = value {
                self.inside_any(inner, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The message that one of any type holds; none where its type is not known, which whoever makes the JSON tells.
    fn held(
        &mut self,
        any: &DynamicMessage,
        depth: usize,
    ) -> Result<Option<DynamicMessage>, Unfit> {
        let field = |name| any.get_field_by_name(name).map(Cow::into_owned);
        let (Some(Value::String(url)), Some(Value::Bytes(data))) =
            (field("type_url"), field("value"))
        else {
            return Ok(None);
        };
        let name = url.rsplit('/').next().unwrap_or_default();
        let own = any.descriptor();
        let Some(descriptor) = own.parent_pool().get_message_by_name(name) else {
            return Ok(None);
        };
        self.message(&descriptor, &data, depth + 1)?;
        let held = DynamicMessage::decode(descriptor, data);
        held.map(Some)
            .map_err(|error| Unfit::new(error.to_string()))
    }
}

pub(super) fn too_deep() -> Unfit {
    Unfit::new(format!("it is more than {DEPTH_MAX} deep"))
}

fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(inner) => Some(inner),
        _ => None,
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, Unfit> {
    let mut value = 0_u64;
    for (place, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            *rest = &rest[place + 1..];
            return Ok(value);
        }
    }
    Err(Unfit::new("the data end within a number"))
}

fn take<'a>(rest: &mut &'a [u8], len: impl TryInto<usize>) -> Result<&'a [u8], Unfit> {
    let len = len.try_into().unwrap_or(usize::MAX);
    let Some((taken, after)) = rest.split_at_checked(len) else {
        let left = rest.len();
        return Err(Unfit::new(format!(
            "the data end: {len} bytes are to come, and {left} are there"
        )));
    };
    *rest = after;
    Ok(taken)
}
