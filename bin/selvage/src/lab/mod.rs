//! A lab on one machine: hosts in namespaces, a controller, an agent on each host.
//!
//! Each host is a network namespace; a further one, the spine, routes between them and holds the
//! controller's OpFlex address. The controller's REST API is on the machine's own loopback, so that
//! every verb of the client works from an ordinary shell. Daemons are the same binary, started as
//! children; one that dies is started again, as an init system would.

mod daemons;
mod network;
mod plan;
mod switch;

use std::path::PathBuf;

use crate::exit::{Failure, Kind};

pub use plan::Plan;

/// Arguments of `selvage up`.
#[derive(clap::Args)]
#[command(after_help = "\
Runs until Ctrl-C, then removes all that it made. From another shell:
  selvage status                        which host enforces which revision
  selvage apply -f examples/three-tier.nac.yaml
  selvage run --agent /run/selvage/h1/agent.sock --epg shop/store/web -- sh
  selvage drops -f                      what is dropped, and why
  selvage down                          the same as Ctrl-C here")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// How many hosts
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    hosts: u8,
    /// What enforces on the hosts
    #[arg(long, value_name = "PLANE", value_enum, default_value = "ebpf")]
    dataplane: plan::Dataplanes,
    /// Address of the REST API; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDR:PORT")]
    listen: String,
}

/// Arguments of `selvage down`.
#[derive(clap::Args)]
pub struct DownArgs {
    #[command(flatten)]
    place: Place,
}

/// Which lab.
#[derive(clap::Args)]
struct Place {
    /// Name of the lab, in the names of its namespaces: 1-8 letters and digits
    #[arg(long, default_value = plan::DEFAULT_NAME, value_parser = plan::parse_name)]
    name: String,
    /// Where the lab keeps its sockets, addresses, logs and state
    #[arg(long, env = "SELVAGE_RUN_DIR", value_name = "DIR", default_value = "/run/selvage")]
    run_dir: PathBuf,
}

/// Makes the lab, keeps it until told to stop, removes it. Whatever fails half-way is removed too.
pub fn run(args: Args) -> Result<(), Failure> {
    let place = &args.place;
    let plan = Plan::new(&place.name, &place.run_dir, args.hosts, &args.listen, args.dataplane);
    daemons::require_root()?;
    plan.refuse_if_running()?;
    // From here on a signal is a message to read, not a death: nothing may be left behind.
    let signals = daemons::Signals::catch()?;
    let mut running = daemons::Daemons::default();
    let result = up(&plan, &signals, &mut running);
    let stopped: Result<(), Failure> =
        plan.hosts.iter().try_for_each(|host| daemons::stop_workloads(&plan, host));
    running.stop();
    let removed = remove(&plan);
    result.and(stopped).and(removed)
}

/// Stops a running lab, and removes whatever one that was killed left behind.
pub fn down(args: DownArgs) -> Result<(), Failure> {
    daemons::require_root()?;
    let plan = Plan::read(&args.place.name, &args.place.run_dir)?;
    daemons::stop_lab(&plan)?;
    remove(&plan)
}

fn up(
    plan: &Plan,
    signals: &daemons::Signals,
    running: &mut daemons::Daemons,
) -> Result<(), Failure> {
    remove_stale(plan)?;
    plan.write()?;
    network::create(plan)?;
    running.start_controller(plan, signals)?;
    for host in &plan.hosts {
        if host.dataplane == plan::Enforces::Ovs {
            running.start_switch(plan, host, signals)?;
        }
        running.start_agent(plan, host, signals)?;
    }
    eprintln!("the lab is up: {} hosts; Ctrl-C or `selvage down` stops it", plan.hosts.len());
    running.watch(plan, signals)
}

/// What a killed lab of the same name left: its namespaces stand, but nobody keeps them.
fn remove_stale(plan: &Plan) -> Result<(), Failure> {
    if network::exists(plan)? {
        eprintln!("removing what an earlier lab `{}` left behind", plan.name);
        remove(plan)?;
    }
    Ok(())
}

fn remove(plan: &Plan) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for host in &plan.hosts {
        failures.extend(daemons::stop_workloads(plan, host).err());
        failures.extend(daemons::uninstall_agent(plan, host).err());
    }
    failures.extend(network::delete(plan).err());
    failures.extend(plan.remove().err());
    match failures.into_iter().next() {
        None => Ok(()),
        Some(failure) => Err(failure.hint("`selvage down` tries again")),
    }
}

/// A failure of this module, in the words of what was being done.
fn failed(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Failed, format!("{what}: {error}"))
}
