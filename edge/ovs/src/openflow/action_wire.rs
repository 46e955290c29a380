//! Actions on the wire: OpenFlow's own, Nicira's, and the instructions around them.

use super::action::{Action, Bits, Controller, Ct, Zone, port};
use super::field::Field;
use super::matches::Masked;
use super::oxm;
use super::wire::{Malformed, Reader, Result, Writer};

/// Nicira's experimenter number.
pub(crate) const NICIRA: u32 = 0x2320;

/// How deep actions may be nested; Open vSwitch itself nests `clone` and `ct(exec)` only.
const DEPTH: u8 = 8;

/// OpenFlow's action types.
mod kind {
    pub(super) const OUTPUT: u16 = 0;
    pub(super) const PUSH_VLAN: u16 = 17;
    pub(super) const POP_VLAN: u16 = 18;
    pub(super) const GROUP: u16 = 22;
    pub(super) const DEC_TTL: u16 = 24;
    pub(super) const SET_FIELD: u16 = 25;
    pub(super) const EXPERIMENTER: u16 = 0xffff;
}

/// Nicira's action subtypes.
mod nicira {
    pub(super) const REG_MOVE: u16 = 6;
    /// Sets up to 64 bits of a field; what others write where we write `REG_LOAD2`.
    pub(super) const REG_LOAD: u16 = 7;
    pub(super) const NOTE: u16 = 8;
    pub(super) const RESUBMIT_TABLE: u16 = 14;
    pub(super) const OUTPUT_REG: u16 = 15;
    pub(super) const REG_LOAD2: u16 = 33;
    pub(super) const CONJUNCTION: u16 = 34;
    pub(super) const CT: u16 = 35;
    pub(super) const CONTROLLER2: u16 = 37;
    pub(super) const CLONE: u16 = 42;
    pub(super) const CT_CLEAR: u16 = 43;
}

/// Instruction types.
mod instruction {
    pub(super) const GOTO: u16 = 1;
    pub(super) const WRITE_METADATA: u16 = 2;
    pub(super) const APPLY: u16 = 4;
    pub(super) const METER: u16 = 6;
}

/// Property types of the controller action.
mod property {
    pub(super) const MAX_LEN: u16 = 0;
    pub(super) const USERDATA: u16 = 3;
    pub(super) const METER: u16 = 5;
}

/// `ct` without a table to go on in.
const NO_TABLE: u8 = 0xff;
/// `resubmit` as if by the port it came in by.
const SAME_PORT: u16 = 0xfff8;
const CT_COMMIT: u16 = 1;
const CT_FORCE: u16 = 2;

/// Writes a flow's actions as instructions.
pub(crate) fn put_instructions(out: &mut Writer, actions: &[Action]) {
    for action in actions {
        if let Action::Meter(meter) = action {
            out.u16(instruction::METER).u16(8).u32(*meter);
        }
    }
    let start = out.len();
    out.u16(instruction::APPLY).u16(0).zeros(4);
    put_actions(out, actions);
    out.set_length(start + 2, start);
    for action in actions {
        match action {
            Action::WriteMetadata { value, mask } => {
                out.u16(instruction::WRITE_METADATA).u16(24).zeros(4).u64(*value).u64(*mask);
            }
            Action::Goto(table) => {
                out.u16(instruction::GOTO).u16(8).u8(*table).zeros(3);
            }
            _ => {}
        }
    }
}

/// Reads a flow's instructions.
pub(crate) fn take_instructions(bytes: &[u8]) -> Result<Vec<Action>> {
    let mut reader = Reader::new(bytes, "an instruction");
    let mut actions = Vec::new();
    while !reader.is_empty() {
        let kind = reader.u16()?;
        let length = usize::from(reader.u16()?);
        let body = length.checked_sub(4).ok_or_else(|| reader.bad_length(length))?;
        let mut body = reader.part(body, "an instruction")?;
        match kind {
            instruction::METER => actions.push(Action::Meter(body.u32()?)),
            instruction::APPLY => {
                body.skip(4)?;
                actions.extend(take_actions(body.rest())?);
            }
            instruction::WRITE_METADATA => {
                body.skip(4)?;
                actions.push(Action::WriteMetadata { value: body.u64()?, mask: body.u64()? });
            }
            instruction::GOTO => actions.push(Action::Goto(body.u8()?)),
            _ => return Err(body.bad_value(kind)),
        }
    }
    Ok(actions)
}

/// Writes actions; those that are instructions are not among them.
pub(crate) fn put_actions(out: &mut Writer, actions: &[Action]) {
    for action in actions {
        let start = out.len();
        match action {
            Action::Meter(_) | Action::WriteMetadata { .. } | Action::Goto(_) => continue,
            action => put_action(out, action),
        }
        out.pad(start);
        out.set_length(start + 2, start);
    }
}

/// Reads actions.
pub(crate) fn take_actions(bytes: &[u8]) -> Result<Vec<Action>> {
    take_nested(bytes, DEPTH)
}

