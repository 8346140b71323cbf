//! An optional account of a decision's steps, so that `explain` and the data path share one function.

/// Receives the steps of a decision. The data path passes [`NoTrace`], which costs nothing.
pub trait Trace {
    /// Notes one step; `step` is called only where somebody reads it.
    fn note(&mut self, step: impl FnOnce() -> String);
}

/// Discards every step.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline]
    fn note(&mut self, _step: impl FnOnce() -> String) {}
}

/// Keeps every step in order.
#[derive(Debug, Default, Clone)]
pub struct Steps(pub Vec<String>);

impl Trace for Steps {
    fn note(&mut self, step: impl FnOnce() -> String) {
        self.0.push(step());
    }
}
