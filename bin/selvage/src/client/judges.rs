//! `selvage trace --judges`: what every judge says, beside each other.
//!
//! The controller speaks for the oracle and the rule table. The agents of the hosts involved speak
//! for their data planes: for what is installed there, read back and evaluated in Rust, and for the
//! plane itself, shown a packet that nobody sent.

use std::path::Path;

use selvage_agent::datapath::Direction;
use selvage_agent::judge::{Opinion, as_a_plane_says};
use selvage_agent::local::{Code, End, Judge, Judged, Request, Response, Said};
use selvage_rules::{Mac, Packet, Reason, RuleId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::output;
use super::sockets::Agents;
use crate::exit::{Failure, Kind};

/// What the controller adds to a trace.
#[derive(Deserialize)]
struct Asked {
    from: Option<Seat>,
    to: Option<Seat>,
    there: Question,
    back: Question,
}

#[derive(Deserialize)]
struct Seat {
    mac: Mac,
    bridge_domain: String,
    host: String,
}

#[derive(Deserialize)]
struct Question {
    packet: Packet,
    answers: Option<Packet>,
    oracle: Word,
    table: Word,
}

#[derive(Deserialize)]
struct Word {
    reason: Reason,
    rule: Option<RuleId>,
    because: Vec<String>,
}

/// One judge about one packet.
#[derive(Serialize)]
pub struct Row {
    /// `there` or `back`.
    leg: &'static str,
    /// `oracle`, `rule table`, `ebpf lowered`, ..
    judge: String,
    /// Where the judge sits; `None` for the controller.
    host: Option<String>,
    /// Whether the packet passes.
    allow: bool,
    /// Why.
    reason: Reason,
    /// The rule that decides.
    rule: Option<RuleId>,
    /// DNs of the objects that decide.
    because: Vec<String>,
    /// It does not say what follows from the rule table.
    differs: bool,
}

/// What they said, and who could not be asked.
#[derive(Serialize)]
pub struct Hearing {
    /// Every judge's word.
    pub opinions: Vec<Row>,
    /// Why judges are missing, if any are.
    pub unheard: Vec<String>,
    /// They all say the same.
    pub agree: bool,
}

/// Asks the judges of the hosts about what the controller answered.
pub fn hear(answer: &Value, run_dir: &Path) -> Result<Hearing, Failure> {
    let part = answer.get("judges").cloned().unwrap_or_default();
    let asked = Asked::deserialize(part).map_err(|error| {
        Failure::new(Kind::Failed, format!("the controller's answer: {error}"))
            .hint("is it of the same version as this program?")
    })?;
    let revision = answer.get("revision").and_then(Value::as_u64).unwrap_or_default();
    let agents = Agents { agent: None, run_dir: run_dir.to_owned() };
    let sockets = agents.sockets().unwrap_or_default();
    let mut hearing = Hearing { opinions: Vec::new(), unheard: Vec::new(), agree: true };
    let (from, to) = (asked.from.as_ref(), asked.to.as_ref());
    for (leg, question, from, to) in
        [("there", &asked.there, from, to), ("back", &asked.back, to, from)]
    {
        hearing.add_controller(leg, question);
        let (Some(from), Some(to)) = (from, to) else {
            hearing.miss("no host can be asked: an end has no endpoint".to_owned());
            continue;
        };
        // What the table says about places rather than rules is the sender's host's to know.
        let reason = question.table.reason;
        if [Reason::UnknownDestination, Reason::Quarantine].contains(&reason) {
            hearing.miss(format!("no host can be asked: {}", reason.text()));
            continue;
        }
        let mut hosts = vec![&from.host];
        if from.host != to.host && reason != Reason::NotRouted {
            hosts.push(&to.host);
        }
        for host in hosts {
            match ask(&sockets, host, question, from, to) {
                Ok(judged) => {
                    let bridged = from.bridge_domain == to.bridge_domain;
                    hearing.add_host(leg, question, &judged, bridged);
                    if judged.revision.0 < revision {
                        let behind = judged.revision;
                        hearing.miss(format!(
                            "{host} enforces revision {behind}, the controller has {revision}"
                        ));
                    }
                }
                Err(why) => hearing.miss(format!("{host}: {why}")),
            }
        }
    }
    hearing.agree = hearing.opinions.iter().all(|row| !row.differs);
    Ok(hearing)
}

/// Asks every agent of this machine until the one of `host` answers.
fn ask(
    sockets: &[std::path::PathBuf],
    host: &str,
    question: &Question,
    from: &Seat,
    to: &Seat,
) -> Result<Judged, String> {
    let end = |seat: &Seat| End { bridge_domain: seat.bridge_domain.clone(), mac: seat.mac };
    let (packet, answers) = (question.packet, question.answers);
    let request = Request::Judge(Judge { from: end(from), to: end(to), packet, answers });
    let mut refused = None;
    for socket in sockets {
        match Agents::ask(socket, &request).ok().and_then(|mut answers| answers.next()) {
            Some(Ok(Response::Judged(judged))) if judged.host == host => return Ok(*judged),
            // An agent that has neither end is not the one that is meant.
            Some(Ok(Response::Error(refusal))) if refusal.code != Code::NoSuchEndpoint => {
                refused = Some(refusal.message);
            }
            _ => {}
        }
    }
    Err(refused.unwrap_or_else(|| "its agent cannot be asked from this machine".to_owned()))
}

impl Hearing {
    fn miss(&mut self, why: String) {
        if !self.unheard.contains(&why) {
            self.unheard.push(why);
        }
    }

    fn add_controller(&mut self, leg: &'static str, question: &Question) {
        for (judge, word) in [("oracle", &question.oracle), ("rule table", &question.table)] {
            self.opinions.push(Row {
                leg,
                judge: judge.to_owned(),
                host: None,
                allow: word.reason.is_allow(),
                reason: word.reason,
                rule: word.rule,
                because: word.because.clone(),
                differs: word.reason != question.table.reason,
            });
        }
    }

    fn add_host(&mut self, leg: &'static str, question: &Question, judged: &Judged, bridged: bool) {
        let at_port = judged.direction == Direction::FromEndpoint;
        let table = Opinion { reason: question.table.reason, rule: question.table.rule };
        let expected = as_a_plane_says(&question.packet, at_port, bridged, table);
        for (judge, said) in [("lowered", &judged.lowered), ("live", &judged.live)] {
            let Said { opinion, origin, entry } = said;
            self.opinions.push(Row {
                leg,
                judge: format!("{} {judge}", judged.dataplane),
                host: Some(judged.host.clone()),
                allow: opinion.allows(),
                reason: opinion.reason,
                rule: opinion.rule,
                because: origin.iter().chain(entry).cloned().collect(),
                differs: *opinion != expected,
            });
        }
    }

    /// Prints a table for people.
    pub fn show(&self) -> Result<(), Failure> {
        let headings = ["way", "judge", "host", "says", "reason", "rule", ""];
        let row = |row: &Row| {
            let says = if row.allow { "allow" } else { "deny" };
            vec![
                row.leg.to_owned(),
                row.judge.clone(),
                row.host.clone().unwrap_or_else(|| "-".to_owned()),
                says.to_owned(),
                row.reason.to_string(),
                row.rule.map_or_else(|| "-".to_owned(), |rule| rule.to_string()),
                if row.differs { "<-- DIFFERS".to_owned() } else { String::new() },
            ]
        };
        output::columns(&headings, self.opinions.iter().map(row).collect(), "no judges")?;
        for why in &self.unheard {
            output::line(&format!("not heard: {why}"))?;
        }
        let judges = self.opinions.len();
        if self.agree {
            output::line(&format!("{judges} opinions, and all say the same"))?;
        }
        Ok(())
    }

    /// Judges that differ are a failure, whoever is right.
    pub fn verdict(&self) -> Result<(), Failure> {
        let mut wrong = Vec::new();
        for row in self.opinions.iter().filter(|row| row.differs) {
            let Row { leg, judge, host, reason, .. } = row;
            let host = host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
            wrong.push(format!("  {leg}: {judge}{host} says {reason}"));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let message = format!("THE JUDGES DIFFER from the rule table:\n{}", wrong.join("\n"));
        Err(Failure::new(Kind::Failed, message)
            .hint("what is enforced is not what is compiled, or was compiled wrong: report it"))
    }
}

#[cfg(test)]
mod tests {
    use selvage_rules::{EtherType, Revision};

    use super::*;

    fn said(reason: Reason, rule: Option<u32>) -> Said {
        let opinion = Opinion { reason, rule: rule.map(RuleId) };
        Said { opinion, origin: None, entry: None }
    }

    fn heard(packet: Packet, table: Reason, live: Said) -> Hearing {
        let word = |rule| Word { reason: table, rule, because: Vec::new() };
        let rule = (table == Reason::Contract).then_some(RuleId(7));
        let question = Question { packet, answers: None, oracle: word(None), table: word(rule) };
        let judged = Judged {
            host: "h1".to_owned(),
            dataplane: "ebpf".to_owned(),
            revision: Revision(3),
            direction: Direction::FromEndpoint,
            lowered: live.clone(),
            live,
        };
        let mut hearing = Hearing { opinions: Vec::new(), unheard: Vec::new(), agree: true };
        hearing.add_controller("there", &question);
        hearing.add_host("there", &question, &judged, true);
        hearing
    }

    #[test]
    fn judges_that_differ_are_named_and_end_with_failure() {
        let syn = Packet::tcp_syn(EtherType::IPV4, 1, 80);
        assert!(heard(syn, Reason::Contract, said(Reason::Contract, Some(7))).verdict().is_ok());
        // The same verdict by another rule is not the same.
        assert!(heard(syn, Reason::Contract, said(Reason::Contract, Some(8))).verdict().is_err());
        let wrong = heard(syn, Reason::NoContract, said(Reason::Contract, Some(7))).verdict();
        let text = wrong.unwrap_err().to_string();
        assert!(text.contains("there: ebpf live on h1 says contract"), "{text}");
    }

    #[test]
    fn what_is_the_fabrics_own_affair_is_no_difference() {
        let arp = Packet { arp_op: 1, ..Packet::ip(EtherType::ARP, 0) };
        assert!(heard(arp, Reason::NoContract, said(Reason::Fabric, None)).verdict().is_ok());
        let later = Packet { later_fragment: true, ..Packet::ip(EtherType::IPV4, 17) };
        assert!(heard(later, Reason::NoContract, said(Reason::Fragment, None)).verdict().is_ok());
        assert!(heard(later, Reason::Denied, said(Reason::Fragment, None)).verdict().is_err());
    }
}
