//! From a JSON text to the binary form. What does not fit is refused with its place; nothing is rounded, cut or guessed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::unfit::{Unfit, shown};
use super::plan::{Node, NodeId, Plan, Record, Union, Unit};
use super::{DEPTH_MAX, logical};

/// Values that are tried at most. A record in the size of a message has fewer; but where branches of unions in each
/// other are not named, trying them all would double with every level.
const TRIES_MAX: usize = 1_000_000;

/// Appends the view `value` in the binary form.
pub(super) fn write(plan: &Plan, value: &Value, out: &mut Vec<u8>) -> Result<(), Unfit> {
    Writer::new(plan, out, Form::View).node(plan.root(), value)
}

/// Appends a default of a schema, whose bytes are texts of their characters and whose unions have no names.
pub(super) fn write_default(
    plan: &Plan,
    id: NodeId,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    Writer::new(plan, out, Form::Default).node(id, value)
}

/// How a JSON text writes what JSON has no types for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    View,
    Default,
}

struct Writer<'a> {
    plan: &'a Plan,
    out: &'a mut Vec<u8>,
    form: Form,
    depth: usize,
    tries: usize,
}

impl<'a> Writer<'a> {
    fn new(plan: &'a Plan, out: &'a mut Vec<u8>, form: Form) -> Self {
        Self {
            plan,
            out,
            form,
            depth: 0,
            tries: 0,
        }
    }

    fn node(&mut self, id: NodeId, value: &Value) -> Result<(), Unfit> {
        let plan = self.plan;
        self.tries += 1;
        if self.tries > TRIES_MAX {
            return Err(too_many_ways());
        }
        match plan.node(id) {
            Node::Null => match value {
                Value::Null => {}
                other => return Err(wants("null", other)),
            },
            Node::Boolean => match value {
                Value::Bool(value) => self.out.push(u8::from(*value)),
                other => return Err(wants("a boolean", other)),
            },
            Node::Int => self.int(value)?,
            Node::Long => self.long(long_of(value)?),
            Node::Float => {
                let float = double_of(value)? as f32;
                if float.is_infinite() && value.is_number() {
                    return Err(Unfit::new(format!("{value} is too large for a float")));
                }
                self.out.extend_from_slice(&float.to_le_bytes());
            }
            Node::Double => self.out.extend_from_slice(&double_of(value)?.to_le_bytes()),
            Node::Bytes => {
                let bytes = self.bytes_of(value)?;
                self.counted(&bytes);
            }
            Node::Fixed { size, .. } => {
                let bytes = self.bytes_of(value)?;
                self.fixed(&bytes, *size)?;
            }
            Node::String => self.counted(text_of(value, "a text")?.as_bytes()),
            Node::Array(items) => self.array(*items, value)?,
            Node::Map(values) => self.map(*values, value)?,
            Node::Union(union) => self.union(union, value)?,
            Node::Record(record) => self.inside(|writer| writer.record(record, value))?,
            Node::Enum { symbols, .. } => {
                let text = text_of(value, "a symbol of an enum")?;
                let at = symbols.iter().position(|symbol| symbol.name == text);
                let at = at.ok_or_else(|| {
                    let known: Vec<&str> = symbols.iter().map(|it| it.name.as_str()).collect();
                    Unfit::new(format!("{:?} is none of {}", shown(text), known.join(", ")))
                })?;
                self.long(at as i64);
            }
            Node::Decimal {
                precision,
                scale,
                fixed,
            } => {
                self.decimal(value, (*precision, *scale), fixed.as_ref())?;
            }
            Node::Uuid { fixed } => self.uuid(value, fixed.is_some())?,
            Node::Date | Node::Time(_) | Node::Timestamp { .. } => {
                self.time(plan.node(id), value)?
            }
            Node::Duration { .. } => self.duration(value)?,
        }
        Ok(())
    }

