//! What can be served: a finished axum `Router`, or the tonic `Routes` that wrap one.

/// An application, complete: whatever is merged into it later would escape the policy.
pub trait App {
    /// The router that answers its requests.
    fn into_router(self) -> axum::Router;
}

impl App for axum::Router {
    fn into_router(self) -> axum::Router {
        self
    }
}

impl App for tonic::service::Routes {
    fn into_router(self) -> axum::Router {
        self.prepare().into_axum_router()
    }
}
