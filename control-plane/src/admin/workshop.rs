//! Where the long work of administration is done: aside, and a bounded amount at a time, so that administrators cannot take
//! the processors from the members of the mesh.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::Status;

use crate::aside::aside;

/// How long work waits for its turn; callers wait a minute for the whole answer.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// A number of places to work at.
#[derive(Clone, Debug)]
pub(super) struct Workshop {
    places: Arc<Semaphore>,
}

impl Workshop {
    /// One that leaves a processor to what serves the mesh, where there is more than one.
    pub(super) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::of((processors - 1).max(1))
    }

    fn of(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)) }
    }

    /// Does `work` when there is a place.
    ///
    /// # Errors
    /// When none becomes free in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let busy = || Status::resource_exhausted("the control plane is busy with other calls; try again");
        let turn = timeout(TURN_WAIT, self.places.clone().acquire_owned()).await;
        let place = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        // The work keeps its place even when the caller has gone: it holds a processor until it ends.
        Ok(aside(move || {
            let done = work();
            drop(place);
            done
        })
        .await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn work_leaves_the_runtime_free() {
        let (done, wait) = mpsc::channel();
        // There is one thread here, so that work done on it would wait for ever.
        tokio::spawn(async move { done.send(7) });
        assert_eq!(Workshop::of(1).run(move || wait.recv()).await.unwrap(), Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_its_turn_and_then_is_told() {
        let workshop = Workshop::of(1);
        let (done, wait) = mpsc::channel();
        let busy = workshop.clone();
        let first = tokio::spawn(async move { busy.run(move || wait.recv()).await });
        while workshop.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // Paused time does not pass by itself while something is done aside.
        let mut second = Box::pin(workshop.run(|| ()));
        assert!(second.as_mut().now_or_never().is_none());
        tokio::time::advance(TURN_WAIT).await;
        let refused = second.await.unwrap_err();
        assert!(refused.message().contains("try again"), "{refused}");
        done.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
        workshop.run(|| ()).await.unwrap();
    }
}
