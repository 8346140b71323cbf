//! `mesh status`: who is in the mesh, who acknowledged what, who refused what and why, and how long certificates live.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::Value;

use super::connection::Connection;
use super::table::Table;
use super::yaml::to_yaml;
use super::{Exit, Failure, Format, output};
use crate::model::is_serves;

/// Show who is in the mesh, who acknowledged or refused what, and how long certificates live
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh status
  mesh status -o json")]
pub(super) struct Arguments {
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let status = read(&arguments.connection)?;
    match arguments.output {
        Format::Json => output::print(format_args!("{status:#}\n"))?,
        Format::Table => output::print(to_text(&status, now()))?,
        Format::Yaml => output::print(to_yaml(&status))?,
    }
    Ok(if refusals(&status).next().is_some() { Exit::Findings } else { Exit::Fine })
}

/// Asks the control plane.
pub(super) fn read(connection: &Connection) -> Result<Value, Failure> {
    let text = connection.run(async |mut client| client.status().await)?;
    serde_json::from_str(&text)
        .map_err(|problem| Failure::Refused(format!("the control plane's answer is no JSON: {problem}")))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn to_text(status: &Value, now: u64) -> String {
    let documents = &status["documents"];
    let mut text = format!(
        "control plane {} of {}, its certificate {}; {} documents at revision {}\n",
        word(&status["version"]),
        word(&status["trust_domain"]),
        life(&status["certificate"]["not_after"], now),
        word(&documents["count"]),
        word(&documents["revision"]),
    );
    let mut instances = Table::new(["WORKLOAD", "IDENTITY", "LABELS", "SERVES", "STATE", "LIBRARY"]);
    for instance in rows(&status["instances"]) {
        let identity = format!("{}/{}", word(&instance["namespace"]), word(&instance["service_account"]));
        let state = match instance["draining"] == true {
            true => "draining",
            false if instance["ready"] == false => "not ready",
            false => "serving",
        };
        instances.row([
            word(&instance["workload"]),
            identity,
            labels(&instance["labels"]),
            rows(&instance["bindings"]).map(binding).collect::<Vec<_>>().join(" "),
            state.to_owned(),
            word(&instance["version"]),
        ]);
    }
    let mut streams = Table::new(["STREAM OF", "FROM", "CLIENT", "VERSION", "CONFIGURATION"]);
    for stream in rows(&status["streams"]) {
        let state = if stream["up_to_date"] == true { "up to date".to_owned() } else { behind(stream) };
        streams.row([
            word(&stream["identity"]),
            word(&stream["address"]),
            word(&stream["client"]),
            word(&stream["version"]),
            state,
        ]);
    }
    let mut certificates = Table::new(["CERTIFICATE OF", "SERIAL", "LEFT"]);
    for certificate in rows(&status["certificates"]) {
        certificates.row([
            word(&certificate["identity"]),
            word(&certificate["serial"]),
            life(&certificate["not_after"], now),
        ]);
    }
    text.push_str(&format!("\n{instances}\n{streams}\n{certificates}"));
    for (identity, kind, reason) in refusals(status) {
        text.push_str(&format!("\nrefused by {identity}: {kind}: {reason}\n"));
    }
    for left in rows(&status["left_out"]) {
        let [identity, client, document, rule, feature, effect] =
            ["identity", "client", "document", "rule", "feature", "effect"].map(|key| word(&left[key]));
        text.push_str(&format!(
            "\nleft out by {identity}: {client} does not know {feature} of {document} {rule}: it {effect}\n"
        ));
    }
    text
}

/// Everything that a client has refused and not been sent anew.
fn refusals(status: &Value) -> impl Iterator<Item = (String, String, String)> {
    rows(&status["streams"]).flat_map(|stream| {
        let types = stream["types"].as_object().into_iter().flatten();
        types
            .filter(|(_, of)| !of["refused"].is_null())
            .map(move |(kind, of)| (word(&stream["identity"]), kind.clone(), word(&of["refused"])))
    })
}

fn behind(stream: &Value) -> String {
    format!("at {}, current is {}", word(&stream["acknowledged"]), word(&stream["current"]))
}

fn binding(binding: &Value) -> String {
    format!("{}:{} at {}", word(&binding["host"]), word(&binding["service_port"]), word(&binding["address"]))
}

fn labels(labels: &Value) -> String {
    let given = labels.as_object().into_iter().flatten().filter(|(key, _)| !is_serves(key));
    let pairs = given.map(|(key, value)| format!("{key}={}", word(value)));
    pairs.collect::<Vec<_>>().join(",")
}

pub(super) fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A value as people read it.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn life(not_after: &Value, now: u64) -> String {
    match not_after.as_u64().map(|end| end.checked_sub(now)) {
        Some(Some(left)) if left >= 3600 => format!("{} h", left / 3600),
        Some(Some(left)) => format!("{} min", left / 60),
        Some(None) => "expired".to_owned(),
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_are_named_and_found() {
        let status = json!({
            "version": "0.1.0",
            "streams": [{"identity": "spiffe://d/ns/a/sa/b", "up_to_date": false, "acknowledged": 3, "current": 4,
                "types": {"Cluster": {"refused": "no endpoint source"}, "Listener": {"refused": null}}}],
        });
        assert_eq!(refusals(&status).count(), 1);
        let text = to_text(&status, 0);
        assert!(text.contains("refused by spiffe://d/ns/a/sa/b: Cluster: no endpoint source"), "{text}");
        assert!(text.contains("at 3, current is 4"), "{text}");
    }

    #[test]
    fn life_is_told_in_hours_then_minutes() {
        let check = |left: i64, expected: &str| assert_eq!(life(&json!(10_000 + left), 10_000), expected);
        check(7200, "2 h");
        check(3599, "59 min");
        check(-1, "expired");
    }
}
