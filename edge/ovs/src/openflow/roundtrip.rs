//! What we write we read back the same, and no bytes make the reader panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::action_wire::{put_actions, put_instructions, take_actions, take_instructions};
use super::message::{self, decode};
use super::oxm;
use super::wire::{Reader, Writer};
use super::*;

fn field() -> impl Strategy<Value = Field> {
    proptest::sample::select(Field::ALL)
}

fn matches() -> impl Strategy<Value = Match> {
    vec((field(), any::<u128>(), any::<u128>(), any::<bool>()), 0..12).prop_map(|fields| {
        fields.into_iter().fold(Match::any(), |matches, (field, value, mask, whole)| {
            matches.masked(field, value, if whole { u128::MAX } else { mask })
        })
    })
}

fn bits() -> impl Strategy<Value = Bits> {
    (field(), 0..64u16, 1..64u16).prop_map(|(field, start, count)| Bits::of(field, start, count))
}

/// Bytes that fill an action of Nicira's exactly, so that no padding joins them.
fn note() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 6..=6)
}

fn action() -> impl Strategy<Value = Action> {
    let port = any::<u32>().prop_filter("is sent in another way", |to| *to != port::CONTROLLER);
    let controller = (any::<u16>(), vec(any::<u8>(), 0..20), any::<Option<u32>>());
    let set = (field(), any::<u128>(), any::<u128>()).prop_map(|(field, value, mask)| {
        let mask = mask & field.full_mask();
        Action::Set { field, value: value & field.full_mask(), mask }
    });
    let moved = (bits(), field(), 0..64u16).prop_map(|(from, field, start)| Action::Move {
        from,
        to: Bits::of(field, start, from.count),
    });
    let leaf = prop_oneof![
        port.prop_map(Action::Output),
        bits().prop_map(Action::OutputField),
        controller.prop_map(|(max_len, userdata, meter)| {
            Action::Controller(Controller { max_len, userdata, meter })
        }),
        set,
        moved,
        Just(Action::DecTtl),
        Just(Action::CtClear),
        Just(Action::PopVlan),
        any::<u16>().prop_map(Action::PushVlan),
        any::<u32>().prop_map(Action::Group),
        note().prop_map(Action::Note),
        (any::<u32>(), any::<u8>(), any::<u8>())
            .prop_map(|(id, clause, clauses)| { Action::Conjunction { id, clause, clauses } }),
        (0..0xff00u16, any::<bool>(), any::<u8>()).prop_map(|(port, same, table)| {
            Action::Resubmit { in_port: Some(port).filter(|_| !same), table }
        }),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let zone = prop_oneof![any::<u16>().prop_map(Zone::Number), bits().prop_map(Zone::Field)];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Action::Clone),
            (any::<bool>(), any::<bool>(), zone, 0..=254u8, any::<bool>(), vec(inner, 0..4))
                .prop_map(|(commit, force, zone, table, ends, exec)| {
                    let table = Some(table).filter(|_| !ends);
                    Action::Ct(Ct { commit, force, zone, table, exec })
                }),
        ]
    })
}

proptest! {
    #[test]
    fn matches_come_back(matches in matches()) {
        let mut out = Writer::default();
        oxm::put_match(&mut out, &matches);
        let bytes = out.into_bytes();
        prop_assert_eq!(bytes.len() % 8, 0);
        let mut reader = Reader::new(&bytes, "a match");
        prop_assert_eq!(oxm::take_match(&mut reader).unwrap(), matches);
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn actions_come_back(actions in vec(action(), 0..6)) {
        let mut out = Writer::default();
        put_actions(&mut out, &actions);
        prop_assert_eq!(take_actions(&out.into_bytes()).unwrap(), actions);
    }

    #[test]
    fn instructions_come_back(actions in vec(action(), 0..3), table in any::<u8>(), value in any::<u64>(), meter in any::<u32>()) {
        let mut all = vec![Action::Meter(meter)];
        all.extend(actions);
        all.extend([Action::WriteMetadata { value, mask: !value }, Action::Goto(table)]);
        let mut out = Writer::default();
        put_instructions(&mut out, &all);
        prop_assert_eq!(take_instructions(&out.into_bytes()).unwrap(), all);
    }

    #[test]
    fn garbage_is_an_error_or_a_message(mut frame in vec(any::<u8>(), 0..400), kind in any::<u8>()) {
        if let [version, its_kind, high, low, ..] = frame.as_mut_slice() {
            *version = message::VERSION;
            *its_kind = kind % 36;
            [*high, *low] = [0, 0];
        }
        let length = u16::try_from(frame.len()).unwrap().to_be_bytes();
        if let Some(place) = frame.get_mut(2..4) {
            place.copy_from_slice(&length);
        }
        let _ = decode(&frame);
    }

    /// Whole messages, damaged in one place or cut.
    #[test]
    fn damage_is_an_error_or_a_message(matches in matches(), actions in vec(action(), 0..4), at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = packet_in(&matches, &actions);
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = decode(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(decode(&bytes).is_err());
        let _ = take_actions(&bytes);
        let _ = take_instructions(&bytes);
    }
}

/// A packet-in with a match as its metadata, and actions for a packet.
fn packet_in(matches: &Match, actions: &[Action]) -> Vec<u8> {
    let mut fields = Writer::default();
    for (field, masked) in matches.iter() {
        oxm::put_field(&mut fields, field, masked);
    }
    let mut packet = Writer::default();
    put_actions(&mut packet, actions);
    let mut out = Writer::default();
    out.u8(message::VERSION).u8(4).u16(0).u32(0).u32(0x2320).u32(30);
    for (kind, value) in [(0, packet.into_bytes()), (6, fields.into_bytes()), (7, vec![1, 2, 3])] {
        let start = out.len();
        out.u16(kind).u16(0).bytes(&value);
        out.set_length(start + 2, start);
        out.pad(start);
    }
    message::finish(out, 7).unwrap()
}

#[test]
fn a_packet_says_what_came_with_it() {
    let matches = Match::any().with(Field::InPort, 3u32).with(Field::Reg0, 5u32);
    let (transaction, message) = decode(&packet_in(&matches, &[Action::DecTtl])).unwrap();
    let Message::Packet(packet) = message else { panic!("{message:?}") };
    assert_eq!(transaction, 7);
    assert_eq!((packet.metadata, packet.userdata), (matches, vec![1, 2, 3]));
    assert_eq!(take_actions(&packet.packet).unwrap(), [Action::DecTtl]);
}

#[test]
fn nested_bombs_end() {
    let mut bomb = Action::DecTtl;
    for _ in 0..1000 {
        bomb = Action::Clone(vec![bomb]);
    }
    let mut out = Writer::default();
    put_actions(&mut out, &[bomb]);
    assert_eq!(take_actions(&out.into_bytes()), Err(Malformed::Depth { limit: 8 }));
}
