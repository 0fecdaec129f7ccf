//! How long a probe waits for its answer: as long as the way to that member takes.
//!
//! Owns the round trips learned from the acknowledgements of our own pings (the estimator of RFC 6298, section 2:
//! smoothed round trip and its variation; every ping has its number, so an answer is never taken for that of another),
//! and the two timers by which foca ends a probe, which foca itself only knows as fixed lengths. Refuses to hold a probe
//! longer than [`LONGEST`]. INVARIANT: foca gets both timers of every probe once, that of the indirect probes first. Held
//! by `tests::probing`.

use crate::identity::{Id, WireCodec};
use foca::{Codec, Message, ProbeNumber, Timer};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use tidegate_domain::{Millis, Mono};

/// Others are asked no sooner: a member nearby may just be busy.
pub(crate) const ASK_FLOOR: Millis = Millis(150);
/// They are asked this much after one round trip and a half.
const ASK_MARGIN: Millis = Millis(50);
/// They are asked at the latest then.
const ASK_LATEST: Millis = Millis(1_000);
/// What a member is taken for that has not answered yet, when it is asked: most ways on Earth are shorter. No period is
/// made longer by it: a fleet that has just begun must find its dead too.
const UNKNOWN: Millis = Millis(200);
/// A probe without an answer is over at the latest then.
pub(crate) const LONGEST: Millis = Millis(2_000);
/// Pings whose answers still tell a distance.
const REMEMBERED: usize = 8;

const NANOS: u64 = 1_000_000;

/// Round trip to one member, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundTrip {
    smoothed: u64,
    variation: u64,
}

impl RoundTrip {
    fn first(sample: u64) -> Self {
        Self { smoothed: sample, variation: sample / 2 }
    }

    /// RFC 6298, section 2.3: an eighth of the new one, a quarter of its deviation.
    fn take(&mut self, sample: u64) {
        let off = self.smoothed.abs_diff(sample);
        self.variation = self.variation - self.variation / 4 + off / 4;
        self.smoothed = self.smoothed - self.smoothed / 8 + sample / 8;
    }

    /// When others are asked: the usual time and half of it more, or four variations more where that is longer.
    fn ask_after(self) -> u64 {
        let more = (self.smoothed / 2 + ASK_MARGIN.0 * NANOS).max(self.variation.saturating_mul(4));
        self.smoothed.saturating_add(more).clamp(ASK_FLOOR.0 * NANOS, ASK_LATEST.0 * NANOS)
    }
}

/// The probe that is under way.
#[derive(Debug)]
struct Probe {
    serial: u64,
    id: Id,
    number: Option<ProbeNumber>,
    began: Mono,
    ends: Mono,
    answered: bool,
    ask: Option<Timer<Id>>,
    next: Option<Timer<Id>>,
}

#[derive(Debug)]
struct Ping {
    addr: SocketAddr,
    number: ProbeNumber,
    at: Mono,
}

/// When the two moments of a probe are to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Names the probe.
    pub(crate) serial: u64,
    /// Others are asked.
    pub(crate) ask: Mono,
    /// It is over, if there was an answer.
    pub(crate) over: Mono,
}

/// What is due at the end of a probe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nothing: it was over already.
    Nothing,
    /// It still waits for an answer; look again then.
    At(Mono),
    /// It took so long; foca gets these, in order.
    Fire(Millis, Vec<Timer<Id>>),
}

/// Own probes.
#[derive(Debug, Default)]
pub(crate) struct Probing {
    serial: u64,
    current: Option<Probe>,
    pings: VecDeque<Ping>,
    known: BTreeMap<SocketAddr, RoundTrip>,
}

impl Probing {
    /// foca begins a probe with a ping among `sends`; its two timers, to ask others and to end it, are kept here.
    pub(crate) fn begin(
        &mut self,
        (id, ask, next): (Id, Timer<Id>, Timer<Id>),
        period: Millis,
        sends: &[(SocketAddr, Vec<u8>)],
        now: Mono,
    ) -> Begun {
        let number = sends.iter().filter(|(to, _)| *to == id.addr).find_map(|(_, data)| match said(data) {
            Some((_, Message::Ping(number))) => Some(number),
            _ => None,
        });
        self.serial += 1;
        if let Some(number) = number {
            self.pings.truncate(REMEMBERED - 1);
            self.pings.push_front(Ping { addr: id.addr, number, at: now });
        }
        let unknown = RoundTrip { smoothed: UNKNOWN.0 * NANOS, variation: 0 };
        let wait = self.known.get(&id.addr).copied().unwrap_or(unknown).ask_after();
        let asked = later(now, wait);
        let serial = self.serial;
        let ends = later(asked, ASK_MARGIN.0 * NANOS).max(now + period);
        let (ask, next) = (Some(ask), Some(next));
        self.current = Some(Probe { serial, id, number, began: now, ends, answered: false, ask, next });
        Begun { serial, ask: asked, over: now + period }
    }

