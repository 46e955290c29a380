//! What a flow matches.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::field::Field;

/// A value and which of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Masked {
    /// The value, right-aligned; bits outside the mask are 0.
    pub value: u128,
    /// The bits that count, nonzero.
    pub mask: u128,
}

/// What a packet must look like: every field named has its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Match {
    fields: BTreeMap<Field, Masked>,
}

impl Match {
    /// Every packet.
    pub fn any() -> Match {
        Match::default()
    }

    /// And `field` is exactly `value`.
    pub fn with(self, field: Field, value: impl Into<u128>) -> Match {
        self.masked(field, value, field.full_mask())
    }

    /// And the bits of `mask` in `field` are those of `value`. A mask of 0 says nothing. What an
    /// earlier call said about the same bits is replaced; about other bits, kept.
    pub fn masked(mut self, field: Field, value: impl Into<u128>, mask: impl Into<u128>) -> Match {
        self.insert(field, value.into(), mask.into());
        self
    }

    /// And `address` is the source address: [`Field::Ipv4Src`] or [`Field::Ipv6Src`], whichever
    /// fits, its first `length` bits. The Ethernet type must be named beside it.
    pub fn source(self, address: IpAddr, length: u8) -> Match {
        self.prefix(Field::Ipv4Src, Field::Ipv6Src, address, length)
    }

    /// And `address` is the destination address, likewise.
    pub fn destination(self, address: IpAddr, length: u8) -> Match {
        self.prefix(Field::Ipv4Dst, Field::Ipv6Dst, address, length)
    }

    /// And the first `length` bits of the field of `address`'s family are those of `address`.
    pub fn prefix(self, v4: Field, v6: Field, address: IpAddr, length: u8) -> Match {
        let (field, value) = match address {
            IpAddr::V4(address) => (v4, u128::from(address.to_bits())),
            IpAddr::V6(address) => (v6, address.to_bits()),
        };
        let host_bits = field.bits().saturating_sub(length.into());
        let mask = field.full_mask() & u128::MAX.checked_shl(host_bits).unwrap_or(0);
        self.masked(field, value, mask)
    }

    /// What it says of `field`.
    pub fn get(&self, field: Field) -> Option<Masked> {
        self.fields.get(&field).copied()
    }

    /// What it says, in the order of [`Field`].
    pub fn iter(&self) -> impl Iterator<Item = (Field, Masked)> {
        self.fields.iter().map(|(field, masked)| (*field, *masked))
    }

    /// Whether it says nothing.
    pub fn is_any(&self) -> bool {
        self.fields.is_empty()
    }

    /// Adds what is known of `field`, in the form in which a switch gives it back: wide registers
    /// as the registers they are made of, parts of a VLAN tag as the tag.
    pub(crate) fn insert(&mut self, field: Field, value: u128, mask: u128) {
        let mask = mask & field.used_mask();
        match (field, registers_of(field)) {
            (_, Some((first, count))) => {
                for place in 0..count {
                    let shift = 32 * u32::from(count - 1 - place);
                    if let Some(register) = Field::reg(first + place) {
                        self.add(register, value >> shift, (mask >> shift) & 0xffff_ffff);
                    }
                }
            }
            (Field::VlanVid, _) => self.add(Field::VlanTci, value, mask),
            (Field::VlanPcp, _) => self.add(Field::VlanTci, value << 13, mask << 13),
            _ => self.add(field, value, mask),
        }
    }

    fn add(&mut self, field: Field, value: u128, mask: u128) {
        if mask == 0 {
            return;
        }
        let known = self.fields.entry(field).or_insert(Masked { value: 0, mask: 0 });
        known.value = (known.value & !mask) | (value & mask);
        known.mask |= mask;
        // Where there is no tag there is no priority either.
        if field == Field::VlanTci && known.value & 0x1fff == 0 && known.mask & 0x1000 != 0 {
            known.mask &= 0x1fff;
            known.value = 0;
        }
    }
}

/// The first register, and how many, that a wide register is made of.
fn registers_of(field: Field) -> Option<(u8, u8)> {
    match field.codes().first()? {
        (0x8001, number) => Some((number * 2, 2)),
        (0x0001, number @ 111..=114) => Some(((number - 111) * 4, 4)),
        _ => None,
    }
}
