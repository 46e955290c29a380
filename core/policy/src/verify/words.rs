//! Why an assertion does not hold, in one sentence.

use selvage_model::Dn;
use selvage_rules::Action;

use super::prove::Broken;
use super::{Counterexample, Point};
use crate::reach::Reach;
use crate::trace;

/// Why, in one sentence.
pub(super) fn why(reach: &Reach<'_>, broken: &Broken) -> String {
    match broken {
        Broken::Quarantined(group) => {
            let mut problems = reach.compiled.problems.iter();
            let because = problems.find(|problem| group.contains(&problem.dn));
            let because = because.map(|problem| format!(": {}", problem.text)).unwrap_or_default();
            format!("`{group}` is in quarantine{because}")
        }
        Broken::By(found) => sentence(found),
    }
}

fn sentence(found: &Counterexample) -> String {
    let packet = trace::packet_in_words(&found.packet);
    let (from, to) = (point(&found.from), point(&found.to));
    let what = if found.is_answer { format!("the answer {packet}") } else { packet };
    let passes = found.verdict.action != Action::Deny;
    let fares = if passes { "reaches" } else { "does not reach" };
    format!("{what} from {from} {fares} {to}: {}", because(found, passes))
}

fn because(found: &Counterexample, passes: bool) -> String {
    let Some(chain) = &found.chain else { return found.verdict.reason.text().to_owned() };
    let does = if passes { "allows" } else { "denies" };
    match (&chain.contract, &chain.entry) {
        (Some(contract), Some(entry)) => {
            let back = if chain.reverse { " on the way back" } else { "" };
            let relations = [&chain.provider, &chain.consumer].into_iter().flatten();
            let relations: Vec<String> = relations.map(|dn| format!("`{dn}`")).collect();
            let by = match relations.is_empty() {
                true => String::new(),
                false => format!(", by {}", relations.join(" and ")),
            };
            let contract = trace::name(contract);
            format!(
                "contract {contract} {does} it{back} (subject `{}`, entry `{entry}`{by})",
                chain.subject,
            )
        }
        _ => format!("{} (`{}`)", found.verdict.reason.text(), chain.subject),
    }
}

fn point(point: &Point) -> String {
    let group = point.group.as_ref().map(|text| short(text));
    match (group, point.address) {
        (Some(group), Some(address)) => format!("{address} ({group})"),
        (Some(group), None) => group,
        (None, Some(address)) => format!("{address} (in no group)"),
        (None, None) => "nowhere".to_owned(),
    }
}

/// `TENANT/PROFILE/GROUP`, as groups are written.
fn short(text: &str) -> String {
    let Ok(dn) = text.parse::<Dn>() else { return text.to_owned() };
    let names: Vec<String> = dn
        .rns()
        .into_iter()
        .skip(1)
        .map(|rn| rn.split_once('-').map_or(rn, |(_, name)| name).to_owned())
        .collect();
    names.join("/")
}
