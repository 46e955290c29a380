//! The scenarios: one folder a story, each a policy, who is where, and what must come of it.
//!
//! `description.md` tells the story and names the ACI document it follows. `policy.nac.yaml` is the
//! policy in Network-as-Code's data model; `policy.aci.json`, where there is one, adds managed
//! objects that it cannot express. `endpoints.yaml` puts endpoints into groups, `flows.yaml` lists
//! packets with the verdict each must get.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use selvage_model::{Dn, Post, Stamp, Tree, apply, initial_tree, manifest};
use selvage_oracle::{Endpoint, Verdict};
use selvage_rules::{Mac, Packet, Reason};
use serde::Deserialize;
use serde_json::Value;

use crate::compare::Who;
use crate::packet_text;

/// One story.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Name of its folder.
    pub name: String,
    /// First line of its description, without the heading's mark.
    pub title: String,
    /// Text of `policy.nac.yaml`.
    pub manifest: String,
    /// Text of `policy.aci.json`: one managed object with children, to be posted to `uni` after the
    /// manifest.
    pub objects: Option<String>,
    /// Who takes part, by name: endpoints of groups, and addresses outside.
    pub endpoints: BTreeMap<String, Who>,
    /// What is sent, in the order of the file.
    pub flows: Vec<Flow>,
}

/// Somebody as `endpoints.yaml` writes it: `TENANT/PROFILE/EPG` for an endpoint of which nothing else
/// matters, the same with what does, or for an address outside `TENANT/VRF ADDRESS`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Spot {
    Place(String),
    Endpoint(EndpointText),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointText {
    epg: String,
    ip: Option<IpAddr>,
    mac: Option<Mac>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    protection: Vec<String>,
}

/// One packet and what must become of it.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Name of the sender.
    pub from: String,
    /// Name of the receiver.
    pub to: String,
    /// As written in the file.
    pub text: String,
    /// The packet.
    pub packet: Packet,
    /// If the packet answers a connection: the packet by which the receiver had opened it.
    pub answers: Option<Packet>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// DN of the object that decides, where the story names it.
    pub by: Option<String>,
    /// The same in one line, for people.
    pub why: String,
}

/// A scenario that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or unreadable.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not in the form it should have.
    #[error("{path}: {problem}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// A policy that the model refuses.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problems}", problems = .problems.join("; "))]
pub struct PolicyError {
    file: &'static str,
    problems: Vec<String>,
}

impl Scenario {
    /// The tree that its policy makes of an empty fabric.
    pub fn tree(&self) -> Result<Tree, PolicyError> {
        let mut tree = initial_tree();
        let manifest = manifest::parse(&self.manifest)
            .map_err(|wrong| PolicyError::new("policy.nac.yaml", &wrong))?;
        for post in &manifest.posts {
            put(&mut tree, post).map_err(|wrong| PolicyError::new("policy.nac.yaml", &wrong))?;
        }
        if let Some(text) = &self.objects {
            let file = "policy.aci.json";
            let value: Value =
                serde_json::from_str(text).map_err(|error| PolicyError::new(file, &[error]))?;
            let post = object(&value)
                .ok_or_else(|| PolicyError::new(file, &["is not one managed object"]))?;
            put(&mut tree, &post).map_err(|wrong| PolicyError::new(file, &wrong))?;
        }
        Ok(tree)
    }
}

impl PolicyError {
    fn new(file: &'static str, problems: &[impl ToString]) -> PolicyError {
        PolicyError { file, problems: problems.iter().map(ToString::to_string).collect() }
    }
}

/// Posts an object to `uni`.
fn put(tree: &mut Tree, post: &Post) -> Result<(), Vec<selvage_model::Refusal>> {
    let uni: Option<Dn> = "uni".parse().ok();
    apply(tree, Stamp::new("never", "0"), uni.as_ref(), post).map(|_| ())
}

