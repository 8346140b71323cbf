//! The embedded store against a model, over its own history, and before files that it must refuse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use proptest::prelude::*;
use redb::Database;

use super::super::{Changes, Compare, Entry, Event, Keys, Outcome, Store, StoreError, Transaction};
use super::format::{META, META_FORMAT, META_REVISION};
use super::{EmbeddedStore, Retention};

struct Fixture {
    store: Option<EmbeddedStore>,
    folder: tempfile::TempDir,
    retention: Retention,
}

impl Fixture {
    fn new(revisions_max: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let retention = Retention { revisions_max };
        let store = Some(EmbeddedStore::open(&folder.path().join("store.redb"), retention).unwrap());
        Self { store, folder, retention }
    }

    fn store(&self) -> &EmbeddedStore {
        self.store.as_ref().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.redb")
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(EmbeddedStore::open(&self.path(), self.retention).unwrap());
    }

    async fn commit(&self, transaction: Transaction) -> Outcome {
        self.store().commit(transaction).await.unwrap()
    }

    async fn keys(&self, prefix: &str, revision: Option<u64>) -> Vec<String> {
        let listing = self.store().range(Keys::prefix(prefix), revision).await.unwrap();
        listing.entries.into_iter().map(|entry| entry.key).collect()
    }
}

fn put(key: &str, value: &str) -> Transaction {
    Transaction::new().put(key, value.to_owned())
}

fn told(changes: &Changes) -> Vec<String> {
    let event = |event: &Event| match event {
        Event::Put(entry) => {
            let value = String::from_utf8_lossy(&entry.value);
            format!("{}={value} {}/{}", entry.key, entry.create_revision, entry.mod_revision)
        }
        Event::Delete { key, revision } => format!("-{key} {revision}"),
    };
    changes.events.iter().map(event).collect()
}

#[tokio::test]
async fn a_failed_condition_leaves_nothing_behind() {
    let fixture = Fixture::new(100);
    assert_eq!(fixture.commit(put("a", "1")).await, Outcome::Committed { revision: 1 });
    let late = Transaction::new().when(Compare::absent("a")).put("b", "2").delete("a");
    assert_eq!(fixture.commit(late).await, Outcome::Conflict { key: "a".into() });
    let stale = Transaction::new().when(Compare::unchanged("a", 7)).put("b", "2");
    assert_eq!(fixture.commit(stale).await, Outcome::Conflict { key: "a".into() });
    assert_eq!(fixture.keys("", None).await, ["a"]);
    let fresh = Transaction::new().when(Compare::unchanged("a", 1)).when(Compare::absent("b")).put("b", "2");
    assert_eq!(fixture.commit(fresh).await, Outcome::Committed { revision: 2 });
}

#[tokio::test]
async fn age_is_kept_on_replacement_and_begins_anew_after_removal() {
    let fixture = Fixture::new(100);
    for transaction in [put("a", "1"), put("a", "2"), Transaction::new().delete("a"), put("a", "3")] {
        fixture.commit(transaction).await;
    }
    let at = async |revision| {
        let listing = fixture.store().range(Keys::one("a"), Some(revision)).await.unwrap();
        listing.entries.first().map(|entry| (entry.create_revision, entry.mod_revision))
    };
    assert_eq!(
        [at(1).await, at(2).await, at(3).await, at(4).await],
        [Some((1, 1)), Some((1, 2)), None, Some((4, 4))]
    );
}

#[tokio::test]
async fn a_watch_continues_a_listing_without_gap() {
    let fixture = Fixture::new(100);
    fixture.commit(put("documents/a", "1").put("tokens/a", "x")).await;
    let listing = fixture.store().range(Keys::prefix("documents/"), None).await.unwrap();
    let mut watch = fixture.store().watch("documents/", listing.revision);
    assert!(watch.next().now_or_never().is_none(), "nothing has happened yet");
    fixture.commit(put("tokens/b", "y")).await;
    fixture.commit(put("documents/b", "2").delete("documents/a")).await;
    fixture.commit(put("documents/b", "3")).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(told(&watch.next().await.unwrap().unwrap()));
    }
    assert_eq!(seen, ["documents/b=2 3/3", "-documents/a 3", "documents/b=3 3/4"]);
}

#[tokio::test]
async fn removing_what_is_not_there_is_no_revision() {
    let fixture = Fixture::new(100);
    fixture.commit(put("a", "1")).await;
    assert_eq!(fixture.commit(Transaction::new().delete("b")).await, Outcome::Committed { revision: 1 });
    assert_eq!(fixture.commit(Transaction::new()).await, Outcome::Committed { revision: 1 });
}