fn put_action(out: &mut Writer, action: &Action) {
    match action {
        Action::Output(port) => {
            out.u16(kind::OUTPUT).u16(0).u32(*port).u16(0xffff);
        }
        Action::PushVlan(ether) => {
            out.u16(kind::PUSH_VLAN).u16(0).u16(*ether);
        }
        Action::PopVlan => {
            out.u16(kind::POP_VLAN).u16(0);
        }
        Action::Group(group) => {
            out.u16(kind::GROUP).u16(0).u32(*group);
        }
        Action::DecTtl => {
            out.u16(kind::DEC_TTL).u16(0);
        }
        Action::Set { field, value, mask } => {
            let masked = Masked { value: *value, mask: *mask };
            if *mask == field.full_mask() {
                out.u16(kind::SET_FIELD).u16(0);
            } else {
                put_nicira(out, nicira::REG_LOAD2);
            }
            oxm::put_field(out, *field, masked);
        }
        Action::Other(bytes) => {
            out.bytes(bytes);
        }
        action => put_extension(out, action),
    }
}

/// Writes one of Nicira's actions.
fn put_extension(out: &mut Writer, action: &Action) {
    match action {
        Action::OutputField(bits) => {
            put_nicira(out, nicira::OUTPUT_REG).u16(packed(*bits));
            oxm::put_header(out, bits.field, false);
            out.u16(0xffff).zeros(6);
        }
        Action::Move { from, to } => {
            put_nicira(out, nicira::REG_MOVE).u16(from.count).u16(from.start).u16(to.start);
            oxm::put_header(out, from.field, false);
            oxm::put_header(out, to.field, false);
        }
        Action::Resubmit { in_port, table } => {
            put_nicira(out, nicira::RESUBMIT_TABLE).u16(in_port.unwrap_or(SAME_PORT)).u8(*table);
            out.zeros(3);
        }
        Action::Conjunction { id, clause, clauses } => {
            put_nicira(out, nicira::CONJUNCTION).u8(*clause).u8(*clauses).u32(*id);
        }
        Action::CtClear => {
            put_nicira(out, nicira::CT_CLEAR).zeros(6);
        }
        Action::Note(bytes) => {
            put_nicira(out, nicira::NOTE).bytes(bytes);
        }
        Action::Clone(actions) => {
            put_nicira(out, nicira::CLONE).zeros(6);
            put_actions(out, actions);
        }
        Action::Ct(ct) => put_ct(out, ct),
        Action::Controller(controller) => put_controller(out, controller),
        // The others are OpenFlow's own.
        _ => {}
    }
}

fn put_nicira(out: &mut Writer, subtype: u16) -> &mut Writer {
    out.u16(kind::EXPERIMENTER).u16(0).u32(NICIRA).u16(subtype)
}

fn put_ct(out: &mut Writer, ct: &Ct) {
    let commit = if ct.commit { CT_COMMIT } else { 0 };
    let flags = commit | if ct.force { CT_FORCE } else { 0 };
    put_nicira(out, nicira::CT).u16(flags);
    match ct.zone {
        Zone::Number(zone) => {
            out.u32(0).u16(zone);
        }
        Zone::Field(bits) => {
            oxm::put_header(out, bits.field, false);
            out.u16(packed(bits));
        }
    }
    out.u8(ct.table.unwrap_or(NO_TABLE)).zeros(3).u16(0);
    put_actions(out, &ct.exec);
}

fn put_controller(out: &mut Writer, controller: &Controller) {
    put_nicira(out, nicira::CONTROLLER2).zeros(6);
    let mut put = |kind: u16, value: &[u8]| {
        let start = out.len();
        out.u16(kind).u16(0).bytes(value);
        out.set_length(start + 2, start);
        out.pad(start);
    };
    if controller.max_len != 0xffff {
        put(property::MAX_LEN, &controller.max_len.to_be_bytes());
    }
    if !controller.userdata.is_empty() {
        put(property::USERDATA, &controller.userdata);
    }
    if let Some(meter) = controller.meter {
        put(property::METER, &meter.to_be_bytes());
    }
}

/// Bits as Nicira packs them: `(first << 6) | (count - 1)`.
fn packed(bits: Bits) -> u16 {
    bits.start << 6 | (bits.count.saturating_sub(1) & 0x3f)
}

fn unpacked(field: Field, packed: u16) -> Bits {
    Bits { field, start: packed >> 6, count: (packed & 0x3f) + 1 }
}

fn take_nested(bytes: &[u8], depth: u8) -> Result<Vec<Action>> {
    let depth = depth.checked_sub(1).ok_or(Malformed::Depth { limit: DEPTH })?;
    let mut reader = Reader::new(bytes, "an action");
    let mut actions = Vec::new();
    while !reader.is_empty() {
        let whole = reader;
        let kind = reader.u16()?;
        let length = usize::from(reader.u16()?);
        if length < 8 || !length.is_multiple_of(8) {
            return Err(reader.bad_length(length));
        }
        let mut body = reader.part(length - 4, "an action")?;
        let action = match kind {
            kind::OUTPUT => take_output(&mut body)?,
            kind::PUSH_VLAN => Some(Action::PushVlan(body.u16()?)),
            kind::POP_VLAN => Some(Action::PopVlan),
            kind::GROUP => Some(Action::Group(body.u32()?)),
            kind::DEC_TTL => Some(Action::DecTtl),
            kind::SET_FIELD => Some(take_set(&mut body)?),
            kind::EXPERIMENTER if body.u32()? == NICIRA => take_extension(&mut body, depth)?,
            _ => None,
        };
        let raw = whole.rest().get(..length).unwrap_or_default();
        actions.push(action.unwrap_or_else(|| Action::Other(raw.to_vec())));
    }
    Ok(actions)
}

