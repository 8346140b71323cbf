//! The question: one request, who makes it, and where it is judged (EXPLAIN.md, "Request").

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_core::canonical::PathNormalization;
use mesh_core::locality::Preference;
use serde::{Deserialize, Deserializer, Serialize};

use super::object::Object;
use crate::document::{DocumentSet, MeshSettings, OutboundTrafficPolicy, Reading, Source, Verdict};

/// One question. Only `url` is required.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// `GET`, or `POST` for gRPC, which knows no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// As the caller wrote it; its authority is what is dialled.
    pub url: String,
    /// What is spoken, where the URL does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The headers; a `host` among them is what the request says, apart from what is dialled.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Who calls.
    #[serde(default, deserialize_with = "object")]
    pub from: From,
    /// The gateway where the request enters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// How it reaches the server, where that is not left to the policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The serving workload, where a certain one is meant.
    #[serde(default, deserialize_with = "objects", skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// Whether routing is skipped and only `at` asked.
    #[serde(default)]
    pub inbound_only: bool,
    /// The server name that the TLS client sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Settings of the mesh for this question.
    #[serde(default, deserialize_with = "objects", skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Overrides>,
    /// Key sets for tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jwks: BTreeMap<String, String>,
    /// A number in [0, 1) for every percentage.
    #[serde(default, deserialize_with = "draw", skip_serializing_if = "Option::is_none")]
    pub draw: Option<f64>,
    /// The clock, in RFC 3339.
    #[serde(default, deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
}

/// The calling workload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    /// Its namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Its service account; without one it has no identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Its trust domain, where it is not the mesh's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// `region/zone/subzone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
}

/// The serving workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// Its namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Its service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Its labels, which selectors are held against.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The service's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The listening port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_port: Option<u16>,
}

/// How a request reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The mesh's mutual TLS.
    Mtls,
    /// TLS without a client certificate.
    Tls,
    /// No TLS.
    Plaintext,
}

/// Settings of the mesh for one question.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Where documents stand that hold for the whole mesh.
    pub root_namespace: Option<String>,
    /// The mesh's trust domain.
    pub trust_domain: Option<String>,
    /// Other names for it.
    pub trust_domain_aliases: Option<Vec<String>>,
    /// How paths are made canonical.
    pub path_normalization: Option<PathNormalization>,
    /// What happens to hosts outside the mesh.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// How many proxies in front of the mesh are trusted.
    pub trusted_proxies: Option<u32>,
    /// Which endpoints go before others.
    pub locality: Option<LocalityOverride>,
    /// `exportTo` of documents that have none.
    #[serde(deserialize_with = "objects")]
    pub default_export_to: Option<ExportTo>,
}

/// A `localityLbSetting`, as a document would say it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct LocalityOverride(String);

impl LocalityOverride {
    fn read(&self) -> Reading {
        let document = format!(
            "{{apiVersion: proxyless.mesh/v1alpha1, kind: MeshSettings, metadata: {{name: mesh}}, spec: {{localityLbSetting: {}}}}}",
            self.0
        );
        DocumentSet::read(&[Source::file("mesh.locality", document)])
    }

    /// What it says.
    pub(super) fn preference(&self) -> Preference {
        let documents = self.read().documents;
        documents
            .all::<MeshSettings>()
            .pop()
            .map_or_else(MeshSettings::default, |(_, one)| one.clone())
            .preference
    }
}

impl<'de> Deserialize<'de> for LocalityOverride {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let said = Self(serde_json::Value::deserialize(deserializer)?.to_string());
        let findings = said.read().reports.into_iter().flat_map(|report| report.findings);
        match findings.into_iter().find(|finding| finding.code.verdict() == Verdict::Invalid) {
            Some(finding) => Err(serde::de::Error::custom(format!("{}: {}", finding.field, finding.message))),
            None => Ok(said),
        }
    }
}

/// `exportTo` of documents that have none, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportTo {
    /// Of services.
    pub service: Option<Vec<String>>,
    /// Of VirtualServices.
    pub virtual_service: Option<Vec<String>>,
    /// Of DestinationRules.
    pub destination_rule: Option<Vec<String>>,
}

impl Default for From {
    fn default() -> Self {
        Self {
            namespace: default_namespace(),
            service_account: None,
            labels: BTreeMap::new(),
            ip: None,
            trust_domain: None,
            locality: None,
        }
    }
}

impl From {
    /// Whom mutual TLS would prove the caller to be, in a mesh of this trust domain.
    pub(super) fn principal(&self, trust_domain: &str) -> Option<String> {
        let account = self.service_account.as_ref()?;
        let trust_domain = self.trust_domain.as_deref().unwrap_or(trust_domain);
        Some(format!("{trust_domain}/ns/{}/sa/{account}", self.namespace))
    }
}

impl Question {
    /// The method.
    pub fn method(&self) -> &str {
        let default = if self.protocol() == Protocol::Grpc { "POST" } else { "GET" };
        self.method.as_deref().unwrap_or(default)
    }

