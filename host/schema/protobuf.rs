//! Protobuf: messages in their binary form, as their canonical JSON and back, by the text of the file that defines
//! them. It must not know where schemas come from.

mod compile;
mod indexes;
mod weigh;

use std::fmt;

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FileDescriptor, MessageDescriptor,
};

use self::weigh::Weigh;
use super::unfit::Unfit;

/// The messages of one file.
pub(crate) struct ProtobufCodec {
    file: FileDescriptor,
    /// Whether a message may hold one of any other type.
    has_any: bool,
}

impl fmt::Debug for ProtobufCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtobufCodec").finish_non_exhaustive()
    }
}

impl ProtobufCodec {
    /// Compiles the text of a file, and the files that it imports, each under the name that it is imported by.
    ///
    /// # Errors
    /// A text is no Protobuf, or a file is imported that is not among them.
    pub(crate) fn new<'a>(
        schema: &str,
        references: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let file = compile::compile(schema, references)?;
        let has_any = file.parent_pool().get_message_by_name(ANY).is_some();
        Ok(Self { file, has_any })
    }

    /// Appends the JSON of a message, of so many bytes at most. Before the message stands which one of the file it is.
    ///
    /// # Errors
    /// The bytes are not what the schema says, or their JSON is too large or too deep. What was appended then is
    /// to be dropped.
    pub(crate) fn decode(
        &self,
        data: &[u8],
        view_bytes_max: usize,
        view: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        let (path, message) = indexes::read(data)?;
        let descriptor = self.message_at(&path)?;
        // What it comes to in memory is many times its own size, so that is found out before it is taken.
        let mut weigh = Weigh::new();
        weigh.message(&descriptor, message, 0)?;
        let message = DynamicMessage::decode(descriptor, message);
        let message = message.map_err(|error| Unfit::new(error.to_string()))?;
        if self.has_any {
            weigh.inside_any(&message, 0)?;
        }
        let start = view.len();
        let mut bounded = Bounded {
            left: view_bytes_max,
            view: &mut *view,
        };
        serde_json::to_writer(&mut bounded, &message)
            .map_err(|error| Unfit::new(error.to_string()))?;
        // A list of messages is two levels of JSON and one of Protobuf, so that is seen only now.
        if is_deeper(&view[start..], DEPTH_MAX) {
            return Err(weigh::too_deep());
        }
        Ok(())
    }

    /// Which message of the file has this name; the first where none is asked for.
    ///
    /// # Errors
    /// The file has no such message.
    pub(crate) fn message(&self, name: Option<&str>) -> Result<ProtobufMessage, String> {
        let descriptor = match name {
            None => self.file.messages().next(),
            Some(name) => {
                let pool: &DescriptorPool = self.file.parent_pool();
                let of_file = |found: &MessageDescriptor| found.parent_file() == self.file;
                pool.get_message_by_name(name).filter(of_file)
            }
        };
        let descriptor = descriptor.ok_or_else(|| match name {
            Some(name) => format!("the schema has no message {name}"),
            None => "the schema has no message".to_owned(),
        })?;
        let path = self.path_to(&descriptor).ok_or_else(|| {
            let name = descriptor.full_name();
            format!("{name} is no message that can stand for itself")
        })?;
        Ok(ProtobufMessage { descriptor, path })
    }

    fn message_at(&self, path: &[usize]) -> Result<MessageDescriptor, Unfit> {
        let found = path.split_first().and_then(|(first, rest)| {
            let mut message = self.file.messages().nth(*first)?;
            for at in rest {
                let inner = nested(&message).nth(*at)?;
                message = inner;
            }
            Some(message)
        });
        found.ok_or_else(|| {
            Unfit::new(format!(
                "the schema has no message at {path:?}, which the data name"
            ))
        })
    }

    fn path_to(&self, message: &MessageDescriptor) -> Option<Vec<usize>> {
        let Some(parent) = message.parent_message() else {
            let at = self.file.messages().position(|it| it == *message)?;
            return Some(vec![at]);
        };
        let mut path = self.path_to(&parent)?;
        path.push(nested(&parent).position(|it| it == *message)?);
        Some(path)
    }
}

/// One message of a file, to be written.
pub(crate) struct ProtobufMessage {
    descriptor: MessageDescriptor,
    path: Vec<usize>,
}

impl fmt::Debug for ProtobufMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.descriptor.full_name())
    }
}

impl ProtobufMessage {
    /// Appends a JSON text in the binary form, with which message of its file it is before it.
    ///
    /// # Errors
    /// It does not fit the message. What was appended then is to be dropped.
    pub(crate) fn encode(&self, json: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let unfit = |error: serde_json::Error| Unfit::new(error.to_string());
        let mut text = serde_json::Deserializer::from_slice(json);
        let descriptor = self.descriptor.clone();
        let strict = DeserializeOptions::new().deny_unknown_fields(true);
        let message = DynamicMessage::deserialize_with_options(descriptor, &mut text, &strict);
        let message = message.map_err(unfit)?;
        text.end().map_err(unfit)?;
        indexes::write(&self.path, out);
        message
            .encode(out)
            .map_err(|error| Unfit::new(error.to_string()))
    }
}

/// How deep messages and lists may stand in each other. Parsers of JSON give up a little above this, the ones in plugins
/// too.
const DEPTH_MAX: usize = 100;

/// Whether a JSON text has more levels than this.
fn is_deeper(json: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

const ANY: &str = "google.protobuf.Any";

/// The messages that are written inside of another, which the entries of maps are not.
fn nested(message: &MessageDescriptor) -> impl Iterator<Item = MessageDescriptor> + '_ {
    message.child_messages().filter(|it| !it.is_map_entry())
}

/// Writes up to a limit.
struct Bounded<'a> {
    left: usize,
    view: &'a mut Vec<u8>,
}

impl std::io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left =
            left.ok_or_else(|| std::io::Error::other("its JSON is larger than an event may be"))?;
        self.view.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
