//! `mesh explain`: where a request would go, and whether it would be let in (EXPLAIN.md is the contract).

use std::io::{BufRead, Read};

use clap::{Args, ValueEnum};

use super::connection::Connection;
use super::{Exit, Failure, files, output};
use crate::document::Verdict;
use crate::explain::{Decision, Explainer, InvalidArgument, Question, render};
use crate::validate::{self, judge};

/// Say where a request would go, naming document and rule, and whether it would be let in
///
/// With -f it answers from these documents alone and needs no server; without, from the running control plane.
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh explain GET http://reviews:9080/ -H 'end-user: jason' --from default/productpage
  mesh explain GET http://reviews:9080/ -f documents/ -o json
  mesh explain tcp://db:5432 --from default/productpage
  mesh explain --requests requests.jsonl -f documents/")]
pub(super) struct Arguments {
    /// The method; left out, it is GET, or POST for gRPC
    #[arg(required_unless_present = "requests", conflicts_with = "requests")]
    method: Option<String>,
    /// The URL as the caller writes it; tcp://HOST:PORT, which has no method, for TCP
    #[arg(conflicts_with = "requests")]
    url: Option<String>,
    /// A header of the request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The calling workload
    #[arg(long, value_name = "NS/SERVICE_ACCOUNT")]
    from: Option<String>,
    /// A label of the calling workload
    #[arg(long, value_name = "KEY=VALUE")]
    from_label: Vec<String>,
    /// The serving workload, where a certain one is meant
    #[arg(long, value_name = "NS/SERVICE_ACCOUNT")]
    at: Option<String>,
    /// How the request reaches the server: mtls, tls, plaintext [default: what the policies make of it]
    #[arg(long)]
    transport: Option<String>,
    /// The server name that the caller's own TLS sends, for `tls` rules
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The number in [0,1) that every percentage is drawn with [default: none; odds are listed]
    #[arg(long, value_name = "X")]
    draw: Option<String>,
    /// The clock, RFC 3339 [default: now]
    #[arg(long, value_name = "T")]
    time: Option<String>,
    /// Requests as JSON Lines (- for standard input); answers as JSON Lines in the same order
    #[arg(long, value_name = "FILE")]
    requests: Option<String>,
    /// A file, a directory, or - for standard input; may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    files: Vec<String>,
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs; a stable interface
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.requests.as_deref() == Some("-") && arguments.files.iter().any(|path| path == "-") {
        return Err(Failure::Usage(
            "standard input (`-`) is either the requests or the documents; name the other as a file".into(),
        ));
    }
    let lines = match &arguments.requests {
        Some(path) => request_lines(path)?,
        None => vec![one_question(arguments)?],
    };
    let answers = if arguments.files.is_empty() {
        arguments.connection.run(async |mut client| client.explain(lines).await)?
    } else {
        match offline(&arguments.files)? {
            Ok(mut explainer) => lines.iter().map(|line| explainer.answer_line(line)).collect(),
            Err(rejected) => {
                output::say(rejected);
                return Ok(Exit::Failed);
            }
        }
    };
    if arguments.requests.is_some() {
        output::print(answers.iter().map(|answer| format!("{answer}\n")).collect::<String>())?;
        return Ok(Exit::Fine);
    }
    print_one(answers.first().map_or("", String::as_str), arguments.output)
}

fn one_question(arguments: &Arguments) -> Result<String, Failure> {
    let question = question(arguments).map_err(|problem| Failure::Usage(problem.to_string()))?;
    serde_json::to_string(&question).map_err(|problem| Failure::Usage(problem.to_string()))
}

fn question(arguments: &Arguments) -> Result<Question, InvalidArgument> {
    // clap has made sure of the first; a single word is the URL.
    let (method, url) = match (&arguments.method, &arguments.url) {
        (method, Some(url)) => (method.clone(), url.clone()),
        (url, None) => (None, url.clone().unwrap_or_default()),
    };
    let mut question = Question { sni: arguments.sni.clone(), method, url, ..Question::default() };
    arguments.headers.iter().try_for_each(|header| question.header(header))?;
    arguments.from.iter().try_for_each(|from| question.from(from))?;
    arguments.from_label.iter().try_for_each(|label| question.from_label(label))?;
    arguments.at.iter().try_for_each(|at| question.at(at))?;
    arguments.transport.iter().try_for_each(|transport| question.transport(transport))?;
    arguments.draw.iter().try_for_each(|draw| question.draw(draw))?;
    arguments.time.iter().try_for_each(|time| question.time(time))?;
    Ok(question)
}

/// An explainer of these documents, or every error in them.
fn offline(files: &[String]) -> Result<Result<Explainer, String>, Failure> {
    let reading = judge(&files::sources(files)?);
    Ok(match reading.verdict() {
        Verdict::Unsupported | Verdict::Invalid => Err(validate::text(&reading)),
        Verdict::Valid | Verdict::Warning => Ok(Explainer::offline(reading.documents)),
    })
}

fn request_lines(path: &str) -> Result<Vec<String>, Failure> {
    let unreadable = |problem: std::io::Error| Failure::Refused(format!("{path}: {problem}"));
    let reader: Box<dyn Read> = match path {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(std::fs::File::open(path).map_err(unreadable)?),
    };
    let lines: Result<Vec<String>, _> = std::io::BufReader::new(reader).lines().collect();
    // An empty line too has its answer, so that the n-th answer is the n-th line's.
    lines.map_err(unreadable)
}

fn print_one(answer: &str, format: Output) -> Result<Exit, Failure> {
    let unreadable =
        |problem: serde_json::Error| Failure::Refused(format!("the answer is no decision: {problem}"));
    let value: serde_json::Value = serde_json::from_str(answer).map_err(unreadable)?;
    if let Some(error) = value["error"].as_str() {
        return Err(Failure::Usage(error.to_owned()));
    }
    match format {
        Output::Json => output::print(format_args!("{value:#}\n"))?,
        Output::Text => {
            let decision: Decision = serde_json::from_value(value).map_err(unreadable)?;
            output::print(render(&decision))?;
        }
    }
    Ok(Exit::Fine)
}
