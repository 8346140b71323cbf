//! The running mesh, as a test holds it.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_plane::document::{DEFAULT_NAMESPACE, Source};
use control_plane::grant::{Grant, GrantError, Wishes};
use fastrand::Rng;
use mesh_core::Mesh;
use mesh_core::network::MemoryNetwork;
use mesh_server::Event;

use crate::authority::Authority;
use crate::control::Control;
use crate::member::{Ground, Member};
use crate::serving::Serving;
use crate::workload::{Described, own_address};
use crate::{TestMeshBuilder, TestMeshError};

/// A mesh within one test; it ends when it is dropped. Two of them share nothing.
pub struct TestMesh {
    ground: Ground,
    members: Mutex<Members>,
}

struct Members {
    all: Vec<Member>,
    /// Members draw apart, or two hops of one request would draw alike.
    seeds: Rng,
}

impl TestMesh {
    /// Begins a mesh.
    pub fn builder() -> TestMeshBuilder {
        TestMeshBuilder::default()
    }

    pub(crate) async fn start(
        control: Control,
        authority: Authority,
        described: Vec<Described>,
        seed: u64,
    ) -> Result<Self, TestMeshError> {
        let ground = Ground { control: Arc::new(control), authority, network: MemoryNetwork::default() };
        let mut members = Members { all: Vec::new(), seeds: Rng::with_seed(seed) };
        let mut accepting = Vec::new();
        for Described { grant, address, apps } in described {
            let mut member = members.join(&ground, &grant, address)?;
            for (address, app) in member.addresses.iter().zip(apps) {
                let Some(app) = app else { continue };
                let app = app(&member.mesh);
                let serving = Serving::start(&member.mesh, *address, app).await;
                let refused = |reason| TestMeshError::Serve { workload: member.name.clone(), reason };
                member.serving.push(serving.map_err(refused)?);
                accepting.push(*address);
            }
            members.all.push(member);
        }
        for address in accepting {
            ground.network.accepts(address).await;
        }
        Ok(Self { ground, members: Mutex::new(members) })
    }

    /// The mesh as a member sees it, to be called through: a workload by its name (`reviews-v2`), or else whoever only calls
    /// under this service account (`productpage` is the caller `default/productpage`). `NAMESPACE/NAME` is one of another namespace
    /// than `default`.
    ///
    /// # Panics
    /// Where no member could be called so, and outside of a tokio runtime.
    pub fn member(&self, name: &str) -> Mesh {
        let (namespace, account) = name.split_once('/').unwrap_or((DEFAULT_NAMESPACE, name));
        let mut members = self.members();
        let full_name = format!("{namespace}/{account}");
        if let Some(member) = members.all.iter().find(|member| member.name == full_name) {
            return member.mesh.clone();
        }
        let grant = caller(namespace, account)
            .unwrap_or_else(|reason| panic!("no member can be called `{name}`: {reason}"));
        let address = own_address(members.all.len());
        let member = members.join(&self.ground, &grant, address).unwrap_or_else(|error| panic!("{error}"));
        let mesh = member.mesh.clone();
        members.all.push(member);
        mesh
    }

    /// Waits until every service of a workload accepts connections. They all do once the mesh has started, but for those that
    /// the test serves itself ([`Workload::granted`](crate::Workload::granted)).
    ///
    /// # Panics
    /// Where there is no such workload.
    pub async fn accepting(&self, workload: &str) {
        for address in self.of(workload, |member| member.addresses.clone()).concat() {
            self.ground.network.accepts(address).await;
        }
    }

    /// Applies documents as `mesh apply` does: all or none, over those that hold. Every member has them when this returns; requests
    /// under way end as they began.
    ///
    /// # Errors
    /// Everything that is wrong with them; what held before still holds then.
    pub fn apply(&self, documents: impl Into<String>) -> Result<(), TestMeshError> {
        self.ground.control.apply(Source::file("applied", documents))
    }

    /// Deletes a document: `KIND/NAME`, or `KIND/NAMESPACE/NAME`.
    ///
    /// # Errors
    /// Where there is no such document, or another one needs it.
    pub fn delete(&self, document: &str) -> Result<(), TestMeshError> {
        self.ground.control.delete(document)
    }

    /// How many requests reached the applications of a workload (`reviews-v1`, `NAMESPACE/NAME`); what policy turned away did not.
    ///
    /// # Panics
    /// Where there is no such workload.
    pub fn received(&self, workload: &str) -> u64 {
        self.of(workload, |member| member.serving.iter().map(Serving::received).sum::<u64>())
            .into_iter()
            .sum()
    }

    /// How often something happened where a workload serves: requests that policy denied, connections that were turned away.
    ///
    /// # Panics
    /// Where there is no such workload.
    pub fn count(&self, workload: &str, event: Event) -> u64 {
        let count =
            |member: &Member| member.serving.iter().map(|serving| serving.counters.count(event)).sum::<u64>();
        self.of(workload, count).into_iter().sum()
    }

    /// A workload's address. Whoever calls it (`http://ADDRESS:PORT/`) instead of a service calls past the mesh, in plaintext.
    ///
    /// # Panics
    /// Where there is no such workload.
    pub fn address(&self, workload: &str) -> IpAddr {
        self.of(workload, |member| member.address)[0]
    }

    /// What each member of that name says; there is at least one.
    fn of<T>(&self, name: &str, say: impl Fn(&Member) -> T) -> Vec<T> {
        let full_name =
            if name.contains('/') { name.to_owned() } else { format!("{DEFAULT_NAMESPACE}/{name}") };
        let members = self.members();
        let said: Vec<T> = members.all.iter().filter(|member| member.name == full_name).map(say).collect();
        let known = || members.all.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
        assert!(!said.is_empty(), "there is no workload `{name}`; there are {}", known());
        said
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    fn join(&mut self, ground: &Ground, grant: &Grant, address: IpAddr) -> Result<Member, TestMeshError> {
        Member::join(ground, grant, address, self.seeds.u64(..))
    }
}

fn caller(namespace: &str, account: &str) -> Result<Grant, GrantError> {
    let (namespace, service_account) = (namespace.to_owned(), account.to_owned());
    let grant = Wishes { namespace, service_account, ..Wishes::default() }.complete()?;
    grant.check()?;
    Ok(grant)
}

impl fmt::Debug for TestMesh {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.members();
        let names: Vec<_> = members.all.iter().map(|member| &member.name).collect();
        out.debug_struct("TestMesh").field("members", &names).finish_non_exhaustive()
    }
}
