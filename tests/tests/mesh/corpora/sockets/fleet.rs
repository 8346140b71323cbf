//! The members that serve in a case: each at a loopback address of its own, on the very ports of its documents.
//!
//! A member is found by its labels, as a Pod is. The service that its token names is one of which no document speaks, so that
//! what a document does not declare stays unknown to the mesh whoever has joined before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use control_plane::admin::proto::{
    ApplyRequest, ChangeResponse, CreateTokenRequest, DeleteRequest, GrantedService, ListRequest, Source,
};
use control_plane::admin::{Client, Credential};
use mesh_core::Mesh;
use mesh_server::{MeshListener, OpaqueListener, Server};
use mesh_tests::{ControlPlane, Recorder};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::documents::{Carries, Documents, Labels, Workload, carries};

/// How long the mesh may take to know of what was changed.
const SETTLED: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// The ports of a member, and what it reads there.
pub(super) type Ports = BTreeMap<u16, Carries>;

/// A control plane, and who has joined it.
pub(super) struct Fleet {
    _control_plane: ControlPlane,
    admin: Client,
    pub(super) recorder: Recorder,
    members: BTreeMap<(Workload, Ports), Member>,
    /// Who serves no more and has yet to be forgotten.
    leaving: Vec<Mesh>,
    callers: BTreeMap<Workload, Mesh>,
    joined: u32,
}

/// A member that serves until it is stopped.
struct Member {
    address: IpAddr,
    mesh: Mesh,
    stop: watch::Sender<()>,
    servers: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Member {
    /// Ends it. What is left tells the control plane.
    async fn stop(self) -> Mesh {
        drop(self.stop);
        for server in self.servers {
            server.await.expect("no server panics").expect("each server ends well");
        }
        self.mesh
    }
}

impl Fleet {
    pub(super) async fn start() -> Self {
        let control_plane = ControlPlane::start();
        let credential =
            Credential::read(&control_plane.credential()).expect("the administrator's credential");
        let admin = Client::connect(&credential).await.expect("the control plane answers its administrator");
        Self {
            _control_plane: control_plane,
            admin,
            recorder: Recorder::default(),
            members: BTreeMap::new(),
            leaving: Vec::new(),
            callers: BTreeMap::new(),
            joined: 0,
        }
    }

    /// Has these serve and nobody else.
    pub(super) async fn serve(&mut self, wanted: &BTreeMap<Workload, Ports>) {
        let unwanted = |(workload, ports): &(Workload, Ports)| wanted.get(workload) != Some(ports);
        let ending: Vec<_> = self.members.extract_if(.., |key, _| unwanted(key)).collect();
        let ending = ending.into_iter().map(|(_, member)| member.stop());
        self.leaving.extend(futures_util::future::join_all(ending).await);
        for (workload, ports) in wanted {
            let key = (workload.clone(), ports.clone());
            if !self.members.contains_key(&key) {
                let member = self.join_and_serve(workload, ports).await;
                self.members.insert(key, member);
            }
        }
    }

    async fn join_and_serve(&mut self, workload: &Workload, ports: &Ports) -> Member {
        let name = format!("member-{}", self.joined);
        let mesh = self.join(workload, &name, ports).await;
        // Any of sixteen million, of which other tests at this moment have a few dozen.
        let [_, second, third, last] = fastrand::u32(..).to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(127, second.max(1), third, last.clamp(1, 254)));
        let (stop, stopped) = watch::channel(());
        let mut servers = Vec::new();
        for (port, carries) in ports {
            let service = format!("{name}:{port}");
            let address = SocketAddr::new(address, *port);
            let mut stopped = stopped.clone();
            // Its sender's end is the word.
            let stopped = async move { drop(stopped.changed().await) };
            servers.push(match carries {
                Carries::Requests => {
                    let server = Server::builder(&mesh).service(service).drain_notice(Duration::ZERO);
                    let server = server.bind(address).await.expect("nobody else has this address");
                    let routes = self.recorder.router(address);
                    tokio::spawn(server.serve_with_shutdown(routes, stopped))
                }
                Carries::Bytes => {
                    let listener = MeshListener::builder(&mesh).service(service).bind_opaque(address).await;
                    let listener = listener.expect("nobody else has this address");
                    tokio::spawn(echo(listener, self.recorder.clone(), stopped))
                }
            });
        }
        Member { address, mesh, stop, servers }
    }

