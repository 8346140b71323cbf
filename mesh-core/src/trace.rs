//! An optional account of a decision's steps, so that `explain` and the data path share one function.

/// Receives the steps of a decision. The data path passes [`NoTrace`], which costs nothing.
pub trait Trace {
    /// Notes steps in order; the iterator is asked only where somebody reads it.
    fn note_all(&mut self, steps: impl Iterator<Item = String>);

    /// Notes one step; `step` is called only where somebody reads it.
    fn note(&mut self, step: impl FnOnce() -> String) {
        self.note_all(std::iter::once_with(step));
    }
}

/// Discards every step.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline]
    fn note_all(&mut self, _steps: impl Iterator<Item = String>) {}
}

/// Keeps every step in order.
#[derive(Debug, Default, Clone)]
pub struct Steps(pub Vec<String>);

impl Trace for Steps {
    fn note_all(&mut self, steps: impl Iterator<Item = String>) {
        self.0.extend(steps);
    }
}
