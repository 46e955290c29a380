//! `selvage get --support`: what the schema says is enforced, stored only, or refused.

use selvage_model::{ClassDef, PropDef, Standing, schema};
use serde::Serialize;

use super::output::{self, Format};
use crate::exit::{Failure, Kind};

/// One class, as JSON.
#[derive(Serialize)]
struct Class {
    class: &'static str,
    label: &'static str,
    doc: &'static str,
    support: &'static str,
    properties: Vec<Property>,
}

/// One property, as JSON.
#[derive(Serialize)]
struct Property {
    name: &'static str,
    doc: &'static str,
    support: &'static str,
    /// The values that are enforced, where not all of them are.
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced: Option<&'static [&'static str]>,
}

/// Prints every class, or those that `what` names: a class or an abstract class.
pub fn run(what: Option<&str>, format: Format) -> Result<(), Failure> {
    let asked = |class: &&ClassDef| what.is_none_or(|name| class.is_a(name));
    let classes: Vec<&ClassDef> = schema().iter().filter(asked).collect();
    if classes.is_empty() {
        let message = format!("no class `{}`", what.unwrap_or_default());
        return Err(Failure::new(Kind::Input, message)
            .hint("`selvage get --support` lists them all; class names are case-sensitive"));
    }
    match format {
        Format::Json => {
            output::json(&classes.iter().map(|class| described(class)).collect::<Vec<_>>())
        }
        Format::Text => table(&classes),
    }
}

fn described(class: &ClassDef) -> Class {
    let property = |prop: &'static PropDef| {
        let standing = class.standing_of(prop);
        let enforced = match standing {
            Standing::Partly(values) => Some(values),
            _ => None,
        };
        Property { name: prop.name, doc: prop.doc, support: standing.name(), enforced }
    };
    Class {
        class: class.name,
        label: class.label,
        doc: class.doc,
        support: class.standing().name(),
        properties: class.props.iter().map(property).collect(),
    }
}

/// A class a line, then its properties that users may write. Labels and what is computed mean
/// nothing to packets and would be most of the lines; `-o json` has them.
fn table(classes: &[&ClassDef]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for class in classes {
        let standing = class.standing();
        rows.push(vec![class.name.to_owned(), standing.name().to_owned(), class.doc.to_owned()]);
        rows.extend(class.props.iter().filter_map(|prop| row(class, prop)));
    }
    output::columns(&["class", "support", "meaning"], rows, "")?;
    eprintln!("{}", summary(classes));
    Ok(())
}

fn row(class: &ClassDef, prop: &PropDef) -> Option<Vec<String>> {
    let standing = class.standing_of(prop);
    let support = match standing {
        Standing::Label | Standing::Computed => return None,
        Standing::Partly(values) => format!("{}: {}", standing.name(), values.join(", ")),
        _ => standing.name().to_owned(),
    };
    Some(vec![format!("{}.{}", class.name, prop.name), support, prop.doc.to_owned()])
}

fn summary(classes: &[&ClassDef]) -> String {
    let count = |standing: Standing| classes.iter().filter(|c| c.standing() == standing).count();
    let parts = [Standing::Enforced, Standing::Stored, Standing::Label, Standing::Refused]
        .map(|standing| format!("{} {}", count(standing), standing.name()));
    format!("{} classes: {}", classes.len(), parts.join(", "))
}
