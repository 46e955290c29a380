//! Messages: those we send as bytes, those a switch sends from bytes.

use super::action::Action;
use super::action_wire::{NICIRA, put_actions, put_instructions, take_instructions, take_property};
use super::flow::{Change, Flow, FlowFilter, FlowStats};
use super::matches::Match;
use super::oxm;
use super::refusal::Refusal;
use super::wire::{Reader, Result, Writer};

/// OpenFlow 1.4.
pub(crate) const VERSION: u8 = 5;
/// Bytes of a message's header: version, type, length of the whole, transaction.
pub const HEADER: usize = 8;

/// Message types.
mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const ECHO_REQUEST: u8 = 2;
    pub(super) const ECHO_REPLY: u8 = 3;
    pub(super) const EXPERIMENTER: u8 = 4;
    pub(super) const FEATURES_REQUEST: u8 = 5;
    pub(super) const FEATURES_REPLY: u8 = 6;
    pub(super) const SET_CONFIG: u8 = 9;
    pub(super) const PORT_STATUS: u8 = 12;
    pub(super) const PACKET_OUT: u8 = 13;
    pub(super) const FLOW_MOD: u8 = 14;
    pub(super) const MULTIPART_REQUEST: u8 = 18;
    pub(super) const MULTIPART_REPLY: u8 = 19;
    pub(super) const BARRIER_REQUEST: u8 = 20;
    pub(super) const BARRIER_REPLY: u8 = 21;
    pub(super) const METER_MOD: u8 = 29;
    pub(super) const BUNDLE_CONTROL: u8 = 33;
    pub(super) const BUNDLE_ADD: u8 = 34;
}

/// Multipart types.
mod part {
    pub(super) const FLOW: u16 = 1;
    pub(super) const METER: u16 = 9;
    pub(super) const PORT_DESC: u16 = 13;
}

/// Nicira's message subtypes.
mod nicira {
    pub(super) const SET_PACKET_IN_FORMAT: u32 = 16;
    pub(super) const PACKET_IN2: u32 = 30;
}

/// Every table, every port, every group, no buffer.
const ALL: u32 = 0xffff_ffff;
/// Every table.
const ALL_TABLES: u8 = 0xff;

/// What is asked of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bundle {
    Open = 0,
    Commit = 4,
    Discard = 6,
}

/// A message of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// It speaks, and this version at most.
    Hello {
        /// The version; 5 is OpenFlow 1.4.
        version: u8,
    },
    /// It refused the message of this transaction.
    Refused(Refusal),
    /// Are you there?
    EchoRequest(Vec<u8>),
    /// I am.
    EchoReply(Vec<u8>),
    /// What it is.
    Features(Switch),
    /// A packet for us.
    Packet(Box<PacketIn>),
    /// A port came, went or changed.
    PortStatus(PortDesc),
    /// Flows; more follow in another message of the same transaction.
    Flows {
        /// Some of them.
        flows: Vec<FlowStats>,
        /// Whether there are more.
        more: bool,
    },
    /// Ports, likewise.
    Ports {
        /// Some of them.
        ports: Vec<PortDesc>,
        /// Whether there are more.
        more: bool,
    },
    /// How many packets each meter held back, likewise.
    Meters {
        /// Some of them: number of the meter, packets.
        meters: Vec<(u32, u64)>,
        /// Whether there are more.
        more: bool,
    },
    /// All that was asked before is done.
    Barrier,
    /// A bundle was opened, committed or discarded.
    BundleDone,
    /// A message of this type, which nobody here asked for.
    Other(u8),
}

/// What a switch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// Its number.
    pub datapath: u64,
    /// How many tables it has.
    pub tables: u8,
}

/// A port of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortDesc {
    /// Its number in flows.
    pub number: u32,
    /// Its name: that of the interface.
    pub name: String,
    /// Its MAC.
    pub mac: [u8; 6],
    /// Whether its link is up.
    pub up: bool,
}

/// Why a packet was sent to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketReason {
    /// A flow said so.
    Action,
    /// Its time to live ran out.
    InvalidTtl,
    /// Another.
    Other(u8),
}

