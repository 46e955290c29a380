//! Every verdict of every scenario, by the oracle and by the compiled table.

use selvage_differential::compare::ask_table;
use selvage_differential::scenario::{Flow, Scenario, load_scenarios};
use selvage_model::Tree;
use selvage_oracle::{EndpointRef, State, Verdict, judge};
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

#[test]
fn every_scenario_names_its_source_and_its_trap() {
    for scenario in load_scenarios().unwrap() {
        let folder = selvage_differential::scenario::folder().join(&scenario.name);
        let text = std::fs::read_to_string(folder.join("description.md")).unwrap();
        assert!(text.starts_with("# "), "{} has no title", scenario.name);
        for part in ["## What ACI does", "## Where a naive reading goes wrong"] {
            assert!(text.contains(part), "{} lacks `{part}`", scenario.name);
        }
        assert!(scenario.flows.iter().any(|flow| flow.allow), "{} allows nothing", scenario.name);
        assert!(scenario.flows.iter().any(|flow| !flow.allow), "{} denies nothing", scenario.name);
        for flow in &scenario.flows {
            assert!(!flow.why.is_empty() && flow.why.lines().count() == 1, "{}", scenario.name);
        }
    }
}

fn by_oracle(scenario: &Scenario, flow: &Flow, tree: &Tree) -> Option<String> {
    let (from, to) = groups(scenario, flow);
    let state = flow.answers.map_or(State::New, |opening| State::Established { opening });
    let (from, to) = (EndpointRef { group: from }, EndpointRef { group: to });
    let judgement = judge(tree, from, to, &flow.packet, state);
    let allow = judgement.verdict == Verdict::Allow;
    let by = flow
        .by
        .as_ref()
        .is_none_or(|dn| judgement.because.iter().any(|known| known.as_str() == dn));
    if allow == flow.allow && judgement.reason == flow.reason && by {
        return None;
    }
    let because: Vec<&str> = judgement.because.iter().map(|dn| dn.as_str()).collect();
    Some(told(flow, "oracle", judgement.reason.name(), &because.join(", ")))
}

fn by_table(scenario: &Scenario, flow: &Flow, table: &Table) -> Option<String> {
    let (from, to) = groups(scenario, flow);
    let verdict = ask_table(table, from, to, &flow.packet, flow.answers);
    let origin = verdict.rule.and_then(|rule| table.origins.get(&rule));
    let by = flow
        .by
        .as_ref()
        .is_none_or(|dn| origin.is_some_and(|origin| *origin.dn == **dn || *origin.entry == **dn));
    let allow = verdict.action == Action::Permit;
    if allow == flow.allow && verdict.reason == flow.reason && by {
        return None;
    }
    let origin = origin.map(|origin| format!("{} {}", origin.dn, origin.entry));
    Some(told(flow, "table", verdict.reason.name(), &origin.unwrap_or_default()))
}

fn groups<'s>(scenario: &'s Scenario, flow: &Flow) -> (&'s str, &'s str) {
    let group = |name: &str| scenario.endpoints.get(name).unwrap().dn.as_str();
    (group(&flow.from), group(&flow.to))
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
