//! Half-made and contradictory objects of every class: whatever can be posted, the tree says what
//! dangles and the compiler has an answer.

use proptest::prelude::*;
use selvage_model::{
    Chars, ClassDef, Dn, Edit, MadeBy, Mo, Post, PropDef, PropType, Stamp, Standing, Support, Tree,
    apply, class, fault, initial_tree,
};
use selvage_policy::{Numbers, compile};

use super::world::objects;

/// A tenant in which one of most things exists, for the rest to meet.
const GROUND: &str = "ctx-a
    BD-a/rsctx tnFvCtxName=a
    BD-a/subnet-[10.0.0.1/24]
    ap-a/epg-a/rsbd tnFvBDName=a
    ap-a/epg-b/rsbd tnFvBDName=a
    ap-a/epg-a/rsprov-a
    ap-a/epg-b/rscons-a
    brc-a/subj-a/rssubjFiltAtt-a
    flt-a/e-a
    out-a/rsectx tnFvCtxName=a
    out-a/instP-a/extsubnet-[0.0.0.0/0]";

/// Names are few, so that they meet; some are nothing's name.
const NAMES: &[&str] = &["a", "a", "a", "b", "b", "c", "default", "nowhere"];
const TEXTS: &[&str] = &["a", "b", "t", ".*", "(", "[a", "a|b", "a,b", "uni/tn-t/ap-a/epg-.*"];
const PREFIXES: &[&str] = &[
    "10.0.0.1/24",
    "10.0.0.0/24",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "::/0",
    "10.0.0.7/32",
    "2001:db8::1/64",
    "0.0.0.0/1",
    "255.255.255.255/32",
];
const ADDRESSES: &[&str] = &["10.0.0.7", "0.0.0.0", "::", "2001:db8::7", "255.255.255.255"];
const MACS: &[&str] = &["00:00:00:00:00:01", "00:00:00:00:00:00", "FF:FF:FF:FF:FF:FF"];
/// Classes that most of policy hangs below; every other step is about one of their objects.
const BUSY: &[&str] = &["fvAEPg", "fvESg", "l3extInstP", "vzAny", "vzSubj", "vzFilter", "vzTSubj"];
/// What no type takes, or what one takes at its edge.
const ILLEGAL: &[&str] = &[
    "",
    "-1",
    "99999999999999999999",
    "nonsense",
    "a/b",
    "]",
    "\u{0}",
    "10.0.0.0/33",
    "yes,no",
    "uni/tn-",
    "é",
];

/// Choices from one number, for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.roll(of.len()))
    }
}

/// The names of all that policy may be about.
fn names(tree: &Tree) -> Vec<Dn> {
    let about = |mo: &&Mo| mo.dn().as_str().starts_with("uni/tn-");
    tree.iter().filter(about).map(|mo| mo.dn().clone()).collect()
}

fn value(dice: &mut Dice, prop: &PropDef, names: &[Dn]) -> String {
    if dice.roll(40) == 0 {
        return ILLEGAL[dice.roll(ILLEGAL.len())].to_owned();
    }
    let text = |dice: &mut Dice, of: &[&str]| of[dice.roll(of.len())].to_owned();
    match prop.kind {
        PropType::Text { .. } if prop.name == "matchExpression" => {
            format!("ip=='{}'", text(dice, PREFIXES))
        }
        PropType::Text { .. } if prop.name.ends_with("Dn") => dn(dice, names),
        PropType::Text { chars: Chars::Any, .. } => text(dice, TEXTS),
        PropType::Text { .. } => text(dice, NAMES),
        PropType::Bool => text(dice, &["yes", "no"]),
        PropType::Enum(words) => text(dice, words),
        PropType::Flags { words, .. } => {
            let kept: Vec<&str> = words.iter().copied().filter(|_| dice.roll(2) == 0).collect();
            kept.join(",")
        }
        PropType::Number { min, max } => {
            text(dice, &[&min.to_string(), &max.to_string(), &(min + (max - min) / 2).to_string()])
        }
        PropType::Named { max, .. } if dice.roll(3) == 0 => {
            text(dice, &["0", "6", "80", "81", &max.to_string()])
        }
        PropType::Named { words, .. } => words[dice.roll(words.len())].0.to_owned(),
        PropType::Mac => text(dice, MACS),
        PropType::Ip => text(dice, ADDRESSES),
        PropType::IpPrefix => text(dice, PREFIXES),
        PropType::IpOrPrefix if dice.roll(2) == 0 => text(dice, ADDRESSES),
        PropType::IpOrPrefix => text(dice, PREFIXES),
        PropType::Dn => dn(dice, names),
    }
}