/// A packet that the switch sent us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketIn {
    /// Table of the flow that sent it.
    pub table: u8,
    /// Cookie of that flow.
    pub cookie: u64,
    /// Why.
    pub reason: PacketReason,
    /// What the switch kept beside it: port, tunnel, registers, metadata, connection.
    pub metadata: Match,
    /// What the action said to send along.
    pub userdata: Vec<u8>,
    /// The packet, from its Ethernet header; maybe cut.
    pub packet: Vec<u8>,
    /// Its length before it was cut.
    pub length: u32,
}

/// Reads one whole message: its transaction, and what it says.
pub fn decode(frame: &[u8]) -> Result<(u32, Message)> {
    let mut reader = Reader::new(frame, "a message");
    let version = reader.u8()?;
    let kind = reader.u8()?;
    let length = usize::from(reader.u16()?);
    let transaction = reader.u32()?;
    if length != frame.len() {
        return Err(reader.bad_length(length));
    }
    // A hello says a version in any version, and who cannot agree says so in the lower one.
    if version != VERSION && kind != kind::HELLO && kind != kind::ERROR {
        return Err(reader.bad_value(version));
    }
    let message = match kind {
        kind::HELLO => Message::Hello { version },
        kind::ERROR => Message::Refused(take_refusal(&mut reader)?),
        kind::ECHO_REQUEST => Message::EchoRequest(reader.rest().to_vec()),
        kind::ECHO_REPLY => Message::EchoReply(reader.rest().to_vec()),
        kind::FEATURES_REPLY => {
            let datapath = reader.u64()?;
            reader.skip(4)?;
            Message::Features(Switch { datapath, tables: reader.u8()? })
        }
        kind::PORT_STATUS => {
            reader.skip(8)?;
            Message::PortStatus(take_port(&mut reader)?)
        }
        kind::MULTIPART_REPLY => take_multipart(&mut reader)?,
        kind::BARRIER_REPLY => Message::Barrier,
        kind::BUNDLE_CONTROL => Message::BundleDone,
        kind::EXPERIMENTER => {
            let (whose, subtype) = (reader.u32()?, reader.u32()?);
            if (whose, subtype) == (NICIRA, nicira::PACKET_IN2) {
                Message::Packet(Box::new(take_packet(&mut reader)?))
            } else {
                Message::Other(kind)
            }
        }
        other => Message::Other(other),
    };
    Ok((transaction, message))
}

pub(crate) fn hello() -> Writer {
    message(kind::HELLO)
}

pub(crate) fn echo_request() -> Writer {
    message(kind::ECHO_REQUEST)
}

pub(crate) fn echo_reply(payload: &[u8]) -> Writer {
    let mut out = message(kind::ECHO_REPLY);
    out.bytes(payload);
    out
}

pub(crate) fn features_request() -> Writer {
    message(kind::FEATURES_REQUEST)
}

pub(crate) fn barrier_request() -> Writer {
    message(kind::BARRIER_REQUEST)
}

/// Asks for packets as a whole. Whoever connects to the switch, instead of being connected to, gets
/// none before it asks (observed with Open vSwitch 3.1).
pub(crate) fn want_packets() -> Writer {
    let mut out = message(kind::SET_CONFIG);
    out.u16(0).u16(0xffff);
    out
}

/// Asks for packets in the form that carries userdata (`NXPIF_NXT_PACKET_IN2`).
pub(crate) fn packet_form() -> Writer {
    let mut out = message(kind::EXPERIMENTER);
    out.u32(NICIRA).u32(nicira::SET_PACKET_IN_FORMAT).u32(2);
    out
}

pub(crate) fn flows_request(filter: &FlowFilter) -> Writer {
    let mut out = message(kind::MULTIPART_REQUEST);
    out.u16(part::FLOW).u16(0).zeros(4);
    out.u8(filter.table.unwrap_or(ALL_TABLES)).zeros(3).u32(ALL).u32(ALL).zeros(4);
    out.u64(filter.cookie).u64(filter.cookie_mask);
    oxm::put_match(&mut out, &filter.matches);
    out
}

pub(crate) fn ports_request() -> Writer {
    let mut out = message(kind::MULTIPART_REQUEST);
    out.u16(part::PORT_DESC).u16(0).zeros(4);
    out
}

