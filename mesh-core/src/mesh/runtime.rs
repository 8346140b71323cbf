//! What the client and server crates keep per `Mesh`: one value of each type, made at first use.
//!
//! Pools, counters and the like belong to a `Mesh` and to nothing global, yet this crate cannot name their types.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Values by their type.
#[derive(Debug, Default)]
pub(super) struct RuntimeStates(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl RuntimeStates {
    /// The value of type `T`, made by `make` where there is none yet.
    pub(super) fn of<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make())).clone();
        state.downcast().expect("the key of an entry is its value's type")
    }
}
