//! A backend: answers every request with its own region's name and counts it. It can hold its answers back, and it can
//! be ended.

use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// One listening address of a region.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// Requests answered, health checks apart.
    pub served: Arc<AtomicU64>,
    holding: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Backend {
    /// Listens on `ip` with a free port, or on exactly `address` when it must come back.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(region: &str, address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let served = Arc::new(AtomicU64::new(0));
        let holding = Arc::new(AtomicBool::new(false));
        let (region, count, hold) = (region.to_owned(), Arc::clone(&served), Arc::clone(&holding));
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (region, count, hold) = (region.clone(), Arc::clone(&count), Arc::clone(&hold));
                open.spawn(async move {
                    // A client that goes away ends only its own connection.
                    let _ = answer(stream, &region, &count, &hold).await;
                });
                while open.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, served, holding, task })
    }

    /// From now on connections and requests are taken and never answered.
    pub fn hold(&self) {
        self.holding.store(true, Ordering::Relaxed);
    }

    /// Requests answered so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, region: &str, served: &AtomicU64, holding: &AtomicBool) -> Result<()> {
    let mut buffer = Vec::new();
    let mut part = [0_u8; 4096];
    loop {
        while !buffer.windows(4).any(|w| w == b"\r\n\r\n") {
            let n = stream.read(&mut part).await?;
            if n == 0 || buffer.len() > 65_536 {
                return Ok(());
            }
            buffer.extend_from_slice(&part[..n]);
        }
        let health = buffer.starts_with(b"GET /healthz");
        buffer.clear();
        if holding.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if !health {
            served.fetch_add(1, Ordering::Relaxed);
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{region}", region.len());
        stream.write_all(head.as_bytes()).await?;
    }
}