#[tokio::test]
async fn a_forgotten_or_future_revision_is_refused_by_name() {
    let fixture = Fixture::new(3);
    for round in 0..10 {
        fixture.commit(put("a", &round.to_string()).put(format!("b/{round}"), "x")).await;
    }
    let error = |result: Result<_, StoreError>| result.map(|_: ()| ()).unwrap_err().to_string();
    let store = fixture.store();
    let range = async |revision| error(store.range(Keys::one("a"), Some(revision)).await.map(drop));
    let watch = async |revision| error(store.watch("a", revision).next().await.unwrap().map(drop));
    let compacted = "revision 6 is compacted, the oldest kept is 7: list anew and watch from there";
    assert_eq!([range(6).await, watch(6).await], [compacted, compacted]);
    let future = "revision 11 does not exist yet, the newest is 10: list anew and watch from there";
    assert_eq!([range(11).await, watch(11).await], [future, future]);
    assert_eq!(fixture.keys("", Some(7)).await, ["a", "b/0", "b/1", "b/2", "b/3", "b/4", "b/5", "b/6"]);
    assert_eq!(told(&store.watch("a", 7).next().await.unwrap().unwrap()), ["a=7 1/8", "a=8 1/9", "a=9 1/10"]);
}

#[tokio::test]
async fn many_waiters_share_commits_and_each_has_its_revision() {
    let fixture = Fixture::new(10_000);
    let writes = (0..500).map(|n| fixture.commit(put(&format!("k/{n:03}"), "v")));
    let mut revisions: Vec<u64> = futures_util::future::join_all(writes)
        .await
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Committed { revision } => revision,
            Outcome::Conflict { key } => panic!("{key}"),
        })
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=500).collect::<Vec<_>>());
    assert_eq!(fixture.keys("k/", None).await.len(), 500);
}

#[tokio::test]
async fn of_many_who_claim_one_key_one_wins() {
    let fixture = Fixture::new(100);
    let claims = (0..50).map(|n| {
        let claim = Transaction::new().when(Compare::absent("claim")).put("claim", n.to_string());
        fixture.commit(claim)
    });
    let outcomes = futures_util::future::join_all(claims).await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Committed { .. })).count(), 1);
}

