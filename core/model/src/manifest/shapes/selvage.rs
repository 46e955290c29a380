//! What the ACI data model has no keys for: assertions.

use super::{Becomes, DESCRIPTION, Key, NAME, Shape, block, key, keys, required, yes_no};

pub static SELVAGE: Shape = keys("`selvage`", &[key("assertions", Becomes::Blocks(&ASSERTION))]);

static ASSERTION: Shape = block(
    "an assertion",
    "selvageAssertion",
    &[
        NAME,
        DESCRIPTION,
        required("assert", Becomes::Attribute("kind")),
        key("from", Becomes::Words("from")),
        key("to", Becomes::Words("to")),
        key("group", Becomes::Words("group")),
        key("traffic", Becomes::Words("traffic")),
        key("answers", yes_no("answers")),
        key("allowed_from", Becomes::Blocks(&ALLOWED_FROM)),
        key("allowed_to", Becomes::Blocks(&ALLOWED_TO)),
    ],
);

static ALLOWED_FROM: Shape = block("an allowed sender", "selvageAllowedFrom", ALLOWED);

static ALLOWED_TO: Shape = block("an allowed receiver", "selvageAllowedTo", ALLOWED);

static ALLOWED: &[Key] =
    &[required("peer", Becomes::Attribute("peer")), key("traffic", Becomes::Words("traffic"))];
