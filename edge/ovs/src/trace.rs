//! What the switch itself says would become of a packet: `ofproto/trace`, read.

use crate::openflow::{Field, Match, ct_state};
use crate::unixctl::{Control, ControlError};

/// A packet to be traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What it is. With `frame`, only where it comes from counts: port, tunnel, registers.
    pub flow: Match,
    /// The packet itself, from its Ethernet header on.
    pub frame: Option<Vec<u8>>,
    /// What the connection tracker is to say of it, once for each time it is asked: bits of
    /// [`ct_state`]. The trace does not ask the real tracker. What is missing is `trk|new`.
    pub connection: Vec<u32>,
}

/// What would become of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The flows it would meet, in order.
    pub steps: Vec<Step>,
    /// The registers at the end of each passage through the pipeline; the connection tracker begins
    /// another.
    pub ends: Vec<Match>,
    /// What the datapath would do, in its own words, for each passage; `drop` is nothing.
    pub actions: Vec<String>,
    /// All that the switch said.
    pub text: String,
}

/// A table that a packet would be looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The table.
    pub table: u8,
    /// Priority of the flow it would meet; `None` if there is none: the packet ends there.
    pub priority: Option<u16>,
    /// The flow's cookie.
    pub cookie: u64,
}

impl Trace {
    /// What `register` holds at the very end.
    pub fn register(&self, register: Field) -> u64 {
        let end = self.ends.last().and_then(|end| end.get(register));
        end.and_then(|masked| u64::try_from(masked.value).ok()).unwrap_or(0)
    }

    /// Whether the packet would leave the switch nowhere; that it would be sent to us does not
    /// count.
    pub fn is_drop(&self) -> bool {
        // By number alone, or as the push of a tunnel.
        let leaves = |action: &&str| {
            action.parse::<u32>().is_ok()
                || action.starts_with("tnl_push")
                || action.starts_with("set(tunnel")
                || action.starts_with("clone(")
        };
        !self.actions.iter().any(|line| parts(line).iter().any(leaves))
    }
}

/// Asks the switch what would become of a packet at `bridge`. Nothing is sent, learnt or counted.
pub fn trace(control: &mut Control, bridge: &str, probe: &Probe) -> Result<Trace, ControlError> {
    // It reads from the left, and what others presuppose has to come before them.
    let any = Match::any;
    let (first, rest) =
        probe.flow.iter().fold((any(), any()), |(first, rest), (field, masked)| match field {
            Field::EthType => (first.masked(field, masked.value, masked.mask), rest),
            field => (first, rest.masked(field, masked.value, masked.mask)),
        });
    let flow = format!("{first},{rest}");
    let flow = flow.trim_start_matches(',');
    let states: Vec<String> = probe.connection.iter().map(|state| words_of(*state)).collect();
    let mut arguments = vec![bridge, flow];
    for state in &states {
        arguments.extend(["--ct-next", state]);
    }
    let frame = probe.frame.as_deref().map(hex);
    arguments.extend(frame.as_deref());
    control.run("ofproto/trace", &arguments).map(read)
}

/// Reads what `ofproto/trace` prints.
fn read(text: String) -> Trace {
    let mut trace = Trace { steps: Vec::new(), ends: Vec::new(), actions: Vec::new(), text };
    for line in trace.text.lines() {
        let line = line.trim_start();
        if let Some(flow) = line.strip_prefix("Final flow: ") {
            trace.ends.push(registers(flow));
        } else if let Some(actions) = line.strip_prefix("Datapath actions: ") {
            trace.actions.push(actions.to_owned());
        } else if let Some(step) = step(line) {
            trace.steps.push(step);
        }
    }
    trace
}

/// A line such as ` 0. in_port=1, priority 100, cookie 0x1`.
fn step(line: &str) -> Option<Step> {
    let (table, rest) = line.split_once(". ")?;
    let table = table.parse().ok()?;
    let word = |name: &str| rest.split(", ").find_map(|part| part.strip_prefix(name));
    // Without a condition it begins with the priority.
    let priority = word("priority ").and_then(|priority| priority.parse().ok());
    let priority = priority.or_else(|| (!rest.starts_with("No match")).then_some(32768));
    let cookie = word("cookie 0x").and_then(|cookie| u64::from_str_radix(cookie, 16).ok());
    Some(Step { table, priority, cookie: cookie.unwrap_or(0) })
}

/// Registers and metadata named in a flow's text.
fn registers(flow: &str) -> Match {
    let known = (0..16).filter_map(Field::reg).chain([Field::Metadata]);
    let known: Vec<Field> = known.collect();
    flow.split(',').fold(Match::any(), |matches, part| {
        let Some((name, value)) = part.split_once('=') else { return matches };
        let value = match value.strip_prefix("0x") {
            Some(value) => u64::from_str_radix(value, 16),
            None => value.parse(),
        };
        match (known.iter().find(|field| field.name() == name), value) {
            (Some(field), Ok(value)) => matches.with(*field, value),
            _ => matches,
        }
    })
}

/// The parts between commas that are in no parentheses.
fn parts(line: &str) -> Vec<&str> {
    let mut depth = 0u32;
    line.split(|letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    })
    .collect()
}

fn words_of(state: u32) -> String {
    const NAMES: &[(u32, &str)] = &[
        (ct_state::TRK, "trk"),
        (ct_state::NEW, "new"),
        (ct_state::EST, "est"),
        (ct_state::REL, "rel"),
        (ct_state::RPL, "rpl"),
        (ct_state::INV, "inv"),
    ];
    let set = NAMES.iter().filter(|(bit, _)| state & bit != 0).map(|(_, name)| *name);
    set.collect::<Vec<_>>().join(",")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_outside_of_parentheses() {
        assert_eq!(
            parts("ct(zone=1,x(2,3)),recirc(0x1),2"),
            ["ct(zone=1,x(2,3))", "recirc(0x1)", "2"]
        );
    }

    #[test]
    fn steps_are_lines_that_begin_with_a_table() {
        let met = step("3. ip,nw_dst=10.0.0.1, priority 7, cookie 0x5e1a").unwrap();
        assert_eq!(met, Step { table: 3, priority: Some(7), cookie: 0x5e1a });
        assert_eq!(step("9. No match.").unwrap().priority, None);
        assert_eq!(step("0. priority 0").unwrap().priority, Some(0));
        for line in ["resubmit(,5)", "drop", "", "Flow: in_port=1", "x. y", "300. priority 1"] {
            assert_eq!(step(line), None, "{line}");
        }
    }
}
