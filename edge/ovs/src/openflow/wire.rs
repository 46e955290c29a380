//! Reading and writing numbers in network order, without a way to read past the end.

/// Bytes are not what the protocol says they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("{what} ends too early")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A length that cannot be.
    #[error("{what} says it has {length} bytes")]
    Length {
        /// What was being read.
        what: &'static str,
        /// What it says.
        length: usize,
    },
    /// A value that cannot be, or that nobody here knows.
    #[error("{what} is {value:#x}")]
    Value {
        /// What was being read.
        what: &'static str,
        /// What it is.
        value: u64,
    },
    /// Actions inside actions inside actions.
    #[error("actions are nested more than {limit} deep")]
    Depth {
        /// How deep they may be.
        limit: u8,
    },
}

/// What this module returns.
pub(crate) type Result<T> = std::result::Result<T, Malformed>;

/// Bytes being read, from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, called `what` when they turn out to be malformed.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(Malformed::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `count` bytes, as a reader of their own.
    pub(crate) fn part(&mut self, count: usize, what: &'static str) -> Result<Reader<'a>> {
        Ok(Reader::new(self.bytes(count)?, what))
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<()> {
        self.bytes(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.bytes(N)?;
        taken.try_into().map_err(|_| Malformed::Truncated { what: self.what })
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn mac(&mut self) -> Result<[u8; 6]> {
        self.array()
    }

    /// A number of `count` bytes, 16 at most.
    pub(crate) fn number(&mut self, count: usize) -> Result<u128> {
        Ok(self.bytes(count)?.iter().fold(0, |number, byte| (number << 8) | u128::from(*byte)))
    }

    /// Says that `length` of what is being read cannot be.
    pub(crate) fn bad_length(&self, length: usize) -> Malformed {
        Malformed::Length { what: self.what, length }
    }

    /// Says that `value` of what is being read cannot be.
    pub(crate) fn bad_value(&self, value: impl Into<u64>) -> Malformed {
        Malformed::Value { what: self.what, value: value.into() }
    }
}

/// Bytes being written, to the back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Writer {
        self.bytes(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Writer {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Writer {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Writer {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn zeros(&mut self, count: usize) -> &mut Writer {
        self.bytes.resize(self.bytes.len() + count, 0);
        self
    }

    /// The lowest `count` bytes of `value`, 16 at most.
    pub(crate) fn number(&mut self, value: u128, count: usize) -> &mut Writer {
        let all = value.to_be_bytes();
        self.bytes(all.get(all.len().saturating_sub(count)..).unwrap_or(&all))
    }

    /// Zeros until the length since `start` is a multiple of 8.
    pub(crate) fn pad(&mut self, start: usize) -> &mut Writer {
        let length = self.len().saturating_sub(start);
        self.zeros(length.next_multiple_of(8) - length)
    }

    /// Writes the length since `start` at `at`, cut to 16 bits: whoever sends the whole checks that
    /// it fits, and then every part does.
    pub(crate) fn set_length(&mut self, at: usize, start: usize) {
        let length = self.len().saturating_sub(start);
        let field = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&field);
        }
    }
}
