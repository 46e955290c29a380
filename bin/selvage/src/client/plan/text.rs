//! A plan in words: what is lost and gained between whom, and by whose doing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::IsTerminal;

use selvage_policy::plan::{Change, Decision, End, Kind, Pair, Presence};
use selvage_policy::trace::packet_in_words;

use super::{Entries, Object, Objects, View};

/// Pairs that are listed under one heading; more are counted.
const MOST_PAIRS: usize = 6;
/// Objects that are listed; more are counted.
const MOST_OBJECTS: usize = 12;

/// Whether there is colour.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// On a terminal, unless the user wants none (no-color.org).
    fn on(terminal: bool) -> Paint {
        Paint(terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// For what goes to standard output.
    pub fn for_stdout() -> Paint {
        Paint::on(std::io::stdout().is_terminal())
    }

    /// For what goes to standard error.
    pub fn for_stderr() -> Paint {
        Paint::on(std::io::stderr().is_terminal())
    }

    fn sign(self, sign: char) -> String {
        let colour = match sign {
            '+' => 32,
            '-' => 31,
            _ => 33,
        };
        if self.0 { format!("\x1b[{colour}m{sign}\x1b[0m") } else { sign.to_string() }
    }

    fn strong(self, text: &str) -> String {
        if self.0 { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn faint(self, text: &str) -> String {
        if self.0 { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The whole plan.
pub(super) fn render(view: &View, paint: Paint) -> String {
    let mut out = String::new();
    if view.objects.is_empty() && view.traffic.is_empty() {
        return match view.revision {
            Some(revision) => format!("nothing to change against revision {revision}\n"),
            None => "the two are the same policy\n".to_owned(),
        };
    }
    traffic(&mut out, &view.traffic, paint);
    objects(&mut out, &view.objects, paint);
    for (title, sign, faults) in
        [("new faults", '+', &view.faults.raised), ("mended", '-', &view.faults.cleared)]
    {
        if !faults.is_empty() {
            section(&mut out, title, paint);
        }
        for fault in faults {
            line(&mut out, &format!("  {} {}: {}", paint.sign(sign), fault.dn, fault.text));
        }
    }
    hosts(&mut out, view, paint);
    summary(&mut out, view, paint);
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

fn section(out: &mut String, title: &str, paint: Paint) {
    line(out, &format!("\n{}", paint.strong(title)));
}

/// Changes between the same pairs stand together.
fn traffic(out: &mut String, changes: &[Change], paint: Paint) {
    let mut blocks: Vec<(&[Pair], Vec<&Change>)> = Vec::new();
    for change in changes {
        match blocks.iter_mut().find(|(pairs, _)| *pairs == change.pairs) {
            Some((_, block)) => block.push(change),
            None => blocks.push((&change.pairs, vec![change])),
        }
    }
    blocks.sort_by_key(|(pairs, _)| *pairs);
    for (at, (pairs, block)) in blocks.iter().enumerate() {
        if at > 0 {
            line(out, "");
        }
        for heading in headings(pairs) {
            line(out, &paint.strong(&heading));
        }
        let words: Vec<String> = block.iter().map(|change| change.traffic.join(", ")).collect();
        let width = words.iter().map(String::len).filter(|len| *len <= 32).max().unwrap_or(0);
        for (change, words) in block.iter().zip(&words) {
            entry(out, change, words, width, paint);
        }
    }
}

fn entry(out: &mut String, change: &Change, words: &str, width: usize, paint: Paint) {
    let (sign, says) = match change.kind {
        Kind::Gains => ('+', format!("allowed: {}", change.after.text)),
        Kind::Loses => ('-', format!("denied: {}", change.after.text)),
        Kind::Alters => ('~', alteration(change)),
    };
    let answers = if change.passes_as_answer {
        "; answers to connections still pass"
    } else if change.kind == Kind::Gains && change.after.verdict.stateful {
        ", answers by the connection"
    } else {
        ""
    };
    line(out, &format!("  {} {words:width$}  {says}{answers}", paint.sign(sign)));
    let blamed = match change.kind {
        Kind::Loses if change.after.subject.is_none() => [Some(&change.before), None],
        Kind::Loses => [Some(&change.before), Some(&change.after)],
        Kind::Gains if change.before.subject.is_some() => {
            [Some(&change.before), Some(&change.after)]
        }
        _ => [None, Some(&change.after)],
    };
    for (decision, title) in blamed.into_iter().zip(["until now", "then"]) {
        if let Some(text) = decision.and_then(blame) {
            line(out, &paint.faint(&format!("      {title:9} {text}")));
        }
    }
    if let Some(witness) = &change.witness {
        let (from, to) = (short(&witness.from), short(&witness.to));
        let packet = packet_in_words(&witness.packet);
        let said = |decision: &Decision| decision.verdict.reason.name();
        let (was, will) = (said(&change.before), said(&change.after));
        let text = format!("      {:9} {packet}, {from} -> {to}: {was} -> {will}", "witness");
        line(out, &paint.faint(&text));
    }
}

fn alteration(change: &Change) -> String {
    let (before, after) = (&change.before.verdict, &change.after.verdict);
    let mut words = Vec::new();
    match (before.stateful, after.stateful) {
        (false, true) => words.push("becomes stateful: answers pass by the connection"),
        (true, false) => words.push("is not stateful any more: answers need a rule"),
        _ => {}
    }
    match (before.log, after.log) {
        (false, true) => words.push("will be logged"),
        (true, false) => words.push("is not logged any more"),
        _ => {}
    }
    words.join(", ")
}

fn blame(decision: &Decision) -> Option<String> {
    let subject = decision.subject.as_ref()?;
    Some(match &decision.entry {
        Some(entry) => format!("{subject} with {entry}"),
        None => subject.clone(),
    })
}

/// Pairs as few lines: senders with the same receivers together.
fn headings(pairs: &[Pair]) -> Vec<String> {
    let mut by_sender: BTreeMap<&End, BTreeSet<&End>> = BTreeMap::new();
    for pair in pairs {
        by_sender.entry(&pair.from).or_default().insert(&pair.to);
    }
    let mut by_receivers: BTreeMap<BTreeSet<&End>, Vec<&End>> = BTreeMap::new();
    for (sender, receivers) in by_sender {
        by_receivers.entry(receivers).or_default().push(sender);
    }
    let total = by_receivers.len();
    let mut lines: Vec<String> = by_receivers
        .iter()
        .take(MOST_PAIRS)
        .map(|(receivers, senders)| {
            format!("{} -> {}", list(senders.iter().copied()), list(receivers.iter().copied()))
        })
        .collect();
    if total > MOST_PAIRS {
        let shown: usize =
            by_receivers.iter().take(MOST_PAIRS).map(|(r, s)| r.len() * s.len()).sum();
        lines.push(format!("and {} more pairs", pairs.len() - shown));
    }
    lines
}

fn list<'e>(ends: impl Iterator<Item = &'e End>) -> String {
    let names: Vec<String> = ends.map(end).collect();
    let shown: Vec<&str> = names.iter().take(MOST_PAIRS).map(String::as_str).collect();
    match names.len().saturating_sub(MOST_PAIRS) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn end(end: &End) -> String {
    match end {
        End::Group(dn) => short(dn),
        End::AnyOther { vrf, are } => {
            let which = match are {
                Presence::Kept => "any other group",
                Presence::New => "any new group",
                Presence::Removed => "any removed group",
            };
            format!("{which} of {}", short(vrf))
        }
    }
}

/// `uni/tn-shop/ap-store/epg-web` as `shop/store/web`.
fn short(dn: &str) -> String {
    let rest = dn.strip_prefix("uni/").unwrap_or(dn);
    let names: Option<Vec<&str>> =
        rest.split('/').map(|rn| rn.split_once('-').map(|(_, name)| name)).collect();
    names.map_or_else(|| dn.to_owned(), |names| names.join("/"))
}

fn objects(out: &mut String, objects: &Objects, paint: Paint) {
    if objects.is_empty() {
        return;
    }
    section(out, "objects", paint);
    let mut left = MOST_OBJECTS;
    for (sign, list) in [('-', &objects.deleted), ('~', &objects.modified), ('+', &objects.created)]
    {
        for object in list.iter().take(left) {
            line(out, &format!("  {} {}{}", paint.sign(sign), object.dn, props(object)));
        }
        left -= list.len().min(left);
    }
    let total = objects.deleted.len() + objects.modified.len() + objects.created.len();
    if total > MOST_OBJECTS {
        line(out, &format!("    and {} more", total - MOST_OBJECTS));
    }
}

fn props(object: &Object) -> String {
    let of = |prop: &super::Prop| format!("{} `{}` to `{}`", prop.name, prop.before, prop.after);
    let props: Vec<String> = object.props.iter().map(of).collect();
    if props.is_empty() { String::new() } else { format!(": {}", props.join(", ")) }
}

fn hosts(out: &mut String, view: &View, paint: Paint) {
    if view.hosts.is_empty() {
        return;
    }
    section(out, "hosts", paint);
    let width = view.hosts.iter().map(|host| host.name.len()).max().unwrap_or(0);
    for host in &view.hosts {
        let endpoints = count(host.endpoints, "endpoint", "endpoints");
        line(
            out,
            &format!(
                "  {:width$}  pairs {:12} rules {:12} {endpoints} affected",
                host.name,
                entries(&host.pairs),
                entries(&host.rules),
            ),
        );
    }
}

fn entries(entries: &Entries) -> String {
    let parts = [('+', entries.added), ('~', entries.changed), ('-', entries.removed)];
    let parts: Vec<String> =
        parts.iter().filter(|(_, n)| *n > 0).map(|(sign, n)| format!("{sign}{n}")).collect();
    if parts.is_empty() { "same".to_owned() } else { parts.join(" ") }
}

fn summary(out: &mut String, view: &View, paint: Paint) {
    let of = |kind| view.traffic.iter().filter(|change| change.kind == kind).count();
    let traffic = if view.traffic.is_empty() {
        "no connectivity changes".to_owned()
    } else {
        let counts =
            [(of(Kind::Loses), "lost"), (of(Kind::Gains), "gained"), (of(Kind::Alters), "altered")];
        let words: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        let endpoints: usize = view.endpoints.iter().map(|group| group.endpoints).sum();
        format!(
            "traffic: {}, {} affected",
            words.join(", "),
            count(endpoints, "endpoint", "endpoints"),
        )
    };
    let objects = format!(
        "objects: {} created, {} modified, {} deleted",
        view.objects.created.len(),
        view.objects.modified.len(),
        view.objects.deleted.len(),
    );
    let against = match view.revision {
        Some(revision) => format!("; against revision {revision}"),
        None => String::new(),
    };
    line(out, &format!("\n{}", paint.strong(&format!("{traffic}; {objects}{against}"))));
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
