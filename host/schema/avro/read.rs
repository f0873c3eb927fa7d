//! From the binary form to the JSON view, in one pass. Lengths and counts are the word of whoever wrote the data: no
//! memory is taken for them, and what they promise has to be there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::unfit::Unfit;
use super::plan::{Node, NodeId, Plan, Record, Union};
use super::{DEPTH_MAX, logical};

/// Appends the view of the datum.
pub(super) fn read(
    plan: &Plan,
    datum: &[u8],
    view_bytes_max: usize,
    view: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let mut reader = Reader {
        plan,
        datum,
        at: 0,
        depth: 0,
        view_end_max: view.len() + view_bytes_max,
        view,
    };
    reader.node(plan.root())?;
    match datum.len() - reader.at {
        0 => Ok(()),
        left => Err(Unfit::new(format!(
            "{left} bytes are left over after the value; they were not written by this schema"
        ))),
    }
}

struct Reader<'a> {
    plan: &'a Plan,
    datum: &'a [u8],
    at: usize,
    depth: usize,
    view_end_max: usize,
    view: &'a mut Vec<u8>,
}

impl<'a> Reader<'a> {
    fn node(&mut self, id: NodeId) -> Result<(), Unfit> {
        let plan = self.plan;
        match plan.node(id) {
            Node::Null => self.view.extend_from_slice(b"null"),
            Node::Boolean => match self.take(1)? {
                [0] => self.view.extend_from_slice(b"false"),
                [1] => self.view.extend_from_slice(b"true"),
                other => return Err(Unfit::new(format!("{} is no boolean", other[0]))),
            },
            Node::Int => {
                let int = self.int()?;
                self.number(i64::from(int));
            }
            Node::Long => {
                let long = self.long()?;
                self.number(long);
            }
            Node::Float => {
                let float = f32::from_le_bytes(self.array()?);
                if float.is_finite() {
                    self.json(&float)?;
                } else {
                    self.not_finite(f64::from(float));
                }
            }
            Node::Double => {
                let double = f64::from_le_bytes(self.array()?);
                if double.is_finite() {
                    self.json(&double)?;
                } else {
                    self.not_finite(double);
                }
            }
            Node::Bytes => {
                let bytes = self.counted()?;
                self.base64(bytes);
            }
            Node::Fixed { size, .. } => {
                let bytes = self.take(*size)?;
                self.base64(bytes);
            }
            Node::String | Node::Uuid { fixed: None } => self.string()?,
            Node::Array(items) => self.inside(|reader| reader.array_of(*items))?,
            Node::Map(values) => self.inside(|reader| reader.map_of(*values))?,
            Node::Union(union) => self.union(union)?,
            Node::Record(record) => self.inside(|reader| reader.record(record))?,
            Node::Enum { symbols, .. } => {
                let at = self.int()?;
                let symbol = usize::try_from(at).ok().and_then(|at| symbols.get(at));
                let symbol = symbol.ok_or_else(|| {
                    let known = symbols.len();
                    Unfit::new(format!("symbol {at} of an enum that has {known}"))
                })?;
                self.view.extend_from_slice(&symbol.quoted);
            }
            meaning => self.meaning(meaning)?,
        }
        if self.view.len() > self.view_end_max {
            return Err(Unfit::new("its JSON is larger than an event may be"));
        }
        Ok(())
    }

    /// Reads what stands for something else than it is.
    fn meaning(&mut self, node: &Node) -> Result<(), Unfit> {
        match node {
            Node::Decimal { scale, fixed, .. } => {
                let unscaled = match fixed {
                    Some((_, size)) => self.take(*size)?,
                    None => self.counted()?,
                };
                let decimal = logical::decimal(unscaled, *scale)?;
                self.plain_text(&decimal);
            }
            Node::Uuid { fixed: Some(_) } => {
                let uuid = logical::uuid(self.array()?);
                self.plain_text(&uuid);
            }
            Node::Date => {
                let days = self.int()?;
                self.text_or(logical::date(days), i64::from(days));
            }
            Node::Time(unit) => {
                let time = match unit {
                    super::plan::Unit::Millis => i64::from(self.int()?),
                    _ => self.long()?,
                };
                self.text_or(logical::time(time, *unit), time);
            }
            Node::Timestamp { unit, local } => {
                let at = self.long()?;
                self.text_or(logical::timestamp(at, *unit, *local), at);
            }
            Node::Duration { .. } => {
                let [months, days, millis] = logical::duration(self.array()?);
                let text = format!("{{\"months\":{months},\"days\":{days},\"millis\":{millis}}}");
                self.view.extend_from_slice(text.as_bytes());
            }
            _ => return Err(Unfit::new("its type is not read")),
        }
        Ok(())
    }

