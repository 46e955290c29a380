//! `selvage drops`: what was dropped on this machine, and why.

use std::sync::mpsc;
use std::thread;

use selvage_agent::local::{DropView, Drops, Request, Response};

use super::output::{self, Format};
use super::sockets::{self, Agents};
use crate::exit::{Failure, Kind};

/// Arguments of `selvage drops`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  selvage drops                  the drops that the agents of this machine remember
  selvage drops -f               and go on, as they happen
  selvage drops --logged         and what passed by rules that log
  selvage drops -f -o json | jq 'select(.reason == \"spoofed-ip\")'")]
pub struct Args {
    #[command(flatten)]
    agents: Agents,
    /// Go on with further drops as they happen
    #[arg(short, long)]
    follow: bool,
    /// Also packets that passed, where a rule wants that logged
    #[arg(short, long)]
    logged: bool,
    /// What standard output carries
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Asks every agent at once, and prints the drops: by time, or as they come when following.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (sender, receiver) = mpsc::channel();
    for socket in args.agents.sockets()? {
        let sender = sender.clone();
        let follow = args.follow;
        thread::spawn(move || {
            let answers = Agents::ask(&socket, &Request::Drops(Drops { follow }));
            match answers {
                Ok(answers) => answers.take_while(|a| !ends(a)).for_each(|a| {
                    // The printing side ended: nothing is left to do here.
                    let _ = sender.send(a);
                }),
                Err(failure) => drop(sender.send(Err(failure))),
            }
        });
    }
    drop(sender);
    let wanted = |answer: &Result<Response, Failure>| match answer {
        Ok(Response::Drop(drop)) => args.logged || !drop.reason.is_allow(),
        _ => true,
    };
    let mut answers = receiver.iter().filter(wanted);
    if args.follow {
        return answers.try_for_each(|answer| show(answer?, args.output));
    }
    let mut drops = answers.collect::<Result<Vec<_>, _>>()?;
    drops.sort_by_key(|answer| match answer {
        Response::Drop(drop) => drop.time_ms,
        _ => u64::MAX,
    });
    if drops.is_empty() && args.output == Format::Text {
        return output::line("no drops");
    }
    drops.into_iter().try_for_each(|answer| show(answer, args.output))
}

fn ends(answer: &Result<Response, Failure>) -> bool {
    matches!(answer, Ok(Response::End(_)))
}

fn show(answer: Response, format: Format) -> Result<(), Failure> {
    match answer {
        Response::Drop(drop) if format == Format::Json => output::json_line(&drop),
        Response::Drop(drop) => output::line(&sentence(&drop)),
        Response::Lost(count) => {
            eprintln!("selvage: {count} drops were not shown, reading was too slow");
            Ok(())
        }
        Response::Error(refusal) => Err(sockets::refused(refusal)),
        other => Err(Failure::new(Kind::Failed, format!("unexpected answer {other:?}"))),
    }
}

fn sentence(drop: &DropView) -> String {
    let seconds = drop.time_ms / 1000 % 86_400;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{:03} {}", drop.time_ms % 1000, drop.text)
}
