//! Fields on the wire: OXM entries (OpenFlow 1.4.1, 7.2.3) and Nicira's, which look the same.

use super::field::Field;
use super::matches::{Masked, Match};
use super::wire::{Reader, Result, Writer};

/// OpenFlow's match type `OFPMT_OXM`.
const OXM: u16 = 1;
/// The class of entries that begin with the number of who defined them.
const EXPERIMENTER: u16 = 0xffff;
/// The Open Networking Foundation. Of its own fields only the TCP flags (42) are known here, which
/// a switch may send in this form before OpenFlow 1.5.
const ONF: u32 = 0x4f4e_4600;

/// Writes a match with its header and padding.
pub(crate) fn put_match(out: &mut Writer, matches: &Match) {
    let start = out.len();
    out.u16(OXM).u16(0);
    let mut fields: Vec<_> = matches.iter().collect();
    // What others presuppose goes first; the sort is stable.
    fields.sort_by_key(|(field, _)| match field {
        Field::EthType => 0,
        Field::IpProto => 1,
        _ => 2,
    });
    for (field, masked) in fields {
        put_field(out, field, masked);
    }
    out.set_length(start + 2, start);
    out.pad(start);
}

/// Reads a match with its header and padding.
pub(crate) fn take_match(reader: &mut Reader<'_>) -> Result<Match> {
    let kind = reader.u16()?;
    let length = usize::from(reader.u16()?);
    if kind != OXM || length < 4 {
        return Err(reader.bad_length(length));
    }
    let entries = reader.bytes(length - 4)?;
    reader.skip(length.next_multiple_of(8) - length)?;
    take_fields(entries)
}

/// Reads entries one after the other.
pub(crate) fn take_fields(bytes: &[u8]) -> Result<Match> {
    let mut reader = Reader::new(bytes, "a match");
    let mut matches = Match::default();
    while !reader.is_empty() {
        let (field, masked) = take_field(&mut reader)?;
        matches.insert(field, masked.value, masked.mask);
    }
    Ok(matches)
}

/// Writes one entry, with a mask where not every bit counts.
pub(crate) fn put_field(out: &mut Writer, field: Field, masked: Masked) {
    let has_mask = masked.mask != field.full_mask();
    put_header(out, field, has_mask);
    out.number(masked.value, field.bytes());
    if has_mask {
        out.number(masked.mask, field.bytes());
    }
}

/// Writes the header of a field's entry.
pub(crate) fn put_header(out: &mut Writer, field: Field, has_mask: bool) {
    let (class, code) = field.codes().first().copied().unwrap_or_default();
    // At most 16 bytes, twice.
    let length = field.bytes() << u8::from(has_mask);
    out.u16(class).u8(code << 1 | u8::from(has_mask)).u8(u8::try_from(length).unwrap_or(0));
}

/// Reads one entry.
pub(crate) fn take_field(reader: &mut Reader<'_>) -> Result<(Field, Masked)> {
    let (field, has_mask, length) = take_header(reader)?;
    // NXM_OF_IN_PORT has 16 bits, its OXM twin 32: what is sent decides.
    let width = if has_mask { length / 2 } else { length };
    if width > field.bytes() || width == 0 || width << u8::from(has_mask) != length {
        return Err(reader.bad_length(length));
    }
    let value = reader.number(width)?;
    let mask = if has_mask { reader.number(width)? } else { field.full_mask() };
    Ok((field, Masked { value, mask }))
}

/// Reads the header of an entry: field, whether a mask follows, bytes that follow.
pub(crate) fn take_header(reader: &mut Reader<'_>) -> Result<(Field, bool, usize)> {
    let class = reader.u16()?;
    let code = reader.u8()?;
    let mut length = usize::from(reader.u8()?);
    let mut field = Field::of_code(class, code >> 1);
    if class == EXPERIMENTER {
        length = length.checked_sub(4).ok_or_else(|| reader.bad_length(length))?;
        field = Field::of_code(0x8000, 42).filter(|_| code >> 1 == 42);
        if reader.u32()? != ONF {
            field = None;
        }
    }
    let field =
        field.ok_or_else(|| reader.bad_value(u32::from(class) << 16 | u32::from(code >> 1)))?;
    Ok((field, code & 1 == 1, length))
}