/// Something's name, often of the wrong class, or nothing's.
fn dn(dice: &mut Dice, names: &[Dn]) -> String {
    match dice.roll(8) {
        0 => "uni/tn-t/ap-a/epg-nowhere".to_owned(),
        _ => dice.pick(names).map(Dn::to_string).unwrap_or_default(),
    }
}

/// An object that may stand below `parent`, or nothing if it may hold nothing.
fn child(dice: &mut Dice, parent: &'static ClassDef, names: &[Dn]) -> Option<Post> {
    let by_users: Vec<&ClassDef> = parent
        .children
        .iter()
        .filter_map(|name| class(name))
        .filter(|class| class.made_by != MadeBy::System)
        .filter(|class| class.support != Support::Label || dice.roll(16) == 0)
        .collect();
    dice.pick(&by_users).map(|class| object(dice, class, names))
}

/// An object of a class with whatever values.
fn object(dice: &mut Dice, class: &ClassDef, names: &[Dn]) -> Post {
    let mut post = Post::new(class.name);
    for prop in class.props {
        if prop.naming || (prop.configurable && dice.roll(3) == 0) {
            post = post.with(prop.name, value(dice, prop, names));
        }
    }
    post
}

/// Does one thing to the tree, if it can be done.
fn step(tree: &mut Tree, seed: u64) {
    let mut dice = Dice(seed);
    let names = names(tree);
    let busy: Vec<Dn> =
        BUSY.iter().flat_map(|class| tree.of_class(class)).map(|mo| mo.dn().clone()).collect();
    let from = if dice.roll(2) == 0 { &busy } else { &names };
    let Some(at) = dice.pick(from).cloned() else { return };
    let Some(class) = tree.get(at.as_str()).map(Mo::class) else { return };
    let is_tenant = class.name == "fvTenant";
    let post = match dice.roll(16) {
        0 if !is_tenant || dice.roll(8) == 0 => Post::new(class.name).with("status", "deleted"),
        1 => class.props.iter().fold(Post::new(class.name), |post, prop| {
            let skip = prop.naming || !prop.configurable || dice.roll(2) == 0;
            if skip { post } else { post.with(prop.name, value(&mut dice, prop, &names)) }
        }),
        _ => {
            let Some(child) = child(&mut dice, class, &names) else { return };
            Post::new(class.name).child(child)
        }
    };
    let before = tree.clone();
    if apply(tree, Stamp::new("now", "1"), Some(&at), &post).is_err() {
        assert!(*tree == before, "a refused post changed the tree: {post:?}");
    }
}

/// The initial tree with the ground in it.
fn ground() -> Tree {
    let mut tree = initial_tree();
    let mut edit = Edit::new(&mut tree, Stamp::new("now", "1"));
    for mo in objects(GROUND) {
        let blank = mo.set_props().all(|(name, _)| mo.class().prop(name).is_some_and(|p| p.naming));
        if !(blank && edit.tree().get(mo.dn().as_str()).is_some()) {
            edit.put(mo);
        }
    }
    edit.commit();
    tree
}

fn grown(seeds: &[u64]) -> Tree {
    let mut tree = ground();
    seeds.iter().for_each(|seed| step(&mut tree, *seed));
    tree
}

