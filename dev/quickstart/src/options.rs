//! What the command line says.

/// How it is called.
pub const USAGE: &str =
    "usage: quickstart [--keep] [--dataplane ebpf|ovs|mixed] [--workloads sandbox|docker]";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Leave everything running.
    pub keep: bool,
    /// What enforces, as `selvage up` has it.
    pub dataplane: String,
    /// What the workloads are.
    pub workloads: Workloads,
}

/// What the workloads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workloads {
    /// Programs in sandboxes of our own.
    Sandbox,
    /// Containers of a Docker engine on each host.
    Docker,
}

impl Options {
    /// Reads them; in words, what is wrong with them.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let (dataplane, workloads) = ("ebpf".to_owned(), Workloads::Sandbox);
        let mut options = Options { keep: false, dataplane, workloads };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--keep" => options.keep = true,
                "--dataplane" => match words.next() {
                    Some(word) if ["ebpf", "ovs", "mixed"].contains(&&*word) => {
                        options.dataplane = word;
                    }
                    other => return Err(format!("no data plane `{}`", other.unwrap_or_default())),
                },
                "--workloads" => {
                    options.workloads = match words.next().as_deref() {
                        Some("sandbox") => Workloads::Sandbox,
                        Some("docker") => Workloads::Docker,
                        other => return Err(format!("no workloads `{}`", other.unwrap_or(""))),
                    };
                }
                other => return Err(format!("no option `{other}`")),
            }
        }
        Ok(options)
    }
}
