//! Why bytes are not a datum of a record: which field, where, what.

use std::fmt;

/// Why bytes are not a datum of the record that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatumError {
    /// Where reading stopped, such as `BookingRequest.train_id`; the record where it isn't one field's fault.
    pub field: &'static str,
    /// Bytes read before it.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl fmt::Display for DatumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.field, self.at, self.problem)
    }
}

impl std::error::Error for DatumError {}

/// What is wrong with a datum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The datum ends in the middle.
    #[error("{needed} more bytes are needed, {left} are left")]
    Truncated {
        /// Bytes that the field needs at least.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// A variable-length integer has more than 64 bits.
    #[error("the integer has more than 64 bits")]
    Varint,
    /// A long stands where an int is expected.
    #[error("{value} does not fit in an int")]
    IntRange {
        /// What was read.
        value: i64,
    },
    /// A boolean is neither 0 nor 1.
    #[error("a boolean is 0 or 1, not {byte}")]
    Boolean {
        /// What was read.
        byte: u8,
    },
    /// An enum's index names no symbol.
    #[error("the enum has {symbols} symbols, there is none of index {index}")]
    Symbol {
        /// What was read.
        index: i64,
        /// How many symbols there are.
        symbols: usize,
    },
    /// A length or count is negative, or more than the bytes left can hold.
    #[error("length {length} is impossible with {left} bytes left")]
    Length {
        /// What was read.
        length: i64,
        /// Bytes left.
        left: usize,
    },
    /// A block of an array is longer or shorter than it says.
    #[error("the array's block says that it has {said} bytes but has {read}")]
    BlockSize {
        /// What the block says.
        said: usize,
        /// What its items took.
        read: usize,
    },
    /// A string is not UTF-8.
    #[error("the string is not UTF-8 after {valid_up_to} bytes")]
    Utf8 {
        /// Bytes that are.
        valid_up_to: usize,
    },
    /// Bytes follow the record.
    #[error("{bytes} bytes follow the record")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A datum of another schema could not be turned into one of ours.
    #[error("written with another schema, cannot be resolved: {cause}")]
    Resolution {
        /// apache-avro's words.
        cause: String,
    },
}
