//! How long a full compile and a plan take: a fabric of 3,000 tenants, 15,000 groups and 10,000 contracts.
//!
//! `cargo run --release -p selvage-policy --example full_compile [SCALE]`, where SCALE multiplies
//! the number of tenants (default 1).

use std::error::Error;
use std::time::Instant;

use selvage_model::{Tree, blank};
use selvage_policy::plan::{part, plan};
use selvage_policy::slice::{Index, slice};
use selvage_policy::trace::{find, parse_flow, trace};
use selvage_policy::{Numbers, compile, front};

const TENANTS: usize = 3_000;
const GROUPS_A_TENANT: usize = 5;
/// Contracts of a tenant, over three tenants.
const CONTRACTS_OF_THREE: usize = 10;
const ENTRIES: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let scale = std::env::args().nth(1).map_or(Ok(1), |text| text.parse::<usize>())?;
    let tree = timed("tree", || fabric(TENANTS * scale))??;
    println!("objects      {}", tree.len());
    let mut numbers = Numbers::default();
    timed("front alone", || front::read(&tree))?;
    let compiled = timed("full compile, no numbers yet", || compile(&tree, &mut numbers))?;
    timed("full compile, numbers known", || compile(&tree, &mut numbers))?;
    let table = &compiled.table;
    let rules: usize = table.rule_sets.values().map(|set| set.rules.len()).sum();
    let sets = table.pairs.values().filter_map(|id| table.rule_sets.get(id));
    let unshared: usize = sets.map(|set| set.rules.len()).sum();
    println!("groups       {}", table.groups.len());
    println!("pairs        {}", table.pairs.len());
    println!("rule sets    {}", table.rule_sets.len());
    println!("rules        {rules}, {unshared} before sharing");
    println!("problems     {}", compiled.problems.len());
    let index = timed("index", || Index::new(table))?;
    let present = table.groups.keys().step_by(150).copied().collect();
    timed("slice for 100 groups", || slice(table, &index, &present))?;
    let from = find(&tree, "t7/a/g0")?;
    let to = find(&tree, "t7/a/g1")?;
    let (flow, family) = parse_flow("tcp/9")?;
    let answer = timed("trace", || trace(&compiled, &from, &to, flow, family))?;
    println!("{}", answer.text);
    let mut edited = tree.clone();
    edited.remove("uni/tn-t7/ap-a/epg-g1/rscons-c0");
    let after = timed("full compile, one contract taken", || compile(&edited, &mut numbers))?;
    let planned = timed("plan of that", || plan(&compiled, &after))?;
    println!("changes      {}", planned.changes.len());
    timed("plan of nothing", || plan(&after, &after))?;
    let whole = planned.changes.len();
    let gone = tree.get("uni/tn-t7/ap-a/epg-g1/rscons-c0").into_iter();
    let planned = timed("the same, of the part concerned, compiled twice", || {
        let parts = part([&tree, &edited], gone)?;
        let mut names = Numbers::default();
        compile(&parts[0], &mut names);
        let mut numbers = numbers.of_part(&names);
        let [before, after] = parts.each_ref().map(|tree| compile(tree, &mut numbers));
        Some(plan(&before, &after))
    })?;
    println!("as many      {}", planned.is_some_and(|planned| planned.changes.len() == whole));
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, Box<dyn Error>> {
    let start = Instant::now();
    let result = work();
    println!("{:>9.3} ms  {what}", start.elapsed().as_secs_f64() * 1e3);
    Ok(result)
}

/// In each tenant a VRF, two bridge domains, five groups of which each provides and consumes, and
/// contracts of two filters with five entries each.
fn fabric(tenants: usize) -> Result<Tree, Box<dyn Error>> {
    let mut tree = Tree::default();
    let mut put = |dn: String, props: &[(&str, &str)]| -> Result<(), Box<dyn Error>> {
        let mut mo = blank(&dn.parse()?).ok_or("no class fits")?;
        for (prop, value) in props {
            mo.set(prop, value);
        }
        tree.insert(mo);
        Ok(())
    };
    for t in 0..tenants {
        let tenant = format!("uni/tn-t{t}");
        put(tenant.clone(), &[])?;
        put(format!("{tenant}/ctx-v"), &[])?;
        for bd in 0..2 {
            put(format!("{tenant}/BD-b{bd}"), &[])?;
            put(format!("{tenant}/BD-b{bd}/rsctx"), &[("tnFvCtxName", "v")])?;
            put(format!("{tenant}/BD-b{bd}/subnet-[10.{bd}.0.1/16]"), &[])?;
        }
        let contracts = (t + 1) * CONTRACTS_OF_THREE / 3 - t * CONTRACTS_OF_THREE / 3;
        for c in 0..contracts {
            let name = format!("{tenant}/flt-f{c}");
            put(name.clone(), &[])?;
            for e in 0..ENTRIES {
                let port = (1000 + e * 10).to_string();
                let props =
                    [("etherT", "ip"), ("prot", "tcp"), ("dFromPort", &*port), ("dToPort", &*port)];
                put(format!("{name}/e-e{e}"), &props)?;
            }
            put(format!("{tenant}/brc-c{c}"), &[])?;
            put(format!("{tenant}/brc-c{c}/subj-s"), &[])?;
            put(format!("{tenant}/brc-c{c}/subj-s/rssubjFiltAtt-f{c}"), &[])?;
        }
        for g in 0..GROUPS_A_TENANT {
            let group = format!("{tenant}/ap-a/epg-g{g}");
            let bd = format!("b{}", g % 2);
            put(group.clone(), &[])?;
            put(format!("{group}/rsbd"), &[("tnFvBDName", &*bd)])?;
            for c in 0..contracts {
                let relation = if (g + c) % 2 == 0 { "rsprov" } else { "rscons" };
                put(format!("{group}/{relation}-c{c}"), &[])?;
            }
        }
    }
    Ok(tree)
}