/// Every relation that leads nowhere, and every object that asks for what is not enforced, has its
/// fault; and no other has.
fn check_faults(tree: &Tree) {
    let initial = initial_tree();
    for mo in tree.iter().filter(|mo| mo.class().made_by != MadeBy::System) {
        let has = |code: &str| tree.get(&format!("{}/fault-{code}", mo.dn())).is_some();
        if let Some(relation) = &mo.class().relation {
            assert_eq!(has(relation.fault), mo.get("state") != "formed", "{}", mo.dn());
        }
        let asked = mo.set_props().any(|(name, value)| {
            let prop = mo.class().prop(name).filter(|prop| prop.configurable);
            prop.is_some_and(|prop| match prop.support {
                Support::Stored => true,
                Support::Only(values) => !value.split(',').all(|v| values.contains(&v)),
                _ => false,
            })
        });
        let stored =
            mo.class().standing() == Standing::Stored && mo.class().made_by == MadeBy::User;
        let by_itself = initial.get(mo.dn().as_str()).is_some();
        assert_eq!(has(fault::NOT_ENFORCED), asked || (stored && !by_itself), "{}", mo.dn());
    }
}

fn check_compiled(tree: &Tree) {
    let mut numbers = Numbers::default();
    let compiled = compile(tree, &mut numbers);
    let n = tree.len();
    let rules: usize = compiled.table.rule_sets.values().map(|set| set.rules.len()).sum();
    assert!(compiled.table.pairs.len().max(rules) <= n * n, "{n} objects make {rules} rules");
    assert!(compiled.problems.len() <= 4 * n, "{} problems", compiled.problems.len());
    for problem in &compiled.problems {
        assert!(tree.get(problem.dn.as_str()).is_some(), "{problem:?} is about nothing");
        assert!(!problem.cause.to_string().is_empty());
    }
    let again = compile(tree, &mut numbers);
    assert!(again == compiled, "the same tree compiles to something else");
    compile(&initial_tree(), &mut numbers);
    assert!(compile(tree, &mut numbers).table.pairs.len() == compiled.table.pairs.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_can_be_posted_breaks_the_compiler(
        seeds in prop::collection::vec(any::<u64>(), 0..300),
    ) {
        let tree = grown(&seeds);
        check_faults(&tree);
        check_compiled(&tree);
    }
}

/// Puts an object of a class somewhere, if one of a few can be put.
fn meet(tree: &mut Tree, wanted: &'static ClassDef) -> bool {
    let parents: Vec<Dn> = wanted
        .parents
        .iter()
        .filter_map(|parent| tree.of_class(parent).find(|mo| mo.dn().as_str().contains("tn-")))
        .map(|mo| mo.dn().clone())
        .collect();
    let names = names(tree);
    (0..80).any(|seed| {
        let mut dice = Dice(seed);
        let Some(parent) = dice.pick(&parents) else { return false };
        let Some(class) = tree.get(parent.as_str()).map(Mo::class) else { return false };
        let post = Post::new(class.name).child(object(&mut dice, wanted, &names));
        apply(tree, Stamp::new("now", "1"), Some(parent), &post).is_ok()
    })
}

/// Every class of a tenant can be met, and an object of each beside one of every other compiles.
#[test]
fn one_of_every_class_is_no_more_than_faults() {
    let mut tree = ground();
    let mut missed: Vec<&ClassDef> =
        selvage_model::schema().iter().filter(|class| class.made_by != MadeBy::System).collect();
    loop {
        let before = missed.len();
        missed.retain(|class| !meet(&mut tree, class));
        if missed.len() == before {
            break;
        }
    }
    // What stands outside tenants.
    let outside = |name: &str| name.starts_with("aaa") || name.starts_with("selvage");
    missed.retain(|class| !outside(class.name) && class.name != "fvTenant");
    assert_eq!(missed, [] as [&ClassDef; 0]);
    check_faults(&tree);
    check_compiled(&tree);
}
