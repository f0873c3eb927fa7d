//! A schema made ready: every name resolved to a place, every default written. It must not know data.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, RecordSchema, UnionSchema, UuidSchema};

use super::write::write_default;

/// The place of a node in its plan.
pub(super) type NodeId = usize;

/// A schema, ready for use.
pub(super) struct Plan {
    nodes: Vec<Node>,
    root: NodeId,
}

/// One type. Those that wrap another type only by a meaning are types of their own here.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(NodeId),
    Map(NodeId),
    Union(Union),
    Record(Record),
    Enum {
        name: String,
        symbols: Vec<Symbol>,
    },
    Fixed {
        name: String,
        size: usize,
    },
    Decimal {
        precision: usize,
        scale: usize,
        /// Name and size where it is a fixed type.
        fixed: Option<(String, usize)>,
    },
    Uuid {
        /// The name where it is a fixed type of 16 bytes, and not text.
        fixed: Option<String>,
    },
    Date,
    Time(Unit),
    Timestamp {
        unit: Unit,
        local: bool,
    },
    Duration {
        name: String,
    },
}

/// A symbol of an enum.
#[derive(Debug)]
pub(super) struct Symbol {
    pub(super) name: String,
    /// As it stands in JSON.
    pub(super) quoted: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Union {
    pub(super) branches: Vec<NodeId>,
    pub(super) null: Option<usize>,
    /// The other branch, where there is one besides null: its values need no name.
    pub(super) only: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// Places of the fields by name.
    pub(super) places: HashMap<String, usize>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// The name and a colon, as they stand in JSON.
    pub(super) quoted: Vec<u8>,
    pub(super) node: NodeId,
    /// Its default in the binary form, where it has one.
    pub(super) default: Option<Vec<u8>>,
}

/// Of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Plan {
    /// # Errors
    /// A name is used and not defined.
    pub(super) fn new(schema: &Schema, references: &[Schema]) -> Result<Self, String> {
        let mut building = Building::default();
        for schema in references.iter().chain([schema]) {
            building.define(schema);
        }
        let root = building.node(schema)?;
        let mut plan = Self {
            nodes: building.nodes,
            root,
        };
        plan.write_defaults(building.defaults);
        Ok(plan)
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// What a branch of a union is called in Avro's JSON: its full name, or the name of what carries it.
    pub(super) fn branch_name(&self, id: NodeId) -> &str {
        match self.node(id) {
            Node::Null => "null",
            Node::Boolean => "boolean",
            Node::Int | Node::Date | Node::Time(Unit::Millis) => "int",
            Node::Long | Node::Time(_) | Node::Timestamp { .. } => "long",
            Node::Float => "float",
            Node::Double => "double",
            Node::Bytes | Node::Decimal { fixed: None, .. } => "bytes",
            Node::String | Node::Uuid { fixed: None } => "string",
            Node::Array(_) => "array",
            Node::Map(_) => "map",
            Node::Union(_) => "union",
            Node::Record(record) => &record.name,
            Node::Enum { name, .. }
            | Node::Fixed { name, .. }
            | Node::Decimal {
                fixed: Some((name, _)),
                ..
            }
            | Node::Uuid { fixed: Some(name) }
            | Node::Duration { name } => name,
        }
    }

    /// Defaults may use any type, so they are written when all are known. One that does not fit its own field is
    /// as good as none.
    fn write_defaults(&mut self, mut defaults: Vec<(NodeId, usize, serde_json::Value)>) {
        loop {
            let before = defaults.len();
            // A default may leave out what has a default of its own, which is written in a later round then.
            defaults.retain(|(record, field, value)| !self.write_default(*record, *field, value));
            if defaults.is_empty() || defaults.len() == before {
                return;
            }
        }
    }

    fn write_default(&mut self, record: NodeId, field: usize, value: &serde_json::Value) -> bool {
        let mut written = Vec::new();
        let fits = match &self.nodes[record] {
            Node::Record(of) => write_default(self, of.fields[field].node, value, &mut written),
            _ => return false,
        };
        if let (Ok(()), Node::Record(of)) = (&fits, &mut self.nodes[record]) {
            of.fields[field].default = Some(written);
        }
        fits.is_ok()
    }
}

#[derive(Default)]
struct Building<'a> {
    nodes: Vec<Node>,
    defined: HashMap<String, &'a Schema>,
    named: HashMap<String, NodeId>,
    defaults: Vec<(NodeId, usize, serde_json::Value)>,
}

impl<'a> Building<'a> {
    /// Notes every type with a name, wherever in the schema it is defined.
    fn define(&mut self, schema: &'a Schema) {
        if let Some(name) = name_of(schema) {
            self.defined.entry(name).or_insert(schema);
        }
        match schema {
            Schema::Array(array) => self.define(&array.items),
            Schema::Map(map) => self.define(&map.types),
            Schema::Union(union) => union.variants().iter().for_each(|it| self.define(it)),
            Schema::Record(record) => record.fields.iter().for_each(|it| self.define(&it.schema)),
            _ => {}
        }
    }

