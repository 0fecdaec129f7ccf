//! A steady stream of requests through one proxy; counts those that failed.

use crate::stand::client;
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Requests in a steady stream until told to stop.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    /// A GET every 10 ms to the proxy at `listener`.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn start(listener: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (until, all, bad) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failed));
        let url = format!("http://{listener}/x");
        let client = client()?;
        let task = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(10));
            while !until.load(Ordering::Relaxed) {
                beat.tick().await;
                all.fetch_add(1, Ordering::Relaxed);
                let answer = client.get(&url).header("host", "shop.test").header("x-class", "eu").send().await;
                if !answer.is_ok_and(|a| a.status() == 200) {
                    bad.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { stop, sent, failed, task })
    }

    /// Sent and failed so far.
    #[must_use]
    pub fn so_far(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Ends it; sent and failed.
    ///
    /// # Errors
    /// When the stream itself broke.
    pub async fn end(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        let counts = (self.sent, self.failed);
        self.task.await?;
        Ok((counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed)))
    }
}
