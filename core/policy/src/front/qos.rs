//! Quality of service that groups ask for: classes, custom policies, policing.

use selvage_model::{Dn, Mo};
use selvage_rules::{Mark, MarkField, Metered, Policing, Quality, Rate, Unit};

use super::Reader;
use super::entry::code_point;
use super::relation::level;
use crate::ir::{Intent, Marking};
use crate::problem::Cause;

/// The marks that `mo`, a contract or a part of it, asks for.
pub(super) fn marking(mo: &Mo) -> Marking {
    let dscp = code_point(mo.get("targetDscp")).ok().flatten();
    Marking { class: level(mo.get("prio")), dscp }
}

/// Reads what groups ask for.
pub(super) fn groups(reader: &mut Reader<'_>, intent: &mut Intent) {
    let groups: Vec<Dn> = intent.groups.keys().chain(intent.externals.keys()).cloned().collect();
    for dn in groups {
        let class = reader.tree.get(dn.as_str()).and_then(|mo| level(mo.get("prio")));
        let custom = named(reader, &dn, "fvRsCustQosPol", "tnQosCustomPolName");
        let policed = named(reader, &dn, "fvRsDppPol", "tnQosDppPolName");
        let marks = custom.map(|dn| marks(reader, &dn)).unwrap_or_default();
        let policing = policed.and_then(|policy| policing(reader, &policy));
        let quality = Quality { class, marks, policing };
        if quality != Quality::default() {
            intent.qualities.insert(dn, quality);
        }
    }
}

/// The policy that a group names. Where it names none, none counts.
fn named(reader: &Reader<'_>, group: &Dn, class: &str, by: &str) -> Option<Dn> {
    let relation = reader.objects.under(group, class).first().copied()?;
    if relation.get(by).is_empty() { None } else { reader.target(relation) }
}

fn marks(reader: &mut Reader<'_>, policy: &Dn) -> Vec<Mark> {
    let mut all = Vec::new();
    for (class, field) in [("qosDscpClass", MarkField::Dscp), ("qosDot1PClass", MarkField::Cos)] {
        for mo in reader.objects.under(policy, class) {
            let value = |prop| match field {
                MarkField::Dscp => code_point(mo.get(prop)).ok().flatten(),
                MarkField::Cos => mo.get(prop).parse().ok(),
            };
            let ends = value("from").zip(value("to")).filter(|(first, last)| first <= last);
            let Some((first, last)) = ends else {
                let (from, to) = (mo.get("from"), mo.get("to"));
                let text = format!("`{from}` to `{to}` is no range: it has no effect");
                reader.problem(mo.dn(), Cause::BadQuality, text);
                continue;
            };
            all.push(Mark {
                name: mo.dn().shared(),
                field,
                first,
                last,
                class: level(mo.get("prio")),
                dscp: code_point(mo.get("target")).ok().flatten(),
                cos: mo.get("targetCos").parse().ok(),
            });
        }
    }
    all.sort_by(|a, b| (a.first, a.last, &a.name).cmp(&(b.first, b.last, &b.name)));
    all
}

fn policing(reader: &mut Reader<'_>, policy: &Dn) -> Option<Policing> {
    let mo = reader.tree.get(policy.as_str()).filter(|mo| mo.get("adminSt") == "enabled")?;
    let unit = if mo.get("mode") == "packet" { Unit::Packets } else { Unit::Bits };
    let mut rate = |value: &str, of: &str, burst: &str, burst_unit: &str| {
        let per_second = amount(mo.get(value), mo.get(of)).filter(|rate| *rate > 0);
        if per_second.is_none() {
            let text = format!("`{value}` says no rate: the policy has no effect");
            reader.problem(policy, Cause::BadQuality, text);
        }
        let per_second = per_second?;
        Some(Rate { per_second, burst: self::burst(mo, burst, burst_unit, per_second, unit) })
    };
    let committed = rate("rate", "rateUnit", "burst", "burstUnit")?;
    let peak = match mo.get("type") {
        "2R3C" => Some(rate("pir", "pirUnit", "be", "beUnit")?),
        _ => None,
    };
    let metered = |what: &str| match mo.get(&format!("{what}Action")) {
        "drop" => Metered::Drop,
        "mark" => Metered::Mark {
            dscp: mo.get(&format!("{what}MarkDscp")).parse().ok(),
            cos: mo.get(&format!("{what}MarkCos")).parse().ok(),
        },
        _ => Metered::Pass,
    };
    Some(Policing {
        name: policy.shared(),
        unit,
        shared: mo.get("sharingMode") == "shared",
        committed,
        peak,
        conform: metered("conform"),
        exceed: metered("exceed"),
        violate: metered("violate"),
    })
}

/// A number with a decimal unit.
fn amount(number: &str, unit: &str) -> Option<u64> {
    let factor = match unit {
        "kilo" => 1_000,
        "mega" => 1_000_000,
        "giga" => 1_000_000_000,
        _ => 1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A burst in bytes or packets; one that is a time is what comes in it at the rate.
fn burst(mo: &Mo, value: &str, of: &str, per_second: u64, unit: Unit) -> Option<u64> {
    let in_second = match mo.get(of) {
        "msec" => 1_000,
        "usec" => 1_000_000,
        other => return amount(mo.get(value), other),
    };
    let time = mo.get(value).parse::<u64>().ok()?;
    let units = u128::from(per_second) * u128::from(time) / in_second;
    let units = if unit == Unit::Bits { units / 8 } else { units };
    u64::try_from(units).ok()
}
