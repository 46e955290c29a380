//! `selvage trace --flows`: many flows at once, of files or of a running controller.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use selvage_model::{Dn, Post, Stamp, Tree, apply, initial_tree};
use selvage_policy::batch::{Batch, Question, Told};
use selvage_policy::{Numbers, compile};
use serde_json::{Value, json};

use super::files;
use super::output::{self, Format};
use super::rest::Target;
use crate::exit::{Failure, Kind};

/// Flows asked of one controller at a time.
const CHUNK: usize = 10_000;

/// A line's number, and the JSON it holds or why it holds none.
type Line = (usize, Result<Value, String>);

/// What is asked, and of what.
#[derive(clap::Args)]
pub struct Asked {
    /// Ask this configuration, and no controller: YAML, or managed objects in JSON or XML; given
    /// several times they are applied in order
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Endpoints, as a JSON list; a controller also knows those that its hosts have
    #[arg(long, value_name = "FILE", requires = "flows")]
    endpoints: Option<PathBuf>,
    /// Flows, one JSON object a line; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "flow"])]
    pub flows: Option<PathBuf>,
}

/// Answers each flow with a line, in order. A flow that cannot be understood has a line that says so,
/// and the others their answers; the failure comes at the end.
pub fn run(args: &Asked, flows: &Path, target: &Target, format: Format) -> Result<(), Failure> {
    let endpoints = match &args.endpoints {
        Some(path) => list(read_json(path)?),
        None => json!([]),
    };
    let lines = read_lines(flows)?;
    let mut page = Page::new(name_of(Some(flows)), format);
    if args.config.is_empty() {
        ask_controller(&lines, &endpoints, target, &mut page)?;
    } else {
        let told = told(endpoints, args.endpoints.as_deref())?;
        let tree = read_tree(&args.config)?;
        let compiled = compile(&tree, &mut Numbers::default());
        let batch = Batch::new(&compiled, &told);
        for wrong in batch.misunderstood() {
            output::note(&format!("{}: {wrong}", name_of(args.endpoints.as_deref())));
        }
        for (number, line) in &lines {
            let question = line.as_ref().map_err(Clone::clone).and_then(|value| {
                serde_json::from_value::<Question>(value.clone()).map_err(|error| error.to_string())
            });
            let answer = question
                .and_then(|question| batch.ask(&question).map_err(|error| error.to_string()))
                .and_then(|answer| serde_json::to_value(answer).map_err(|e| e.to_string()));
            page.put(*number, answer)?;
        }
    }
    page.end()
}

/// Asks a controller, so many flows at a time. Lines that are no JSON are not sent.
fn ask_controller(
    lines: &[Line],
    endpoints: &Value,
    target: &Target,
    page: &mut Page,
) -> Result<(), Failure> {
    let session = target.login()?;
    for chunk in lines.chunks(CHUNK) {
        let flows: Vec<&Value> = chunk.iter().filter_map(|(_, line)| line.as_ref().ok()).collect();
        let body = json!({"endpoints": endpoints, "flows": flows});
        let answer = session.post("/selvage/v1/flows", &body)?;
        let answers = answer.get("answers").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut answers = answers.into_iter();
        for (number, line) in chunk {
            let answer = match line {
                Err(error) => Err(error.clone()),
                Ok(_) => match answers.next() {
                    None => Err("the controller gave no answer".to_owned()),
                    Some(value) => match value.get("error").and_then(Value::as_str) {
                        Some(error) => Err(error.to_owned()),
                        None => Ok(value),
                    },
                },
            };
            page.put(*number, answer)?;
        }
    }
    Ok(())
}

/// The endpoints of a file: a list, or an object that holds one.
fn list(value: Value) -> Value {
    match value.get("endpoints") {
        Some(inner) => inner.clone(),
        None => value,
    }
}

/// The endpoints, but for those that are none, which are told of: a flow that names one is wrong.
fn told(endpoints: Value, path: Option<&Path>) -> Result<Vec<Told>, Failure> {
    let Value::Array(endpoints) = endpoints else {
        return Err(input(format!("{}: endpoints are a JSON list", name_of(path))));
    };
    let mut told = Vec::with_capacity(endpoints.len());
    for (number, value) in (1..).zip(endpoints) {
        match serde_json::from_value(value) {
            Ok(endpoint) => told.push(endpoint),
            Err(error) => output::note(&format!("{}: endpoint {number}: {error}", name_of(path))),
        }
    }
    Ok(told)
}

/// A tree to which each file was applied, one after the other.
pub fn read_tree(configs: &[PathBuf]) -> Result<Tree, Failure> {
    let uni: Dn = "uni".parse().map_err(|_| input("`uni` is no DN".to_owned()))?;
    let mut tree = initial_tree();
    for path in configs {
        let (posts, foreign) = files::read_export(path)?;
        for (class, count) in foreign {
            let name = path.display();
            output::note(&format!("{name}: class `{class}` is not known here: {count} left out"));
        }
        let post = posts.into_iter().fold(Post::new("polUni"), Post::child);
        apply(&mut tree, Stamp::new("never", ""), Some(&uni), &post).map_err(|refusals| {
            let name = path.display();
            let lines: Vec<String> = refusals.iter().map(|r| format!("{name}: {r}")).collect();
            input(lines.join("\n"))
        })?;
    }
    Ok(tree)
}

/// The answers as they are printed, and how many flows had none.
struct Page {
    out: std::io::BufWriter<std::io::Stdout>,
    flows: String,
    format: Format,
    wrong: usize,
}

impl Page {
    fn new(flows: String, format: Format) -> Page {
        Page { out: std::io::BufWriter::new(std::io::stdout()), flows, format, wrong: 0 }
    }

    fn put(&mut self, number: usize, answer: Result<Value, String>) -> Result<(), Failure> {
        let answer = answer.unwrap_or_else(|error| {
            self.wrong += 1;
            output::note(&format!("{}:{number}: {error}", self.flows));
            json!({"verdict": "error", "error": error, "line": number})
        });
        let line = match self.format {
            Format::Json => answer.to_string(),
            Format::Text => words(&answer),
        };
        writeln!(self.out, "{line}").or_else(|error| output::write_failure(&error))
    }

    fn end(mut self) -> Result<(), Failure> {
        self.out.flush().or_else(|error| output::write_failure(&error))?;
        match self.wrong {
            0 => Ok(()),
            1 => Err(input("1 flow could not be understood".to_owned())),
            many => Err(input(format!("{many} flows could not be understood"))),
        }
    }
}

fn words(answer: &Value) -> String {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    let why = [text("reason"), text("error")].join("");
    let origin = answer.pointer("/origin/0").and_then(Value::as_str).unwrap_or_default();
    format!("{} {why} {origin}", text("verdict")).trim_end().to_owned()
}

/// Lines with their numbers, each as JSON or why it is none.
fn read_lines(path: &Path) -> Result<Vec<Line>, Failure> {
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
        let text = line.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        values.push((number, serde_json::from_str(text).map_err(|error| error.to_string())));
    }
    Ok(values)
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let name = name_of(Some(path));
    let text = std::fs::read_to_string(path).map_err(|error| input(format!("{name}: {error}")))?;
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).map_err(|error| input(format!("{name}: {error}")))
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
