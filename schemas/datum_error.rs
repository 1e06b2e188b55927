//! The error of a datum: which field, at which byte, and what is wrong.

use std::fmt;

/// The reason why bytes are not a datum of the expected record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatumError {
    /// The field at which reading stopped, such as `BookingRequest.train_id`, or the record if no single field is at
    /// fault.
    pub field: &'static str,
    /// Number of bytes read before the field.
    pub at: usize,
    /// The error.
    pub problem: Problem,
}

impl DatumError {
    /// Says that a top-level union has no branch of this index.
    pub(crate) fn no_branch(index: i64, branches: usize) -> Self {
        DatumError {
            field: "union",
            at: 0,
            problem: Problem::Branch { index, branches },
        }
    }
}

impl fmt::Display for DatumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.field, self.at, self.problem)
    }
}

impl std::error::Error for DatumError {}

/// An error in a datum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The datum ends in the middle of a field.
    #[error("{needed} more bytes are needed, {left} are left")]
    Truncated {
        /// Minimum number of bytes that the field needs.
        needed: usize,
        /// Number of bytes left.
        left: usize,
    },
    /// A variable-length integer has more than 64 bits.
    #[error("the integer has more than 64 bits")]
    Varint,
    /// A long was found where an int is expected.
    #[error("{value} does not fit in an int")]
    IntRange {
        /// The value that was read.
        value: i64,
    },
    /// A boolean is neither 0 nor 1.
    #[error("a boolean is 0 or 1, not {byte}")]
    Boolean {
        /// The value that was read.
        byte: u8,
    },
    /// An enum's index names no symbol.
    #[error("the enum has {symbols} symbols, there is none of index {index}")]
    Symbol {
        /// The value that was read.
        index: i64,
        /// Number of symbols.
        symbols: usize,
    },
    /// A union's index names no branch.
    #[error("the union has {branches} branches, there is none of index {index}")]
    Branch {
        /// The index that was read.
        index: i64,
        /// The number of branches.
        branches: usize,
    },
    /// A length or count is negative, or more than the bytes left can hold.
    #[error("length {length} is impossible with {left} bytes left")]
    Length {
        /// The value that was read.
        length: i64,
        /// Number of bytes left.
        left: usize,
    },
    /// A block of an array is longer or shorter than its stated size.
    #[error("the array's block says that it has {said} bytes but has {read}")]
    BlockSize {
        /// The stated size, in bytes.
        said: usize,
        /// The actual size, in bytes.
        read: usize,
    },
    /// A string is not UTF-8.
    #[error("the string is not UTF-8 after {valid_up_to} bytes")]
    Utf8 {
        /// Number of valid bytes before the error.
        valid_up_to: usize,
    },
    /// Bytes follow the record.
    #[error("{bytes} bytes follow the record")]
    Trailing {
        /// Number of surplus bytes.
        bytes: usize,
    },
    /// A datum of another schema could not be converted to ours.
    #[error("written with another schema, cannot be resolved: {cause}")]
    Resolution {
        /// Message of apache-avro.
        cause: String,
    },
}