/// `{"class":{"attributes":{..},"children":[..]}}` as a posted tree.
fn object(value: &Value) -> Option<Post> {
    let (class, body) = value.as_object()?.iter().next()?;
    let mut post = Post::new(class.as_str());
    for (name, value) in body.get("attributes").and_then(Value::as_object).into_iter().flatten() {
        post = post.with(name.as_str(), value.as_str()?);
    }
    for child in body.get("children").and_then(Value::as_array).into_iter().flatten() {
        post = post.child(object(child)?);
    }
    Some(post)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Allow,
    Deny,
    Redirect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowText {
    from: String,
    to: String,
    packet: String,
    answers: Option<String>,
    verdict: Word,
    reason: Reason,
    by: Option<String>,
    why: String,
}

/// Where the scenarios of this repository are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

/// All scenarios of this repository, by name.
pub fn load_scenarios() -> Result<Vec<Scenario>, LoadError> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder)
        .map_err(|source| LoadError::File { path: folder.clone(), source })?;
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.iter().map(|path| load(path)).collect()
}

/// The scenario in one folder.
pub fn load(folder: &Path) -> Result<Scenario, LoadError> {
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).map_err(|source| LoadError::File { path, source })
    };
    let form = |file: &str, problem: String| LoadError::Form { path: folder.join(file), problem };
    let objects = "policy.aci.json";
    let spots: BTreeMap<String, Spot> = serde_saphyr::from_str(&read("endpoints.yaml")?)
        .map_err(|error| form("endpoints.yaml", error.to_string()))?;
    let mut endpoints = BTreeMap::new();
    for (name, spot) in spots {
        endpoints.insert(name, who(spot).map_err(|problem| form("endpoints.yaml", problem))?);
    }
    let texts: Vec<FlowText> = serde_saphyr::from_str(&read("flows.yaml")?)
        .map_err(|error| form("flows.yaml", error.to_string()))?;
    let mut flows = Vec::new();
    for text in texts {
        flows.push(flow(text, &endpoints).map_err(|problem| form("flows.yaml", problem))?);
    }
    let description = read("description.md")?;
    Ok(Scenario {
        name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        title: description.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned(),
        manifest: read("policy.nac.yaml")?,
        objects: if folder.join(objects).exists() { Some(read(objects)?) } else { None },
        endpoints,
        flows,
    })
}

fn flow(text: FlowText, endpoints: &BTreeMap<String, Who>) -> Result<Flow, String> {
    for name in [&text.from, &text.to] {
        if !endpoints.contains_key(name) {
            return Err(format!("`{name}` is no endpoint of endpoints.yaml"));
        }
    }
    let verdict = match text.verdict {
        Word::Allow => Verdict::Allow,
        Word::Deny => Verdict::Deny,
        Word::Redirect => Verdict::Redirect,
    };
    if (verdict != Verdict::Deny) != text.reason.is_allow() {
        return Err(format!(
            "`{}`: reason `{}` contradicts the verdict",
            text.packet,
            text.reason.name()
        ));
    }
    let packet = packet_text::packet(&text.packet).map_err(|error| error.to_string())?;
    let answers = match &text.answers {
        None => None,
        Some(opening) => Some(packet_text::packet(opening).map_err(|error| error.to_string())?),
    };
    Ok(Flow {
        from: text.from,
        to: text.to,
        text: text.packet,
        packet,
        answers,
        verdict,
        reason: text.reason,
        by: text.by,
        why: text.why,
    })
}

/// Who is meant by a line of `endpoints.yaml`.
fn who(spot: Spot) -> Result<Who, String> {
    match spot {
        Spot::Place(text) => match text.split_once(' ') {
            Some((vrf, address)) => {
                let (tenant, name) =
                    vrf.split_once('/').ok_or_else(|| format!("`{vrf}` is no TENANT/VRF"))?;
                let address = address.parse().map_err(|_| format!("`{address}` is no address"))?;
                Ok(Who::Outside { vrf: format!("uni/tn-{tenant}/ctx-{name}"), address })
            }
            None => Ok(Who::of(&group(&text)?)),
        },
        Spot::Endpoint(text) => Ok(Who::Member(Endpoint {
            attached: group(&text.epg)?,
            ip: text.ip,
            mac: text.mac,
            attributes: text.attributes,
            protection: text.protection,
        })),
    }
}

fn group(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let [tenant, profile, group] = parts.as_slice() else {
        return Err(format!("`{text}` is no TENANT/PROFILE/EPG, and no TENANT/VRF ADDRESS"));
    };
    Ok(format!("uni/tn-{tenant}/ap-{profile}/epg-{group}"))
}
