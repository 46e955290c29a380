//! What people say of an endpoint, as labels that selectors and criteria look at.

use std::net::IpAddr;
use std::sync::Arc;

use selvage_rules::{Facts, Mac};

/// What a workload is known by, under the name of `fvVmAttr.type`, and how else people call that.
const KINDS: &[(&str, &[&str])] = &[
    ("vm-name", &["name", "vm-name", "vm_name", "vmname", "VM Name"]),
    ("vm", &["vm", "vm-id", "vm_id", "vmid", "VM Identifier"]),
    ("vnic", &["vnic", "vnic-dn", "VNic Dn"]),
    ("hv", &["hv", "hypervisor", "Hypervisor Identifier"]),
    ("domain", &["domain", "vmm-domain", "VMM Domain"]),
    ("rootContName", &["rootContName", "datacenter", "Datacenter"]),
    (
        "guest-os",
        &["guest-os", "guest_os", "guestos", "os", "operating-system", "Operating System"],
    ),
    ("vm-folder", &["vm-folder", "vm_folder", "folder"]),
    ("vmfolder-path", &["vmfolder-path", "folder-path"]),
];

/// Before the key of a tag or label.
const PREFIXES: [&str; 6] = ["tag:", "label:", "custom:", "custom-label:", "tags:", "labels:"];

/// What is known of an endpoint of this name. An attribute is one of the workload's own if it is called
/// so, and else a tag; `tag:KEY` and `label:KEY` always are tags. An endpoint of which no other name is
/// said is a workload of its own name.
pub fn facts(
    name: &str,
    mac: Option<Mac>,
    ips: &[IpAddr],
    attributes: &[(String, String)],
) -> Facts {
    let mut labels: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for (key, value) in attributes {
        let value: Arc<str> = value.as_str().into();
        let prefix = PREFIXES.iter().find(|prefix| key.starts_with(**prefix));
        let tag = prefix.and_then(|prefix| key.strip_prefix(prefix)).unwrap_or(key);
        let kind = KINDS.iter().find(|(_, names)| {
            prefix.is_none() && names.iter().any(|name| name.eq_ignore_ascii_case(key))
        });
        if let Some((kind, _)) = kind {
            labels.push(((*kind).into(), Arc::clone(&value)));
        } else {
            labels.push(("tag".into(), Arc::clone(&value)));
        }
        labels.push((format!("tag:{tag}").into(), value));
    }
    if !labels.iter().any(|(key, _)| &**key == "vm-name") && !name.is_empty() {
        labels.push(("vm-name".into(), name.into()));
    }
    Facts { mac, ips: ips.to_vec(), labels }
}
