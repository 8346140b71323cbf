//! `mesh test`: whether documents do what their authors expect, in their own CI and without a server.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::yaml::to_yaml;
use super::{Exit, Failure, Format, output};
use crate::document::Verdict;
use crate::expectation::{Report, TestFile};
use crate::explain::Explainer;
use crate::validate::{self, judge, read_sources};

/// Say whether documents do what is expected of them; needs no server
///
/// Each FILE names documents, requests, and what has to become of them, in the words of `mesh explain -o json`.
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh test reviews.test.yaml

  # reviews.test.yaml
  documents: [reviews.yaml, policies/]      # as seen from this file
  tests:
  - name: jason meets v2
    request:
      url: http://reviews:9080/reviews/0
      headers: {end-user: jason}
      from: default/productpage
    expect:
      destinations: [{subset: v2, odds: 1}]
      inbound: {decision: allow}
  - name: nobody deletes
    request: DELETE http://reviews:9080/reviews/0
    expect: {inbound: {decision: deny, status: 403}}")]
pub(super) struct Arguments {
    /// Files of expectations
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut reports = Vec::new();
    for file in &arguments.files {
        reports.push(run_file(file)?);
    }
    match arguments.output {
        Format::Table => output::print(reports.iter().map(Report::to_text).collect::<String>())?,
        Format::Json => output::print(format_args!("{:#}\n", to_json(&reports)))?,
        Format::Yaml => output::print(to_yaml(&to_json(&reports)))?,
    }
    Ok(if reports.iter().all(Report::passed) { Exit::Fine } else { Exit::Failed })
}

fn to_json(reports: &[Report]) -> Value {
    reports.iter().map(Report::to_json).collect()
}

fn run_file(name: &str) -> Result<Report, Failure> {
    let text = std::fs::read_to_string(name)
        .map_err(|problem| Failure::Refused(format!("cannot read {name}: {problem}; check the path")))?;
    let file = TestFile::parse(name, &text).map_err(Failure::refused)?;
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let documents: Vec<String> =
        file.documents.iter().map(|path| folder.join(path).to_string_lossy().into_owned()).collect();
    let sources = read_sources(&documents, std::io::empty())
        .map_err(|problem| Failure::Refused(format!("{name}: {problem}")))?;
    let reading = judge(&sources);
    match reading.verdict() {
        Verdict::Unsupported | Verdict::Invalid => Err(Failure::Refused(validate::text(&reading))),
        Verdict::Valid | Verdict::Warning => Ok(file.run(&mut Explainer::offline(reading.documents))),
    }
}