    /// Gives up the probe under way, with the timers that foca has not had of it.
    pub(crate) fn abandon(&mut self) -> Vec<Timer<Id>> {
        self.current.take().map_or_else(Vec::new, |probe| probe.ask.into_iter().chain(probe.next).collect())
    }

    /// The time to ask others has come: foca's timer for it, once.
    pub(crate) fn ask(&mut self, serial: u64) -> Option<Timer<Id>> {
        self.current.as_mut().filter(|probe| probe.serial == serial)?.ask.take()
    }

    /// These were asked: their answers take the way to them, from them to the member, and back. The way between the
    /// two is taken for the detour over us, and what is not known for none.
    pub(crate) fn asked(&mut self, others: &[SocketAddr], now: Mono) {
        let Some(probe) = &self.current else { return };
        let farthest = others.iter().map(|other| self.round_trip(*other)).max().unwrap_or_default();
        let detour = farthest.saturating_mul(2).saturating_add(self.round_trip(probe.id.addr));
        let ends = later(now, detour.saturating_add(ASK_MARGIN.0 * NANOS)).min(probe.began + LONGEST);
        if let Some(probe) = &mut self.current {
            probe.ends = probe.ends.max(ends);
        }
    }

    /// The period of this probe is over, or its time.
    pub(crate) fn over(&mut self, serial: u64, now: Mono) -> Over {
        let Some(probe) = self.current.as_mut().filter(|probe| probe.serial == serial) else { return Over::Nothing };
        if !probe.answered && now < probe.ends {
            return Over::At(probe.ends);
        }
        let took = now.since(probe.began);
        Over::Fire(took, self.abandon())
    }

    /// Reads what a member said. The serial of the probe that it is the first answer to, if it is.
    pub(crate) fn heard(&mut self, payload: &[u8], now: Mono) -> Option<u64> {
        let (from, message) = said(payload)?;
        let (of, number) = match message {
            Message::Ack(number) => (from, number),
            Message::ForwardedAck { origin, probe_number } => {
                return self.answer(&origin, probe_number);
            }
            _ => return None,
        };
        // A late answer tells the distance too: without it a far member would never be known.
        let ping = self.pings.iter().position(|ping| (ping.addr, ping.number) == (of.addr, number));
        if let Some(ping) = ping.and_then(|i| self.pings.remove(i)) {
            let sample = now.0.saturating_sub(ping.at.0);
            let known = self.known.entry(of.addr);
            known.and_modify(|known| known.take(sample)).or_insert_with(|| RoundTrip::first(sample));
        }
        self.answer(&of, number)
    }

    fn answer(&mut self, of: &Id, number: ProbeNumber) -> Option<u64> {
        let probe = self.current.as_mut().filter(|probe| probe.number == Some(number) && probe.id == *of)?;
        (!std::mem::replace(&mut probe.answered, true)).then_some(probe.serial)
    }

    /// How long the probe under way has taken.
    pub(crate) fn taken(&self, now: Mono) -> Millis {
        self.current.as_ref().map_or(Millis(0), |probe| now.since(probe.began))
    }

    /// Our loop stood still for `nanos`: that is no distance, and no time that a member had.
    pub(crate) fn stood_still(&mut self, nanos: u64) {
        self.pings.clear();
        if let Some(probe) = &mut self.current {
            probe.began = later(probe.began, nanos);
            probe.ends = later(probe.ends, nanos);
        }
    }

    /// A member is gone; whoever comes there next may be elsewhere.
    pub(crate) fn forget(&mut self, addr: SocketAddr) {
        self.known.remove(&addr);
        self.pings.retain(|ping| ping.addr != addr);
    }

    fn round_trip(&self, addr: SocketAddr) -> u64 {
        self.known.get(&addr).map_or(0, |known| known.smoothed)
    }
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.known.len()
    }
}

fn said(payload: &[u8]) -> Option<(Id, Message<Id>)> {
    let header = WireCodec.decode_header(payload).ok()?;
    Some((header.src, header.message))
}

fn later(at: Mono, nanos: u64) -> Mono {
    Mono(at.0.saturating_add(nanos))
}
