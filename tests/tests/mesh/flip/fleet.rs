//! The mesh under the flip test: one control plane, its members and its callers, shared by all cases.
//!
//! Each member has a loopback address of its own and serves there on two ports, the second under the name `NAME:9090`, and
//! connections of bytes on two more, `NAME:5432` and `NAME:5433`:
//!
//! ```text
//!  namespace default   one · two · copy (the mirrors') · pair, in the versions v1 and v2
//!  namespace far       far
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use control_plane::admin::proto::{
    ApplyRequest, ChangeResponse, CreateTokenRequest, DeleteRequest, DocumentName, GrantedService, Source,
};
use control_plane::admin::{Client, Credential};
use mesh_core::Mesh;
use mesh_server::{MeshListener, OpaqueListener, Server};
use mesh_tests::ControlPlane;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::outside::Outside;
use super::teller::{Log, Teller};

/// The ports of every member, for requests and for bytes.
const PORTS: [u16; 2] = [9080, 9090];
const OPAQUE_PORTS: [u16; 2] = [5432, 5433];
/// How long the mesh may take to know of what was changed.
const SETTLED: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(3);
/// Where `home` is, and `one`.
const NEAR: &str = "r1/z1/s1";

/// Who asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Caller {
    /// Of namespace `default`, account `home`, label `tier: web`.
    #[default]
    Home,
    /// Of namespace `far`, account `away`, label `tier: edge`.
    Away,
    /// Somebody outside the mesh, in plaintext at the member `one`.
    Stranger,
}

/// What runs for all cases.
pub(super) struct Fleet {
    pub(super) log: Log,
    pub(super) callers: [Mesh; 2],
    /// Where each member listens, by its name.
    members: Vec<(&'static str, IpAddr)>,
    outside: Outside,
    admin: Client,
    applied: String,
    folder: String,
    _control_plane: ControlPlane,
}

impl Fleet {
    pub(super) async fn start() -> Self {
        let control_plane = ControlPlane::start();
        let credential =
            Credential::read(&control_plane.credential()).expect("the administrator's credential");
        let mut admin =
            Client::connect(&credential).await.expect("the control plane answers its administrator");
        let log = Log::default();
        let mut members = Vec::new();
        for (namespace, service, name, labels) in [
            ("default", "one", "one", [("app", "one"), ("version", "v1")]),
            ("default", "two", "two", [("app", "two"), ("version", "v1")]),
            ("default", "copy", "copy", [("app", "copy"), ("version", "v1")]),
            ("default", "pair", "v1", [("app", "pair"), ("version", "v1")]),
            ("default", "pair", "v2", [("app", "pair"), ("version", "v2")]),
            ("far", "far", "far", [("app", "far"), ("version", "v1")]),
        ] {
            let locality = match name {
                "one" => NEAR,
                "two" => "r2/z1/s1",
                _ => "",
            };
            let ports = [PORTS, OPAQUE_PORTS].concat();
            let mesh = join(&mut admin, (namespace, service), locality, &ports, &labels).await;
            members.push((name, serve(&mesh, service, name, &log).await));
        }
        let home = join(&mut admin, ("default", "home"), NEAR, &[], &[("tier", "web")]).await;
        let away = join(&mut admin, ("far", "away"), "", &[], &[("tier", "edge")]).await;
        let teller = |name: &str| Teller { name: name.to_owned(), log: log.clone(), mesh: home.clone() };
        let outside = Outside::start(control_plane.scratch(), teller).await;
        let folder = control_plane.scratch().display().to_string();
        let mut fleet = Self {
            callers: [home, away],
            log,
            members,
            outside,
            admin,
            applied: String::new(),
            folder,
            _control_plane: control_plane,
        };
        fleet.registered().await;
        fleet
    }

    /// Replaces all documents by these; says why where they are refused.
    pub(super) async fn begin(&mut self, documents: &str) -> Result<(), String> {
        let kept = names(documents);
        let former = names(&self.applied);
        // All of them: what is left might need what goes.
        if former.iter().any(|name| !kept.contains(name)) {
            let delete = DeleteRequest { documents: former, ..DeleteRequest::default() };
            accepted(&self.admin.delete(delete).await.expect("an answer"))?;
            self.applied.clear();
        }
        self.apply(documents).await
    }

    /// Applies documents, in the place of those of the same names.
    pub(super) async fn apply(&mut self, documents: &str) -> Result<(), String> {
        let text = self.filled_in(documents);
        let apply = ApplyRequest { sources: vec![source(&text)], dry_run: false };
        accepted(&self.admin.apply(apply).await.expect("an answer"))?;
        self.applied = text;
        self.settle().await;
        Ok(())
    }

    /// Where the member of that name listens.
    pub(super) fn address(&self, name: &str) -> SocketAddr {
        let (_, address) = self.members.iter().find(|(member, _)| *member == name).expect("a member");
        SocketAddr::new(*address, PORTS[0])
    }