    fn node(&mut self, schema: &'a Schema) -> Result<NodeId, String> {
        if let Schema::Ref { name } = schema {
            let name = name.fullname(None);
            if let Some(id) = self.named.get(&name) {
                return Ok(*id);
            }
            let defined = self.defined.get(&name).copied();
            let defined = defined.ok_or_else(|| format!("the type {name} is not defined"))?;
            return self.node(defined);
        }
        let name = name_of(schema);
        if let Some(id) = name.as_ref().and_then(|name| self.named.get(name)) {
            return Ok(*id);
        }
        let id = self.nodes.len();
        // Kept free: a record may contain itself.
        self.nodes.push(Node::Null);
        if let Some(name) = name {
            self.named.insert(name, id);
        }
        self.nodes[id] = match schema {
            Schema::Null | Schema::Ref { .. } => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            // Without a place in the schema for its scale, a big decimal says more as bytes than as a wrong number.
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Node::Bytes,
            Schema::String => Node::String,
            Schema::Array(array) => Node::Array(self.node(&array.items)?),
            Schema::Map(map) => Node::Map(self.node(&map.types)?),
            Schema::Union(union) => Node::Union(self.union(union)?),
            Schema::Record(record) => Node::Record(self.record(id, record)?),
            Schema::Enum(of) => Node::Enum {
                name: of.name.fullname(None),
                symbols: of.symbols.iter().map(|name| symbol(name)).collect(),
            },
            Schema::Fixed(of) => Node::Fixed {
                name: of.name.fullname(None),
                size: of.size,
            },
            Schema::Decimal(decimal) => Node::Decimal {
                precision: decimal.precision,
                scale: decimal.scale,
                fixed: match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(of) => Some((of.name.fullname(None), of.size)),
                },
            },
            Schema::Uuid(UuidSchema::String) => Node::Uuid { fixed: None },
            Schema::Uuid(UuidSchema::Fixed(of)) => Node::Uuid {
                fixed: Some(of.name.fullname(None)),
            },
            Schema::Date => Node::Date,
            Schema::TimeMillis => Node::Time(Unit::Millis),
            Schema::TimeMicros => Node::Time(Unit::Micros),
            Schema::TimestampMillis => timestamp(Unit::Millis, false),
            Schema::TimestampMicros => timestamp(Unit::Micros, false),
            Schema::TimestampNanos => timestamp(Unit::Nanos, false),
            Schema::LocalTimestampMillis => timestamp(Unit::Millis, true),
            Schema::LocalTimestampMicros => timestamp(Unit::Micros, true),
            Schema::LocalTimestampNanos => timestamp(Unit::Nanos, true),
            Schema::Duration(of) => Node::Duration {
                name: of.name.fullname(None),
            },
        };
        Ok(id)
    }

    fn union(&mut self, union: &'a UnionSchema) -> Result<Union, String> {
        let variants = union.variants();
        let null = variants.iter().position(|it| *it == Schema::Null);
        let mut others = (0..variants.len()).filter(|at| Some(*at) != null);
        let only = others.next().filter(|_| others.next().is_none());
        let branches = variants.iter().map(|variant| self.node(variant));
        Ok(Union {
            branches: branches.collect::<Result<_, _>>()?,
            null,
            only,
        })
    }

    fn record(&mut self, id: NodeId, record: &'a RecordSchema) -> Result<Record, String> {
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            if let Some(default) = &field.default {
                self.defaults.push((id, fields.len(), default.clone()));
            }
            let mut quoted = quoted(&field.name);
            quoted.push(b':');
            fields.push(Field {
                name: field.name.clone(),
                quoted,
                node: self.node(&field.schema)?,
                default: None,
            });
        }
        let places = fields.iter().enumerate();
        Ok(Record {
            name: record.name.fullname(None),
            places: places.map(|(at, field)| (field.name.clone(), at)).collect(),
            fields,
        })
    }
}

fn timestamp(unit: Unit, local: bool) -> Node {
    Node::Timestamp { unit, local }
}

fn symbol(name: &str) -> Symbol {
    Symbol {
        name: name.to_owned(),
        quoted: quoted(name),
    }
}

fn quoted(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// The full name of a type that has one.
fn name_of(schema: &Schema) -> Option<String> {
    let name = match schema {
        Schema::Record(of) => &of.name,
        Schema::Enum(of) => &of.name,
        Schema::Fixed(of) | Schema::Duration(of) | Schema::Uuid(UuidSchema::Fixed(of)) => &of.name,
        Schema::Decimal(decimal) => match &decimal.inner {
            InnerDecimalSchema::Fixed(of) => &of.name,
            InnerDecimalSchema::Bytes => return None,
        },
        _ => return None,
    };
    Some(name.fullname(None))
}
