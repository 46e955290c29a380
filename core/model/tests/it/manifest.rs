//! Files of policy, all the way into the tree.

use proptest::prelude::*;
use selvage_model::{Post, initial_tree, manifest};

use crate::{get, post};

const EXAMPLE: &str = include_str!("../../../../examples/three-tier.nac.yaml");
const OUTSIDE: &str = include_str!("../../../../examples/outside.nac.yaml");

fn whole(text: &str) -> Post {
    let tenants = manifest::parse(text).unwrap_or_else(|wrong| panic!("{wrong:#?}")).posts;
    tenants.into_iter().fold(Post::new("polUni"), Post::child)
}

#[test]
fn the_examples_leave_nothing_dangling_and_apply_twice() {
    for example in [EXAMPLE, OUTSIDE] {
        let mut tree = initial_tree();
        post(&mut tree, "uni", whole(example)).unwrap();
        let faults: Vec<_> = tree.of_class("faultInst").map(|mo| mo.get("descr")).collect();
        assert_eq!(faults, [""; 0]);
        assert_eq!(get(&tree, "uni/tn-shop/ap-store/epg-web/rsbd", "state"), "formed");
        assert!(post(&mut tree, "uni", whole(example)).unwrap().is_empty());
    }
}

#[test]
fn a_reference_to_nothing_is_a_fault_where_it_was_written() {
    let text = EXAMPLE.replacen("bridge_domain: back", "bridge_domain: bakc", 1);
    let mut tree = initial_tree();
    post(&mut tree, "uni", whole(&text)).unwrap();
    let fault = tree.of_class("faultInst").next().unwrap();
    let relation = fault.dn().parent().unwrap();
    let place = manifest::parse(&text).unwrap().places[relation.as_str()];
    assert!(text.lines().nth(place.line - 1).unwrap().contains("bakc"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_slip_of_the_fingers_breaks_the_reader(
        at in any::<prop::sample::Index>(),
        slip in prop_oneof![
            Just(""), Just(" "), Just("\t"), Just(":"), Just("- "), Just("\n"), Just("&a "),
            Just("*a"), Just("["), Just("{"), Just("\""), Just("\u{e4}"), Just("? "), Just("---\n"),
        ],
        removed in 0..12_usize,
    ) {
        let characters: Vec<char> = EXAMPLE.chars().collect();
        let at = at.index(characters.len());
        let end = (at + removed).min(characters.len());
        let text: String =
            characters[..at].iter().copied().chain(slip.chars()).chain(characters[end..].iter().copied()).collect();
        if let Err(wrong) = manifest::parse(&text) {
            prop_assert!(!wrong.is_empty());
            for diagnostic in wrong {
                let span = diagnostic.span;
                prop_assert!(span.start + span.len <= text.len(), "{diagnostic:?}");
                prop_assert!(text.is_char_boundary(span.start), "{diagnostic:?}");
                prop_assert!(text.is_char_boundary(span.start + span.len), "{diagnostic:?}");
                prop_assert!(span.line <= text.lines().count() + 1, "{diagnostic:?}");
            }
        }
    }
}
