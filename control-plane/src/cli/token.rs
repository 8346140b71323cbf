//! `mesh token`: what a service joins with.

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::connection::Connection;
use super::table::Table;
use super::yaml::to_yaml;
use super::{Exit, Failure, Format, output};
use crate::admin::proto::{CreateTokenRequest, GrantedService, Token};

/// Make, list and end join tokens
#[derive(Debug, Subcommand)]
#[command(before_help = "Example:
  mesh token create --service reviews:9080
  mesh token list
  mesh token revoke 3f2a9c0d5b7e1846")]
pub(super) enum Command {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Make a join token; prints the one string that a service takes as MESH_JOIN, and nothing else
#[derive(Debug, Args)]
#[command(before_help = "Example:
  export MESH_JOIN=$(mesh token create --service reviews:9080 --label version=v2)
  mesh token create --namespace web --service-account browser      # a mere client")]
pub(super) struct Create {
    /// A service that it may serve, NAME:PORT as callers name it
    #[arg(long = "service", value_name = "NAME:PORT", value_parser = granted_service)]
    services: Vec<GrantedService>,
    /// The namespace of its identity
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The service account of its identity [default: the first service's name]
    #[arg(long)]
    service_account: Option<String>,
    /// A label of its instances, such as version=v2; `app` is the first service's name where it is not given
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// How many processes may join with it; 0: any number
    #[arg(long, default_value_t = 0)]
    uses: u32,
    /// How long it can be used, such as 30m or 24h [default: the control plane's]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Duration>,
    /// Where its instances run, REGION/ZONE/SUBZONE
    #[arg(long)]
    locality: Option<String>,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// List join tokens, without their secrets
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh token list
  mesh token list -o json")]
pub(super) struct List {
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// End a join token; who has joined with it stays
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh token revoke 3f2a9c0d5b7e1846")]
pub(super) struct Revoke {
    /// Its id, as `mesh token list` shows it
    id: String,
    #[command(flatten)]
    connection: Connection,
}

fn granted_service(text: &str) -> Result<GrantedService, String> {
    let split = text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)));
    match split {
        Some((name, port)) if !name.is_empty() && port > 0 => {
            Ok(GrantedService { name: name.to_owned(), port: port.into() })
        }
        _ => Err(format!("`{text}` is no service; write NAME:PORT, such as reviews:9080")),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no label; write KEY=VALUE, such as version=v2")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let malformed = || format!("`{text}` is no duration; write a number with s, m, h or d, such as 30m");
    let unit = text.chars().next_back().ok_or_else(malformed)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(malformed()),
    };
    let count: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| malformed())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

pub(super) fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Create(create) => run_create(create),
        Command::List(list) => run_list(&list),
        Command::Revoke(revoke) => {
            let Revoke { id, connection } = revoke;
            connection.run(async |mut client| client.revoke_token(&id).await)?;
            output::print(format_args!("token {id} is ended\n"))?;
            Ok(Exit::Fine)
        }
    }
}

fn run_create(create: Create) -> Result<Exit, Failure> {
    if create.services.is_empty() && create.service_account.is_none() {
        return Err(Failure::Usage(
            "whose token is it? give --service NAME:PORT, or --service-account NAME for a mere client".into(),
        ));
    }
    let mut labels = HashMap::new();
    for (key, value) in create.labels {
        if let Some(other) = labels.insert(key.clone(), value.clone()) {
            return Err(Failure::Usage(format!("label {key} is given twice, as `{other}` and as `{value}`")));
        }
    }
    let request = CreateTokenRequest {
        namespace: create.namespace,
        service_account: create.service_account.unwrap_or_default(),
        services: create.services,
        labels,
        uses_max: create.uses,
        valid_seconds: create.ttl.map_or(0, |ttl| ttl.as_secs()),
        locality: create.locality.unwrap_or_default(),
    };
    let token = create.connection.run(async move |mut client| client.create_token(request).await)?;
    let made = || {
        json!({
            "join": token.join,
            "id": token.id,
            "spiffe_id": token.spiffe_id,
            "expires_unix_seconds": token.expires_unix_seconds,
        })
    };
    match create.output {
        // Nothing but the one string, so that a shell can take it as it is.
        Format::Table => output::print(format_args!("{}\n", token.join))?,
        Format::Json => output::print(format_args!("{}\n", made()))?,
        Format::Yaml => output::print(to_yaml(&made()))?,
    }
    Ok(Exit::Fine)
}

fn run_list(list: &List) -> Result<Exit, Failure> {
    let tokens = list.connection.run(async |mut client| client.list_tokens().await)?;
    match list.output {
        Format::Table => output::print(table(tokens))?,
        Format::Json => output::print(format_args!("{}\n", values(&tokens)))?,
        Format::Yaml => output::print(to_yaml(&values(&tokens)))?,
    }
    Ok(Exit::Fine)
}

fn values(tokens: &[Token]) -> Value {
    let value = |token: &Token| {
        json!({
            "id": token.id,
            "spiffe_id": token.spiffe_id,
            "services": token.services.iter().map(service).collect::<Vec<_>>(),
            "labels": token.labels,
            "uses": token.uses,
            "uses_max": token.uses_max,
            "expires_unix_seconds": token.expires_unix_seconds,
        })
    };
    tokens.iter().map(value).collect()
}

fn table(tokens: Vec<Token>) -> Table<6> {
    let mut table = Table::new(["ID", "IDENTITY", "SERVICES", "LABELS", "USES", "EXPIRES"]);
    for token in tokens {
        let services: Vec<String> = token.services.iter().map(service).collect();
        let mut labels: Vec<String> =
            token.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.sort();
        let uses = match token.uses_max {
            0 => token.uses.to_string(),
            max => format!("{} of {max}", token.uses),
        };
        let expires = moment(token.expires_unix_seconds);
        table.row([token.id, token.spiffe_id, services.join(","), labels.join(","), uses, expires]);
    }
    table
}

/// RFC 3339, in UTC, as logs have it.
fn moment(unix_seconds: u64) -> String {
    let seconds =
        i64::try_from(unix_seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    // Later than the calendar's end is as good as never.
    seconds.map_or_else(|| "never".to_owned(), |moment| moment.to_string())
}

fn service(service: &GrantedService) -> String {
    format!("{}:{}", service.name, service.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_told_as_a_moment() {
        let check = |unix_seconds: u64, expected: &str| assert_eq!(moment(unix_seconds), expected);
        check(1_798_000_000, "2026-12-23T04:26:40Z");
        check(u64::MAX, "never");
    }

    #[test]
    fn durations_have_a_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_secs), "{text}");
        };
        check("30m", Some(1800));
        check("24h", Some(86_400));
        check("7d", Some(604_800));
        check("30", None);
        check("", None);
        check("h", None);
        check("1µ", None);
    }
}