    /// The caller of this namespace, account and labels. What it dials first waits for what is applied by then.
    pub(super) async fn caller(&mut self, who: &Workload) -> Mesh {
        if !self.callers.contains_key(who) {
            let mesh = self.join(who, "", &Ports::new()).await;
            self.callers.insert(who.clone(), mesh);
        }
        self.callers[who].clone()
    }

    async fn join(&mut self, who: &Workload, service: &str, ports: &Ports) -> Mesh {
        self.joined += 1;
        let granted = |port: &u16| GrantedService { name: service.to_owned(), port: u32::from(*port) };
        let token = CreateTokenRequest {
            namespace: who.namespace.clone(),
            service_account: who.account.clone(),
            services: ports.keys().map(granted).collect(),
            labels: who.labels.clone().into_iter().collect(),
            uses_max: 1,
            ..CreateTokenRequest::default()
        };
        let token =
            self.admin.create_token(token).await.unwrap_or_else(|refused| panic!("{who:?}: {refused}"));
        let mesh = Mesh::builder(token.join).save_nothing().start().await;
        mesh.unwrap_or_else(|problem| panic!("{who:?}: {problem}"))
    }

    /// Where those listen that carry `labels`.
    pub(super) fn listening(&self, namespace: &str, labels: &Labels, port: u16) -> BTreeSet<SocketAddr> {
        let meant = self.members.iter().filter(|((workload, ports), _)| {
            workload.namespace == namespace && carries(&workload.labels, labels) && ports.contains_key(&port)
        });
        meant.map(|(_, member)| SocketAddr::new(member.address, port)).collect()
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let members = self.members.iter();
        members
            .flat_map(|((_, ports), member)| ports.keys().map(|port| SocketAddr::new(member.address, *port)))
    }

    /// Replaces all documents by these, for callers that have known no others; says what is wrong with them where they are refused.
    pub(super) async fn apply(&mut self, documents: &Documents) -> Result<(), String> {
        self.callers.clear();
        let stored = self.admin.list(ListRequest::default()).await.expect("a list").documents;
        let stored: Vec<_> = stored.into_iter().filter_map(|document| document.document).collect();
        if !stored.is_empty() {
            let delete = DeleteRequest { documents: stored, ..DeleteRequest::default() };
            let deleted = self.admin.delete(delete).await.expect("an answer");
            accepted(&deleted).expect("all documents may go");
        }
        let sources = documents.sources().into_iter();
        let sources = sources.map(|source| Source { file: source.file, text: source.text }).collect();
        accepted(&self.admin.apply(ApplyRequest { sources, dry_run: false }).await.expect("an answer"))
    }

    /// The running control plane's answer to a question.
    pub(super) async fn explain(&mut self, question: &Value) -> String {
        let answers = self.admin.explain(vec![question.to_string()]).await.expect("an answer");
        answers.into_iter().next().expect("an answer for each question")
    }

    /// Waits until the control plane knows who serves, and each member what is applied.
    pub(super) async fn settle(&mut self) {
        let start = Instant::now();
        let wanted: BTreeSet<String> = self.addresses().map(|address| address.to_string()).collect();
        loop {
            let status = self.admin.status().await.expect("a status");
            let status: Value = serde_json::from_str(&status).expect("JSON");
            let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let bindings =
                all(&status["instances"]).into_iter().flat_map(|instance| all(&instance["bindings"]));
            let serving: BTreeSet<String> =
                bindings.filter_map(|binding| Some(binding["address"].as_str()?.to_owned())).collect();
            let behind = |stream: &&Value| stream["up_to_date"] != Value::Bool(true);
            let behind = status["streams"].as_array().into_iter().flatten().filter(behind).count();
            if serving == wanted && behind == 0 {
                self.leaving.clear();
                return;
            }
            assert!(
                start.elapsed() < SETTLED,
                "{serving:?} of {wanted:?} serve, {behind} members are behind"
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Serves bytes until it is `stopped`.
async fn echo(
    mut listener: OpaqueListener,
    recorder: Recorder,
    stopped: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let address = listener.address();
    let mut stopped = std::pin::pin!(stopped);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            conn = listener.accept() => {
                let (recorder, conn) = (recorder.clone(), conn?);
                open.spawn(async move { recorder.echo(address, conn).await });
            }
        }
    }
}

fn accepted(response: &ChangeResponse) -> Result<(), String> {
    if response.applied { Ok(()) } else { Err(response.verdicts_json.clone()) }
}