    /// Reads what stands one level deeper.
    fn inside(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Unfit>) -> Result<(), Unfit> {
        if self.depth == DEPTH_MAX {
            return Err(Unfit::new(format!("it is more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn record(&mut self, record: &Record) -> Result<(), Unfit> {
        self.view.push(b'{');
        for (at, field) in record.fields.iter().enumerate() {
            if at > 0 {
                self.view.push(b',');
            }
            self.view.extend_from_slice(&field.quoted);
            self.node(field.node)
                .map_err(|unfit| unfit.within(&field.name))?;
        }
        self.view.push(b'}');
        Ok(())
    }

    fn union(&mut self, union: &Union) -> Result<(), Unfit> {
        let at = self.long()?;
        let branch = usize::try_from(at).ok().and_then(|at| {
            let branch = union.branches.get(at)?;
            Some((at, *branch))
        });
        let Some((at, branch)) = branch else {
            let branches = union.branches.len();
            let message = format!("branch {at} of a union that has {branches}");
            return Err(Unfit::new(message));
        };
        if Some(at) == union.null || Some(at) == union.only {
            return self.node(branch);
        }
        let plan = self.plan;
        self.inside(|reader| {
            reader.view.push(b'{');
            reader.json(plan.branch_name(branch))?;
            reader.view.push(b':');
            reader.node(branch)?;
            reader.view.push(b'}');
            Ok(())
        })
    }

    fn array_of(&mut self, items: NodeId) -> Result<(), Unfit> {
        self.view.push(b'[');
        let mut read = 0_u64;
        loop {
            let block = self.block()?;
            if block == 0 {
                break;
            }
            for _ in 0..block {
                if read > 0 {
                    self.view.push(b',');
                }
                self.node(items).map_err(|unfit| unfit.within(read))?;
                read += 1;
            }
        }
        self.view.push(b']');
        Ok(())
    }

    fn map_of(&mut self, values: NodeId) -> Result<(), Unfit> {
        self.view.push(b'{');
        let mut first = true;
        loop {
            let block = self.block()?;
            if block == 0 {
                break;
            }
            for _ in 0..block {
                if !std::mem::take(&mut first) {
                    self.view.push(b',');
                }
                let name = self.utf8()?;
                self.json(name)?;
                self.view.push(b':');
                self.node(values).map_err(|unfit| unfit.within(name))?;
            }
        }
        self.view.push(b'}');
        Ok(())
    }

    /// How many items follow before the next count. Each makes the view longer, whose length is bounded, so a
    /// count that lies costs nothing.
    fn block(&mut self) -> Result<u64, Unfit> {
        let count = self.long()?;
        if count < 0 {
            // The block's length in bytes follows, for those who skip it.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }

    fn string(&mut self) -> Result<(), Unfit> {
        let text = self.utf8()?;
        self.json(text)
    }

    fn utf8(&mut self) -> Result<&'a str, Unfit> {
        let bytes = self.counted()?;
        std::str::from_utf8(bytes).map_err(|_| Unfit::new("a text is not UTF-8"))
    }

    fn counted(&mut self) -> Result<&'a [u8], Unfit> {
        let len = self.long()?;
        let len = usize::try_from(len).map_err(|_| Unfit::new(format!("a length of {len}")))?;
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Unfit> {
        let rest = &self.datum[self.at..];
        let taken = rest.get(..len).ok_or_else(|| {
            let left = rest.len();
            Unfit::new(format!(
                "the data end: {len} bytes are to come, and {left} are there"
            ))
        })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], Unfit> {
        let mut array = [0; LEN];
        array.copy_from_slice(self.take(LEN)?);
        Ok(array)
    }

    fn int(&mut self) -> Result<i32, Unfit> {
        let long = self.long()?;
        i32::try_from(long).map_err(|_| Unfit::new(format!("{long} is no int")))
    }

    fn long(&mut self) -> Result<i64, Unfit> {
        let mut value = 0_u64;
        for place in 0..10 {
            let [byte] = self.array()?;
            // The tenth byte has room for one bit.
            if place == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Unfit::new("a number of more than 64 bits"))
    }

    fn number(&mut self, number: i64) {
        self.view.extend_from_slice(number.to_string().as_bytes());
    }

    fn not_finite(&mut self, number: f64) {
        self.plain_text(logical::not_finite(number));
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.plain_text(&STANDARD.encode(bytes));
    }

    fn text_or(&mut self, text: Option<String>, number: i64) {
        match text {
            Some(text) => self.plain_text(&text),
            None => self.number(number),
        }
    }

    /// A text that holds nothing that JSON escapes.
    fn plain_text(&mut self, text: &str) {
        self.view.push(b'"');
        self.view.extend_from_slice(text.as_bytes());
        self.view.push(b'"');
    }

    fn json(&mut self, value: &(impl serde::Serialize + ?Sized)) -> Result<(), Unfit> {
        let written = serde_json::to_writer(&mut *self.view, value);
        written.map_err(|error| Unfit::new(error.to_string()))
    }
}
