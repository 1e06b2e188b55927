//! Avro's binary encoding, as far as the contract uses it, directly between bytes and Rust types.
//!
//! Reading is strict and bounded. An invalid encoding is an error that names the field, and no length may exceed the
//! bytes that are left, so a bad record causes neither a large allocation nor a panic.

use crate::datum_error::{DatumError, Problem};
use crate::types::Text;

/// The unread rest of a datum.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(datum: &'a [u8]) -> Self {
        Reader {
            rest: datum,
            total: datum.len(),
        }
    }

    /// Succeeds if nothing is left.
    pub(crate) fn finish(&self, record: &'static str) -> Result<(), DatumError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(self.error(record, Problem::Trailing { bytes })),
        }
    }

    fn error(&self, field: &'static str, problem: Problem) -> DatumError {
        DatumError {
            field,
            at: self.total - self.rest.len(),
            problem,
        }
    }

    fn truncated(&self, field: &'static str, needed: usize) -> DatumError {
        self.error(
            field,
            Problem::Truncated {
                needed,
                left: self.rest.len(),
            },
        )
    }

    fn length_error(&self, field: &'static str, length: i64) -> DatumError {
        self.error(
            field,
            Problem::Length {
                length,
                left: self.rest.len(),
            },
        )
    }

    #[inline]
    fn long(&mut self, field: &'static str) -> Result<i64, DatumError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(unzigzag(u64::from(*byte)))
            }
            _ => self.long_of_many_bytes(field),
        }
    }

    fn long_of_many_bytes(&mut self, field: &'static str) -> Result<i64, DatumError> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte holds the 64th bit only.
            if i == 9 && *byte > 1 {
                return Err(self.error(field, Problem::Varint));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(unzigzag(value));
            }
        }
        Err(self.truncated(field, self.rest.len() + 1))
    }

    #[inline]
    fn string(&mut self, field: &'static str) -> Result<&'a str, DatumError> {
        let length = self.long(field)?;
        let Some((bytes, rest)) = usize::try_from(length).ok().and_then(|n| self.rest.split_at_checked(n)) else {
            return Err(self.length_error(field, length));
        };
        let text = std::str::from_utf8(bytes).map_err(|e| {
            self.error(
                field,
                Problem::Utf8 {
                    valid_up_to: e.valid_up_to(),
                },
            )
        })?;
        self.rest = rest;
        Ok(text)
    }

    /// Returns the number of items in the array's next block, and the block's size if it is stated; 0 items at the end.
    fn block(&mut self, field: &'static str, item_bytes_min: usize) -> Result<(usize, Option<usize>), DatumError> {
        let count = self.long(field)?;
        let size = match count < 0 {
            true => {
                let size = self.long(field)?;
                let fits = usize::try_from(size).ok().filter(|size| *size <= self.rest.len());
                Some(fits.ok_or_else(|| self.length_error(field, size))?)
            }
            false => None,
        };
        let items = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        if items > self.rest.len() / item_bytes_min {
            return Err(self.length_error(field, count));
        }
        Ok((items, size))
    }
}

/// Splits the datum of a top-level union into the index of its branch and the branch's datum.
pub(crate) fn union_branch(datum: &[u8]) -> Result<(i64, &[u8]), DatumError> {
    let mut reader = Reader::new(datum);
    let branch = reader.long("union")?;
    Ok((branch, reader.rest))
}

/// A type that can be a field.
pub(crate) trait Field: Sized {
    /// A lower bound of the encoded size; it bounds the allocation for an array's count.
    const BYTES_MIN: usize = 1;

    /// Appends the encoding.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads the value of `field`.
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DatumError>;
}

impl Field for i64 {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut value = zigzag(*self);
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    #[inline]
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DatumError> {
        reader.long(field)
    }
}

impl Field for i32 {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        i64::from(*self).write(out);
    }

    #[inline]
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DatumError> {
        let value = reader.long(field)?;
        i32::try_from(value).map_err(|_| reader.error(field, Problem::IntRange { value }))
    }
}

impl Field for bool {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    #[inline]
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DatumError> {
        let value = match reader.rest {
            [0, ..] => false,
            [1, ..] => true,
            [byte, ..] => return Err(reader.error(field, Problem::Boolean { byte: *byte })),
            [] => return Err(reader.truncated(field, 1)),
        };
        reader.rest = &reader.rest[1..];
        Ok(value)
    }
}

impl Field for Text {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as i64).write(out);
        out.extend_from_slice(self.as_bytes());
    }

    #[inline]
    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DatumError> {
        reader.string(field).map(Text::new)
    }
}

/// An array is written as one block without its size, and read in any number of blocks, with or without sizes.
impl<T: Field> Field for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            (self.len() as i64).write(out);
            for item in self {
                item.write(out);
            }
        }
        out.push(0);
    }

    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DatumError> {
        let mut items = Vec::new();
        loop {
            let (count, size) = reader.block(field, T::BYTES_MIN)?;
            let before = reader.rest.len();
            items.reserve(count);
            for _ in 0..count {
                items.push(T::read(reader, field)?);
            }
            let read = before - reader.rest.len();
            if let Some(said) = size.filter(|said| *said != read) {
                return Err(reader.error(field, Problem::BlockSize { said, read }));
            }
            if count == 0 {
                return Ok(items);
            }
        }
    }
}

/// Boxes hold large, rare values.
impl<T: Field> Field for Box<T> {
    const BYTES_MIN: usize = T::BYTES_MIN;

    fn write(&self, out: &mut Vec<u8>) {
        T::write(self, out);
    }

    fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DatumError> {
        T::read(reader, field).map(Box::new)
    }
}

/// Implements [`Field`] for a struct: its fields in the schema's order.
macro_rules! record {
    ($record:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::avro::Field for $record {
            const BYTES_MIN: usize = [$(stringify!($field)),+].len();

            fn write(&self, out: &mut Vec<u8>) {
                $(self.$field.write(out);)+
            }

            fn read(
                reader: &mut $crate::avro::Reader<'_>,
                _field: &'static str,
            ) -> Result<Self, $crate::datum_error::DatumError> {
                Ok(Self {
                    $($field: $crate::avro::Field::read(
                        reader,
                        concat!(stringify!($record), ".", stringify!($field)),
                    )?),+
                })
            }
        }
    };
}
pub(crate) use record;

/// Implements [`Field`] for an enum without data. The variants must be declared in the schema's order.
macro_rules! symbols {
    ($symbols:ident { $($variant:ident),+ $(,)? }) => {
        impl $crate::avro::Field for $symbols {
            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                (*self as i64).write(out);
            }

            #[inline]
            fn read(
                reader: &mut $crate::avro::Reader<'_>,
                field: &'static str,
            ) -> Result<Self, $crate::datum_error::DatumError> {
                reader.symbol(field, &[$(Self::$variant),+])
            }
        }
    };
}
pub(crate) use symbols;

impl Reader<'_> {
    /// Reads the index of a symbol from `field` and returns the symbol.
    #[inline]
    pub(crate) fn symbol<S: Copy>(&mut self, field: &'static str, symbols: &[S]) -> Result<S, DatumError> {
        let index = self.long(field)?;
        let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
        symbol.copied().ok_or_else(|| {
            self.error(
                field,
                Problem::Symbol {
                    index,
                    symbols: symbols.len(),
                },
            )
        })
    }
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
#[path = "avro_tests.rs"]
mod tests;