fn take_output(body: &mut Reader<'_>) -> Result<Option<Action>> {
    let to = body.u32()?;
    let max_len = body.u16()?;
    let controller = Controller { max_len, userdata: Vec::new(), meter: None };
    Ok(Some(match to {
        port::CONTROLLER => Action::Controller(controller),
        to => Action::Output(to),
    }))
}

fn take_set(body: &mut Reader<'_>) -> Result<Action> {
    let (field, Masked { value, mask }) = oxm::take_field(body)?;
    Ok(Action::Set { field, value, mask })
}

/// Reads one of Nicira's actions; `None` is one that nobody here knows.
fn take_extension(body: &mut Reader<'_>, depth: u8) -> Result<Option<Action>> {
    Ok(Some(match body.u16()? {
        nicira::OUTPUT_REG => {
            let bits = body.u16()?;
            Action::OutputField(unpacked(oxm::take_header(body)?.0, bits))
        }
        nicira::REG_MOVE => {
            let (count, from, to) = (body.u16()?, body.u16()?, body.u16()?);
            let from = Bits { field: oxm::take_header(body)?.0, start: from, count };
            Action::Move { from, to: Bits { field: oxm::take_header(body)?.0, start: to, count } }
        }
        nicira::RESUBMIT_TABLE => {
            let in_port = Some(body.u16()?).filter(|port| *port != SAME_PORT);
            Action::Resubmit { in_port, table: body.u8()? }
        }
        nicira::CONJUNCTION => {
            let (clause, clauses) = (body.u8()?, body.u8()?);
            Action::Conjunction { id: body.u32()?, clause, clauses }
        }
        nicira::CT_CLEAR => Action::CtClear,
        nicira::NOTE => Action::Note(body.rest().to_vec()),
        nicira::REG_LOAD2 => take_set(body)?,
        nicira::REG_LOAD => {
            let packed = body.u16()?;
            let Bits { field, start, count } = unpacked(oxm::take_header(body)?.0, packed);
            let shift = |bits: u128| bits.checked_shl(start.into()).unwrap_or(0);
            let mask = u128::from(u64::MAX >> (64 - count));
            Action::Set { field, value: shift(body.u64()?.into()), mask: shift(mask) }
        }
        nicira::CLONE => {
            body.skip(6)?;
            Action::Clone(take_nested(body.rest(), depth)?)
        }
        nicira::CT => return take_ct(body, depth),
        nicira::CONTROLLER2 => return take_controller(body),
        _ => return Ok(None),
    }))
}

fn take_ct(body: &mut Reader<'_>, depth: u8) -> Result<Option<Action>> {
    let flags = body.u16()?;
    let mut source = *body;
    let has_source = body.u32()? != 0;
    let number = body.u16()?;
    let table = Some(body.u8()?).filter(|table| *table != NO_TABLE);
    body.skip(3)?;
    let helper = body.u16()?;
    if flags & !(CT_COMMIT | CT_FORCE) != 0 || helper != 0 {
        return Ok(None);
    }
    let zone = if has_source {
        Zone::Field(unpacked(oxm::take_header(&mut source)?.0, number))
    } else {
        Zone::Number(number)
    };
    Ok(Some(Action::Ct(Ct {
        commit: flags & CT_COMMIT != 0,
        force: flags & CT_FORCE != 0,
        zone,
        table,
        exec: take_nested(body.rest(), depth)?,
    })))
}

fn take_controller(body: &mut Reader<'_>) -> Result<Option<Action>> {
    body.skip(6)?;
    let mut controller = Controller { max_len: 0xffff, userdata: Vec::new(), meter: None };
    // Behind the last property there is less than one.
    while body.len() >= 4 {
        let (kind, mut value) = take_property(body)?;
        match kind {
            property::MAX_LEN => controller.max_len = value.u16()?,
            property::USERDATA => controller.userdata = value.rest().to_vec(),
            property::METER => controller.meter = Some(value.u32()?),
            _ => return Ok(None),
        }
    }
    Ok(Some(Action::Controller(controller)))
}

/// Reads a property: its type, its value; and skips the padding behind it.
pub(crate) fn take_property<'a>(reader: &mut Reader<'a>) -> Result<(u16, Reader<'a>)> {
    let kind = reader.u16()?;
    let length = usize::from(reader.u16()?);
    let body = length.checked_sub(4).ok_or_else(|| reader.bad_length(length))?;
    let value = reader.part(body, "a property")?;
    reader.skip((length.next_multiple_of(8) - length).min(reader.len()))?;
    Ok((kind, value))
}
