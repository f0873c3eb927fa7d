//! Which message of a file some data are: numbers before the data, from the outermost message inwards.

use super::super::unfit::Unfit;

/// How deep messages may be defined in each other; the compiler allows fewer.
const INDEXES_MAX: usize = 100;

/// The path to the message, and the data after it.
pub(super) fn read(data: &[u8]) -> Result<(Vec<usize>, &[u8]), Unfit> {
    let (count, mut rest) = number(data)?;
    // The first message of the file is so frequent that it has a form of its own: no numbers at all.
    if count == 0 {
        return Ok((vec![0], rest));
    }
    if count > INDEXES_MAX {
        let message = format!("the path to its message has {count} numbers");
        return Err(Unfit::new(message));
    }
    let mut path = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, after) = number(rest)?;
        path.push(index);
        rest = after;
    }
    Ok((path, rest))
}

/// Appends the path.
pub(super) fn write(path: &[usize], out: &mut Vec<u8>) {
    if path == [0] {
        out.push(0);
        return;
    }
    for number in std::iter::once(path.len()).chain(path.iter().copied()) {
        // Written with a sign, which is never used.
        let mut rest = (number as u64) << 1;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

/// A number with a sign, of 32 bits, that has to be no less than 0.
fn number(data: &[u8]) -> Result<(usize, &[u8]), Unfit> {
    let mut value = 0_u64;
    for (place, byte) in data.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            return match (value & 1, usize::try_from(value >> 1)) {
                (0, Ok(number)) => Ok((number, &data[place + 1..])),
                _ => Err(Unfit::new("the path to its message has a number below 0")),
            };
        }
    }
    Err(Unfit::new("the data end within the path to their message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_round_and_the_first_message_is_one_byte() {
        for path in [vec![0], vec![1], vec![0, 0], vec![2, 300, 0]] {
            let mut out = Vec::new();
            write(&path, &mut out);
            assert_eq!(path == [0], out == [0]);
            out.push(7);
            assert_eq!(read(&out).unwrap(), (path, &[7][..]));
        }
        assert_eq!(read(&[2, 0]).unwrap().0, [0], "the long form of the same");
        for wrong in [
            &[][..],
            &[4, 2],
            &[1],
            &[2, 1],
            &[0xff; 6],
            &[0xff, 0xff, 0x7f],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