    fn inside(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Unfit>) -> Result<(), Unfit> {
        if self.depth == DEPTH_MAX {
            return Err(Unfit::new(format!("it is more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let written = write(self);
        self.depth -= 1;
        written
    }

    fn record(&mut self, record: &Record, value: &Value) -> Result<(), Unfit> {
        let object = object_of(value, &format!("an object for {}", record.name))?;
        if let Some(unknown) = object
            .keys()
            .find(|name| !record.places.contains_key(*name))
        {
            let message = format!("{} has no field of this name", record.name);
            return Err(Unfit::new(message).within(unknown));
        }
        for field in &record.fields {
            let written = match (object.get(&field.name), &field.default) {
                (Some(value), _) => self.node(field.node, value),
                (None, Some(default)) => {
                    self.out.extend_from_slice(default);
                    Ok(())
                }
                (None, None) => match self.plan.node(field.node) {
                    Node::Null => Ok(()),
                    Node::Union(union) if union.null.is_some() => self.union(union, &Value::Null),
                    _ => Err(Unfit::new(
                        "it is missing, and the schema has no default for it",
                    )),
                },
            };
            written.map_err(|unfit| unfit.within(&field.name))?;
        }
        Ok(())
    }

    fn array(&mut self, items: NodeId, value: &Value) -> Result<(), Unfit> {
        let Value::Array(values) = value else {
            return Err(wants("an array", value));
        };
        self.inside(|writer| {
            if !values.is_empty() {
                writer.long(values.len() as i64);
            }
            for (at, value) in values.iter().enumerate() {
                writer
                    .node(items, value)
                    .map_err(|unfit| unfit.within(at))?;
            }
            writer.long(0);
            Ok(())
        })
    }

    fn map(&mut self, values: NodeId, value: &Value) -> Result<(), Unfit> {
        let object = object_of(value, "an object")?;
        self.inside(|writer| {
            if !object.is_empty() {
                writer.long(object.len() as i64);
            }
            for (name, value) in object {
                writer.counted(name.as_bytes());
                writer
                    .node(values, value)
                    .map_err(|unfit| unfit.within(name))?;
            }
            writer.long(0);
            Ok(())
        })
    }

    /// Null and the only other branch need no name. Among several, a value may name its branch, as the view of what
    /// was read does; otherwise it belongs to the first that it fits.
    fn union(&mut self, union: &Union, value: &Value) -> Result<(), Unfit> {
        if let (Value::Null, Some(null)) = (value, union.null) {
            self.long(null as i64);
            return Ok(());
        }
        if let Some(only) = union.only {
            self.long(only as i64);
            return self.node(union.branches[only], value);
        }
        let plan = self.plan;
        if self.form == Form::View
            && let Value::Object(object) = value
            && object.len() == 1
            && let Some((name, inner)) = object.iter().next()
        {
            let mut named = union.branches.iter();
            let named = named.position(|branch| plan.branch_name(*branch) == name);
            if let Some(at) = named {
                self.long(at as i64);
                let written = self.inside(|writer| writer.node(union.branches[at], inner));
                return written.map_err(|unfit| unfit.within(name));
            }
        }
        let start = self.out.len();
        for (at, branch) in union.branches.iter().enumerate() {
            self.long(at as i64);
            if self.inside(|writer| writer.node(*branch, value)).is_ok() {
                return Ok(());
            }
            if self.tries > TRIES_MAX {
                return Err(too_many_ways());
            }
            self.out.truncate(start);
        }
        let branches = union.branches.iter();
        let names: Vec<&str> = branches.map(|branch| plan.branch_name(*branch)).collect();
        Err(wants(&format!("one of {}", names.join(", ")), value))
    }

    fn decimal(
        &mut self,
        value: &Value,
        digits: (usize, usize),
        fixed: Option<&(String, usize)>,
    ) -> Result<(), Unfit> {
        let bytes = match (self.form, value) {
            (Form::Default, _) => self.bytes_of(value)?,
            (_, Value::String(text)) => logical::unscaled(text, digits, fixed.map(|it| it.1))?,
            (_, Value::Number(number)) => {
                logical::unscaled(&number.to_string(), digits, fixed.map(|it| it.1))?
            }
            (_, other) => return Err(wants("a decimal, as text", other)),
        };
        match fixed {
            Some((_, size)) => self.fixed(&bytes, *size)?,
            None => self.counted(&bytes),
        }
        Ok(())
    }

    fn uuid(&mut self, value: &Value, fixed: bool) -> Result<(), Unfit> {
        if fixed && self.form == Form::Default {
            let bytes = self.bytes_of(value)?;
            return self.fixed(&bytes, 16);
        }
        let text = text_of(value, "a UUID")?;
        let bytes = logical::read_uuid(text)?;
        if fixed {
            self.out.extend_from_slice(&bytes);
        } else {
            self.counted(text.as_bytes());
        }
        Ok(())
    }

    /// A date or a time is a text, or the number that stands for it.
    fn time(&mut self, node: &Node, value: &Value) -> Result<(), Unfit> {
        let is_int = matches!(node, Node::Date | Node::Time(Unit::Millis));
        let Value::String(text) = value else {
            if is_int {
                return self.int(value);
            }
            self.long(long_of(value)?);
            return Ok(());
        };
        let number = match node {
            Node::Date => logical::read_date(text)?,
            Node::Time(unit) => logical::read_time(text, *unit)?,
            Node::Timestamp { unit, local } => logical::read_timestamp(text, *unit, *local)?,
            _ => return Err(wants("a number", value)),
        };
        self.long(number);
        Ok(())
    }

    fn duration(&mut self, value: &Value) -> Result<(), Unfit> {
        if self.form == Form::Default {
            let bytes = self.bytes_of(value)?;
            return self.fixed(&bytes, 12);
        }
        let object = object_of(value, "an object with months, days and millis")?;
        for name in ["months", "days", "millis"] {
            let part = object.get(name).and_then(Value::as_u64);
            let part = part.and_then(|part| u32::try_from(part).ok());
            let part = part.ok_or_else(|| {
                Unfit::new("a whole number below 4294967296 is wanted").within(name)
            })?;
            self.out.extend_from_slice(&part.to_le_bytes());
        }
        Ok(())
    }

    fn bytes_of(&self, value: &Value) -> Result<Vec<u8>, Unfit> {
        match self.form {
            Form::View => {
                let text = text_of(value, "bytes in base64")?;
                let bytes = STANDARD.decode(text);
                bytes.map_err(|error| Unfit::new(format!("it is no base64: {error}")))
            }
            Form::Default => {
                let chars = text_of(value, "bytes")?.chars();
                let bytes: Result<_, _> = chars.map(u8::try_from).collect();
                bytes.map_err(|_| Unfit::new("a character that is no byte"))
            }
        }
    }

    fn fixed(&mut self, bytes: &[u8], size: usize) -> Result<(), Unfit> {
        if bytes.len() != size {
            let message = format!("{} bytes for a type of {size}", bytes.len());
            return Err(Unfit::new(message));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn counted(&mut self, bytes: &[u8]) {
        self.long(bytes.len() as i64);
        self.out.extend_from_slice(bytes);
    }

    fn int(&mut self, value: &Value) -> Result<(), Unfit> {
        let int = i32::try_from(long_of(value)?);
        let int = int.map_err(|_| Unfit::new(format!("{value} is too large for an int")))?;
        self.long(i64::from(int));
        Ok(())
    }

    fn long(&mut self, value: i64) {
        let mut rest = (value << 1 ^ value >> 63) as u64;
        while rest >= 0x80 {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }
}

fn too_many_ways() -> Unfit {
    Unfit::new(
        "its unions leave too many ways to write it; name the branches, as in {\"branch\": value}",
    )
}

/// A whole number, also where a language writes it with a point and a zero.
fn long_of(value: &Value) -> Result<i64, Unfit> {
    // Beyond this, a float no longer tells one whole number from the next.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() <= EXACT_MAX;
    let number = value.as_i64();
    let number = number.or_else(|| value.as_f64().filter(whole).map(|number| number as i64));
    number.ok_or_else(|| wants("a whole number of 64 bits", value))
}

fn double_of(value: &Value) -> Result<f64, Unfit> {
    match value {
        Value::String(text) if text == "NaN" => Ok(f64::NAN),
        Value::String(text) if text == "Infinity" => Ok(f64::INFINITY),
        Value::String(text) if text == "-Infinity" => Ok(f64::NEG_INFINITY),
        other => other.as_f64().ok_or_else(|| wants("a number", other)),
    }
}

fn text_of<'a>(value: &'a Value, what: &str) -> Result<&'a str, Unfit> {
    value.as_str().ok_or_else(|| wants(what, value))
}

fn object_of<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, Unfit> {
    value.as_object().ok_or_else(|| wants(what, value))
}

/// Something else was wanted. Values are shown cut: they may be large, and the message goes into a header.
fn wants(what: &str, value: &Value) -> Unfit {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("{:?}", shown(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Unfit::new(format!("{what} is wanted, and {found} was found"))
}