    /// What is spoken: what the question says, else what its URL does.
    pub fn protocol(&self) -> Protocol {
        let by_url = if self.url.starts_with("tcp://") { Protocol::Tcp } else { Protocol::Http };
        self.protocol.unwrap_or(by_url)
    }
}

fn default_namespace() -> String {
    crate::document::DEFAULT_NAMESPACE.to_owned()
}

fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|value| value.map(|Object(value)| value))
}

fn draw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let draw = Option::<f64>::deserialize(deserializer)?;
    match draw {
        Some(draw) if !(0.0..1.0).contains(&draw) => {
            Err(serde::de::Error::custom(format!("draw {draw} is not in [0, 1)")))
        }
        draw => Ok(draw),
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let time = Option::<String>::deserialize(deserializer)?;
    match time {
        Some(time) if time.parse::<jiff::Timestamp>().is_err() => {
            Err(serde::de::Error::custom(format!("time `{time}` is not RFC 3339")))
        }
        time => Ok(time),
    }
}

/// Why an argument of the command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{argument}` is not {wanted}")]
pub struct InvalidArgument {
    /// As given.
    pub argument: String,
    /// What it should be.
    pub wanted: &'static str,
}

impl Question {
    /// The question's time, else this moment, in seconds of Unix time.
    pub(super) fn unix_seconds(&self) -> u64 {
        let time = self.time.as_ref().and_then(|time| time.parse().ok()).unwrap_or_else(jiff::Timestamp::now);
        u64::try_from(time.as_second()).unwrap_or(0)
    }

    /// Adds `-H 'name: value'`.
    ///
    /// # Errors
    /// Where there is no colon.
    pub fn header(&mut self, argument: &str) -> Result<(), InvalidArgument> {
        // A pseudo header begins with a colon of its own.
        let colon = argument.char_indices().skip(1).find(|(_, letter)| *letter == ':');
        let (colon, _) = colon.ok_or_else(|| refuse(argument, "a header, such as `end-user: jason`"))?;
        let (name, value) = (argument[..colon].trim(), argument[colon + 1..].trim());
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Sets `--from NS/SERVICE_ACCOUNT`.
    ///
    /// # Errors
    /// Where it is not two names.
    pub fn from(&mut self, argument: &str) -> Result<(), InvalidArgument> {
        let (namespace, account) = workload(argument)?;
        self.from = From { namespace, service_account: Some(account), ..std::mem::take(&mut self.from) };
        Ok(())
    }

    /// Adds `--from-label k=v`.
    ///
    /// # Errors
    /// Where there is no `=`.
    pub fn from_label(&mut self, argument: &str) -> Result<(), InvalidArgument> {
        let label =
            argument.split_once('=').ok_or_else(|| refuse(argument, "a label, such as `version=v2`"))?;
        self.from.labels.insert(label.0.to_owned(), label.1.to_owned());
        Ok(())
    }

    /// Sets `--at NS/SERVICE_ACCOUNT`.
    ///
    /// # Errors
    /// Where it is not two names.
    pub fn at(&mut self, argument: &str) -> Result<(), InvalidArgument> {
        let (namespace, account) = workload(argument)?;
        self.at = Some(At { namespace, service_account: Some(account), ..At::default() });
        Ok(())
    }

    /// Sets `--transport T`.
    ///
    /// # Errors
    /// Where it is none.
    pub fn transport(&mut self, argument: &str) -> Result<(), InvalidArgument> {
        self.transport = Some(match argument {
            "mtls" => Transport::Mtls,
            "tls" => Transport::Tls,
            "plaintext" => Transport::Plaintext,
            _ => return Err(refuse(argument, "a transport: mtls, tls or plaintext")),
        });
        Ok(())
    }

    /// Sets `--draw X`.
    ///
    /// # Errors
    /// Where it is no number in [0, 1).
    pub fn draw(&mut self, argument: &str) -> Result<(), InvalidArgument> {
        let draw = argument.parse().ok().filter(|draw| (0.0..1.0).contains(draw));
        self.draw = Some(draw.ok_or_else(|| refuse(argument, "a number in [0, 1)"))?);
        Ok(())
    }

    /// Sets `--time T`.
    ///
    /// # Errors
    /// Where it is no time.
    pub fn time(&mut self, argument: &str) -> Result<(), InvalidArgument> {
        if argument.parse::<jiff::Timestamp>().is_err() {
            return Err(refuse(argument, "a time, such as 2026-01-31T12:00:00Z"));
        }
        self.time = Some(argument.to_owned());
        Ok(())
    }
}

fn workload(argument: &str) -> Result<(String, String), InvalidArgument> {
    let is_name = |name: &str| {
        !name.is_empty() && !name.contains(|letter: char| letter == '/' || letter.is_whitespace())
    };
    let names =
        argument.split_once('/').filter(|(namespace, account)| is_name(namespace) && is_name(account));
    let (namespace, account) = names.ok_or_else(|| refuse(argument, "NAMESPACE/SERVICE_ACCOUNT"))?;
    Ok((namespace.to_owned(), account.to_owned()))
}

fn refuse(argument: &str, wanted: &'static str) -> InvalidArgument {
    InvalidArgument { argument: argument.to_owned(), wanted }
}