pub(crate) fn meters_request() -> Writer {
    let mut out = message(kind::MULTIPART_REQUEST);
    out.u16(part::METER).u16(0).zeros(4).u32(ALL).zeros(4);
    out
}

pub(crate) fn packet_out(in_port: u32, actions: &[Action], packet: &[u8]) -> Writer {
    let mut out = message(kind::PACKET_OUT);
    out.u32(ALL).u32(in_port);
    let place = out.len();
    out.u16(0).zeros(6);
    let start = out.len();
    put_actions(&mut out, actions);
    out.set_length(place, start);
    out.bytes(packet);
    out
}

/// Makes or changes a meter that lets through `rate` packets a second and bursts of `burst`.
pub(crate) fn meter(change: bool, number: u32, rate: u32, burst: u32) -> Writer {
    const PACKETS: u16 = 1 << 1;
    const BURST: u16 = 1 << 2;
    const DROP: u16 = 1;
    let mut out = message(kind::METER_MOD);
    out.u16(change.into()).u16(PACKETS | BURST).u32(number);
    out.u16(DROP).u16(16).u32(rate).u32(burst).zeros(4);
    out
}

/// Opens, commits or discards a bundle, atomic and ordered.
pub(crate) fn bundle(number: u32, what: Bundle) -> Writer {
    let mut out = message(kind::BUNDLE_CONTROL);
    out.u32(number).u16(what as u16).u16(ATOMIC_ORDERED);
    out
}

const ATOMIC_ORDERED: u16 = 3;

/// Adds a finished message to a bundle. Both carry the same transaction.
pub(crate) fn bundle_add(number: u32, inner: &[u8]) -> Writer {
    let mut out = message(kind::BUNDLE_ADD);
    out.u32(number).zeros(2).u16(ATOMIC_ORDERED).bytes(inner);
    out
}

pub(crate) fn flow_mod(change: &Change) -> Writer {
    const ADD: u8 = 0;
    const MODIFY_STRICT: u8 = 2;
    const DELETE: u8 = 3;
    const DELETE_STRICT: u8 = 4;
    let any = Flow::default();
    match change {
        Change::Add(flow) => modify(ADD, flow, 0),
        Change::SetActions(flow) => modify(MODIFY_STRICT, flow, 0),
        Change::Remove { table, priority, matches } => {
            let flow = Flow { table: *table, priority: *priority, matches: matches.clone(), ..any };
            modify(DELETE_STRICT, &flow, 0)
        }
        Change::RemoveAll(filter) => {
            let flow = Flow {
                table: filter.table.unwrap_or(ALL_TABLES),
                cookie: filter.cookie,
                matches: filter.matches.clone(),
                ..any
            };
            modify(DELETE, &flow, filter.cookie_mask)
        }
    }
}

fn modify(command: u8, flow: &Flow, cookie_mask: u64) -> Writer {
    let mut out = message(kind::FLOW_MOD);
    out.u64(flow.cookie).u64(cookie_mask).u8(flow.table).u8(command);
    out.u16(flow.idle_timeout).u16(flow.hard_timeout).u16(flow.priority);
    out.u32(ALL).u32(ALL).u32(ALL).u16(0).u16(0);
    oxm::put_match(&mut out, &flow.matches);
    put_instructions(&mut out, &flow.actions);
    out
}

/// The header of a message, its length and transaction still 0.
fn message(kind: u8) -> Writer {
    let mut out = Writer::default();
    out.u8(VERSION).u8(kind).u16(0).u32(0);
    out
}

/// The bytes of a message with its length and transaction; `None` where it is too long to have one.
pub(crate) fn finish(message: Writer, transaction: u32) -> Option<Vec<u8>> {
    let mut bytes = message.into_bytes();
    let length = u16::try_from(bytes.len()).ok()?.to_be_bytes();
    bytes.get_mut(2..4)?.copy_from_slice(&length);
    bytes.get_mut(4..8)?.copy_from_slice(&transaction.to_be_bytes());
    Some(bytes)
}

fn take_refusal(reader: &mut Reader<'_>) -> Result<Refusal> {
    let (kind, code) = (reader.u16()?, reader.u16()?);
    let experimenter = if kind == 0xffff { reader.u32()? } else { 0 };
    Ok(Refusal { kind, code, experimenter })
}

