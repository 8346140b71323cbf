//! Who asks for a resource, and which facts about it the answer has read.
//!
//! A resource depends on its caller (short names, `sourceLabels`, `exportTo`), yet most callers get the same bytes. So
//! translation reads the caller through a [`View`], which notes every fact read; the cache then shares one encoding among
//! all callers whose noted facts agree. The facts come from the certificate's grant and, but for the kind of client, never
//! from `node`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::ClientKind;

/// Labels of a workload or a selector.
pub type Labels = BTreeMap<String, String>;

/// What a certificate's grant says of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Caller {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// Where it is: `region/zone/subzone`, where known.
    pub locality: Option<Arc<str>>,
    /// What its workload is called (`default/reviews-v1`), where known.
    pub workload: Option<Arc<str>>,
    /// What it says it is: believed for what it can digest, never for what it may see.
    pub client: ClientKind,
}

/// A set of facts about a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Inputs(u8);

impl Inputs {
    const NAMESPACE: Self = Self(1);
    const LABELS: Self = Self(2);
    const WORKLOAD: Self = Self(4);
    const CLIENT: Self = Self(8);
    const LOCALITY: Self = Self(16);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The facts of a caller that `Inputs` name, and no others: two callers with equal keys get the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallerKey(Caller);

impl Caller {
    /// What of this caller matters where `inputs` have been read.
    pub fn key(&self, inputs: Inputs) -> CallerKey {
        let mut key = Self::default();
        if inputs.has(Inputs::NAMESPACE) {
            key.namespace = self.namespace.clone();
        }
        if inputs.has(Inputs::LABELS) {
            key.labels = self.labels.clone();
        }
        if inputs.has(Inputs::WORKLOAD) {
            key.workload = self.workload.clone();
        }
        if inputs.has(Inputs::LOCALITY) {
            key.locality = self.locality.clone();
        }
        if inputs.has(Inputs::CLIENT) {
            key.client = self.client.clone();
        }
        CallerKey(key)
    }
}

/// A caller whose facts are noted as they are read.
#[derive(Debug)]
pub struct View<'c> {
    caller: &'c Caller,
    read: Cell<Inputs>,
}

impl<'c> View<'c> {
    /// A view with nothing read yet.
    pub fn new(caller: &'c Caller) -> Self {
        Self { caller, read: Cell::default() }
    }

    /// The caller's namespace.
    pub fn namespace(&self) -> &'c str {
        self.note(Inputs::NAMESPACE);
        &self.caller.namespace
    }

    /// The caller's labels.
    pub fn labels(&self) -> &'c Labels {
        self.note(Inputs::LABELS);
        &self.caller.labels
    }

    /// The name of the caller's workload.
    pub fn workload(&self) -> Option<&'c str> {
        self.note(Inputs::WORKLOAD);
        self.caller.workload.as_deref()
    }

    /// Where the caller is.
    pub fn locality(&self) -> Option<&'c str> {
        self.note(Inputs::LOCALITY);
        self.caller.locality.as_deref()
    }

    /// The kind of program that the caller is.
    pub fn client(&self) -> &'c ClientKind {
        self.note(Inputs::CLIENT);
        &self.caller.client
    }

    /// What has been read so far.
    pub fn read(&self) -> Inputs {
        self.read.get()
    }

    fn note(&self, input: Inputs) {
        self.read.set(Inputs(self.read.get().0 | input.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_share_what_does_not_differ_in_facts_read() {
        let web = Caller { namespace: "web".into(), workload: Some("web/a".into()), ..Caller::default() };
        let other = Caller { workload: Some("web/b".into()), ..web.clone() };
        let view = View::new(&web);
        assert_eq!(web.key(view.read()), Caller::default().key(view.read()), "nothing read, nothing differs");
        assert_eq!(view.namespace(), "web");
        assert_eq!(web.key(view.read()), other.key(view.read()));
        assert_eq!(view.workload(), Some("web/a"));
        assert_ne!(web.key(view.read()), other.key(view.read()));
    }
}
