//! Selvage: application-centric infrastructure for Linux, in one binary.
//!
//! Shells only: each module turns the outside (arguments, sockets, signals) into inputs of a core
//! crate and its outputs into effects.

mod agent;
mod client;
mod controller;
mod docker;
mod doctor;
mod exit;
mod lab;
mod run;

use clap::{CommandFactory, Parser, Subcommand};

use crate::exit::Failure;

/// How a completion script is used.
const COMPLETION: &str = "\
  bash:  selvage completion bash > /etc/bash_completion.d/selvage
  zsh:   selvage completion zsh > \"${fpath[1]}/_selvage\"
  fish:  selvage completion fish > ~/.config/fish/completions/selvage.fish";

/// Application-centric infrastructure for Linux: groups, contracts, and their enforcement at the
/// edge of every host.
#[derive(Parser)]
#[command(name = "selvage", version, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the controller: the policy tree, its REST API, and OpFlex towards the hosts
    Controller(controller::Args),
    /// Run the agent of this host: enforces policy at the edge of every workload
    Agent(agent::Args),
    /// Make a lab on this machine: hosts in namespaces, a controller, an agent on each host
    Up(lab::Args),
    /// Stop a lab and remove everything it made
    Down(lab::DownArgs),
    /// Start a command in a sandbox, as an endpoint of a group
    Run(Box<run::Args>),
    /// Run another command in a workload's sandbox
    Exec(run::ExecArgs),
    /// List the workloads of this machine
    Ps(run::PsArgs),
    /// End workloads, and leave nothing of them
    Stop(run::StopArgs),
    /// Say whether this machine can run each data plane, and whether what is installed is desired
    Doctor(doctor::Args),
    /// Print the completion script of a shell
    #[command(after_help = COMPLETION)]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Client(client::Verb),
}

fn main() -> std::process::ExitCode {
    // Before there are threads: a sandbox is made by forking.
    if let Some(code) = run::monitored() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let result: Result<(), Failure> = match cli.verb {
        Verb::Controller(args) => controller::run(args),
        Verb::Agent(args) => agent::run(args),
        Verb::Up(args) => lab::run(args),
        Verb::Down(args) => lab::down(args),
        Verb::Run(args) => run::run(*args),
        Verb::Exec(args) => run::exec(args),
        Verb::Ps(args) => run::ps(args),
        Verb::Stop(args) => run::stop(args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "selvage", &mut script);
            client::output::line(String::from_utf8_lossy(&script).trim_end())
        }
        Verb::Client(verb) => client::run(verb),
    };
    exit::report(result)
}