fn take_multipart(reader: &mut Reader<'_>) -> Result<Message> {
    let kind = reader.u16()?;
    let more = reader.u16()? & 1 == 1;
    reader.skip(4)?;
    Ok(match kind {
        part::FLOW => Message::Flows { flows: take_all(reader, take_flow)?, more },
        part::PORT_DESC => Message::Ports { ports: take_all(reader, take_port)?, more },
        part::METER => Message::Meters { meters: take_all(reader, take_meter)?, more },
        _ => Message::Other(kind::MULTIPART_REPLY),
    })
}

fn take_all<T>(
    reader: &mut Reader<'_>,
    take: impl Fn(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    while !reader.is_empty() {
        all.push(take(reader)?);
    }
    Ok(all)
}

fn take_flow(reader: &mut Reader<'_>) -> Result<FlowStats> {
    let length = usize::from(reader.u16()?);
    let body = length.checked_sub(2).ok_or_else(|| reader.bad_length(length))?;
    let mut body = reader.part(body, "a flow")?;
    let table = body.u8()?;
    body.skip(1)?;
    let age = body.u32()?;
    body.skip(4)?;
    let (priority, idle_timeout, hard_timeout) = (body.u16()?, body.u16()?, body.u16()?);
    body.skip(6)?;
    let (cookie, packets, bytes) = (body.u64()?, body.u64()?, body.u64()?);
    let matches = oxm::take_match(&mut body)?;
    let actions = take_instructions(body.rest())?;
    let flow = Flow { table, priority, cookie, idle_timeout, hard_timeout, matches, actions };
    Ok(FlowStats { flow, packets, bytes, age })
}

fn take_port(reader: &mut Reader<'_>) -> Result<PortDesc> {
    const LINK_DOWN: u32 = 1;
    let number = reader.u32()?;
    let length = usize::from(reader.u16()?);
    let body = length.checked_sub(6).ok_or_else(|| reader.bad_length(length))?;
    let mut body = reader.part(body, "a port")?;
    body.skip(2)?;
    let mac = body.mac()?;
    body.skip(2)?;
    let name = body.bytes(16)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let name = String::from_utf8_lossy(name.get(..end).unwrap_or(name)).into_owned();
    body.skip(4)?;
    Ok(PortDesc { number, name, mac, up: body.u32()? & LINK_DOWN == 0 })
}

fn take_meter(reader: &mut Reader<'_>) -> Result<(u32, u64)> {
    let number = reader.u32()?;
    let length = usize::from(reader.u16()?);
    let body = length.checked_sub(6).ok_or_else(|| reader.bad_length(length))?;
    let mut body = reader.part(body, "a meter")?;
    body.skip(34)?;
    let mut held_back = 0u64;
    while !body.is_empty() {
        held_back = held_back.saturating_add(body.u64()?);
        body.skip(8)?;
    }
    Ok((number, held_back))
}

/// Reads Nicira's packet-in, a list of properties (`enum nx_packet_in2_prop_type`).
fn take_packet(reader: &mut Reader<'_>) -> Result<PacketIn> {
    let mut packet = PacketIn {
        table: 0,
        cookie: 0,
        reason: PacketReason::Other(0xff),
        metadata: Match::any(),
        userdata: Vec::new(),
        packet: Vec::new(),
        length: 0,
    };
    let mut length = None;
    while !reader.is_empty() {
        let (kind, mut value) = take_property(reader)?;
        match kind {
            0 => packet.packet = value.rest().to_vec(),
            1 => length = Some(value.u32()?),
            3 => packet.table = value.u8()?,
            4 => {
                value.skip(4)?;
                packet.cookie = value.u64()?;
            }
            5 => {
                packet.reason = match value.u8()? {
                    1 => PacketReason::Action,
                    2 => PacketReason::InvalidTtl,
                    other => PacketReason::Other(other),
                }
            }
            6 => packet.metadata = oxm::take_fields(value.rest())?,
            7 => packet.userdata = value.rest().to_vec(),
            _ => {}
        }
    }
    packet.length =
        length.unwrap_or_else(|| u32::try_from(packet.packet.len()).unwrap_or(u32::MAX));
    Ok(packet)
}