#[tokio::test]
async fn a_watch_ends_with_its_store() {
    let mut fixture = Fixture::new(100);
    let mut watch = fixture.store().watch("", 0);
    fixture.store = None;
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_file_is_held_by_one_process_and_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new(100);
    let error = EmbeddedStore::open(&fixture.path(), Retention::default()).unwrap_err().to_string();
    assert!(error.ends_with("is open in another process: is a control plane running already?"), "{error}");
    let mode = std::fs::metadata(fixture.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[track_caller]
fn check_refused(path: &Path, expected: &str) {
    // Twice, because a refused file must not be mended into something that is accepted.
    for _ in 0..2 {
        let error = EmbeddedStore::open(path, Retention::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

fn edit_meta(path: &Path, edit: impl Fn(&mut redb::Table<'_, &'static str, u64>)) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    edit(&mut transaction.open_table(META).unwrap());
    transaction.commit().unwrap();
}

#[test]
fn a_store_of_another_format_is_refused() {
    let mut fixture = Fixture::new(100);
    fixture.store = None;
    edit_meta(&fixture.path(), |meta| drop(meta.insert(META_FORMAT, 2).unwrap()));
    check_refused(&fixture.path(), "has format 2, this program reads 1");
    edit_meta(&fixture.path(), |meta| {
        meta.insert(META_FORMAT, 1).unwrap();
        meta.remove(META_REVISION).unwrap();
    });
    check_refused(&fixture.path(), "meta has no revision");
}

#[test]
fn a_file_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "some notes\n".repeat(1000)).unwrap();
    check_refused(&text, "is damaged");
    let other = folder.path().join("other.redb");
    let database = Database::create(&other).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    check_refused(&other, "is no store of this mesh");
    check_refused(folder.path(), "irectory");
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_read_unharmed() {
    let mut fixture = Fixture::new(100);
    for n in 0..200 {
        fixture.commit(put(&format!("k/{n:03}"), &"value ".repeat(50))).await;
    }
    fixture.store = None;
    let good = std::fs::read(fixture.path()).unwrap();
    let (mut refused, mut unharmed) = (0, 0);
    for at in (0..good.len()).step_by(good.len() / 61) {
        let mut bad = good.clone();
        bad[at..(at + 64).min(good.len())].fill(0x5a);
        std::fs::write(fixture.path(), &bad).unwrap();
        match EmbeddedStore::open(&fixture.path(), fixture.retention) {
            Err(_) => refused += 1,
            // The damage hit a page that is free.
            Ok(store) => {
                let listing = store.range(Keys::prefix("k/"), None).await.unwrap();
                assert_eq!((listing.entries.len(), listing.revision), (200, 200), "damage at {at}");
                unharmed += 1;
            }
        }
    }
    assert!(refused > 0 && unharmed > 0, "{refused} refused, {unharmed} unharmed");
    std::fs::write(fixture.path(), &good[..good.len() / 2]).unwrap();
    check_refused(&fixture.path(), "is damaged");
}

/// What the store should hold: every revision of the map, whole.
struct Model {
    revisions: Vec<BTreeMap<String, Entry>>,
}

impl Model {
    fn apply(
        &mut self,
        step: &[(u8, Option<u8>)],
        compare: Option<(u8, Option<u64>)>,
    ) -> (Transaction, Outcome) {
        let mut map = self.revisions.last().unwrap().clone();
        let next = self.revisions.len() as u64;
        let mut transaction = Transaction::new();
        if let Some((key, revision)) = compare {
            let key = format!("k/{key}");
            let actual = map.get(&key).map(|entry| entry.mod_revision);
            transaction = transaction.when(match revision {
                Some(revision) => Compare::unchanged(&key, revision),
                None => Compare::absent(&key),
            });
            if actual.filter(|actual| *actual > 0) != revision.filter(|revision| *revision > 0) {
                let step = step.iter().map(|(key, _)| format!("k/{key}"));
                return (step.fold(transaction, |all, key| all.put(key, "never")), Outcome::Conflict { key });
            }
        }
        let mut changed = false;
        for (key, value) in step {
            let key = format!("k/{key}");
            match value {
                Some(value) => {
                    let value = Bytes::from(vec![*value; 3]);
                    let create_revision = map.get(&key).map_or(next, |entry| entry.create_revision);
                    transaction = transaction.put(&key, value.clone());
                    map.insert(key.clone(), Entry { key, value, create_revision, mod_revision: next });
                    changed = true;
                }
                None => {
                    transaction = transaction.delete(&key);
                    changed |= map.remove(&key).is_some();
                }
            }
        }
        if changed {
            self.revisions.push(map);
        }
        (transaction, Outcome::Committed { revision: self.revisions.len() as u64 - 1 })
    }

    /// The map that a watcher has who began with `seen` and applied what it was told.
    fn replay(&self, seen: u64, changes: &Changes) -> BTreeMap<String, Entry> {
        let mut map = self.revisions[seen as usize].clone();
        for event in &changes.events {
            match event {
                Event::Put(entry) => drop(map.insert(entry.key.clone(), entry.clone())),
                Event::Delete { key, .. } => drop(map.remove(key)),
            }
        }
        map
    }
}

type Step = (BTreeMap<u8, Option<u8>>, Option<(u8, Option<u64>)>);

fn step() -> impl Strategy<Value = Step> {
    let ops = prop::collection::btree_map(0..6u8, prop::option::of(0..4u8), 0..4);
    (ops, prop::option::of((0..6u8, prop::option::of(0..12u64))))
}

async fn check_against_model(steps: Vec<Step>, revisions_max: u64, reopen_at: usize) {
    let mut fixture = Fixture::new(revisions_max);
    let mut model = Model { revisions: vec![BTreeMap::new()] };
    for (index, (ops, compare)) in steps.into_iter().enumerate() {
        if index == reopen_at {
            fixture.reopen();
        }
        let (transaction, expected) = model.apply(&ops.into_iter().collect::<Vec<_>>(), compare);
        assert_eq!(fixture.commit(transaction).await, expected);
    }
    let newest = model.revisions.len() as u64 - 1;
    let oldest = newest.saturating_sub(revisions_max);
    for revision in 0..=newest {
        let listing = fixture.store().range(Keys::prefix("k/"), Some(revision)).await;
        if revision < oldest {
            assert!(matches!(listing, Err(StoreError::Compacted { .. })));
            continue;
        }
        let expected: Vec<Entry> = model.revisions[revision as usize].values().cloned().collect();
        assert_eq!(listing.unwrap().entries, expected);
        if revision < newest {
            let changes = fixture.store().watch("k/", revision).next().await.unwrap().unwrap();
            assert_eq!(model.replay(revision, &changes), model.revisions[newest as usize]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_kept_revision_reads_as_the_model_says(
        steps in prop::collection::vec(step(), 1..30),
        revisions_max in 1..40u64,
        reopen_at in 0..30usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_against_model(steps, revisions_max, reopen_at));
    }
}
