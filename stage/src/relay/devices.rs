//! The shell: a TUN device per site and one thread that reads, waits and writes.
//!
//! Owns descriptors and the thread, which ends with the [`Relay`]. A device is made here and may be moved into another
//! namespace: its descriptor stays here.

use super::queue::{Counts, Delays, Queue};
use anyhow::Context;
use futures::future::{join_all, pending};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio_tun::Tun;

/// The largest packet: no device here has a larger MTU than 1,500.
const PACKET_MAX: usize = 2_048;

/// One site's end.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// Name of the device, 15 bytes at most.
    pub device: String,
    /// Addresses of the site.
    pub addresses: Vec<Ipv4Addr>,
}

/// The running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    queue: Arc<Mutex<Queue>>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Makes the devices and starts the thread. Needs root. The same `seed` and the same packets lose the same.
    pub(crate) fn open(wires: &[Wire], delays: Delays, seed: u64) -> anyhow::Result<Self> {
        let mut sites = BTreeMap::new();
        for (i, wire) in wires.iter().enumerate() {
            sites.extend(wire.addresses.iter().map(|a| (*a, i)));
        }
        let queue = Arc::new(Mutex::new(Queue::new(sites, delays, seed)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let devices = {
            // A device is known to the reactor that stands when it is made.
            let _reactor = runtime.enter();
            wires.iter().map(|w| device(&w.device)).collect::<anyhow::Result<Vec<Tun>>>()?
        };
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = carry(&devices, &shared) => {}
                }
            });
        })?;
        Ok(Self { queue, stop: Some(stop), thread: Some(thread) })
    }

    /// From now on so many of 10,000 UDP packets are lost.
    pub(crate) fn set_loss(&self, bps: u32) {
        lock(&self.queue).set_loss(bps);
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        lock(&self.queue).counts
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn device(name: &str) -> anyhow::Result<Tun> {
    let made = Tun::builder().name(name).close_on_exec().build();
    let made = made.with_context(|| format!("no TUN device `{name}`: is /dev/net/tun here, and are you root?"))?;
    made.into_iter().next().with_context(|| format!("no TUN device `{name}`"))
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads from every device and writes what is due, for ever.
async fn carry(devices: &[Tun], queue: &Mutex<Queue>) {
    let (start, came) = (Instant::now(), Notify::new());
    let now = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let readers = devices.iter().map(|device| read(device, queue, &came, &now));
    let write = async {
        loop {
            loop {
                let next = lock(queue).due(now());
                let Some((site, packet)) = next else { break };
                // A device whose namespace has gone takes nothing: as if the packet were lost.
                if let Some(device) = devices.get(site) {
                    let _ = device.try_send(&packet);
                }
            }
            let next = lock(queue).next_due();
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until((start + Duration::from_nanos(at)).into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = came.notified() => {}
            }
        }
    };
    tokio::join!(join_all(readers), write);
}

async fn read(device: &Tun, queue: &Mutex<Queue>, came: &Notify, now: &impl Fn() -> u64) {
    let mut packet = [0_u8; PACKET_MAX];
    loop {
        match device.recv(&mut packet).await {
            Ok(length) => lock(queue).take(&packet[..length], now()),
            // The device has gone with its namespace, or is not up yet: neither comes back by asking at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        came.notify_one();
    }
}
