//! How a record says which schema it was written by: a zero, and the number of the schema in four bytes, before the data.

use super::super::flaw::Flaw;

/// What every record begins with that was written through a registry.
const MAGIC: u8 = 0;

/// What stands before the data, in bytes.
pub(super) const HEAD_BYTES: usize = 5;

/// The number of the schema, and the data.
pub(super) fn split(value: &[u8]) -> Result<(u32, &[u8]), Flaw> {
    match value.first() {
        Some(&MAGIC) => {}
        Some(other) => {
            let message = format!(
                "the value begins with the byte 0x{other:02x} and not with 0x00: it was not written through a \
                 schema registry"
            );
            return Err(Flaw::undecodable("magic-byte", message));
        }
        None => {
            let message = "the value is empty: it was not written through a schema registry";
            return Err(Flaw::undecodable("magic-byte", message.to_owned()));
        }
    }
    let Some((head, data)) = value.split_first_chunk::<HEAD_BYTES>() else {
        let message = format!(
            "the value ends after {} bytes, within the number of its schema",
            value.len()
        );
        return Err(Flaw::undecodable("truncated", message));
    };
    let [_, id @ ..] = *head;
    Ok((u32::from_be_bytes(id), data))
}

/// What stands before data of this schema.
pub(super) fn head(id: u32) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = id.to_be_bytes();
    [MAGIC, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_its_schema_or_what_is_wrong_with_it() {
        let value = [&head(258)[..], b"data"].concat();
        assert_eq!(value[..5], [0, 0, 0, 1, 2]);
        assert_eq!(split(&value).unwrap(), (258, &b"data"[..]));
        assert_eq!(split(&head(7)).unwrap(), (7, &b""[..]));
        assert_eq!(split(b"{\"a\":1}").unwrap_err().code, "magic-byte");
        assert_eq!(split(b"").unwrap_err().code, "magic-byte");
        assert_eq!(split(&[0, 0, 1]).unwrap_err().code, "truncated");
    }
}
