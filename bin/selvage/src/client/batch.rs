//! `selvage trace --flows`: many flows at once, of files or of a running controller.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use selvage_model::{Dn, Post, Stamp, Tree, apply, initial_tree};
use selvage_policy::batch::{Answer, Batch, Question, Told};
use selvage_policy::{Numbers, compile};
use serde_json::{Value, json};

use super::files;
use super::output::{self, Format};
use super::rest::Target;
use crate::exit::{Failure, Kind};

/// Flows asked of one controller at a time.
const CHUNK: usize = 10_000;

/// What is asked, and of what.
#[derive(clap::Args)]
pub struct Asked {
    /// Ask this configuration, and no controller: YAML, or managed objects in JSON; given several
    /// times they are applied in order
    #[arg(long, value_name = "FILE", requires = "flows")]
    config: Vec<PathBuf>,
    /// Endpoints, as a JSON list; a controller also knows those that its hosts have
    #[arg(long, value_name = "FILE", requires = "flows")]
    endpoints: Option<PathBuf>,
    /// Flows, one JSON object a line; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "flow"])]
    pub flows: Option<PathBuf>,
}

/// Answers each flow with a line, in order.
pub fn run(args: &Asked, flows: &Path, target: &Target, format: Format) -> Result<(), Failure> {
    let endpoints = match &args.endpoints {
        Some(path) => read_json(path)?,
        None => json!([]),
    };
    let questions = read_lines(flows)?;
    if args.config.is_empty() {
        let session = target.login()?;
        for chunk in questions.chunks(CHUNK) {
            let flows: Vec<&Value> = chunk.iter().map(|(_, value)| value).collect();
            let body = json!({"endpoints": endpoints, "flows": flows});
            let answer = session.post("/selvage/v1/flows", &body)?;
            let answers = answer.get("answers").and_then(Value::as_array).cloned();
            show(answers.unwrap_or_default().iter(), format)?;
        }
        return Ok(());
    }
    let tree = read_tree(&args.config)?;
    let told: Vec<Told> = serde_json::from_value(endpoints)
        .map_err(|error| input(format!("{}: {error}", name_of(args.endpoints.as_deref()))))?;
    let compiled = compile(&tree, &mut Numbers::default());
    let batch = Batch::new(&compiled, &told).map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        input(lines.join("\n"))
    })?;
    let mut wrong = Vec::new();
    let mut answers: Vec<Answer> = Vec::with_capacity(questions.len());
    for (line, value) in questions {
        let place = format!("{}:{line}", name_of(Some(flows)));
        let asked = serde_json::from_value::<Question>(value).map_err(|error| error.to_string());
        match asked.and_then(|question| batch.ask(&question).map_err(|error| error.to_string())) {
            Ok(answer) => answers.push(answer),
            Err(error) => wrong.push(format!("{place}: {error}")),
        }
    }
    if !wrong.is_empty() {
        return Err(input(wrong.join("\n")));
    }
    let answers: Result<Vec<Value>, _> = answers.iter().map(serde_json::to_value).collect();
    let answers = answers.map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
    show(answers.iter(), format)
}

/// A tree to which each file was applied, one after the other.
fn read_tree(configs: &[PathBuf]) -> Result<Tree, Failure> {
    let uni: Dn = "uni".parse().map_err(|_| input("`uni` is no DN".to_owned()))?;
    let mut tree = initial_tree();
    for path in configs {
        let (posts, _) = files::read_all(std::slice::from_ref(path))?;
        let post = posts.into_iter().fold(Post::new("polUni"), Post::child);
        apply(&mut tree, Stamp::new("never", ""), Some(&uni), &post).map_err(|refusals| {
            let name = path.display();
            let lines: Vec<String> = refusals.iter().map(|r| format!("{name}: {r}")).collect();
            input(lines.join("\n"))
        })?;
    }
    Ok(tree)
}

fn show<'a>(answers: impl Iterator<Item = &'a Value>, format: Format) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for answer in answers {
        let line = match format {
            Format::Json => answer.to_string(),
            Format::Text => words(answer),
        };
        match writeln!(out, "{line}") {
            Ok(()) => {}
            Err(error) => return output::write_failure(&error),
        }
    }
    match out.flush() {
        Ok(()) => Ok(()),
        Err(error) => output::write_failure(&error),
    }
}

fn words(answer: &Value) -> String {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    let origin = answer.pointer("/origin/0").and_then(Value::as_str).unwrap_or_default();
    format!("{} {} {origin}", text("verdict"), text("reason")).trim_end().to_owned()
}

fn read_lines(path: &Path) -> Result<Vec<(usize, Value)>, Failure> {
    let name = name_of(Some(path));
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let file = std::fs::File::open(path);
        Box::new(BufReader::new(file.map_err(|error| input(format!("{name}: {error}")))?))
    };
    let mut values = Vec::new();
    for (number, line) in (1..).zip(reader.lines()) {
        let line = line.map_err(|error| input(format!("{name}:{number}: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(&line)
            .map_err(|error| input(format!("{name}:{number}: {error}")))?;
        values.push((number, value));
    }
    Ok(values)
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let name = name_of(Some(path));
    let text = std::fs::read(path).map_err(|error| input(format!("{name}: {error}")))?;
    serde_json::from_slice(&text).map_err(|error| input(format!("{name}: {error}")))
}

fn name_of(path: Option<&Path>) -> String {
    match path {
        None => "no endpoints".to_owned(),
        Some(path) if path == Path::new("-") => "standard input".to_owned(),
        Some(path) => path.display().to_string(),
    }
}

fn input(message: String) -> Failure {
    Failure::new(Kind::Input, message)
}
