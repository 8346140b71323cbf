//! What a test says of its mesh before it starts.

use std::fmt;

use control_plane::document::Source;
use control_plane::validate::read_sources;
use mesh_core::Mesh;
use mesh_server::App;

use crate::authority::Authority;
use crate::control::Control;
use crate::test_mesh::TestMesh;
use crate::{TestMeshError, Workload};

/// A mesh that is about to start; see [`TestMesh::builder`].
#[derive(Default)]
#[must_use]
pub struct TestMeshBuilder {
    documents: Vec<Documents>,
    workloads: Vec<Workload>,
    seed: u64,
}

enum Documents {
    Text(String),
    File(String),
}

impl TestMeshBuilder {
    /// Documents as text, such as `include_str!("../mesh/reviews.yaml")`. Findings name them `documents`, further ones
    /// `documents-2` and so on.
    pub fn documents(mut self, text: impl Into<String>) -> Self {
        self.documents.push(Documents::Text(text.into()));
        self
    }

    /// A file of documents, or a folder of such files; `cargo test` runs in the package's folder.
    pub fn file(mut self, path: impl Into<String>) -> Self {
        self.documents.push(Documents::File(path.into()));
        self
    }

    /// A member that serves `NAME:PORT`; its labels are written `version=v2,tier=edge`, or are empty.
    pub fn service(self, service: impl Into<String>, labels: impl Into<String>, app: impl App) -> Self {
        self.workload(Workload::serving(service, app).labels(labels))
    }

    /// A member that serves `NAME:PORT` and calls others: `app` is given the mesh to call through.
    pub fn service_with<A: App>(
        self,
        service: impl Into<String>,
        labels: impl Into<String>,
        app: impl FnOnce(&Mesh) -> A + Send + 'static,
    ) -> Self {
        self.workload(Workload::serving_with(service, app).labels(labels))
    }

    /// A member of which there is more to say.
    pub fn workload(mut self, workload: Workload) -> Self {
        self.workloads.push(workload);
        self
    }

    /// What the members' draws come from (splits, fault percentages); default 0. Two runs with one seed draw the same, as far as
    /// requests come in the same order.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts the mesh, and returns once every service accepts requests.
    ///
    /// # Errors
    /// Documents that `mesh apply` would refuse, with everything that is wrong with them; workloads that no token could name.
    pub async fn start(self) -> Result<TestMesh, TestMeshError> {
        let sources = sources(self.documents)?;
        let described = self.workloads.into_iter().enumerate();
        let described = described.map(|(number, workload)| workload.describe(number));
        let described: Vec<_> = described.collect::<Result<_, _>>()?;
        let control = Control::new(&sources, &described)?;
        let authority = Authority::new(control.trust_domain()?).map_err(TestMeshError::Authority)?;
        TestMesh::start(control, authority, described, self.seed).await
    }
}

impl fmt::Debug for TestMeshBuilder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TestMeshBuilder").field("workloads", &self.workloads).finish_non_exhaustive()
    }
}

fn sources(documents: Vec<Documents>) -> Result<Vec<Source>, TestMeshError> {
    let mut sources = Vec::new();
    let mut texts = 0;
    for documents in documents {
        match documents {
            Documents::Text(text) => {
                texts += 1;
                let name = if texts == 1 { "documents".to_owned() } else { format!("documents-{texts}") };
                sources.push(Source::file(name, text));
            }
            Documents::File(path) => sources.extend(read_sources(&[path], std::io::empty())?),
        }
    }
    Ok(sources)
}
