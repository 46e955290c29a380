//! Every verdict of every scenario, by the oracle and by the compiled table.

use std::collections::BTreeSet;

use selvage_differential::compare::{Who, ask_table};
use selvage_differential::court::{Known, Matter};
use selvage_differential::planes::{Cell, LiveEbpf, LiveOvs, LoweredEbpf, LoweredOvs, Plane};
use selvage_differential::scenario::{Flow, Scenario, load_scenarios};
use selvage_differential::seats::{self, Route, Seats};
use selvage_model::Tree;
use selvage_oracle::{End, State, Verdict, judge};
use selvage_policy::{Numbers, compile};
use selvage_rules::{Action, Table};

#[test]
fn every_scenario_is_judged_as_its_story_says() {
    let scenarios = load_scenarios().unwrap();
    assert!(scenarios.len() >= 14, "only {} scenarios were found", scenarios.len());
    let mut wrong = Vec::new();
    let mut flows = 0;
    for scenario in &scenarios {
        let tree = scenario.tree().unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
        let table = compile(&tree, &mut Numbers::default()).table;
        for flow in &scenario.flows {
            flows += 1;
            for problem in [by_oracle(scenario, flow, &tree), by_table(scenario, flow, &table)] {
                wrong.extend(problem.map(|problem| format!("{}: {problem}", scenario.name)));
            }
        }
    }
    println!("{} scenarios, {flows} flows, {} not as told", scenarios.len(), wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Every flow of every scenario is shown to the lowered tables and to the live planes: within a host,
/// to another and from another. So what is said of a host with the one plane that sends to a host with
/// the other holds for either end. What is outside is for the tests that have an outside.
#[test]
fn every_scenario_runs_on_both_planes_as_its_story_says() {
    let scenarios = load_scenarios().unwrap();
    let most = scenarios.iter().map(|scenario| scenario.endpoints.len()).max().unwrap();
    let cell = Cell::new("tale", most * 2).unwrap();
    let told = cell.run(|| {
        let mut lowered = LoweredEbpf::default();
        let mut live = LiveEbpf::open("tale", cell.overlay).unwrap();
        let mut switch = LoweredOvs::default();
        let mut traced = LiveOvs::open("tale").unwrap();
        let mut planes: [&mut dyn Plane; 4] = [&mut lowered, &mut switch, &mut live, &mut traced];
        scenarios.iter().map(|scenario| on_planes(scenario, &mut planes, &cell.ports)).sum()
    });
    let flows: usize = told.unwrap();
    println!("{} scenarios, {flows} flows on both planes, 0 not as told", scenarios.len());
    assert!(flows > 300, "only {flows} flows came to the plane");
}

/// Plays the flows of a scenario; how many there were.
fn on_planes(scenario: &Scenario, planes: &mut [&mut dyn Plane], ports: &[u32]) -> usize {
    let tree = scenario.tree().unwrap();
    let table = compile(&tree, &mut Numbers::default()).table;
    let groups: BTreeSet<String> =
        scenario.endpoints.values().filter_map(group_alone).map(str::to_owned).collect();
    let groups: Vec<String> = groups.into_iter().collect();
    let seats = Seats::new(&table, &groups, ports);
    let desired = seats.desired(1);
    planes.iter_mut().for_each(|plane| plane.install(&desired).unwrap());
    let matter = Matter { tree: &tree, table: &table, groups: &groups, seats };
    let place = |name: &str| {
        let dn = group_alone(&scenario.endpoints[name])?;
        groups.iter().position(|group| group == dn)
    };
    let mut played = 0;
    for flow in &scenario.flows {
        let (Some(from), Some(to)) = (place(&flow.from), place(&flow.to)) else { continue };
        for route in Route::ALL {
            let told = seats::Flow { from, to, route, packet: flow.packet, answers: flow.answers };
            let dissent = matter.put(planes, &told, Known::Nothing).unwrap();
            assert!(dissent.is_none(), "{}: {}", scenario.name, dissent.unwrap());
            // The planes say what the table says, which is what the story says.
            assert_eq!(matter.table(&told).reason, flow.reason, "{}: {}", scenario.name, flow.text);
            played += 1;
        }
    }
    played
}

/// The group of an endpoint of which nothing else matters; such can be put on a plane as they are.
fn group_alone(who: &Who) -> Option<&str> {
    match who {
        Who::Member(endpoint) if *who == Who::of(&endpoint.attached) => Some(&endpoint.attached),
        _ => None,
    }
}

#[test]
fn every_scenario_names_its_source_and_its_trap() {
    for scenario in load_scenarios().unwrap() {
        let folder = selvage_differential::scenario::folder().join(&scenario.name);
        let text = std::fs::read_to_string(folder.join("description.md")).unwrap();
        assert!(text.starts_with("# "), "{} has no title", scenario.name);
        for part in ["## What ACI does", "## Where a naive reading goes wrong"] {
            assert!(text.contains(part), "{} lacks `{part}`", scenario.name);
        }
        assert!(
            scenario.flows.iter().any(|flow| flow.verdict != Verdict::Deny),
            "{} allows nothing",
            scenario.name
        );
        assert!(
            scenario.flows.iter().any(|flow| flow.verdict == Verdict::Deny),
            "{} denies nothing",
            scenario.name
        );
        for flow in &scenario.flows {
            assert!(!flow.why.is_empty() && flow.why.lines().count() == 1, "{}", scenario.name);
        }
    }
}

fn by_oracle(scenario: &Scenario, flow: &Flow, tree: &Tree) -> Option<String> {
    let (from, to) = ends(scenario, flow);
    let state = flow.answers.map_or(State::New, |opening| State::Established { opening });
    let judgement = judge(tree, from, to, &flow.packet, state);
    let by = flow
        .by
        .as_ref()
        .is_none_or(|dn| judgement.because.iter().any(|known| known.as_str() == dn));
    if judgement.verdict == flow.verdict && judgement.reason == flow.reason && by {
        return None;
    }
    let because: Vec<&str> = judgement.because.iter().map(|dn| dn.as_str()).collect();
    Some(told(flow, "oracle", judgement.reason.name(), &because.join(", ")))
}

fn by_table(scenario: &Scenario, flow: &Flow, table: &Table) -> Option<String> {
    let (from, to) = ends(scenario, flow);
    let verdict = ask_table(table, from, to, &flow.packet, flow.answers);
    let origin = verdict.rule.and_then(|rule| table.origins.get(&rule));
    let by = flow
        .by
        .as_ref()
        .is_none_or(|dn| origin.is_some_and(|origin| *origin.dn == **dn || *origin.entry == **dn));
    let same = match flow.verdict {
        Verdict::Allow => verdict.action == Action::Permit,
        Verdict::Deny => verdict.action == Action::Deny,
        Verdict::Redirect => verdict.action == Action::Redirect,
    };
    if same && verdict.reason == flow.reason && by {
        return None;
    }
    let origin = origin.map(|origin| format!("{} {}", origin.dn, origin.entry));
    Some(told(flow, "table", verdict.reason.name(), &origin.unwrap_or_default()))
}

fn ends<'s>(scenario: &'s Scenario, flow: &Flow) -> (End<'s>, End<'s>) {
    let end = |name: &str| scenario.endpoints[name].end();
    (end(&flow.from), end(&flow.to))
}

fn told(flow: &Flow, judge: &str, reason: &str, because: &str) -> String {
    let answers = if flow.answers.is_some() { " as an answer" } else { "" };
    format!(
        "{} -> {} {}{answers}: the story says {} ({}), the {judge} says {reason} {because}",
        flow.from,
        flow.to,
        flow.text,
        flow.reason.name(),
        flow.why,
    )
}
