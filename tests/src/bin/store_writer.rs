//! Writes pairs of keys into a store as fast as it can and prints each acknowledged pair, until it is killed.
//!
//! A process of its own, because what is shown is that an acknowledgement outlives the process that gave it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use control_plane::store::{EmbeddedStore, Retention, Store, Transaction};

/// How many writers wait at once, so that kills fall into commits that several share.
const WRITERS: u32 = 16;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().context("usage: store_writer FILE ROUND")?);
    let round: u32 = arguments.next().context("ROUND")?.to_string_lossy().parse()?;
    // Little history, so that kills fall into compaction too.
    let store = Arc::new(EmbeddedStore::open(&path, Retention { revisions_max: 100 })?);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(store.clone(), format!("{round}-{writer}")));
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn write(store: Arc<EmbeddedStore>, writer: String) -> anyhow::Result<()> {
    for count in 0u64.. {
        let name = format!("{writer}-{count}");
        let pair = Transaction::new()
            .put(format!("left/{name}"), name.clone())
            .put(format!("right/{name}"), name.clone())
            // One that is written over and over: its versions are what compaction removes.
            .put(format!("counter/{writer}"), count.to_string());
        store.commit(pair).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{name}")?;
        out.flush()?;
    }
    Ok(())
}
