//! `schema/aci.toml` and its `aci-*.toml` as Rust data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

type Names = BTreeMap<String, BTreeMap<String, u32>>;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Schema {
    names: Names,
    aliases: Names,
    mixin: BTreeMap<String, BTreeMap<String, Prop>>,
    class: BTreeMap<String, Class>,
    initial: Vec<Initial>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    rn: String,
    #[serde(default)]
    parents: Vec<String>,
    id: u32,
    label: String,
    doc: String,
    #[serde(default)]
    made_by: MadeBy,
    #[serde(default)]
    implicit: Vec<String>,
    #[serde(default, rename = "abstract")]
    abstracts: Vec<String>,
    #[serde(default)]
    mixins: Vec<String>,
    #[serde(default)]
    ranges: Vec<(String, String)>,
    support: Option<String>,
    relation: Option<Relation>,
    #[serde(default)]
    props: BTreeMap<String, Prop>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum MadeBy {
    #[default]
    User,
    Parent,
    System,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Relation {
    to: String,
    by: String,
    inverse: String,
    fault: String,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Prop {
    kind: String,
    doc: String,
    #[serde(default)]
    default: String,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
    names: Option<String>,
    none: Option<String>,
    chars: Option<String>,
    min: Option<u64>,
    max: Option<u64>,
    #[serde(default)]
    naming: bool,
    #[serde(default)]
    create_only: bool,
    #[serde(default)]
    secure: bool,
    #[serde(default)]
    computed: bool,
    support: Option<String>,
    #[serde(default)]
    enforced: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Initial {
    dn: String,
    #[serde(default)]
    props: BTreeMap<String, String>,
}

/// The generated file with its text.
pub fn generate(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let rust = rust(&read(root)?).context("schema/aci*.toml")?;
    Ok(vec![(root.join("core/model/src/generated.rs"), crate::rustfmt(root, &rust)?)])
}

/// All files of classes as one schema; a class stands in one of them.
fn read(root: &Path) -> Result<Schema> {
    let mut whole = Schema::default();
    for name in ["aci.toml", "aci-contracts.toml", "aci-members.toml", "aci-services.toml"] {
        let text = std::fs::read_to_string(root.join("schema").join(name)).context(name)?;
        let part: Schema = toml::from_str(&text).context(name)?;
        for (class, twice) in part.class.keys().map(|c| (c, whole.class.contains_key(c))) {
            ensure!(!twice, "{name}: class {class} stands in another file too");
        }
        whole.names.extend(part.names);
        whole.aliases.extend(part.aliases);
        whole.mixin.extend(part.mixin);
        whole.class.extend(part.class);
        whole.initial.extend(part.initial);
    }
    Ok(whole)
}

fn rust(schema: &Schema) -> Result<String> {
    let mut out = String::from(
        "//! Every class. Generated from schema/aci.toml and its aci-*.toml; do not edit.\n\n\
         use crate::class::{Chars, ClassDef, MadeBy, PropDef, PropType, RelationDef, Support};\n\n",
    );
    for (name, words) in &schema.names {
        word_table(&mut out, &name.to_uppercase(), words)?;
    }
    for (name, words) in &schema.aliases {
        word_table(&mut out, &format!("{}_ALIASES", name.to_uppercase()), words)?;
    }
    for (mixin, props) in &schema.mixin {
        for (name, prop) in props {
            let shared = one_prop(schema, name, prop)
                .with_context(|| format!("mixin {mixin}, property {name}"))?;
            writeln!(out, "const {}: PropDef = {shared};", shared_name(mixin, name))?;
        }
    }
    out.push_str("\n/// Sorted by name.\npub(crate) static CLASSES: &[ClassDef] = &[\n");
    for (name, class) in &schema.class {
        one_class(&mut out, schema, name, class).with_context(|| format!("class {name}"))?;
    }
    out.push_str(
        "];\n\n/// One object of the initial tree: its DN and its properties.\n\
         type Initial = (&'static str, &'static [(&'static str, &'static str)]);\n\n\
         /// What exists from the start, parents first.\n\
         pub(crate) static INITIAL: &[Initial] = &[\n",
    );
    for object in &schema.initial {
        let props: Vec<_> = object.props.iter().collect();
        writeln!(out, "({:?}, &{props:?}),", object.dn)?;
    }
    out.push_str("];\n");
    Ok(out)
}

fn word_table(out: &mut String, name: &str, words: &BTreeMap<String, u32>) -> Result<()> {
    let mut words: Vec<_> = words.iter().map(|(word, number)| (*number, word)).collect();
    words.sort();
    writeln!(out, "const {name}: &[(&str, u32)] = &[")?;
    words.iter().try_for_each(|(number, word)| writeln!(out, "({word:?}, {number}),"))?;
    out.push_str("];\n");
    Ok(())
}

fn one_class(out: &mut String, schema: &Schema, name: &str, class: &Class) -> Result<()> {
    let props = all_props(schema, class)?;
    for naming in class.rn.split('{').skip(1).filter_map(|part| part.split_once('}')) {
        let known = props.get(naming.0).is_some_and(|(_, p)| p.naming);
        ensure!(known, "`{}` in `rn` is no naming property", naming.0);
    }
    for other in class.implicit.iter().chain(&class.parents).filter(|p| *p != "*") {
        ensure!(schema.class.contains_key(other), "`{other}` is no class");
    }
    let (parents, children) = (parents(schema, class), children(schema, name, class));
    let support = match class.support.as_deref() {
        Some(word) => support(word)?,
        None => "Support::Enforced".to_owned(),
    };
    let relation = class.relation.as_ref().map_or("None".to_owned(), |r| {
        format!(
            "Some(RelationDef {{ target: {:?}, by: {:?}, inverse: {:?}, fault: {:?} }})",
            r.to, r.by, r.inverse, r.fault
        )
    });
    writeln!(
        out,
        "ClassDef {{ name: {name:?}, label: {:?}, doc: {:?}, rn: {:?}, order: {}, \
         parents: &{parents:?}, children: &{children:?}, abstracts: &{:?}, ranges: &{:?}, \
         implicit_children: &{:?}, relation: {relation}, made_by: MadeBy::{:?}, \
         support: {support}, props: &[",
        class.label,
        class.doc,
        class.rn,
        class.id,
        class.abstracts,
        class.ranges,
        class.implicit,
        class.made_by,
    )?;
    for (prop_name, (mixin, prop)) in &props {
        let text = match mixin {
            Some(mixin) => shared_name(mixin, prop_name),
            None => one_prop(schema, prop_name, prop)
                .with_context(|| format!("property {prop_name}"))?,
        };
        writeln!(out, "{text},")?;
    }
    out.push_str("]},\n");
    Ok(())
}

/// A property and, if it is shared, the mixin it comes from.
type Sourced<'a> = (Option<&'a str>, &'a Prop);

fn all_props<'a>(schema: &'a Schema, class: &'a Class) -> Result<BTreeMap<&'a str, Sourced<'a>>> {
    let mut props = BTreeMap::new();
    for mixin in class.mixins.iter().map(String::as_str).chain(["object"]) {
        let list = schema.mixin.get(mixin).with_context(|| format!("`{mixin}` is no mixin"))?;
        props.extend(list.iter().map(|(name, prop)| (name.as_str(), (Some(mixin), prop))));
    }
    props.extend(class.props.iter().map(|(name, prop)| (name.as_str(), (None, prop))));
    Ok(props)
}

/// The name of a shared property: `OBJECT_MOD_TS`.
fn shared_name(mixin: &str, prop: &str) -> String {
    let mut name = mixin.to_uppercase();
    name.push('_');
    for c in prop.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

fn is_everywhere(class: &Class) -> bool {
    class.parents.iter().any(|p| p == "*")
}

/// `"*"` spelt out: every class that is not itself everywhere. What users make goes under what
/// is theirs; what the system makes goes under anything.
fn may_hold(parent: &Class, child: &Class) -> bool {
    let whose = parent.made_by != MadeBy::System || child.made_by == MadeBy::System;
    is_everywhere(child) && !is_everywhere(parent) && whose
}

fn parents(schema: &Schema, class: &Class) -> Vec<String> {
    let everywhere = schema.class.iter().filter(|(_, parent)| may_hold(parent, class));
    let named = class.parents.iter().filter(|p| *p != "*");
    let all: BTreeSet<&String> = everywhere.map(|(name, _)| name).chain(named).collect();
    all.into_iter().cloned().collect()
}

fn children(schema: &Schema, name: &str, class: &Class) -> Vec<String> {
    let holds = |child: &Class| child.parents.iter().any(|p| p == name) || may_hold(class, child);
    schema.class.iter().filter(|(_, child)| holds(child)).map(|(name, _)| name.clone()).collect()
}

fn one_prop(schema: &Schema, name: &str, prop: &Prop) -> Result<String> {
    let support = match (&prop.support, prop.enforced.is_empty()) {
        (Some(word), true) => support(word)?,
        (None, false) => format!("Support::Only(&{:?})", prop.enforced),
        (None, true) if prop.naming => "Support::Enforced".to_owned(),
        (None, true) if prop.computed => "Support::Label".to_owned(),
        _ => bail!("needs exactly one of `support` and `enforced`"),
    };
    Ok(format!(
        "PropDef {{ name: {name:?}, kind: {}, words: &{:?}, default: {:?}, configurable: {}, \
         naming: {}, create_only: {}, secure: {}, support: {support}, doc: {:?} }}",
        kind(schema, prop)?,
        prop.words,
        prop.default,
        !prop.computed,
        prop.naming,
        prop.create_only,
        prop.secure,
        prop.doc
    ))
}

fn support(word: &str) -> Result<String> {
    Ok(match word {
        "enforced" => "Support::Enforced",
        "stored" => "Support::Stored",
        "label" => "Support::Label",
        _ => bail!("`{word}` is no support"),
    }
    .to_owned())
}

fn kind(schema: &Schema, prop: &Prop) -> Result<String> {
    let (min, max) = (prop.min.unwrap_or(0), prop.max);
    Ok(match prop.kind.as_str() {
        "text" => {
            let chars = match prop.chars.as_deref().unwrap_or("any") {
                "any" => "Any",
                "name" => "Name",
                "name-colon" => "NameColon",
                "descr" => "Descr",
                other => bail!("`{other}` is no character set"),
            };
            let max = max.unwrap_or(512);
            format!("PropType::Text {{ min: {min}, max: {max}, chars: Chars::{chars} }}")
        }
        "bool" => "PropType::Bool".to_owned(),
        "enum" => {
            ensure!(prop.values.contains(&prop.default), "the default is none of the values");
            format!("PropType::Enum(&{:?})", prop.values)
        }
        "flags" => {
            ensure!(prop.values.is_sorted(), "flags must be sorted");
            let none = prop.none.as_deref().unwrap_or_default();
            format!("PropType::Flags {{ words: &{:?}, none: {none:?} }}", prop.values)
        }
        "number" => {
            format!("PropType::Number {{ min: {min}, max: {} }}", max.context("needs `max`")?)
        }
        "named" => {
            let names = prop.names.as_deref().context("needs `names`")?;
            ensure!(schema.names.contains_key(names), "`{names}` is no table of names");
            let max = max.context("needs `max`")?;
            let words = names.to_uppercase();
            let aliases = match schema.aliases.contains_key(names) {
                true => format!("{words}_ALIASES"),
                false => "&[]".to_owned(),
            };
            format!("PropType::Named {{ words: {words}, aliases: {aliases}, max: {max} }}")
        }
        "mac" => "PropType::Mac".to_owned(),
        "ip" => "PropType::Ip".to_owned(),
        "prefix" => "PropType::IpPrefix".to_owned(),
        "ip-or-prefix" => "PropType::IpOrPrefix".to_owned(),
        "dn" => "PropType::Dn".to_owned(),
        other => bail!("`{other}` is no kind"),
    })
}