    /// A text with what is known only here: `$ONE` is the address of the member `one`, `$PLAIN` the port of the
    /// plaintext server outside, `$FILES` the folder of certificates.
    pub(super) fn filled_in(&self, text: &str) -> String {
        let mut text = text.replace("$FILES", &self.folder);
        for (name, address) in &self.members {
            text = text.replace(&format!("${}", name.to_uppercase()), &address.to_string());
        }
        let outside = &self.outside;
        for (name, address) in [
            ("$PLAIN", outside.plain),
            ("$TLS", outside.tls),
            ("$MUTUAL", outside.mutual),
            ("$SILENT", outside.silent),
        ] {
            text = text.replace(name, &address.port().to_string());
        }
        text
    }

    async fn registered(&mut self) {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            let instances = status["instances"].as_array().map_or(0, Vec::len);
            if instances == self.members.len() {
                return;
            }
            assert!(start.elapsed() < SETTLED, "{instances} of {} serve", self.members.len());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until each member knows what is applied: it has twice, for what an answer tells of may be asked for next.
    async fn settle(&mut self) {
        let start = Instant::now();
        let mut seen = 0;
        while seen < 2 {
            let status = self.status().await;
            let behind = |stream: &&Value| stream["up_to_date"] != Value::Bool(true);
            let behind = status["streams"].as_array().into_iter().flatten().filter(behind).count();
            seen = if behind == 0 { seen + 1 } else { 0 };
            assert!(start.elapsed() < SETTLED, "{behind} members are behind");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn status(&mut self) -> Value {
        let status = self.admin.status().await.expect("a status");
        serde_json::from_str(&status).expect("JSON")
    }
}

async fn join(
    admin: &mut Client,
    (namespace, service): (&str, &str),
    locality: &str,
    ports: &[u16],
    labels: &[(&str, &str)],
) -> Mesh {
    let granted = |port: &u16| GrantedService { name: service.to_owned(), port: u32::from(*port) };
    let token = CreateTokenRequest {
        namespace: namespace.to_owned(),
        service_account: service.to_owned(),
        services: ports.iter().map(granted).collect(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        locality: locality.to_owned(),
        uses_max: 1,
        ..CreateTokenRequest::default()
    };
    let token = admin.create_token(token).await.expect("a token");
    Mesh::builder(token.join).save_nothing().start().await.expect("a member")
}

async fn serve(mesh: &Mesh, service: &str, name: &str, log: &Log) -> IpAddr {
    // Any of sixteen million, of which other tests at this moment have a few dozen.
    let [_, second, third, last] = fastrand::u32(..).to_be_bytes();
    let address = IpAddr::V4(Ipv4Addr::new(127, second.max(1), third, last.clamp(1, 254)));
    for port in PORTS {
        let server = Server::builder(mesh).service(format!("{service}:{port}"));
        let server = server.bind(SocketAddr::new(address, port)).await.expect("nobody else has this address");
        let name = if port == PORTS[0] { name.to_owned() } else { format!("{name}:{port}") };
        let teller = Teller { name, log: log.clone(), mesh: mesh.clone() };
        // It ends with the test's process.
        tokio::spawn(server.serve_with_shutdown(teller.router(), std::future::pending()));
    }
    for port in OPAQUE_PORTS {
        let listener = MeshListener::builder(mesh).service(format!("{service}:{port}"));
        let listener = listener.bind_opaque(SocketAddr::new(address, port)).await;
        let listener = listener.expect("nobody else has this address");
        tokio::spawn(answer_bytes(listener, format!("{name}:{port}")));
    }
    address
}

/// Answers each connection with a name, once all has been said on it.
async fn answer_bytes(mut listener: OpaqueListener, name: String) {
    while let Ok(mut connection) = listener.accept().await {
        let name = name.clone();
        tokio::spawn(async move {
            let mut said = Vec::new();
            // Whoever goes away is not answered.
            if connection.read_to_end(&mut said).await.is_ok()
                && connection.write_all(name.as_bytes()).await.is_ok()
            {
                let _ = connection.shutdown().await;
            }
        });
    }
}

/// What the documents of a text are called.
fn names(text: &str) -> Vec<DocumentName> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("documents are YAML");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |document: &Value| DocumentName {
        kind: word(&document["kind"]),
        namespace: word(&document["metadata"]["namespace"]),
        name: word(&document["metadata"]["name"]),
    };
    documents.iter().map(name).collect()
}

fn source(text: &str) -> Source {
    Source { file: "case.yaml".to_owned(), text: text.to_owned() }
}

fn accepted(response: &ChangeResponse) -> Result<(), String> {
    if response.applied {
        return Ok(());
    }
    let verdicts: Value = serde_json::from_str(&response.verdicts_json).expect("JSON");
    let findings = verdicts.as_array().into_iter().flatten().filter_map(|one| one["findings"].as_array());
    let said = findings.flatten().map(|finding| format!("{} {}", finding["field"], finding["message"]));
    Err(said.collect::<Vec<_>>().join("; "))
}
